"""What a search tries next, and what it has learned: the one home of Optuna, and of cmaes.

A suggestion is a function of the space, the seed and what is told; nothing is kept between calls. So a search that goes
on tomorrow goes on as it would have today. Optuna is imported only where it is asked: a plan needs none.
"""

from __future__ import annotations

import functools
import hashlib
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sweeps.decisions.dimensions import Choice, Dimension, Real, Whole
from sweeps.decisions.space import Space
from sweeps.decisions.status import Status
from trainables.errors import UserError, suggest

if TYPE_CHECKING:
    from types import ModuleType

    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    "score": "maximize",
    "parameters": "minimize",
    "seconds": "minimize",
}
SAMPLERS = ("tpe", "random", "gp", "cma-es", "nsga2", "grid")
FROM_FULL_RUNS = ("gp", "nsga2")  # those that learn from nothing else
TRIES = 10  # to find a point that was not drawn yet
POPULATION = 16  # of a generation of NSGA-II; Optuna's 50 is most of a search
LEAST_TRIALS = 8  # that importance is told from
RESAMPLES = 60  # for the scatter of an importance, which they tell to a tenth
TOP = 0.25  # of the trials are the good ones, whose fields importance looks at; Optuna's 0.1 is too few of a search's


@dataclass(frozen=True)
class Told:
    """What is known of a trial that was drawn."""

    number: int  # from 0, in the order drawn
    values: Mapping[str, Any]  # by field, as Space.draw() returns them
    state: Status  # running, done, failed, or censored: stopped early, so far
    scores: Mapping[int, float]  # epoch → the best validation score up to it
    objectives: tuple[float, ...] | None = None  # of a trial that is done, in the search's order


@dataclass(frozen=True)
class Sampler:
    """Suggests points of a space. Raises UserError for an unknown sampler or objective, or a space that it cannot draw.

    `tpe`: the tree-structured Parzen estimator, over all fields jointly (Watanabe, arXiv:2304.11127). Of trials that
    ran in full the better ones are good; where these are too few, the paused ones that came furthest, then the better
    of those. What runs side by side is kept apart. The first ten trials are drawn at random. `gp`: a Gaussian process;
    `nsga2`: a genetic algorithm, in generations of 16 (Deb et al., 2002). Both learn from trials that ran in full
    alone, and draw fields with conditions at random: for searches without early stopping. `cma-es`: evolution of a
    normal distribution (Hansen, arXiv:1604.00772) over the fields that every trial draws from a Whole or a Real; the
    others are drawn at random. It learns from the trials that ended, in generations by number, done and paused ones
    ranked as tpe does. `random`: see Space.random(); `grid`: all points in order.

    Points in `first` are suggested first, in order.
    """

    space: Space
    name: str
    objectives: tuple[str, ...] = ("score",)
    seed: int = 0
    first: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise UserError(f"there is no sampler {self.name!r}{suggest(self.name, SAMPLERS)}")
        check_objectives(self.objectives)
        for point in self.first:
            self.space.flat(point)
        if self.name == "grid":
            self.space.points()
        if self.name == "cma-es":
            self._check_cma_es()

    def suggest(self, told: Sequence[Told], number: int) -> dict[str, Any] | None:
        """Return the values of trial `number`, None where all points of the space were drawn.

        A point that was drawn before is not drawn again, except where a space with real numbers has few points besides.
        """
        if number < len(self.first):
            return dict(self.first[number])
        drawn = {self._point(trial.values) for trial in told}
        size = self.space.size
        if size is not None and len(drawn) >= size:
            return None
        if self.name == "grid":
            return self._next(drawn)
        draw = self._drawing(told)
        for attempt in range(TRIES):
            values = draw(_seed(self.seed, number, attempt))
            if self._point(values) not in drawn:
                return values
        return values if size is None else self._next(drawn)

    def _point(self, values: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
        return frozenset(self.space.flat(values).items())

    def _next(self, drawn: set[frozenset[tuple[str, Any]]]) -> dict[str, Any]:
        return next(values for values in self.space.points() if self._point(values) not in drawn)

    def _drawing(self, told: Sequence[Told]) -> Callable[[int], dict[str, Any]]:
        """Return what draws a point after `told`, given a seed."""
        if self.name == "random":
            return lambda seed: self.space.random(np.random.default_rng(seed))
        if self.name == "cma-es":
            return self._cma_es(told)
        study = _study(self.objectives)
        study.add_trials(self._as_optuna_has_it(_standing(told)))

        def ask(seed: int) -> dict[str, Any]:
            study.sampler = self._optuna_sampler(seed)
            trial = study.ask()
            return self.space.draw(lambda name, dimension: _ask(trial, name, dimension))

        return ask

    def _optuna_sampler(self, seed: int) -> BaseSampler:
        samplers = _optuna().samplers
        if self.name == "gp":
            return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if self.name == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        with warnings.catch_warnings():
            # `group` is what draws fields with conditions jointly; it is called experimental since 2020
            warnings.simplefilter("ignore", _optuna().exceptions.ExperimentalWarning)
            return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _as_optuna_has_it(self, told: Sequence[Told]) -> Iterator[FrozenTrial]:
        """Go through the trials in the order in which Optuna is to know them."""
        several = len(self.objectives) > 1
        if several:
            # with several objectives Optuna compares no curves: where it needs paused trials, it takes the first ones
            paused = [trial for trial in told if trial.state == Status.CENSORED]
            others = [trial for trial in told if trial.state != Status.CENSORED]
            told = others + sorted(paused, key=_merit, reverse=True)
        done = 0
        for trial in told:
            # NSGA-II looks for its generations here. They are counted in trials done, so that they are the same however
            # a search was cut
            attributes = {"NSGAIISampler:generation": done // POPULATION} if trial.state == Status.DONE else {}
            done += trial.state == Status.DONE
            yield _frozen(self.space, trial, {} if several else trial.scores, system_attrs=attributes)

    def _check_cma_es(self) -> None:
        if len(self.objectives) > 1:
            raise UserError(
                "sampler cma-es takes one objective only; these take several: "
                f"{', '.join(name for name in SAMPLERS if name != 'cma-es')}"
            )
        if not self._numbers:
            raise UserError(
                "sampler cma-es needs a field that every trial draws from a Whole or a Real, but the search space "
                "has none"
            )

    @property
    def _numbers(self) -> dict[str, Whole | Real]:
        return {path: form for path, form in self.space.fields.items() if isinstance(form, Whole | Real)}

    def _cma_es(self, told: Sequence[Told]) -> Callable[[int], dict[str, Any]]:
        import cmaes

        numbers = self._numbers
        optimizer = cmaes.CMA(
            mean=np.full(len(numbers), 0.5), sigma=0.25, bounds=np.tile([0.0, 1.0], (len(numbers), 1))
        )
        ended = [trial for trial in _standing(told) if trial.state in (Status.CENSORED, Status.DONE)]
        size = optimizer.population_size
        for generation in (ended[at : at + size] for at in range(0, len(ended) - size + 1, size)):
            ranked = sorted(generation, key=_merit, reverse=True)  # only their order counts to it
            points = (np.array([form.share(trial.values[path]) for path, form in numbers.items()]) for trial in ranked)
            optimizer.tell([(point, rank) for rank, point in enumerate(points)])

        def ask(seed: int) -> dict[str, Any]:
            optimizer.reseed_rng(seed)
            shares = dict(zip(numbers, map(float, optimizer.ask()), strict=True))
            rng = np.random.default_rng(seed)
            return self.space.draw(
                lambda name, dimension: dimension.at(shares[name] if name in shares else rng.random())
            )

        return ask


def check_objectives(objectives: Sequence[str]) -> None:
    """Raise UserError where these cannot be a search's objectives."""
    for name in objectives:
        if name not in OBJECTIVES:
            raise UserError(f"there is no objective {name!r}{suggest(name, OBJECTIVES)}")
    if "score" not in objectives or len(set(objectives)) < len(objectives):
        raise UserError(f"the objectives are {', '.join(objectives) or 'none'}, but must all differ and include score")


def importance(space: Space, told: Sequence[Told], epoch: int) -> dict[str, float]:
    """Return each field's share in what made the best quarter of the trials good, the largest first; they sum to 1.

    Trials are compared by their scores at `epoch`; those that did not come so far say nothing. PED-ANOVA (Watanabe et
    al., IJCAI 2023) asks how the best differ from all that was drawn; a field that part of the trials draw counts by
    that part (Optuna 5 extends it so). The entries of an Each are added up. Fields that no such trial drew are left
    out. Raises UserError for fewer than 8 trials.
    """
    reached = _reached(told, epoch)
    fields = dict.fromkeys(path for path in space.fields if any(path in trial.values for trial in reached))
    shares = _shares(_scored(space, reached, epoch), fields)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def importance_errors(space: Space, told: Sequence[Told], epoch: int) -> dict[str, float]:
    """Return how far each field's importance would scatter with other trials drawn: the standard deviation of its share
    over resamples of the trials, with replacement (the bootstrap; Efron 1979).

    Raises UserError as importance() does.
    """
    trials, rng = _scored(space, _reached(told, epoch), epoch), np.random.default_rng(0)
    found = [
        _shares([trials[at] for at in rng.integers(len(trials), size=len(trials))], space.fields)
        for _ in range(RESAMPLES)
    ]
    return {path: float(np.std([each[path] for each in found], ddof=1)) for path in space.fields}


def _reached(told: Sequence[Told], epoch: int) -> list[Told]:
    """Return the trials that have come to an epoch. Raises UserError where they are too few to tell importance."""
    reached = [trial for trial in told if epoch in trial.scores]
    if len(reached) < LEAST_TRIALS:
        raise UserError(
            f"{len(reached)} trials have come to epoch {epoch}, but importance needs at least {LEAST_TRIALS}"
        )
    return reached


def _scored(space: Space, trials: Sequence[Told], epoch: int) -> list[FrozenTrial]:
    """Return the trials as Optuna knows them, done with their scores at the epoch."""
    return [_frozen(space, replace(each, state=Status.DONE, objectives=(each.scores[epoch],)), {}) for each in trials]


def _shares(trials: Sequence[FrozenTrial], fields: Iterable[str]) -> dict[str, float]:
    """Return each field's share; 0 for one that none of the trials drew."""
    study = _study(("score",))
    study.add_trials(trials)
    ped_anova = _optuna().importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        # it warns of fields that hardly any trial drew, or hardly any did not
        warnings.simplefilter("ignore", UserWarning)
        shares = _optuna().importance.get_param_importances(study, evaluator=ped_anova)
    return {path: sum(share for name, share in shares.items() if name.partition("[")[0] == path) for path in fields}


def pareto(told: Sequence[Told], objectives: Sequence[str]) -> list[Told]:
    """Return the trials done that no other beats in one objective without losing in another.

    Best in the first objective first.
    """
    signs = [1 if OBJECTIVES[name] == "maximize" else -1 for name in objectives]

    def gain(trial: Told) -> tuple[float, ...]:
        return tuple(sign * value for sign, value in zip(signs, trial.objectives or (), strict=True))

    done = {trial.number: (trial, gain(trial)) for trial in told if trial.state == Status.DONE}
    gains = {gain for _, gain in done.values()}
    front = [
        (trial, own)
        for trial, own in done.values()
        if not any(g != own and all(map(operator.ge, g, own)) for g in gains)
    ]
    return [trial for trial, _ in sorted(front, key=lambda pair: pair[1], reverse=True)]


def as_database(
    name: str,
    space: Space,
    objectives: Sequence[str],
    told: Sequence[Told],
    attributes: Mapping[int, Mapping[str, Any]] | None = None,
) -> bytes:
    """Return the search as Optuna's study `name` in a sqlite database, which `optuna-dashboard sqlite:///PATH` shows.

    `attributes` are more to note of trials, by number, such as a failure's reason.
    """
    storage = _optuna().storages.RDBStorage("sqlite:///:memory:")  # a file would be synced to disk at each trial
    study = _study(objectives, storage=storage, study_name=name)
    for trial in sorted(told, key=lambda trial: trial.number):
        noted = {"epochs": max(trial.scores, default=0)} | dict((attributes or {}).get(trial.number, {}))
        study.add_trial(_frozen(space, trial, trial.scores, user_attrs=noted))
    storage.remove_session()
    with storage.engine.connect() as connection:
        content: bytes = connection.connection.driver_connection.serialize()
    storage.engine.dispose()
    return content


def _standing(told: Sequence[Told]) -> list[Told]:
    """Return the trials by number; running ones that came past an epoch at which others paused stand as paused there.

    Otherwise those that run on because they are good would count as the bad ones that a sampler keeps away from.
    """
    rungs = {max(trial.scores) for trial in told if trial.state == Status.CENSORED and trial.scores}

    def stand(trial: Told) -> Told:
        passed = max(rungs & trial.scores.keys(), default=0)
        if trial.state != Status.RUNNING or not passed:
            return trial
        scores = {epoch: score for epoch, score in trial.scores.items() if epoch <= passed}
        return replace(trial, state=Status.CENSORED, scores=scores)

    return [stand(trial) for trial in sorted(told, key=lambda trial: trial.number)]


def _merit(trial: Told) -> tuple[bool, int, float]:
    """Return what trials of different lengths are ranked by: done or paused, how far they came, the score there."""
    last = max(trial.scores, default=0)
    return trial.state == Status.DONE, last, trial.scores.get(last, 0.0)


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])


def _optuna() -> ModuleType:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(objectives: Sequence[str], **options: Any) -> Study:
    return _optuna().create_study(directions=[OBJECTIVES[name] for name in objectives], **options)


def _frozen(space: Space, trial: Told, scores: Mapping[int, float], **attributes: Any) -> FrozenTrial:
    optuna = _optuna()
    states = {
        Status.RUNNING: "RUNNING",
        Status.CENSORED: "PRUNED",
        Status.DONE: "COMPLETE",
        Status.FAILED: "FAIL",
    }
    flat = space.flat(trial.values)
    distributions = {}

    def note(name: str, dimension: Dimension) -> Any:
        distributions[name] = _distribution(dimension)
        return flat[name]

    space.draw(note)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState[states[trial.state]],
        values=trial.objectives if trial.state == Status.DONE else None,
        params={name: _word(value) for name, value in flat.items()},
        distributions=distributions,
        intermediate_values=dict(scores),
        **attributes,
    )


@functools.cache
def _distribution(dimension: Dimension) -> BaseDistribution:
    distributions = _optuna().distributions
    if isinstance(dimension, Choice):
        return distributions.CategoricalDistribution(tuple(map(_word, dimension.values)))
    kind = distributions.IntDistribution if isinstance(dimension, Whole) else distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _word(value: Any) -> Any:
    """Return a value as Optuna can store it: a tuple in words."""
    return str(value) if isinstance(value, tuple) else value


def _ask(trial: Trial, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        words = [_word(value) for value in dimension.values]
        return dimension.values[words.index(trial.suggest_categorical(name, words))]
    if isinstance(dimension, Whole):
        return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
