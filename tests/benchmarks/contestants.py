"""Ways to search, as contestants of tests/benchmarks/search.py: the product, and its peers."""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from ray.tune.schedulers import AsyncHyperBandScheduler
from ray.tune.search.optuna import OptunaSearch

from sweeps.decisions.agenda import Agenda, searches
from sweeps.decisions.others import Other
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Known, Task, Terms
from sweeps.decisions.rules import RULES
from sweeps.decisions.search_run import SearchRun, share
from sweeps.study import Choice, Search, Space, Study, Whole
from tests.benchmarks.simulation import Job, Seen, simulate

TRIALS, CONFIRMED = 64, 3
ANOTHER = 1000  # added to the seed of a search of before
BEFORE = "before"  # the study of that search


def quiet() -> None:
    """Have Optuna and Ray Tune say nothing of each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)


class Ours:
    """The product: its agenda with a search, asked and told as the scheduler does it.

    `taught`: a search of so many trials, with another seed, has left them in the store; what it spent is not counted.
    """

    def __init__(self, seen: Seen, seed: int, taught: int = 0, **options: Any) -> None:
        self.seen = seen
        stage = Search(
            "search", seen.space, seeds=len(seen.confirming), **{"trials": TRIALS, "confirm": CONFIRMED} | options
        )
        terms = Terms((0,), {seen.start.dataset: ""}, Yardstick("accuracy", seen.images), seen.image_shape, 10)
        self.agenda = Agenda(Study("search", seen.start, (stage,)), terms, lambda _: None)
        [(_, run)] = searches(self.agenda)
        assert isinstance(run, SearchRun)
        run.drawing.sampler = replace(run.drawing.sampler, seed=seed)
        self.run = run
        if taught:
            share(run, _stored(seen, ANOTHER + seed, taught), BEFORE)  # of its own study, so that none is taken over
        self._begun: dict[str, Task] = {}  # the task of each trial that has told of the epochs before

    def next(self) -> Job | None:
        task = self.agenda.next()
        return task and Job(task.key, self.seen.at(self._values(task.key)), task.seeds)

    def goes_on(self, job: Job, epoch: int, score: float, reached: dict[int, int]) -> bool:
        """Do what execution/early_stopping.py and the dispatcher do with an epoch."""
        news = [(epoch, score)]
        if self._begun.get(job.name) is not (task := self.agenda.tasks[job.name]):
            self._begun[job.name] = task
            news = [(before, self.seen.mean(job.network, job.seeds, before)) for before in range(1, epoch)] + news
        if epoch < self.seen.epochs and all(self.agenda.goes_on(job.name, *each) for each in news):
            return True
        self.agenda.finish(job.name, self.seen.history(job.network, reached))
        self.agenda.advance()
        return False

    def diverged(self, job: Job, reached: dict[int, int]) -> None:
        self.agenda.finish(job.name, self.seen.history(job.network, reached), reason="Diverged: simulated")
        self.agenda.advance()

    def incumbent(self) -> int | None:
        if self.agenda.over:
            winner = self.agenda.results[0].winner
            return self.seen.at(self._values(winner.outcome.key)) if winner else None
        shown = (draw for draw in self.run.ranking() if draw.scores and not draw.reason)
        return next((self.seen.at(draw.values) for draw in shown), None)

    def _values(self, key: str) -> Mapping[str, Any]:
        return self.run.draws[key].values


def _stored(seen: Seen, seed: int, trials: int) -> list[Other]:
    """Return what a search has left."""
    before = Ours(seen, seed, trials=trials)
    simulate(before)
    draws = before.run.draws.values()
    return [Other(draw.key, draw.values, Known(draw.state, draw.history, "", draw.reason, BEFORE)) for draw in draws]


class Peer(ABC):
    """A search of trials with one seed, by what draws and stops them; at the end the best are confirmed as ours are."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.networks: list[int] = []  # by the trial's number
        self.scores: list[list[float]] = []  # of each trial, after each epoch
        self.failed: set[int] = set()
        self.running = 0
        self.candidates: list[int] | None = None  # None while trials are screened
        self.confirmed: list[int] = []

    def next(self) -> Job | None:
        if len(self.networks) < TRIALS:
            self.networks.append(self.seen.at(self.draw(len(self.networks))))
            self.scores.append([])
            self.running += 1
            return Job(len(self.networks) - 1, self.networks[-1])
        if self.candidates is None and not self.running:
            self.candidates = self._ranked()[:CONFIRMED]
        if not self.candidates:
            return None
        number = self.candidates.pop(0)
        self.running += 1
        return Job(number, self.networks[number], self.seen.confirming)

    def goes_on(self, job: Job, epoch: int, score: float, reached: dict[int, int]) -> bool:  # noqa: ARG002
        if job.seeds == self.seen.confirming:
            goes_on = epoch < self.seen.epochs
            self.confirmed += [] if goes_on else [job.name]
        else:
            self.scores[job.name].append(score)
            goes_on = self.tell(job.name)
        self.running -= not goes_on
        return goes_on

    def diverged(self, job: Job, reached: dict[int, int]) -> None:  # noqa: ARG002
        self.running -= 1
        self.failed.add(job.name)
        if job.seeds != self.seen.confirming:
            self.fail(job.name)

    def incumbent(self) -> int | None:
        over = self.candidates == [] and not self.running
        if self.confirmed or over:
            return max((self.networks[number] for number in self.confirmed), key=self.seen.confirmed, default=None)
        return next((self.networks[number] for number in self._ranked()), None)

    def _ranked(self) -> list[int]:
        shown = [number for number, scores in enumerate(self.scores) if scores and number not in self.failed]
        return sorted(shown, key=self.merit, reverse=True)

    @abstractmethod
    def draw(self, number: int) -> Mapping[str, Any]:
        """Return the point of a new trial."""

    @abstractmethod
    def tell(self, number: int) -> bool:
        """Take a trial's newest score; return whether it goes on."""

    def fail(self, number: int) -> None:  # noqa: B027
        """Take it that a trial diverged; by itself that changes nothing."""

    def merit(self, number: int) -> Any:
        """Return what the trials are ranked by."""
        return self.scores[number][-1]


class Random(Peer):
    """Random points, so many epochs each."""

    def __init__(self, seen: Seen, seed: int, epochs: int | None = None) -> None:
        super().__init__(seen)
        self.rng, self.limit = np.random.default_rng(seed), epochs or seen.epochs

    def draw(self, number: int) -> Mapping[str, Any]:  # noqa: ARG002
        return self.seen.space.random(self.rng)

    def tell(self, number: int) -> bool:
        return len(self.scores[number]) < self.limit


class RayTune(Peer):
    """Ray Tune's own objects, told in the order in which Tune's controller tells them, with Tune's defaults.

    Its best trial is the one with the best last result, as ResultGrid.get_best_result() has it.
    """

    def __init__(self, seen: Seen, seed: int) -> None:
        super().__init__(seen)
        self.search = OptunaSearch(self._point, metric="score", mode="max", seed=seed)
        self.scheduler = AsyncHyperBandScheduler(metric="score", mode="max", max_t=seen.epochs)
        self.drawn: Mapping[str, Any] = {}

    def _point(self, trial: Any) -> None:
        self.drawn = point(self.seen.space, trial)

    def draw(self, number: int) -> Mapping[str, Any]:
        self.search.suggest(str(number))
        self.scheduler.on_trial_add(None, SimpleNamespace(trial_id=str(number)))
        return self.drawn

    def tell(self, number: int) -> bool:
        trial, scores = SimpleNamespace(trial_id=str(number)), self.scores[number]
        result = {"score": scores[-1], "training_iteration": len(scores)}
        if self.scheduler.on_trial_result(None, trial, result) == AsyncHyperBandScheduler.STOP:
            self.scheduler.on_trial_complete(None, trial, result)
            self.search.on_trial_complete(trial.trial_id, result)
            return False
        self.search.on_trial_result(trial.trial_id, result)
        return True

    def fail(self, number: int) -> None:
        self.search.on_trial_complete(str(number), error=True)


class Optuna(Peer):
    """Optuna's TPE with its defaults, and a pruner; trials run for so many epochs. The best are those that ran to the
    end, then the pruned ones that came furthest.
    """

    def __init__(self, seen: Seen, seed: int, *, hyperband: bool = False, epochs: int | None = None) -> None:
        super().__init__(seen)
        self.limit = epochs or seen.epochs
        pruners = optuna.pruners
        # the pruner gives trials to brackets by a hash of the name, which is a random one by default
        self.study = optuna.create_study(
            study_name=str(seed),
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=pruners.HyperbandPruner(max_resource=self.limit) if hyperband else pruners.NopPruner(),
        )
        self.trials: list[optuna.Trial] = []

    def draw(self, number: int) -> Mapping[str, Any]:  # noqa: ARG002
        self.trials.append(self.study.ask())
        return point(self.seen.space, self.trials[-1])

    def tell(self, number: int) -> bool:
        trial, scores = self.trials[number], self.scores[number]
        trial.report(scores[-1], len(scores))
        if len(scores) == self.limit:
            self.study.tell(trial, scores[-1])
        elif trial.should_prune():
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            return True
        return False

    def fail(self, number: int) -> None:
        self.study.tell(self.trials[number], state=optuna.trial.TrialState.FAIL)

    def merit(self, number: int) -> tuple[int, float]:
        return len(self.scores[number]), self.scores[number][-1]


def point(space: Space, trial: Any) -> dict[str, Any]:
    """Return a point of a space as an Optuna trial suggests it."""

    def pick(name: str, dimension: Any) -> Any:
        if isinstance(dimension, Choice):  # tuples are no categories of Optuna's
            return dimension.values[trial.suggest_categorical(name, range(dimension.size))]
        suggest = trial.suggest_int if isinstance(dimension, Whole) else trial.suggest_float
        return suggest(name, dimension.low, dimension.high, log=dimension.log)

    return space.draw(pick)


Build = Callable[[Seen, int], Any]  # of what a contestant sees and a random seed


def ours(**options: Any) -> Build:
    """Return what builds a search of the product with these options of Search."""
    return lambda seen, seed: Ours(seen, seed, **options)


PEER = "Ray Tune: ASHA, OptunaSearch"
SIMPLE = "one epoch, the best 3 in full, random"
CONTESTANTS: dict[str, Build] = {
    **{f"ours: {rule}, tpe": ours(rule=rule) for rule in RULES if rule != "none"},
    "ours: asha, random": ours(sampler="random"),
    "ours: asha, tpe, no race": ours(race=False),
    PEER: RayTune,
    "Optuna: TPE, HyperbandPruner": partial(Optuna, hyperband=True),
    "Optuna: TPE, all in full": Optuna,
    "random, all in full": Random,
    SIMPLE: partial(Random, epochs=1),
    "one epoch, the best 3 in full, tpe": partial(Optuna, epochs=1),
}
