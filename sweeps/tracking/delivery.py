"""From the spool to MLflow: the uploader's thread. All that is written of a trial under way is written here.

Every delivery may be repeated. A metric is written again for a step only where its value has changed, as means do when
seeds are added: an epoch repeated after a crash, bit by bit the same, adds nothing.
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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sweeps.decisions.status import Status
from sweeps.tracking.artifacts import Artifacts
from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.origin import data_input
from sweeps.tracking.shared import Shared, Tracked
from sweeps.tracking.snapshot import NEWEST, STATES, next_slot, place
from sweeps.tracking.spool import About, Line, Standing
from sweeps.tracking.stage_runs import PARENT
from sweeps.tracking.store import ENDED, TAG_LENGTH, Store, counts
from sweeps.tracking.summary import STEP, Values, withdrawn
from trainables.history import History
from trainables.snapshot import CURVES, STATE, records

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

log = logging.getLogger(__name__)

# What MLflow's own column shows of a trial that has ended. One that was stopped early is not shown as finished.
MLFLOW_STATUS = {
    Status.DONE: "FINISHED",
    Status.CENSORED: "KILLED",
    Status.FAILED: "FAILED",
    Status.INTERRUPTED: "KILLED",
}
METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100  # MLflow's own limits: metrics, and params or tags, in one call

PAUSE = 1.0  # seconds between deliveries: epochs of a second or less travel together
LONGEST_PAUSE = 30.0  # while MLflow is away
FILES_EVERY = 20.0  # seconds between uploads of a running trial's files
RETRY_REFUSED = 60.0  # seconds until a trial that MLflow refused is tried again


class Uploader:
    """The thread that delivers what is in the spool, again and again. Its public methods are for the other thread."""

    def __init__(self, store: Store, shared: Shared, spool: Path) -> None:
        self._store, self._shared, self._spool = store, shared, spool
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
        while not self._stopped.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            pause = PAUSE if self._deliver_all() else min(2 * pause, LONGEST_PAUSE)

    def _deliver_all(self) -> bool:
        """Deliver what there is. False if MLflow is away."""
        for trial in self._shared.all():
            if self._stopped.is_set():
                break
            if trial.delivered or time.monotonic() < trial.retry_due:
                continue
            if not self._hurried.is_set():  # nobody counts
                trial.answered.clear()
            try:
                Delivery(self._store, self._shared, trial).deliver(self._hurried.is_set)
            except Exception as error:  # whatever it is, it must not end the thread
                if self._failed(trial, error):
                    continue
                return False
            if self._away:
                log.warning("MLflow answers again")
            trial.error, self._away = None, False
        return True

    def _failed(self, trial: Tracked, error: Exception) -> bool:
        """Note why the trial was not delivered. True if that is this trial's own trouble, False if MLflow is away."""
        known, trial.error = trial.error, one_line(error)
        if is_refusal(error):
            if known is None:
                log.warning("%s: MLflow refuses it: %s", trial.label, trial.error)
            for item in trial.sent.refused:  # noted again if that is still so in the run that it gets now
                self._shared.take_back(trial, item)
            trial.start_over()
            trial.retry_due = time.monotonic() + RETRY_REFUSED
            return True
        if not self._away:
            log.warning(
                "cannot deliver to MLflow (%s); training goes on, and what it yields is kept in %s",
                trial.error,
                self._spool,
            )
        self._away = True
        self._shared.to_the_end(trial)  # if it is this trial alone that looks like an outage, the others get their turn
        return False


@dataclass(frozen=True)
class Delivery:
    """The delivery of one trial to its MLflow run: of all that is in the spool, what MLflow has not got yet."""

    store: Store
    shared: Shared
    trial: Tracked

    def deliver(self, hurried: Callable[[], bool]) -> None:
        """Send what there is. A running trial's files wait until they are due, unless it is `hurried`."""
        trial = self.trial
        run = self._find(trial.kept.about) if trial.inherited else None
        if run and _is_ahead(self.store, run, trial.kept.state()):
            self._let_go(run)
            return
        standing = trial.kept.standing  # read first: all that came before it is delivered before it
        if trial.sent.about is not trial.kept.about:
            self._send_about(trial.kept.about)
        self._send_metrics()
        if not trial.kept.running or hurried() or time.monotonic() >= trial.files_due:
            self._send_files()
        if trial.kept.standing is standing and trial.sent.standing is not standing:
            if standing.status in (Status.DONE, Status.CENSORED) and trial.sent.slot:
                self._delete_older_states()
            self._send_standing(standing)
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

    def _send_about(self, about: About) -> None:
        from mlflow.entities import Param

        trial, client = self.trial, self.store.client
        run = self._entered(about)
        self._answered("run")
        trial.run_id, trial.began = run.info.run_id, run.info.start_time
        trial.sent.slot = trial.sent.slot or run.data.tags.get(NEWEST)
        history = []
        for name in run.data.metrics:
            history += client.get_metric_history(run.info.run_id, name)
            self._answered(f"history of {name}")
        newest = sorted(history, key=lambda each: each.timestamp)
        trial.sent.values = {(each.key, each.step): (each.value, each.timestamp) for each in newest}
        params = [Param(*param) for param in about.params.items() if run.data.params.get(param[0]) != param[1]]
        self._send(params, lambda some: client.log_batch(run.info.run_id, params=some))
        inputs = [data_input(about.dataset)] if about.dataset and not (run.inputs and run.inputs.dataset_inputs) else []
        self._send(inputs, lambda some: client.log_inputs(run.info.run_id, some))
        trial.sent.about = about

    def _entered(self, about: About) -> Run:
        """Return the trial's run, tagged as running: the one that it has, else a new one."""
        from mlflow.entities import RunTag

        trial, client = self.trial, self.store.client
        tags = {**about.tags, "key": about.key, "status": Status.RUNNING.value}
        run, before = self._find(about), trial.run_id or about.run_id
        if before and (run is None or run.info.run_id != before):
            self.shared.note(trial, f"run {before}", "was deleted in MLflow; the trial goes on in another run")
        if run is None:
            experiment = self.store.experiment_id(about.experiment)
            return client.create_run(experiment, start_time=about.time, tags=tags, run_name=about.name)
        run_id = run.info.run_id
        if run.info.experiment_id != self.store.experiment_id(about.experiment):
            tags.pop(PARENT, None)  # its parent would be in another experiment
        self._send([RunTag(*tag) for tag in tags.items()], lambda some: client.log_batch(run_id, tags=some))
        if "failure_reason" in run.data.tags:
            client.delete_tag(run_id, "failure_reason")
        return run

    def _find(self, about: About) -> Run | None:
        """Return the trial's run, if there is one that is not deleted."""
        client = self.store.client
        if about.run_id is not None:
            try:
                run = client.get_run(about.run_id)
            except Exception as error:
                if not is_refusal(error):
                    raise
            else:
                if run.info.lifecycle_stage == "active":
                    return run
        experiment = self.store.experiment_id(about.experiment)
        runs = client.search_runs([experiment], f"tags.key = '{about.key}'", order_by=["attributes.start_time DESC"])
        return next(filter(counts, runs), None)

    def _send_metrics(self) -> None:
        trial, size = self.trial, self.trial.kept.size
        if size == trial.sent.size:
            return
        new = self._new_metrics(trial.kept.lines(trial.sent.size, size))
        send, metrics = self.store.client.log_batch, list(new.values())
        self._send(metrics, lambda some: send(trial.run_id, metrics=some), METRICS_PER_CALL)
        trial.sent.values |= {at: (metric.value, metric.timestamp) for at, metric in new.items()}
        trial.sent.size = size

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
            shutil.rmtree(stage, ignore_errors=True)
            for name, digest in changed.items():
                link = stage / place(name, slot)
                link.parent.mkdir(parents=True, exist_ok=True)
                os.link(trial.kept.blob(digest), link)
        self._send(list(changed), lambda names: self._upload(names, stage, slot))
        trial.sent.files = trial.sent.files | changed
        trial.files_due = time.monotonic() + FILES_EVERY

    def _upload(self, names: Sequence[str], stage: Path, slot: str) -> None:
        client, trial = self.store.client, self.trial
        for name in names:
            artifact = place(name, slot)
            parent = PurePosixPath(artifact).parent.as_posix()
            client.log_artifact(trial.run_id, str(stage / artifact), None if parent == "." else parent)
            self._answered(trial.kept.files.get(name, name))
            if name == STATE:
                client.set_tag(trial.run_id, NEWEST, slot)
                trial.sent.slot = slot

    def _delete_older_states(self) -> None:
        trial = self.trial
        try:
            for artifact in Artifacts.of(self.store.client, str(trial.run_id)).listed(STATES):
                if artifact.path != trial.sent.slot:
                    self.store.delete_artifact(str(trial.run_id), artifact.path)
                    self._answered(f"no {artifact.path}")
        except Exception as error:
            if not is_refusal(error):
                raise
            self.shared.note(trial, STATES, f"cannot be deleted but for the newest: {one_line(error)}")

    def _send_standing(self, standing: Standing) -> None:
        from mlflow.entities import RunTag

        client, trial = self.store.client, self.trial
        tags = [RunTag("status", standing.status.value)]
        if standing.reason:
            tags.append(RunTag("failure_reason", standing.reason[:TAG_LENGTH]))
        scores = {**standing.scores, **withdrawn(standing.scores, trial.sent.values)}
        new = _lacking({(name, STEP): (value, standing.time) for name, value in scores.items()}, trial.sent.values)
        client.log_batch(trial.run_id, list(new.values()), tags=tags)
        trial.sent.values |= {at: (metric.value, metric.timestamp) for at, metric in new.items()}
        self._answered(f"tags at {standing.time}")
        if standing.status == Status.RUNNING:
            client.update_run(trial.run_id, status="RUNNING")
        else:
            ended = max(standing.time, trial.began)  # the clock may have been set back
            client.set_terminated(trial.run_id, MLFLOW_STATUS[standing.status], ended)
        trial.sent.standing = standing

    def _send(self, items: Sequence[Any], send: Callable[[Any], None], at_once: int = PARAMS_PER_CALL) -> None:
        """Send the items. Where MLflow refuses a batch, they go one by one, so that a bad one costs only itself."""
        for begin in range(0, len(items), at_once):
            some = items[begin : begin + at_once]
            try:
                send(some)
                self._answered(f"{len(some)} from {some[0]!r}")
            except Exception as error:
                if not is_refusal(error):
                    raise
                if len(some) > 1:
                    self._send(some, send, at_once=1)
                else:
                    self._refused(repr(getattr(some[0], "key", some[0])), error)

    def _answered(self, item: str) -> None:
        """Count an item as progress. One that is sent again and again is none, so that what fails for good is seen."""
        self.trial.answered.add(item)

    def _refused(self, item: str, error: Exception) -> None:
        self.trial.sent.refused.add(item)
        self.shared.note(self.trial, item, f"is refused by MLflow: {one_line(error)}")


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


def _has_ended(run: Run) -> bool:
    """Whether a run is shown as ended by its tag and by MLflow's own column: a delivery may have died between them.

    Earlier versions had that column show those that were stopped early as finished too.
    """
    status = run.data.tags["status"]
    return status in ENDED and run.info.status in (MLFLOW_STATUS[Status.DONE], MLFLOW_STATUS[Status(status)])


def _is_ahead(store: Store, run: Run, state: bytes) -> bool:
    """Whether MLflow has a trial further than the state that was left here, or as far and at its end.

    Then another command has gone on with it, on another machine maybe.
    """
    ended = _has_ended(run)
    if not (state or ended):
        return False
    left = records(state) if state else 0
    stored = History.from_dict(store.curves(run).form or {"seeds": {}}).count
    if ended or stored <= left:
        return ended and stored >= left
    # a trial that failed has left records that its state lacks: from those alone nobody has gone on
    newest = store.state(run.info.run_id).content
    return bool(newest) and records(newest) > left
