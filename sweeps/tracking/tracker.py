"""Writing trials to MLflow while they run.

One process owns the `Tracker`, workers hand it epochs and files. Training never waits for MLflow: what comes in goes to
a spool on the local disk (sweeps/spool.py), and a background thread delivers it from there.

Importing this module does not import MLflow, which takes seconds.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from sweeps.tracking.entry import Entry
from sweeps.tracking.spool import Spooled, check_name, lock, milliseconds
from sweeps.tracking.store import SLOTS, STATUSES, TAG_LENGTH, Store, import_mlflow, is_refusal, one_line
from trainables.files import STATE

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

MLFLOW_STATUS = {"done": "FINISHED", "censored": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
LOCK = "tracker.lock"  # in the spool: the Tracker that owns it
METRICS_PER_CALL, PARAMS_PER_CALL = 1000, 100  # MLflow's own limits: metrics, and params or tags, in one call


def deliver(store: Store, spool: Path, timeout: float = 60.0) -> tuple[list[str], list[str]]:
    """Deliver what an earlier process left in its spool, before trials are looked up.

    Returns as Tracker.drain() and problems() do.
    """
    if not any(spool.glob("*/trial.json")):
        return [], []
    with contextlib.closing(Tracker(store.uri, "", spool)) as tracker:
        return tracker.drain(timeout), tracker.problems()


class Tracker:
    """Writes trials to MLflow. One process owns it; Ray wraps it as an actor on the driver's node.

    `start`, `epoch` and `finish` write to the spool and return. A metric is written again for a step only where its
    value has changed, as means do when seeds are added: an epoch repeated after a crash, bit by bit the same, adds
    nothing. What cannot be delivered stays in the spool, and the next Tracker on the same spool delivers it first.
    """

    PAUSE = 1.0  # seconds between deliveries: epochs of a second or less travel together
    LONGEST_PAUSE = 30.0  # while MLflow is away
    FILES_EVERY = 20.0  # seconds between uploads of a running trial's files
    PATIENCE = 30.0  # seconds for the spool's last owner to go: the actor of a killed driver lingers
    RETRY_REFUSED = 60.0  # seconds until a trial that MLflow refused is tried again

    def __init__(self, uri: str, experiment: str, spool: Path) -> None:
        self.store = Store(uri)
        import_mlflow()  # here, since two threads that import it at the same time get half of it
        self.experiment = experiment
        self.spool = Path(spool).absolute()
        self.spool.mkdir(parents=True, exist_ok=True)
        self._notes: dict[tuple[str, str], str] = {}  # (trial, item) → what is wrong with it
        self._away = False
        self._lock = threading.RLock()  # held for disk work only, never while MLflow is asked
        self._spool_lock = lock(self.spool / LOCK, self.PATIENCE)
        self._trials: dict[str, Spooled] = {}
        self._load_leftovers()
        self._wake, self._closed, self._draining = threading.Event(), threading.Event(), threading.Event()
        self._uploader = threading.Thread(target=self._upload, name="mlflow-uploader", daemon=True)
        self._uploader.start()

    def start(self, key: str, entry: Entry, worker: str = "") -> None:
        """Begin a trial, or continue it: in run `entry.run_id` if given, else in the run that the experiment has for its key.

        From now on it is `worker`'s: what one before, cut off and come back, still has to say of it is not taken.
        """
        if not re.fullmatch("[0-9a-f]{64}", key):
            raise ValueError(f"key {key!r}: must be 64 hexadecimal digits")
        now = milliseconds()
        about = {
            "key": key,
            "experiment": self.experiment,
            "name": entry.name,
            "params": {each: str(value) for each, value in entry.params.items()},
            "tags": dict(entry.tags),
            "run_id": entry.run_id,
            "time": now,
            "worker": worker,
        }
        outcome = {"status": "running", "reason": None, "time": now}
        with self._lock:
            trial = self._trials.setdefault(key, Spooled(self.spool / key, about, outcome))
            about["run_id"] = entry.run_id or trial.run_id or trial.about["run_id"]
            trial.about, trial.outcome, trial.left, trial.retry_due = about, outcome, False, 0.0
            trial.save()

    def epoch(self, key: str, step: int, metrics: dict[str, float], files: dict[str, bytes], worker: str = "") -> None:
        """Record one epoch: metrics (those that are not finite stay missing), and the files that have changed.

        It is dropped where the trial is another worker's by now, or was interrupted meanwhile: it is, or will be,
        trained again. Raises OSError where the disk does not take it; the call can be repeated.
        """
        for name in files:
            check_name(name)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        with self._lock:
            trial = self._trial(key)
            if trial.about.get("worker", "") != worker or (trial.outcome["status"] == "interrupted" and not trial.left):
                return
            with self._keeping(trial, f"epoch {step}"):
                if trial.left:
                    trial.go_on()
                if not trial.folder.exists():  # a late epoch of a trial that was delivered already
                    trial.save()
                if finite:
                    trial.append({"step": step, "time": milliseconds(), "metrics": finite})
                if files:
                    trial.put(files)

    def state(self, key: str) -> bytes:
        """Return what a started trial needs to go on: its newest state that is whole, from the spool, else from its
        MLflow run.

        Empty where it has none, and where it was started without a run to continue. Damage is noted, also in the run.
        Raises OSError where MLflow is away; the call can be repeated.
        """
        with self._lock:
            trial = self._trial(key)
            if state := trial.state():
                return state
            run_id = trial.run_id or trial.about["run_id"]
        if not run_id:
            return b""
        try:
            state, trial.slot, damaged = self.store.state(run_id)
        except Exception as error:
            if is_refusal(error):
                raise
            raise ConnectionError(f"MLflow does not answer: {one_line(error)}") from error
        if damaged:
            used = f"{trial.slot}, the one before, is used" if state else "no other is there, and the trial starts anew"
            self._damaged(trial, f"{'; '.join(damaged)}; {used}")
        return state

    def finish(self, key: str, status: str, reason: str | None = None, files: dict[str, bytes] | None = None) -> None:
        """End a trial as done, censored, failed or interrupted, adding last files. MLflow shows it as ended when it has
        everything else.

        A trial that was not started, its worker being lost before, has no run to end. Where the disk is full it is
        delivered all the same.
        """
        if status not in MLFLOW_STATUS:
            raise ValueError(f"status {status!r}: must be one of {', '.join(MLFLOW_STATUS)}")
        with self._lock:
            if key not in self._trials:
                return
            trial = self._trial(key)
            trial.outcome, trial.left = {"status": status, "reason": reason, "time": milliseconds()}, False
            with (
                contextlib.suppress(OSError),
                self._keeping(trial, "its end"),
            ):  # noted, and the end is delivered from memory
                trial.save()
                if files:
                    trial.put(files)

    def run_ids(self) -> dict[str, str]:
        """Return the runs known so far: key → run id."""
        with self._lock:
            found = {key: trial.run_id or trial.about["run_id"] for key, trial in self._trials.items()}
        return {key: run_id for key, run_id in found.items() if run_id}

    def problems(self) -> list[str]:
        """Return one line for each item that was refused, lost or found damaged, and each trial whose last delivery did not succeed."""
        waiting = [f"{trial.label}: {trial.error}" for trial in self._all() if trial.error]
        return [*self._notes.copy().values(), *waiting]

    def drain(self, timeout: float) -> list[str]:
        """Deliver everything now, until nothing has moved for `timeout` seconds.

        Returns one line per trial that could not be delivered; it stays in the spool.
        """
        until, waiting = time.monotonic() + timeout, len(self._all())
        with self._lock:
            for trial in self._trials.values():
                trial.retry_due = 0.0
        self._draining.set()
        while time.monotonic() < until and any(not each.delivered and each.retry_due == 0.0 for each in self._all()):
            self._wake.set()
            time.sleep(0.05)
            still = sum(not each.delivered for each in self._all())
            if still < waiting:
                until, waiting = time.monotonic() + timeout, still
        self._draining.clear()
        return [
            f"{trial.label}: {trial.error or 'not delivered in time'}" for trial in self._all() if not trial.delivered
        ]

    def close(self) -> None:
        """Stop delivering and let go of the spool. Drain first."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._wake.set()
        self._uploader.join()
        os.close(self._spool_lock)

    def _trial(self, key: str) -> Spooled:
        if key not in self._trials:
            raise ValueError(f"trial {key[:12]} was not started")
        return self._trials[key]

    def _all(self) -> list[Spooled]:
        with self._lock:
            return list(self._trials.values())

    @contextlib.contextmanager
    def _keeping(self, trial: Spooled, item: str) -> Iterator[None]:
        """Note that the disk does not take something, until it does."""
        try:
            yield
        except OSError as error:
            self._note(trial, item, f"is not kept: {one_line(error)}")
            raise
        self._notes.pop((trial.about["key"], item), None)

    def _damaged(self, trial: Spooled, what: str) -> None:
        self._note(trial, "checkpoint:", what)
        with self._lock:
            trial.about = trial.about | {"tags": trial.about["tags"] | {"checkpoint_damaged": what}}

    def _note(self, trial: Spooled, item: str, what: str) -> None:
        line = f"{trial.label}: {item} {what}"
        if self._notes.get((trial.about["key"], item)) != line:
            log.warning(line)
        self._notes[trial.about["key"], item] = line

    def _load_leftovers(self) -> None:
        for folder in sorted(self.spool.glob("*/")):
            if not (
                folder / "trial.json"
            ).exists():  # the process died before the trial had begun, or after it was delivered
                shutil.rmtree(folder)
                continue
            try:
                trial = Spooled.left_in(folder)
                self._trials[trial.about["key"]] = trial
            except (ValueError, TypeError, KeyError, OSError) as error:
                self._notes[folder.name, ""] = f"{folder} cannot be read and is left alone: {one_line(error)}"
                continue
            if garbled := trial.garbled():  # all of a snapshot are of one epoch: none of it is used
                trial.files = {}
                self._damaged(
                    trial, f"{', '.join(garbled)} in the spool is damaged; what MLflow has from before is used"
                )

    # From here on: the uploader's thread.

    def _upload(self) -> None:
        pause = self.PAUSE
        while not self._closed.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            pause = self.PAUSE if self._deliver_all() else min(2 * pause, self.LONGEST_PAUSE)

    def _deliver_all(self) -> bool:
        """Deliver what there is. False if MLflow is away."""
        for trial in self._all():
            if self._closed.is_set():
                break
            if trial.delivered or time.monotonic() < trial.retry_due:
                continue
            try:
                self._deliver(trial)
            except Exception as error:  # whatever it is, it must not end the thread
                if self._failed(trial, error):
                    continue
                return False
            if self._away:
                log.warning("MLflow answers again")
            trial.error, self._away = None, False
        return True

    def _failed(self, trial: Spooled, error: Exception) -> bool:
        """Note why the trial was not delivered. True if that is this trial's own trouble, False if MLflow is away."""
        known, trial.error = trial.error, one_line(error)
        if is_refusal(error):
            if known is None:
                log.warning("%s: MLflow refuses it: %s", trial.label, trial.error)
            trial.start_over()
            refused = [
                at for at, line in self._notes.items() if at[0] == trial.about["key"] and "is refused by MLflow" in line
            ]
            for at in refused:  # told again if that is still so in the run that it gets now
                del self._notes[at]
            trial.retry_due = time.monotonic() + self.RETRY_REFUSED
            return True
        if not self._away:
            log.warning(
                "cannot deliver to MLflow (%s); training goes on, and what it yields is kept in %s",
                trial.error,
                self.spool,
            )
        self._away = True
        with (
            self._lock
        ):  # to the end of the queue: if it is this trial alone that looks like an outage, the others get their turn
            key = trial.about["key"]
            self._trials[key] = self._trials.pop(key)
        return False

    def _deliver(self, trial: Spooled) -> None:
        outcome = trial.outcome  # read first: all that came before it is delivered before it
        if trial.about_sent is not trial.about:
            self._send_about(trial, trial.about)
        self._send_metrics(trial)
        if not trial.running or self._draining.is_set() or time.monotonic() >= trial.files_due:
            self._send_files(trial)
        if trial.outcome is outcome and trial.outcome_sent is not outcome:
            if outcome["status"] in ("done", "censored") and trial.slot:
                self._delete_older_states(trial)
            self._send_outcome(trial, outcome)
        with self._lock:
            if trial.delivered and not trial.running:
                trial.retire()

    def _send_about(self, trial: Spooled, about: dict[str, Any]) -> None:
        from mlflow.entities import Param, RunTag

        client = self.store.client
        tags = about["tags"] | {"key": about["key"], "status": "running"}
        run, before = self._find(about), trial.run_id or about["run_id"]
        if before and (run is None or run.info.run_id != before):
            self._note(trial, f"run {before}", "was deleted in MLflow; the trial goes on in another run")
        if run is None:
            experiment = self.store.experiment_id(about["experiment"])
            run = client.create_run(experiment, start_time=about["time"], tags=tags, run_name=about["name"])
        else:
            self._send(
                trial, [RunTag(*tag) for tag in tags.items()], lambda some: client.log_batch(run.info.run_id, tags=some)
            )
            if "failure_reason" in run.data.tags:
                client.delete_tag(run.info.run_id, "failure_reason")
        trial.run_id, trial.began = run.info.run_id, run.info.start_time
        trial.slot = trial.slot or run.data.tags.get("newest_state")
        history = (each for name in run.data.metrics for each in client.get_metric_history(run.info.run_id, name))
        newest = sorted(history, key=lambda each: each.timestamp)
        trial.values_sent = {(each.key, each.step): (each.value, each.timestamp) for each in newest}
        params = [Param(*param) for param in about["params"].items() if run.data.params.get(param[0]) != param[1]]
        self._send(trial, params, lambda some: client.log_batch(run.info.run_id, params=some))
        trial.about_sent = about

    def _find(self, about: dict[str, Any]) -> Run | None:
        """Return the trial's run, if there is one that is not deleted."""
        client = self.store.client
        if about["run_id"] is not None:
            try:
                run = client.get_run(about["run_id"])
            except Exception as error:
                if not is_refusal(error):
                    raise
            else:
                if run.info.lifecycle_stage == "active":
                    return run
        experiment = self.store.experiment_id(about["experiment"])
        runs = client.search_runs([experiment], f"tags.key = '{about['key']}'", order_by=["attributes.start_time DESC"])
        return next((run for run in runs if run.data.tags.get("status") in STATUSES), None)

    def _send_metrics(self, trial: Spooled) -> None:
        from mlflow.entities import Metric

        size = trial.size
        if size == trial.size_sent:
            return
        with (trial.folder / "metrics.jsonl").open("rb") as file:
            file.seek(trial.size_sent)
            lines = file.read(size - trial.size_sent).splitlines()
        newest: dict[tuple[str, int], tuple[float, int]] = {}
        for line in filter(None, (self._metrics(trial, line) for line in lines)):
            newest |= {(name, line["step"]): (value, line["time"]) for name, value in line["metrics"].items()}
        new: dict[tuple[str, int], Metric] = {}
        for (name, step), (value, at) in newest.items():
            sent, before = trial.values_sent.get((name, step), (None, 0))
            if sent != value:  # of a step's values the newest has the latest time, whatever the clock does
                new[name, step] = Metric(name, value, max(at, before + 1), step)
        self._send(
            trial,
            list(new.values()),
            lambda some: self.store.client.log_batch(trial.run_id, metrics=some),
            METRICS_PER_CALL,
        )
        trial.values_sent |= {at: (metric.value, metric.timestamp) for at, metric in new.items()}
        trial.size_sent = size

    def _metrics(self, trial: Spooled, line: bytes) -> dict[str, Any] | None:
        try:
            return json.loads(line)
        except ValueError:
            self._note(
                trial,
                "metrics:",
                "a line in the spool is damaged; that epoch is missing in MLflow's charts, not in curves.json",
            )
            return None

    def _send_files(self, trial: Spooled) -> None:
        stage, slot = trial.folder / "upload", SLOTS[trial.slot == SLOTS[0]]  # not the one that holds the newest
        with (
            self._lock
        ):  # links, as a full disk takes no copies; they are of one epoch, and the next one replaces the originals
            changed = dict(
                sorted(trial.files_to_send.items(), key=lambda each: each[0] == STATE)
            )  # the state is never ahead of the curves
            shutil.rmtree(stage, ignore_errors=True)
            for name, digest in changed.items():
                place = stage / (slot if name == STATE else name)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(trial.folder / "blobs" / digest, place)

        def upload(names: Sequence[str]) -> None:
            for name in names:
                place = slot if name == STATE else name
                parent = PurePosixPath(place).parent.as_posix()
                self.store.client.log_artifact(trial.run_id, str(stage / place), None if parent == "." else parent)
                if name == STATE:
                    self.store.client.set_tag(trial.run_id, "newest_state", slot)
                    trial.slot = slot

        self._send(trial, list(changed), upload)
        trial.files_sent = trial.files_sent | changed
        trial.files_due = time.monotonic() + self.FILES_EVERY

    def _delete_older_states(self, trial: Spooled) -> None:
        for artifact in self.store.client.list_artifacts(trial.run_id, "state"):
            if artifact.path != trial.slot:
                try:
                    self.store.delete_artifact(str(trial.run_id), artifact.path)
                except Exception as error:
                    if not is_refusal(error):
                        raise
                    self._note(trial, artifact.path, f"cannot be deleted: {one_line(error)}")

    def _send_outcome(self, trial: Spooled, outcome: dict[str, Any]) -> None:
        from mlflow.entities import RunTag

        client, status = self.store.client, outcome["status"]
        tags = [RunTag("status", status)]
        if outcome["reason"]:
            tags.append(RunTag("failure_reason", outcome["reason"][:TAG_LENGTH]))
        client.log_batch(trial.run_id, tags=tags)
        if status == "running":
            client.update_run(trial.run_id, status="RUNNING")
        else:
            ended = max(outcome["time"], trial.began)  # the clock may have been set back
            client.set_terminated(trial.run_id, MLFLOW_STATUS[status], ended)
        trial.outcome_sent = outcome

    def _send(
        self, trial: Spooled, items: Sequence[Any], send: Callable[[Any], None], at_once: int = PARAMS_PER_CALL
    ) -> None:
        """Send the items. Where MLflow refuses a batch, they go one by one, so that a bad one costs only itself."""
        for begin in range(0, len(items), at_once):
            some = items[begin : begin + at_once]
            try:
                send(some)
            except Exception as error:
                if not is_refusal(error):
                    raise
                if len(some) > 1:
                    self._send(trial, some, send, at_once=1)
                else:
                    self._note(
                        trial, repr(getattr(some[0], "key", some[0])), f"is refused by MLflow: {one_line(error)}"
                    )
