"""From the spool to MLflow: the uploader's thread. All that is written of a trial under way is written here.

Every delivery may be repeated. A metric is written again for a step only where its value has changed, as means do when
seeds are added: an epoch repeated after a crash, bit by bit the same, adds nothing.

A trial that has ended by the time it is delivered takes as few requests as MLflow allows: its run, its data set, its
files one by one, all else at once, and that it has ended.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.decisions.status import Status
from sweeps.tracking import copying
from sweeps.tracking.artifacts import Artifacts, folder_of
from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.entry import PARENT, WENT_ON, continued
from sweeps.tracking.origin import data_input
from sweeps.tracking.runs import MLFLOW_STATUS, Runs, is_ahead
from sweeps.tracking.sending import Sending
from sweeps.tracking.shared import Shared, Tracked
from sweeps.tracking.snapshot import NEWEST, STATES, next_slot, place
from sweeps.tracking.spool import About, Line, Standing
from sweeps.tracking.store import TAG_LENGTH, Store
from sweeps.tracking.summary import STEP, Values, withdrawn
from trainables.snapshot import CURVES, STATE

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, Run, RunTag

log = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between deliveries: epochs of a second or less travel together
LONGEST_PAUSE = 30.0  # while MLflow is away
FILES_EVERY = 20.0  # seconds between uploads of a running trial's files
RETRY_REFUSED = 60.0  # seconds until a trial that MLflow refused is tried again
AT_ONCE = 4  # trials that a server is sent at the same time; a database takes one after another


class Uploader:
    """The thread that delivers what is in the spool, again and again. Its public methods are for the other thread."""

    def __init__(self, store: Store, shared: Shared, spool: Path) -> None:
        self._store, self._shared, self._spool = store, shared, spool
        self._runs = Runs(store)
        self._away = False
        self._wake, self._stopped, self._hurried = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow-uploader", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Deliver now."""
        self._wake.set()

    @contextlib.contextmanager
    def hurried(self) -> Iterator[None]:
        """Send meanwhile also files that are not due."""
        self._hurried.set()
        try:
            yield
        finally:
            self._hurried.clear()

    def stop(self) -> None:
        """End the thread, after what it is at."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        pause = PAUSE
        with ThreadPoolExecutor(1 if self._store.database else AT_ONCE, "mlflow-upload") as pool:
            while not self._stopped.is_set():
                self._wake.wait(pause)
                self._wake.clear()
                pause = PAUSE if self._deliver_all(pool) else min(2 * pause, LONGEST_PAUSE)

    def _deliver_all(self, pool: ThreadPoolExecutor) -> bool:
        """Deliver what there is. False if MLflow is away: then what has not begun waits."""
        away = threading.Event()

        def deliver(trial: Tracked) -> bool:
            return not (self._stopped.is_set() or away.is_set()) and self._deliver(trial, away)

        answered = any(list(pool.map(deliver, self._shared.waiting())))
        if answered and self._away and not away.is_set():
            log.warning("MLflow answers again")
        self._away = away.is_set() or (self._away and not answered)
        return not away.is_set()

    def _deliver(self, trial: Tracked, away: threading.Event) -> bool:
        """Deliver a trial where it is due; return whether MLflow took it. Sets `away` where it is away."""
        if trial.delivered or time.monotonic() < trial.retry_due:
            self._shared.settle(trial)
            return False
        if not self._hurried.is_set():  # nobody counts
            trial.answered.clear()
        try:
            Delivery(self._store, self._runs, self._shared, trial).deliver(self._hurried.is_set)
        except Exception as error:  # whatever it is, it must not end the thread
            self._failed(trial, error, away)
            return False
        trial.error = None  # before it waits no longer: then whoever drains asks for problems
        self._shared.settle(trial)
        return True

    def _failed(self, trial: Tracked, error: Exception, away: threading.Event) -> None:
        """Note why the trial was not delivered: that is its own trouble, or MLflow is `away`."""
        known, trial.error = trial.error, one_line(error)
        if is_refusal(error):
            if known is None:
                log.warning("%s: MLflow refuses it: %s", trial.label, trial.error)
            for item in trial.sent.refused:  # noted again if that is still so in the run that it gets now
                self._shared.take_back(trial, item)
            self._runs.forget()
            trial.start_over()
            trial.retry_due = time.monotonic() + RETRY_REFUSED
            return
        if not (self._away or away.is_set()):
            log.warning(
                "cannot deliver to MLflow (%s); training goes on, and what it yields is kept in %s",
                trial.error,
                self._spool,
            )
        away.set()
        self._shared.to_the_end(trial)  # if it is this trial alone that looks like an outage, the others get their turn


@dataclass(frozen=True)
class Delivery:
    """The delivery of one trial to its MLflow run: of all that is in the spool, what MLflow has not got yet."""

    store: Store
    runs: Runs
    shared: Shared
    trial: Tracked

    @cached_property
    def sending(self) -> Sending:
        """What goes into the trial's run."""
        return Sending(self.store, self.shared, self.trial)

    def deliver(self, hurried: Callable[[], bool]) -> None:
        """Send what there is. A running trial's files wait until they are due, unless it is `hurried`."""
        trial = self.trial
        run = self.runs.find(trial.kept.about) if trial.inherited else None
        if run and is_ahead(self.store, run, trial.kept.state()):
            self._let_go(run)
            return
        standing = trial.kept.standing  # read first: all that came before it is delivered before it
        about = trial.kept.about
        params = self._enter(about) if trial.sent.about is not about else []
        if standing.status == Status.RUNNING:
            self._send_epochs(about, params)
            if hurried() or time.monotonic() >= trial.files_due:
                self._send_files()
            self._send_standing(standing)
        else:
            self._send_files()
            self._send_epochs(about, params, standing)
        with self.shared.lock:
            if trial.delivered and not trial.kept.running:
                trial.retire()

    def _let_go(self, run: Run) -> None:
        """Send nothing of what was left, but that the trial was interrupted, where the run is shown as under way."""
        trial = self.trial
        trial.run_id, trial.began = run.info.run_id, run.info.start_time
        self.shared.note(trial, "what was left of it", "is let go: another command has gone on with it")
        if run.data.tags["status"] in (Status.RUNNING, Status.INTERRUPTED):
            self._send_standing(trial.kept.standing)
        trial.let_go()

    def _enter(self, about: About) -> list[Param]:
        """Have a run for the trial, with its data set, and return the params that it lacks."""
        from mlflow.entities import Param

        trial, client = self.trial, self.store.client
        run = copying.completed(self.sending, self._entered(about))
        self.sending.answered("run")
        trial.run_id, trial.began, trial.sent.folder = run.info.run_id, run.info.start_time, run.info.artifact_uri
        trial.sent.slot = trial.sent.slot or run.data.tags.get(NEWEST)
        history = []
        for name in run.data.metrics:
            history += client.get_metric_history(run.info.run_id, name)
            self.sending.answered(f"history of {name}")
        newest = sorted(history, key=lambda each: each.timestamp)
        trial.sent.values = {(each.key, each.step): (each.value, each.timestamp) for each in newest}
        inputs = [data_input(about.dataset)] if about.dataset and not (run.inputs and run.inputs.dataset_inputs) else []
        self.sending.send(inputs, lambda some: client.log_inputs(run.info.run_id, some))
        return [Param(*param) for param in about.params.items() if run.data.params.get(param[0]) != param[1]]

    def _entered(self, about: About) -> Run:
        """Return the trial's run, tagged as running: the one that it has, else a new one."""
        from mlflow.entities import RunTag

        trial, client = self.trial, self.store.client
        tags = {**about.tags, "key": about.key, "status": Status.RUNNING.value}
        tags |= {WENT_ON: "yes"} if about.source and about.worker else {}
        run, before = self.runs.find(about), trial.run_id or about.run_id
        if before and (run is None or run.info.run_id != before):
            self.shared.note(trial, f"run {before}", "was deleted in MLflow; the trial goes on in another run")
        if run is None:
            experiment = self.runs.experiment(about.experiment)
            tags |= copying.tags(about.source)
            run = client.create_run(experiment, start_time=about.time, tags=tags, run_name=about.name)
            trial.sent.others, standing = False, trial.kept.standing
            if standing.status == Status.RUNNING:  # as a new run is shown
                trial.sent.standing = standing
            return run
        run_id = run.info.run_id
        tags = continued(run.data.tags, tags)
        if run.info.experiment_id != self.runs.experiment(about.experiment):
            tags.pop(PARENT, None)  # its parent would be in another experiment
        self.sending.send([RunTag(*tag) for tag in tags.items()], lambda some: client.log_batch(run_id, tags=some))
        if "failure_reason" in run.data.tags:
            client.delete_tag(run_id, "failure_reason")
        return run

    def _send_epochs(self, about: About, params: Sequence[Param], end: Standing | None = None) -> None:
        """Send params and metrics, and with them the trial's `end`, where that is where it stands."""
        trial, size = self.trial, self.trial.kept.size
        metrics = self._new_metrics(trial.kept.lines(trial.sent.size, size)) if size != trial.sent.size else {}
        tags: list[RunTag] = []
        ends = end is not None and trial.kept.standing is end and trial.sent.standing is not end
        if end and ends:
            if end.status in (Status.DONE, Status.CENSORED) and trial.sent.slot and trial.sent.others:
                self._delete_older_states()
            scores, tags = _entries(end, trial.sent.values)
            metrics |= scores
        self.sending.entries(params, metrics, [*self._newest(), *tags] if end else [])
        trial.sent.values |= {at: (metric.value, metric.timestamp) for at, metric in metrics.items()}
        trial.sent.size, trial.sent.about = size, about
        if end and ends:
            self._show(end)

    def _new_metrics(self, lines: Sequence[bytes]) -> dict[tuple[str, int], Metric]:
        """Return by name and step the values in these lines that MLflow does not have."""
        newest: dict[tuple[str, int], tuple[float, int]] = {}
        for line in filter(None, map(self._parsed, lines)):
            newest |= {(name, line.step): (value, line.time) for name, value in line.metrics.items()}
        return _lacking(newest, self.trial.sent.values)

    def _parsed(self, line: bytes) -> Line | None:
        try:
            return Line.parse(line)
        except ValueError:
            what = f"a line in the spool is damaged; that epoch is missing in MLflow's charts, not in {CURVES}"
            self.shared.note(self.trial, "metrics:", what)
            return None

    def _send_files(self) -> None:
        trial, slot = self.trial, next_slot(self.trial.sent.slot)
        stage = trial.kept.folder / "upload"
        # Links, as a full disk takes no copies; they are of one epoch, and the next one replaces the originals.
        with self.shared.lock:
            # The state goes last: it is never ahead of the curves.
            changed = dict(sorted(trial.files_to_send.items(), key=lambda each: each[0] == STATE))
            if not changed:
                return
            shutil.rmtree(stage, ignore_errors=True)
            for name, digest in changed.items():
                link = stage / place(name, slot)
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(trial.kept.blob(digest), link)
        to = Artifacts.at(self.store.client, trial.sent.folder)
        self.sending.send(list(changed), lambda names: self._upload(to, names, stage, slot))
        trial.sent.files = trial.sent.files | changed
        trial.files_due = time.monotonic() + FILES_EVERY

    def _upload(self, to: Artifacts, names: Sequence[str], stage: Path, slot: str) -> None:
        trial = self.trial
        for name in names:
            artifact = place(name, slot)
            to.add(stage / artifact, folder_of(artifact))
            self.sending.answered(trial.kept.files.get(name, name))
            if name == STATE:
                trial.sent.others = trial.sent.others or trial.sent.slot is not None
                if trial.kept.running or trial.sent.others:  # else it goes with the trial's end
                    self.store.client.set_tag(trial.run_id, NEWEST, slot)
                trial.sent.slot = slot

    def _newest(self) -> list[RunTag]:
        """Return the tag that says which state is the newest, where that is the only one, and may not be tagged yet."""
        from mlflow.entities import RunTag

        return [RunTag(NEWEST, self.trial.sent.slot)] if self.trial.sent.slot and not self.trial.sent.others else []

    def _delete_older_states(self) -> None:
        trial = self.trial
        try:
            for artifact in Artifacts.at(self.store.client, trial.sent.folder).listed(STATES):
                if artifact.path != trial.sent.slot:
                    self.store.delete_artifact(str(trial.run_id), artifact.path)
                    self.sending.answered(f"no {artifact.path}")
        except Exception as error:
            if not is_refusal(error):
                raise
            self.shared.note(trial, STATES, f"cannot be deleted but for the newest: {one_line(error)}")
        else:
            trial.sent.others = False

    def _send_standing(self, standing: Standing) -> None:
        """Send where the trial stands, unless that is known, or it stands elsewhere by now."""
        trial = self.trial
        if trial.sent.standing is standing or trial.kept.standing is not standing:
            return
        metrics, tags = _entries(standing, trial.sent.values)
        self.store.client.log_batch(trial.run_id, list(metrics.values()), tags=tags)
        trial.sent.values |= {at: (metric.value, metric.timestamp) for at, metric in metrics.items()}
        self.sending.answered(f"tags at {standing.time}")
        self._show(standing)

    def _show(self, standing: Standing) -> None:
        """Have MLflow's own column show where the trial stands."""
        client, trial = self.store.client, self.trial
        if standing.status == Status.RUNNING:
            client.update_run(trial.run_id, status="RUNNING")
        else:
            ended = max(standing.time, trial.began)  # the clock may have been set back
            client.set_terminated(trial.run_id, MLFLOW_STATUS[standing.status], ended)
        trial.sent.standing = standing


def _entries(standing: Standing, sent: Values) -> tuple[dict[tuple[str, int], Metric], list[RunTag]]:
    """Return what says in a run where its trial stands: those metrics that it was not `sent`, and tags."""
    from mlflow.entities import RunTag

    tags = [RunTag("status", standing.status.value)]
    if standing.reason:
        tags.append(RunTag("failure_reason", standing.reason[:TAG_LENGTH]))
    scores = {**standing.scores, **withdrawn(standing.scores, sent)}
    return _lacking({(name, STEP): (value, standing.time) for name, value in scores.items()}, sent), tags


def _lacking(newest: Values, sent: Values) -> dict[tuple[str, int], Metric]:
    """Return by name and step those of the newest values that MLflow does not have, as far as it was `sent` any."""
    from mlflow.entities import Metric

    new: dict[tuple[str, int], Metric] = {}
    for (name, step), (value, at) in newest.items():
        has, before = sent.get((name, step), (None, 0))
        if has != value and not (has is not None and math.isnan(has) and math.isnan(value)):
            # of a step's values the newest has the latest time, whatever the clock does
            new[name, step] = Metric(name, value, max(at, before + 1), step)
    return new
