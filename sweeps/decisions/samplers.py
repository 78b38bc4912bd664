"""What a search tries next, by one of several samplers.

A suggestion is a function of the space, the seed and what is told; nothing is kept between calls. So a search that goes
on tomorrow goes on as it would have today. Optuna and cmaes are imported only where they are asked: a plan needs none.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.decisions.as_optuna import asked, frozen, new_study, optuna
from sweeps.decisions.dimensions import Choice, Dimension, Real, Whole
from sweeps.decisions.points import Points
from sweeps.decisions.space import Space
from sweeps.decisions.status import Status
from sweeps.decisions.threads import one_thread
from sweeps.decisions.told import Told, check_objectives, standing
from trainables.errors import UserError, suggest

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "random", "gp", "cma-es", "nsga2", "grid")
FROM_FULL_RUNS = ("gp", "nsga2")  # those that learn from nothing else
TRIES = 10  # to find a point that was not drawn yet
GP_TRIES = 3  # likewise of a Gaussian process, which is fitted for each
AROUND = 1000  # tries around a point that is not allowed, for one that is
WALKED = 10_000  # points at most are gone through in order for one, where a sampler other than `grid` finds none
POPULATION = 16  # of a generation of NSGA-II; Optuna's 50 is most of a search


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

    def suggest(self, told: Sequence[Told], number: int, points: Points | None = None) -> dict[str, Any] | None:
        """Return the values of trial `number`, None where all points of the space were drawn.

        A point that was drawn before is not drawn again, except where a space with real numbers has few points besides.
        `points` are those drawn and those allowed, where these are not the ones told and all.
        """
        if number < len(self.first):
            return dict(self.first[number])
        points = Points(self.space, (trial.values for trial in told)) if points is None else points
        if not points.are_left():
            return None
        if self.name == "grid":
            return points.next()
        draw = self._drawing(told)
        suggested = []
        for attempt in range(GP_TRIES if self.name == "gp" else TRIES):
            suggested.append(draw(_seed(self.seed, number, attempt)))
            if points.free(suggested[-1]):
                return suggested[-1]
        if points.allowed:
            return self._near(suggested[0], number, points)
        return suggested[-1] if points.size is None else points.next()

    def _near(self, values: Mapping[str, Any], number: int, points: Points) -> dict[str, Any] | None:
        """Return an allowed point near one that is not: it is drawn around that, at first closely, at last anywhere."""
        wanted = self.space.flat(values)
        for attempt in range(AROUND):
            rng, width = np.random.default_rng(_seed(self.seed, number, TRIES + attempt)), (attempt + 1) / AROUND
            found = self.space.draw(lambda name, form: _around(form, wanted.get(name), width, rng))  # noqa: B023
            if points.free(found):
                return found
        return points.next() if points.size is not None and points.size <= WALKED else None

    def _drawing(self, told: Sequence[Told]) -> Callable[[int], dict[str, Any]]:
        """Return what draws a point after `told`, given a seed."""
        if self.name == "random":
            return lambda seed: self.space.random(np.random.default_rng(seed))
        if self.name == "cma-es":
            return self._cma_es(told)
        study = new_study(self.objectives)
        study.add_trials(self._as_optuna_has_it(standing(told)))

        def ask(seed: int) -> dict[str, Any]:
            study.sampler = self._optuna_sampler(seed)
            with one_thread() if self.name == "gp" else nullcontext():
                trial = study.ask()
                return self.space.draw(lambda name, dimension: asked(trial, name, dimension))

        return ask

    def _optuna_sampler(self, seed: int) -> BaseSampler:
        samplers = optuna().samplers
        if self.name == "gp":
            return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if self.name == "nsga2":
            return samplers.NSGAIISampler(seed=seed, population_size=POPULATION)
        with warnings.catch_warnings():
            # `group` is what draws fields with conditions jointly; it is called experimental since 2020
            warnings.simplefilter("ignore", optuna().exceptions.ExperimentalWarning)
            return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)

    def _as_optuna_has_it(self, told: Sequence[Told]) -> Iterator[FrozenTrial]:
        """Go through the trials in the order in which Optuna is to know them."""
        several = len(self.objectives) > 1
        if several:
            # with several objectives Optuna compares no curves: where it needs paused trials, it takes the first ones
            paused = [trial for trial in told if trial.state == Status.CENSORED]
            others = [trial for trial in told if trial.state != Status.CENSORED]
            told = others + sorted(paused, key=lambda trial: trial.merit, reverse=True)
        done = 0
        for trial in told:
            # NSGA-II looks for its generations here. They are counted in trials done, so that they are the same however
            # a search was cut
            attributes = {"NSGAIISampler:generation": done // POPULATION} if trial.state == Status.DONE else {}
            done += trial.state == Status.DONE
            yield frozen(self.space, trial, {} if several else trial.scores, system_attrs=attributes)

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
        ended = [trial for trial in standing(told) if trial.state in (Status.CENSORED, Status.DONE)]
        size = optimizer.population_size
        for generation in (ended[at : at + size] for at in range(0, len(ended) - size + 1, size)):
            ranked = sorted(generation, key=lambda trial: trial.merit, reverse=True)  # only their order counts to it
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


def _around(dimension: Dimension, value: Any, width: float, rng: np.random.Generator) -> Any:
    """Return a draw at most a `width`, 0..1, of the range from a value; of a Choice any, with this chance."""
    share = rng.random()
    if not dimension.has(value):  # the point has no such draw
        return dimension.at(share)
    if isinstance(dimension, Choice):
        return dimension.at(share) if rng.random() < width else value
    place = abs(dimension.share(value) + width * (2 * share - 1))
    return dimension.at(2 - place if place > 1 else place)  # what is beyond an end is mirrored at it


def _seed(*parts: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4])
