"""Ray Tune as the executor: an agenda's trials on workers that they share."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.tune.execution import class_cache
from ray.tune.search import Searcher

from sweeps import interruption
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.shares import Claim
from sweeps.execution import local_ray
from sweeps.execution.bound import Bound
from sweeps.execution.dispatcher import RESTARTS, Dispatcher
from sweeps.execution.early_stopping import EarlyStopping
from sweeps.execution.messages import Failure, Help, Order, Place, Progress, message
from sweeps.execution.shared_data import SharedData
from sweeps.execution.steering import Steering
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.execution.traffic import Lane
from sweeps.execution.worker import Worker
from sweeps.reporting.display import Display
from sweeps.tracking.helm import Helm
from trainables.footprint import Images

TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow is the store of record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else an interrupted run returns as if it were complete
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports its reason instead of a metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own state is never restored
    # so many places that are waited for are announced to an autoscaler at once; with a searcher it would be one
    "TUNE_MAX_PENDING_TRIALS_PG": "32",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class Means:
    """On what trials are trained, with what, and for how long."""

    data: SharedData
    images: Images  # of the data
    weights: Mapping[str, bytes]  # files of pretrained weights by name
    resources: Mapping[str, float]  # that one trial takes
    tags: Mapping[str, str]  # that all MLflow runs share
    parents: Mapping[str, Mapping[str, str]]  # by a stage's name, the tags that make runs children of its own
    bound: Bound
    claim: Claim  # with the user's priority and share of a cluster

    @property
    def gpu(self) -> float:
        """A trial's share of a GPU; 0: the CPU."""
        return self.resources.get("gpu", 0.0)

    def lane(self) -> Lane | None:
        """Return the command's lane on a cluster; None on a Ray of its own."""
        return (
            None if local_ray.here() else Lane(replace(self.claim, kind="GPU" if self.gpu else "CPU"), self.gpu or 1.0)
        )


def execute(agenda: Agenda, means: Means, tracker: TrackerActor, display: Display, helm: Helm) -> bool:
    """Run the agenda's trials until every stage is decided, or what is under way at the bound has ended its epoch.

    What comes to the `helm` meanwhile is carried out. Returns whether that asks for another plan, to begin again with.

    A trial whose process was lost, or that hung, starts again from its last snapshot, RESTARTS times at most. One that
    finds no room on a GPU runs once more, with a GPU to itself.
    """
    os.environ.update({name: value for name, value in TUNE_SETTINGS.items() if name not in os.environ})
    send_no_variables()
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what it has to say of its own files concerns nobody
    lane, cores = means.lane(), _most_cores()
    dispatcher = Dispatcher(
        agenda, tracker, display, means.tags, means.gpu, means.images, cores, means.parents, means.bound, lane
    )
    trainable = tune.with_resources(
        tune.with_parameters(
            Worker, data=means.data.reference(), weights=dict(means.weights), watch=agenda.study.watch, tracker=tracker
        ),
        lambda config: tune.PlacementGroupFactory([{"CPU": Place.of(config).cores, "GPU": Place.of(config).gpu}]),
    )
    stopping, steering = EarlyStopping(agenda, dispatcher.is_crowded), Steering(dispatcher, helm)
    try:
        with interruption.held(), lane or nullcontext():
            display.others = lambda: lane.others if lane else []
            _fit_all(trainable, stopping, steering)
    finally:
        dispatcher.interrupted()
    return steering.again


def send_no_variables() -> None:
    """Have Tune send its workers no variable but its own settings: it writes them into logs and command lines.

    Where Ray runs here, and for this command alone, they have those by themselves: so Tune takes up the workers that
    have started already.
    """
    class_cache.DEFAULT_ENV_VARS.clear()
    class_cache.ENV_VARS_TO_PROPAGATE.clear()
    if not local_ray.here():
        class_cache.ENV_VARS_TO_PROPAGATE.update(TUNE_SETTINGS)


def _most_cores() -> int:
    """Return how many cores the machine has that has most: no place may ask for more."""
    return max(1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]))


def _fit_all(trainable: Any, stopping: EarlyStopping, steering: Steering) -> None:
    agenda = steering.agenda
    while not agenda.at_rest:
        try:
            _fit(trainable, stopping, steering)
        except RuntimeError as error:  # by Ray's memory monitor, where a cluster has it on, all of Tune's run ends
            if not isinstance(error.__cause__, ray.exceptions.RayError):
                raise
            steering.dispatcher.crashed(error.__cause__)
        steering.wait()


def _fit(trainable: Any, stopping: EarlyStopping, steering: Steering) -> None:
    dispatcher = steering.dispatcher
    places = Places(dispatcher)
    with tempfile.TemporaryDirectory(prefix="cnn-sweeps-", dir=os.environ.get("RAY_TMPDIR")) as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=places,
                scheduler=stopping,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=dispatcher.agenda.study.name,
                storage_path=scratch,
                verbose=0,
                callbacks=[Listener(steering, places, stopping)],
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        tuner.fit()


class Places(Searcher):
    """Asks Tune for places on workers, as many as there are trials ready; which trial gets one is open until it starts.

    So Tune may wait for many at once, and an autoscaler sees how many are wanted, while a search draws each trial as
    late as can be.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher
        self.asked: dict[str, Place] = {}  # those that no worker has taken yet, by Tune's id

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the config of one more place, None where there are enough."""
        if self.dispatcher.agenda.at_rest:
            return Searcher.FINISHED
        place = self.dispatcher.place(self.asked.values())
        if place is None:
            return None
        self.asked[trial_id] = place
        return place.to_config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the listener below has seen it."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the agenda is rebuilt from the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, likewise."""


class Listener(tune.Callback):
    """Hands what Tune reports on to the dispatcher, and gives each worker that starts the trial that is next then."""

    def __init__(self, steering: Steering, places: Places, stopping: EarlyStopping) -> None:
        self.steering, self.places, self.stopping = steering, places, stopping
        self.dispatcher = steering.dispatcher

    def on_trial_start(self, trial: Any, **_: Any) -> None:
        """Give a worker its trial; one that starts again has the same."""
        job, worker = self._job(trial), trial.temporary_state.ray_actor
        worker.take.remote(job)  # comes before its first step, as an actor's calls keep their order
        if isinstance(job, Help):
            self.dispatcher.helps(job, worker)
        elif job:
            self.dispatcher.started(job.key, worker)

    def on_step_begin(self, **_: Any) -> None:
        """Stop where that was asked for, as nothing breaks off halfway between two steps; look for what hangs."""
        interruption.check()
        self.steering.heed()
        self.dispatcher.close_at_bound()
        if self.dispatcher.lane:
            self.dispatcher.lane.keep(self.dispatcher.agenda, self.dispatcher.watchdog.under_way())
        self.dispatcher.watchdog.kill_what_hangs()

    def on_trial_recover(self, trial: Any, **_: Any) -> None:
        """Tell that a trial lost its process."""
        job, words = self._job(trial), _last_words(trial)
        if isinstance(job, Help):
            self.dispatcher.helped(job)
        elif job:
            self.dispatcher.lost(job.key, words)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Tell of an epoch."""
        order, news = Order.of(trial.config), message(result)
        if order and isinstance(news, Progress):
            self.dispatcher.progressed(order.key, news)

    def on_trial_complete(self, trial: Any, **_: Any) -> None:
        """Tell of a trial's end."""
        if order := Order.of(trial.config):
            last = message(trial.last_result or {})
            self.dispatcher.ended(order.key, last if isinstance(last, Failure) else None)
        if job := Help.of(trial.config):
            self.dispatcher.helped(job)

    def on_trial_error(self, trial: Any, **_: Any) -> None:
        """Tell that a trial has lost its process once too often."""
        job, words = self._job(trial), _last_words(trial)
        if isinstance(job, Help):
            self.dispatcher.helped(job)
        elif job:
            self.dispatcher.given_up(job.key, words)

    def _job(self, trial: Any) -> Order | Help | None:
        """Return the order that a trial of Tune's has, or gets now: a worker that cannot even start is a trial's loss.
        Or whom it helps.

        None where there is nothing to run on it.
        """
        place = self.places.asked.pop(trial.trial_id, None)
        if place and (job := self.dispatcher.next(place)):
            job.put_into(trial.config)
            self.stopping.begin(trial)
        return Order.of(trial.config) or Help.of(trial.config)


def _last_words(trial: Any) -> Failure | None:
    """Return what a trial's worker raised; None where it was lost without a word.

    Tune keeps what a worker raised in a file, and leaves it there for the next loss. It is removed as it is read.
    """
    if trial.pickled_error_file is None:
        return None
    file = Path(trial.pickled_error_file)
    error = cloudpickle.loads(file.read_bytes()) if file.exists() else None
    file.unlink(missing_ok=True)
    return Failure.of(error) if isinstance(error, ray.exceptions.RayTaskError) else None
