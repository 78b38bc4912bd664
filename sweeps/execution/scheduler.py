"""Ray Tune as the executor: an agenda's trials on shared workers, stopped early by ASHA, one rung system per stage."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Task
from sweeps.decisions.status import Status
from sweeps.execution.worker import Worker
from sweeps.reporting.display import Display
from trainables.datasets import Dataset
from trainables.history import History, Record

# Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. Half of a stage's trials go on at each
# rung: a stage has few trials, each of them a row of the published table, so that the paper's factor of 4 would leave
# most rows without an end.
REDUCTION_FACTOR = 2
RESTARTS = 2  # of a trial whose process or node was lost, or that hung


class Patience(NamedTuple):
    """After how many seconds without an epoch a trial counts as hung, so that its process is killed."""

    first: float = 3600.0  # until its first epoch: networks and data may be large
    least: float = 300.0
    factor: float = 20.0  # times its longest epoch so far


PATIENCE = Patience()

TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the store of record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else an interrupted run returns as if it were complete
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports its reason instead of a metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own state is never restored
    # so many waiting trials are told to an autoscaler at once; with a search algorithm it would be one
    "TUNE_MAX_PENDING_TRIALS_PG": "32",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


def grace_period(epochs: int) -> int:
    """Return the number of epochs that every trial gets under early stopping: a quarter."""
    return max(1, round(epochs / 4))


def run(
    agenda: Agenda,
    data: Dataset,
    weights: Mapping[str, bytes],
    tracker: Any,
    display: Display,
    resources: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """Run the agenda's trials until every stage is decided.

    A trial whose process was lost, or that hung, starts again from its last snapshot, RESTARTS times at most. One that
    finds no room on a GPU runs once more with a GPU to itself.

    `weights` are files of pretrained weights by name, `tracker` is the actor's handle, `tags` are those that all runs
    share.
    """
    os.environ.update({name: value for name, value in TUNE_SETTINGS.items() if name not in os.environ})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say of its own files concerns nobody
    link = _Link(agenda, tracker, display, dict(tags), resources.get("gpu", 0.0))
    shared = tune.with_parameters(Worker, data=data, weights=dict(weights), watch=agenda.study.watch, tracker=tracker)
    trainable = tune.with_resources(
        shared, lambda config: tune.PlacementGroupFactory([{"CPU": 1, "GPU": config["gpu"]}])
    )
    stopping = EarlyStopping(agenda)
    try:
        while not agenda.over:
            try:
                _fit(trainable, stopping, link)
            except RuntimeError as error:  # by Ray's memory monitor, where a cluster has it on, all of Tune's run ends
                if not isinstance(error.__cause__, ray.exceptions.RayError):
                    raise
                link.crashed(error.__cause__)
    finally:
        link.interrupted()


def _fit(trainable: Any, stopping: FIFOScheduler, link: _Link) -> None:
    with tempfile.TemporaryDirectory(prefix="cnn-sweeps-") as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Feed(link),
                scheduler=stopping,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=link.agenda.study.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[_Listener(link)],
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()


@dataclass
class _UnderWay:
    """A trial on a worker: its actor, when it gave its last sign of life, and its longest epoch."""

    actor: Any
    sign: float
    longest: float | None = None

    def epoch(self) -> None:
        """Note an epoch. The first one's time includes the start."""
        now = time.monotonic()
        self.longest, self.sign = max(self.longest or 0.0, now - self.sign), now

    @property
    def patience(self) -> float:
        """How long it may be silent, in seconds."""
        return PATIENCE.first if self.longest is None else max(PATIENCE.least, PATIENCE.factor * self.longest)


@dataclass
class _Link:
    """What the agenda, the Tracker and the display are told of a trial, and when. Nothing here waits."""

    agenda: Agenda
    tracker: Any
    display: Display
    tags: dict[str, str]
    gpu: float  # a trial's share of a GPU; 0: the CPU
    histories: dict[str, dict[int, list[Record]]] = field(default_factory=dict)
    under_way: dict[str, _UnderWay] = field(default_factory=dict)
    killed: dict[str, str] = field(default_factory=dict)  # trials whose process was ended, and why

    def next_config(self) -> dict[str, Any] | None:
        task = self.agenda.next()
        if task is None:
            return None
        return {
            "key": task.key,
            "stage": task.stage,
            "trial": task.cell.trial.to_dict(),
            "seeds": list(task.seeds),
            "device": "cuda" if self.gpu else "cpu",
            "gpu": 1.0 if task.alone else self.gpu,
            "epochs": task.cell.trial.training.epochs,
            "run": {
                "name": task.name,
                "params": _params(task),
                "tags": _tags(task) | self.tags,
                "run_id": task.known.run_id if task.known else None,
            },
        }

    def started(self, key: str, actor: Any) -> None:
        task = self.agenda.tasks[key]
        self.under_way[key] = _UnderWay(actor, time.monotonic())
        if key not in self.histories:
            known = task.known.history.records if task.known else {}
            self.histories[key] = {seed: list(records) for seed, records in known.items()}
        self.display.started(task)

    def epoch(self, key: str, result: Mapping[str, Any]) -> None:
        self.under_way[key].epoch()
        history = self.histories[key]
        for seed, (told, forms) in result["records"].items():
            history[seed] = [*history.get(seed, [])[:told], *(Record(**form) for form in forms)]
        self.display.epoch(self.agenda.tasks[key], result["epoch"], history)

    def kill_what_hangs(self) -> None:
        now = time.monotonic()
        for key, running in self.under_way.items():
            if now - running.sign > running.patience:
                known = "" if running.longest is None else f", its longest so far having taken {running.longest:.1f} s"
                self.killed[key] = f"it hung: {now - running.sign:.0f} s without an epoch{known}"
                running.sign = now
                ray.kill(running.actor)

    def lost(self, key: str) -> None:
        """Note that a trial lost its process, and that Tune starts it again."""
        self.under_way.pop(key, None)  # until it starts again
        reason = self.killed.pop(key, "its process was lost")
        often = self.agenda.restarted(key, reason)
        self.display.restarted(self.agenda.tasks[key], reason, often, RESTARTS)

    def crashed(self, error: ray.exceptions.RayError) -> None:
        """Take back what Tune's broken run had under way.

        It is a restart of those trials that the error names, or of all.
        """
        named = [key for key, running in self.under_way.items() if running.actor._actor_id.hex() in str(error)]
        for key in list(self.under_way):
            del self.under_way[key]
            if named and key not in named:
                self.agenda.put_back(key)
                continue
            self.killed[key] = f"its process was killed ({type(error).__name__})"
            if len(self.agenda.restarts.get(key, ())) == RESTARTS:
                self.given_up(key)
            else:
                self.lost(key)
                self.agenda.put_back(key)

    def given_up(self, key: str) -> None:
        """End a trial that had all its restarts."""
        self.ended(key, f"{self.killed.pop(key, 'its process was lost')}, again after {RESTARTS} restarts")

    def found_no_room(self, key: str) -> bool:
        """Have a trial that ran out of a GPU's memory run once more, with a GPU to itself. False where it had that."""
        task = self.agenda.tasks[key]
        if not self.gpu or task.alone:
            return False
        often = self.agenda.restarted(key, "it ran out of GPU memory beside others")
        self.display.restarted(task, self.agenda.restarts[key][-1], often, RESTARTS)
        del self.under_way[key]
        self.agenda.put_back(key, alone=True)
        return True

    def ended(self, key: str, reason: str | None = None, details: str | None = None) -> None:
        self.under_way.pop(key, None)
        history = History({seed: tuple(records) for seed, records in self.histories.get(key, {}).items()})
        outcome = self.agenda.finish(key, history, reason=reason)
        self.tracker.finish.remote(key, outcome.status, reason, {"error.txt": details.encode()} if details else None)
        self.display.ended(self.agenda.tasks[key], outcome)
        self.agenda.advance()

    def interrupted(self) -> None:
        """Note for the store what was under way; nothing is, after an ordinary end."""
        for key in self.histories.keys() - self.agenda.outcomes.keys():
            self.tracker.finish.remote(key, Status.INTERRUPTED)

    def __getstate__(self) -> dict[str, Any]:
        """Hold nothing for Tune's own snapshot of the experiment, which is never restored."""
        return {}


class _Feed(Searcher):
    """Gives Tune the agenda's next trial, as soon as its stage is open."""

    def __init__(self, link: _Link) -> None:
        super().__init__()
        self.link = link

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # noqa: ARG002
        return Searcher.FINISHED if self.link.agenda.over else self.link.next_config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The listener below has seen it."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the agenda is rebuilt from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Listener(tune.Callback):
    def __init__(self, link: _Link) -> None:
        self.link = link

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.link.started(trial.config["key"], trial.temporary_state.ray_actor)

    def on_step_begin(self, iteration: int, trials: list, **info: Any) -> None:  # noqa: ARG002
        self.link.kill_what_hangs()

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.link.lost(trial.config["key"])

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        if "records" in result:
            self.link.epoch(trial.config["key"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        last = trial.last_result or {}
        if last.get("out_of_memory") and self.link.found_no_room(trial.config["key"]):
            return
        self.link.ended(trial.config["key"], last.get("failed"), last.get("traceback"))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.link.given_up(trial.config["key"])


class EarlyStopping(FIFOScheduler):
    """Who runs on: in a search its rule says, else ASHA within each stage, unless it is off.

    There a trial is only held against trials that differ from it in the stage's factor.
    """

    def __init__(self, agenda: Agenda) -> None:
        super().__init__()
        self.agenda = agenda
        self.stages: dict[str, AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial to its stage's rungs."""
        if rungs := self._rungs(trial):
            rungs.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on."""
        if rungs := self._rungs(trial):
            return rungs.on_trial_result(tune_controller, trial, result)
        scores = enumerate([*result["earlier"], result["val_score"]], start=result["epoch"] - len(result["earlier"]))
        return self.CONTINUE if all(self.agenda.goes_on(trial.config["key"], *each) for each in scores) else self.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record the trial's last result in its rung."""
        if rungs := self._rungs(trial):
            rungs.on_trial_complete(tune_controller, trial, result)

    def __getstate__(self) -> dict[str, Any]:
        """Hold nothing for Tune's own snapshot of the experiment, which is never restored."""
        return {}

    def _rungs(self, trial: Any) -> AsyncHyperBandScheduler | None:
        if not self.agenda.may_be_stopped(trial.config["key"]):
            return None
        stage, epochs = trial.config["stage"], trial.config["epochs"]
        if stage not in self.stages:
            self.stages[stage] = AsyncHyperBandScheduler(
                time_attr="epoch",
                metric="val_score",
                mode="max",
                max_t=epochs,
                grace_period=grace_period(epochs),
                reduction_factor=REDUCTION_FACTOR,
            )
        return self.stages[stage]


def _params(task: Task) -> dict[str, Any]:
    """Return the config, flattened, only what matters, as MLflow's params.

    As they never change, the number of epochs is none.
    """
    trial = task.cell.trial
    flat: dict[str, Any] = {"dataset": trial.dataset, "weights": trial.weights}
    flat |= trial.model.canonical() | trial.training.canonical()
    told = {name: "-".join(map(str, value)) if isinstance(value, tuple) else value for name, value in flat.items()}
    return {name: value for name, value in told.items() if value not in ("", None)}


def _tags(task: Task) -> dict[str, str]:
    return {"stage": task.stage, "value": task.cell.label, "dataset": task.cell.trial.dataset} | dict(task.tags)
