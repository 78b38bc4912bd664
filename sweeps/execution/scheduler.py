"""Ray Tune as the executor: an agenda's trials on workers that they share."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeps.decisions.agenda import Agenda
from sweeps.execution.dispatcher import RESTARTS, Dispatcher
from sweeps.execution.early_stopping import EarlyStopping
from sweeps.execution.messages import Failure, Order, Progress, message
from sweeps.execution.shared_data import SharedData
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.execution.worker import Worker
from sweeps.reporting.display import Display

TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the store of record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else an interrupted run returns as if it were complete
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports its reason instead of a metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own state is never restored
    # so many waiting trials are announced to an autoscaler at once; with a search algorithm it would be one
    "TUNE_MAX_PENDING_TRIALS_PG": "32",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


def execute(
    agenda: Agenda,
    data: SharedData,
    weights: Mapping[str, bytes],
    tracker: TrackerActor,
    display: Display,
    resources: Mapping[str, float],
    tags: Mapping[str, str],
) -> None:
    """Run the agenda's trials until every stage is decided.

    A trial whose process was lost, or that hung, starts again from its last snapshot, RESTARTS times at most. One that
    finds no room on a GPU runs once more, with a GPU to itself.

    `weights` are files of pretrained weights by name, `resources` is what one trial takes, `tags` are those that all
    MLflow runs share.
    """
    os.environ.update({name: value for name, value in TUNE_SETTINGS.items() if name not in os.environ})
    # Tune writes what it sends to workers into logs and command lines: let it send none of the user's variables
    class_cache.ENV_VARS_TO_PROPAGATE.intersection_update(TUNE_SETTINGS)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say of its own files concerns nobody
    dispatcher = Dispatcher(agenda, tracker, display, tags, resources.get("gpu", 0.0))
    trainable = tune.with_resources(
        tune.with_parameters(
            Worker, data=data.reference(), weights=dict(weights), watch=agenda.study.watch, tracker=tracker
        ),
        lambda config: tune.PlacementGroupFactory([{"CPU": 1, "GPU": Order.of(config).gpu}]),
    )
    stopping = EarlyStopping(agenda)
    try:
        while not agenda.over:
            try:
                _fit(trainable, stopping, dispatcher)
            except RuntimeError as error:  # by Ray's memory monitor, where a cluster has it on, all of Tune's run ends
                if not isinstance(error.__cause__, ray.exceptions.RayError):
                    raise
                dispatcher.crashed(error.__cause__)
    finally:
        dispatcher.interrupted()


def _fit(trainable: Any, stopping: FIFOScheduler, dispatcher: Dispatcher) -> None:
    with tempfile.TemporaryDirectory(prefix="cnn-sweeps-", dir=os.environ.get("RAY_TMPDIR")) as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_Feed(dispatcher),
                scheduler=stopping,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=dispatcher.agenda.study.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[_Listener(dispatcher)],
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()


class _Feed(Searcher):
    """Gives Tune the agenda's next trial, as soon as its stage is open."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # noqa: ARG002
        if self.dispatcher.agenda.over:
            return Searcher.FINISHED
        order = self.dispatcher.next()
        return order.to_config() if order else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the listener below has seen it."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the agenda is rebuilt from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, likewise."""


class _Listener(tune.Callback):
    """Hands what Tune reports on to the dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    def on_trial_start(self, trial: Any, **_: Any) -> None:
        self.dispatcher.started(Order.of(trial.config).key, trial.temporary_state.ray_actor)

    def on_step_begin(self, **_: Any) -> None:
        self.dispatcher.watchdog.kill_what_hangs()

    def on_trial_recover(self, trial: Any, **_: Any) -> None:
        self.dispatcher.lost(Order.of(trial.config).key)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **_: Any) -> None:
        news = message(result)
        if isinstance(news, Progress):
            self.dispatcher.progressed(Order.of(trial.config).key, news)

    def on_trial_complete(self, trial: Any, **_: Any) -> None:
        last = message(trial.last_result) if trial.last_result else None
        self.dispatcher.ended(Order.of(trial.config).key, last if isinstance(last, Failure) else None)

    def on_trial_error(self, trial: Any, **_: Any) -> None:
        self.dispatcher.given_up(Order.of(trial.config).key)
