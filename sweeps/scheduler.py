"""Ray Tune as the executor: an agenda's trials on shared workers, stopped early by ASHA, one rung system per stage."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from sweeps.agenda import Agenda, Task
from sweeps.display import Display
from sweeps.trial import Worker
from trainables.datasets import Dataset
from trainables.history import History, Record

# Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. Half of a stage's trials go on at each rung: a stage has
# few trials, each of them a row of the published table, so that the paper's factor of 4 would leave most rows without an end.
REDUCTION_FACTOR = 2
RESTARTS = 2  # of a trial whose process or node was lost

TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the store of record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else an interrupted run returns as if it were complete
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports its reason instead of a metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own state is never restored
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

    `weights` are files of pretrained weights by name, `tracker` is the actor's handle, `tags` are those that all runs share.
    """
    os.environ.update({name: value for name, value in TUNE_SETTINGS.items() if name not in os.environ})
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say of its own files concerns nobody
    link = _Link(agenda, tracker, display, dict(tags), "cuda" if resources.get("gpu") else "cpu")
    shared = tune.with_parameters(Worker, data=data, weights=dict(weights), watch=agenda.study.watch, tracker=tracker)
    with tempfile.TemporaryDirectory(prefix="cnn-sweeps-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(shared, dict(resources)),
            tune_config=tune.TuneConfig(
                search_alg=_Feed(link),
                scheduler=StageWise() if agenda.early_stopping else FIFOScheduler(),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=agenda.study.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[_Listener(link)],
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        finally:
            link.interrupted()


@dataclass
class _Link:
    """What the agenda, the Tracker and the display are told of a trial, and when. Nothing here waits."""

    agenda: Agenda
    tracker: Any
    display: Display
    tags: dict[str, str]
    device: str

    def __post_init__(self) -> None:
        self.histories: dict[str, dict[int, list[Record]]] = {}

    def next_config(self) -> dict[str, Any] | None:
        task = self.agenda.next()
        if task is None:
            return None
        return {
            "key": task.key,
            "stage": task.stage,
            "trial": task.cell.trial.to_dict(),
            "seeds": list(self.agenda.seeds),
            "device": self.device,
            "epochs": task.cell.trial.training.epochs,
            "run": {
                "name": task.name,
                "params": _params(task),
                "tags": _tags(task) | self.tags,
                "run_id": task.known.run_id if task.known else None,
            },
        }

    def started(self, key: str) -> None:
        task = self.agenda.tasks[key]
        if key not in self.histories:
            known = task.known.history.records if task.known else {}
            self.histories[key] = {seed: list(records) for seed, records in known.items()}
        self.display.started(task)

    def epoch(self, key: str, result: Mapping[str, Any]) -> None:
        history = self.histories[key]
        for seed, form in result["records"].items():
            history[seed] = [*history.get(seed, [])[: result["epoch"] - 1], Record(**form)]
        self.display.epoch(self.agenda.tasks[key], result["epoch"], history)

    def ended(self, key: str, reason: str | None = None, details: str | None = None) -> None:
        history = History({seed: tuple(records) for seed, records in self.histories.get(key, {}).items()})
        outcome = self.agenda.finish(key, history, reason=reason)
        self.tracker.finish.remote(key, outcome.status, reason, {"error.txt": details.encode()} if details else None)
        self.display.ended(self.agenda.tasks[key], outcome)
        self.agenda.advance()

    def interrupted(self) -> None:
        """Note for the store what was under way; nothing is, after an ordinary end."""
        for key in self.histories.keys() - self.agenda.outcomes.keys():
            self.tracker.finish.remote(key, "interrupted")

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
        self.link.started(trial.config["key"])

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        if "records" in result:
            self.link.epoch(trial.config["key"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        last = trial.last_result or {}
        self.link.ended(trial.config["key"], last.get("failed"), last.get("traceback"))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:  # noqa: ARG002
        self.link.ended(trial.config["key"], f"its process was lost {RESTARTS + 1} times")


class StageWise(FIFOScheduler):
    """ASHA within each stage: a trial is only held against trials that differ from it in the stage's factor."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Give the trial to its stage's rungs."""
        epochs = trial.config["epochs"]
        stage = self.stages.setdefault(
            trial.config["stage"],
            AsyncHyperBandScheduler(
                time_attr="epoch",
                metric="val_score",
                mode="max",
                max_t=epochs,
                grace_period=grace_period(epochs),
                reduction_factor=REDUCTION_FACTOR,
            ),
        )
        stage.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on."""
        return self.stages[trial.config["stage"]].on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record the trial's last result in its rung."""
        self.stages[trial.config["stage"]].on_trial_complete(tune_controller, trial, result)


def _params(task: Task) -> dict[str, Any]:
    """Return the config, flattened, only what matters, as MLflow's params. As they never change, the number of epochs is none."""
    trial = task.cell.trial
    flat: dict[str, Any] = {"dataset": trial.dataset, "weights": trial.weights}
    flat |= trial.model.canonical() | trial.training.canonical()
    told = {name: "-".join(map(str, value)) if isinstance(value, tuple) else value for name, value in flat.items()}
    return {name: value for name, value in told.items() if value not in ("", None)}


def _tags(task: Task) -> dict[str, str]:
    return {"stage": task.stage, "value": task.cell.label, "dataset": task.cell.trial.dataset}
