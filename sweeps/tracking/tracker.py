"""Writing trials to MLflow while they run.

One process owns the `Tracker`, workers hand it epochs and files. Training never waits for MLflow: what comes in goes to
a spool on the local disk (sweeps/tracking/spool.py), from where another thread delivers it
(sweeps/tracking/delivery.py). What the two share is in sweeps/tracking/shared.py.

Importing this module does not import MLflow, which takes seconds.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from sweeps.decisions.status import Status
from sweeps.tracking.connection import import_mlflow, is_refusal, one_line
from sweeps.tracking.delivery import Uploader
from sweeps.tracking.entry import Entry, continued
from sweeps.tracking.findings import deliver_findings, findings_in
from sweeps.tracking.runs import MLFLOW_STATUS
from sweeps.tracking.shared import Shared, Tracked
from sweeps.tracking.spool import (
    TRIAL_FILE,
    About,
    Line,
    Spooled,
    Standing,
    check_name,
    is_key,
    lock,
    milliseconds,
    trials_in,
)
from sweeps.tracking.store import Store

LOCK = "tracker.lock"  # in the spool: the Tracker that owns it


def deliver(store: Store, spool: Path, timeout: float = 60.0) -> tuple[list[str], list[str]]:
    """Deliver what an earlier process left in its spool, trials and findings, before anything is looked up.

    Returns what Tracker.drain() and problems() do.
    """
    left: list[str] = []
    problems: list[str] = []
    if trials_in(spool):
        with contextlib.closing(Tracker(store.uri, "", spool)) as tracker:
            left, problems = tracker.drain(timeout), tracker.problems()
    findings = deliver_findings(store, findings_in(spool))
    return [*left, *findings.away, *findings.refused], [*problems, *findings.damaged]


class Tracker:
    """Writes trials to MLflow. One process owns it; Ray wraps it as an actor on the driver's node.

    `start`, `epoch` and `finish` write to the spool and return. What cannot be delivered stays in the spool, and the
    next Tracker on the same spool delivers it first.
    """

    PATIENCE = 30.0  # seconds for the spool's last owner to go: the actor of a killed driver lingers

    def __init__(self, uri: str, experiment: str, spool: Path, dataset: Mapping[str, str] | None = None) -> None:
        self.store = Store(uri)
        import_mlflow()  # here, since two threads that import it at the same time get half of it
        self.experiment = experiment  # of the trials that will be started; "" where none will be
        self.dataset = dict(dataset or {})  # that they are trained on: see origin.data_set()
        self.spool = Path(spool).absolute()
        self.spool.mkdir(parents=True, exist_ok=True)
        self._shared = Shared()
        self._spool_lock = lock(self.spool / LOCK, self.PATIENCE)
        self._closed = False
        # in the middle of a study they are its own: Ray has started its Tracker again
        _take_over(self.spool, self._shared, inherited=not experiment)
        self._uploader = Uploader(self.store, self._shared, self.spool)

    def start(self, key: str, entry: Entry, worker: str = "") -> None:
        """Begin a trial, or continue it: in the entry's run, else in the run that the experiment has for its key.

        From now on it is `worker`'s: what one before, cut off and come back, still has to say of it is not taken.
        """
        if not is_key(key):
            raise ValueError(f"key {key!r}: must be 64 hexadecimal digits")
        now = milliseconds()
        params = {name: str(value) for name, value in entry.params.items()}
        standing = Standing(Status.RUNNING, None, now)
        with self._shared.lock:
            before = self._shared.trials.get(key)
            run_id = entry.run_id or (before.known_run if before else None)
            dataset = self.dataset
            # of what was said of it before MLflow may have nothing yet
            tags = {**before.kept.about.tags, **continued(before.kept.about.tags, entry.tags)} if before else entry.tags
            about = About(
                key, self.experiment, entry.name, params, dict(tags), run_id, now, worker, dataset, entry.source
            )
            trial = before or Tracked(Spooled(self.spool / key, about, standing), new=run_id is None)
            self._shared.news(trial)
            trial.kept.about, trial.kept.standing, trial.kept.left = about, standing, False
            trial.retry_due, trial.inherited = 0.0, False
            trial.kept.save()

    def copy(self, key: str, entry: Entry, status: Status, scores: Mapping[str, float]) -> None:
        """Have a run for a trial that nobody is to train, as another run, the entry's source, has all of it.

        Where a worker has taken the trial up by now, that has seen to it.
        """
        with self._shared.lock:
            trial = self._shared.trials.get(key)
            if trial is None or not trial.kept.running:
                self.start(key, entry)
                self.finish(key, status, scores=scores)

    def epoch(
        self, key: str, step: int, metrics: Mapping[str, float], files: Mapping[str, bytes], worker: str = ""
    ) -> None:
        """Record one epoch: metrics (those that are not finite stay missing), and the files that have changed, if any.

        Files of a snapshot come together, all of one epoch, when it is due.

        It is dropped where the trial is another worker's by now, or was interrupted meanwhile: it is, or will be,
        trained again. Raises OSError where the disk does not take it; the call can be repeated.
        """
        for name in files:
            check_name(name)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        with self._shared.lock:
            trial = self._trial(key)
            kept = trial.kept
            interrupted = kept.standing.status == Status.INTERRUPTED and not kept.left
            if interrupted or kept.about.worker != worker:
                return
            self._shared.news(trial)
            with self._shared.keeping(trial, f"epoch {step}"):
                if kept.left:
                    kept.go_on()
                    trial.inherited = False
                if not kept.folder.exists():  # a late epoch of a trial that was delivered already
                    kept.save()
                if finite:
                    kept.append(Line(step, milliseconds(), finite))
                if files:
                    kept.put(files)

    def state(self, key: str) -> bytes:
        """Return what a started trial needs to go on: its newest state that is whole, from the spool, else from MLflow.

        Where it was started without a run to continue, and has sent no state since, it is that of the run that it is a
        copy of. Empty where there is none. Damage is noted, also in the run. Raises OSError where MLflow is away; the
        call can be repeated.
        """
        with self._shared.lock:
            trial = self._trial(key)
            if state := trial.kept.state():
                return state
            own = trial.known_run if trial.sent.slot or not trial.new else None
            run_id = own or trial.kept.about.source
        if not run_id:  # a new one need not wait for an MLflow that is away
            return b""
        try:
            stored = self.store.state(run_id)
        except Exception as error:
            if not is_refusal(error):
                raise ConnectionError(f"MLflow does not answer: {one_line(error)}") from error
            if own:
                raise
            return b""  # what it is a copy of is gone
        trial.sent.slot = stored.slot
        if stored.damaged:
            used = (
                f"{stored.slot}, the one before, is used" if stored.content else "there is no other, so it starts anew"
            )
            self._shared.damaged(trial, f"{'; '.join(stored.damaged)}; {used}")
        return stored.content

    def finish(
        self,
        key: str,
        status: Status,
        reason: str | None = None,
        files: Mapping[str, bytes] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """End a trial as done, censored, failed, dropped or interrupted, adding last files and its summary.

        MLflow shows it as ended when it has everything else. A trial that was not started, its worker being lost
        before, has no run to end. Where the disk is full it is delivered all the same.
        """
        if status not in MLFLOW_STATUS:
            raise ValueError(f"status {str(status)!r}: must be one of {', '.join(MLFLOW_STATUS)}")
        with self._shared.lock:
            trial = self._shared.trials.get(key)
            if trial is None:
                return
            self._shared.news(trial)
            trial.kept.standing, trial.kept.left = Standing(status, reason, milliseconds(), dict(scores or {})), False
            # A full disk is noted, and the end is delivered from memory.
            with contextlib.suppress(OSError), self._shared.keeping(trial, "its end"):
                trial.kept.save()
                if files:
                    trial.kept.put(files)

    def run_ids(self) -> dict[str, str]:
        """Return the runs known so far: key → run id."""
        known = {trial.key: trial.known_run for trial in self._shared.all()}
        return {key: run_id for key, run_id in known.items() if run_id}

    def problems(self) -> list[str]:
        """Return what is wrong, a line for each.

        That is each item that was refused, lost or found damaged, and each trial whose last delivery did not succeed.
        """
        waiting = [f"{trial.label}: {trial.error}" for trial in self._shared.all() if trial.error]
        return [*self._shared.notes(), *waiting]

    def drain(self, timeout: float) -> list[str]:
        """Deliver everything now, until MLflow has taken nothing new for `timeout` seconds, be it a single item.

        Returns one line per trial that could not be delivered; it stays in the spool.
        """
        until, before = time.monotonic() + timeout, self._progress()
        for trial in self._shared.all():
            trial.retry_due = 0.0
        with self._uploader.hurried():
            while not self._closed and time.monotonic() < until and any(t.retry_due == 0.0 for t in self._left()):
                self._uploader.wake()
                time.sleep(0.05)
                if (now := self._progress()) != before:
                    until, before = time.monotonic() + timeout, now
        return [f"{trial.label}: {trial.error or 'not delivered in time'}" for trial in self._left()]

    def close(self) -> None:
        """Stop delivering and let go of the spool. Drain first."""
        if self._closed:
            return
        self._closed = True
        self._uploader.stop()
        os.close(self._spool_lock)

    def _trial(self, key: str) -> Tracked:
        if key not in self._shared.trials:
            raise ValueError(f"trial {key[:12]} was not started")
        return self._shared.trials[key]

    def _left(self) -> list[Tracked]:
        """Return the trials of which MLflow has not got everything, as far as the uploader has come."""
        return self._shared.waiting()

    def _progress(self) -> tuple[int, int]:
        """Return what changes whenever MLflow takes something that it had not taken before."""
        left = self._left()
        return len(left), sum(len(trial.answered) for trial in left)


def _take_over(spool: Path, shared: Shared, *, inherited: bool) -> None:
    """Take over what earlier processes left in the spool."""
    for folder in filter(lambda each: is_key(each.name), sorted(spool.glob("*/"))):
        try:
            # without this file, its process died before the trial had begun, or after it was delivered
            if not (folder / TRIAL_FILE).exists():
                shutil.rmtree(folder)
                continue
            trial = Tracked(Spooled.left_in(folder), inherited=inherited)
        except (ValueError, OSError) as error:
            shared.put_down(folder.name, "", f"{folder} cannot be read and is left alone: {one_line(error)}")
            continue
        shared.news(trial)
        if garbled := trial.kept.garbled():  # all of a snapshot are of one epoch: none of it is used
            trial.kept.files = {}
            what = f"{', '.join(garbled)} in the spool is damaged; what MLflow has from before is used"
            shared.damaged(trial, what)
