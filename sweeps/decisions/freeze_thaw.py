"""Freeze-thaw: a search that runs on what a model of all learning curves expects most of, or draws a new point. Pure.

After Swersky, Snoek and Adams, "Freeze-Thaw Bayesian Optimization" (arXiv:1406.3896). Each step is the one that
promises most per epoch, by the knowledge gradient of forecast.py in the place of the paper's search by entropy; of all
later epochs that one counts for which it is largest. The trial then runs to the next of its steps, and all is asked
again. The model is loaded where it is first asked: a plan needs none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sweeps.decisions.books import Books, Promotion, Values, ladder
from sweeps.decisions.coordinates import Coordinates
from sweeps.decisions.dimensions import Choice, Dimension
from sweeps.decisions.space import Space
from sweeps.decisions.threads import one_thread
from sweeps.decisions.told import Told

if TYPE_CHECKING:
    from sweeps.decisions.forecast import Forecast

ETA = 3  # of the successive halving whose epochs are the budget
ANYWHERE, NEAR, LEADERS = 200, 30, 4  # points considered for a new trial: at random; near each of the best trials
ANEW, STRIDE = 0.2, 0.15  # near a point: the chance to draw a value anew; how far numbers move, of their range


class Step(NamedTuple):
    """What is to be done next: run a trial on, or else draw a new one at one of the points, the best first."""

    promotion: Promotion | None = None
    points: tuple[Values, ...] = ()


class FreezeThaw(Books):
    """Runs on, or draws, what promises most per epoch.

    The first trials are left to the sampler. All trials are drawn in the end, and together they run for no more epochs
    than successive halving would from epoch 1 on, where a third goes on at each rung. A trial that failed counts for
    one of these epochs, and as bad as the worst that was seen; one whose score is no number is not run on.
    """

    LEAST = 8  # trials, others' too, that have shown something before the model is asked

    def __init__(self, epochs: int, trials: int, space: Space | None = None) -> None:
        super().__init__(epochs, trials, space)
        size = space.size if space else None
        self.trials = trials if size is None else min(trials, size)
        self.budget = halving(epochs, self.trials)
        self.space, self.coordinates = space, Coordinates(space) if space else None
        self.points: dict[int, Values] = {}  # at which trials were drawn, those that failed too
        self.closed = False  # no new trial can be drawn
        self.others: Sequence[Told] = ()  # what the model knows besides
        self._state: object = None  # to which there are answers
        self._answers: dict[str, Any] = {}

    def wants(self) -> Iterable[Values]:
        """Return the points at which a new trial promises most per epoch; none before the model can tell."""
        return self._step.points

    def teach(self, others: Sequence[Told]) -> None:
        """Have the model know of others' trials: it may be asked as soon as one of the search's own shows anything."""
        self.others, self._state = others, None

    def no_more(self) -> None:
        """Spend on the trials there are what was kept for new ones."""
        self.closed = True

    def first(self, number: int, values: Mapping[str, Any] = {}) -> int:
        """Take a new trial and where it was drawn; it runs for an epoch."""
        self.points[number] = values
        return super().first(number)

    def recall(self, number: int, scores: Mapping[int, float], values: Mapping[str, Any] = {}) -> None:
        """Take a stored trial over, with where it was drawn."""
        self.points[number] = values
        super().recall(number, scores)

    def ready(self) -> int:
        """Return how many trials due() would give out at most; none where a new one promises more."""
        broken_off = sum(number in self.limits for number in self.broken_off)
        return broken_off + (self._payable(self._affordable()) if self._step.promotion else 0)

    def ranking(self) -> list[int]:
        """Return the trials by what they are expected to score at the end; those without a score last."""
        known, furthest = self._expected(), super().ranking()
        order = sorted((n for n in furthest if n in known), key=lambda number: (-known[number], number))
        return [*order, *(number for number in furthest if number not in known)]

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return steps(self.epochs)

    def _promotable(self) -> Iterator[Promotion]:
        promotion = self._step.promotion
        return iter((promotion,) if promotion else ())

    def _once(self, name: str, answer: Callable[[], Any]) -> Any:
        """Return what `answer` makes of the present state, which is all that it may depend on."""
        seen = sorted((number, sorted(scores.items())) for number, scores in self.scores.items())
        state = seen, sorted(self.limits.items()), sorted(self.dropped), self.closed
        if repr(state) != self._state:  # two that are not a number are the same here
            self._state, self._answers = repr(state), {}
        if name not in self._answers:
            self._answers[name] = answer()
        return self._answers[name]

    @property
    def _step(self) -> Step:
        step: Step = self._once("step", self._next_step)
        return step

    @property
    def _forecast(self) -> Forecast:
        forecast: Forecast = self._once("forecast", self._foretold)
        return forecast

    def _foretold(self) -> Forecast:
        from sweeps.decisions.forecast import Forecast  # with it comes torch

        rows = {number: row for row, number in enumerate(sorted(self.points))}
        curves = [_finite(self.scores.get(number, {})) for number in rows]
        failed = [rows[number] for number in self.dropped if number in rows]
        running = {rows[number]: to for number, to in self.limits.items() if to not in self.scores[number]}
        taught = [_finite(each.scores) for each in self.others]
        points = self._coordinates([*(self.points[number] for number in rows), *(each.values for each in self.others)])
        draws = self.coordinates.draws if self.coordinates else np.zeros(0, int)
        with one_thread():
            return Forecast(points, draws, curves, failed, running, steps(self.epochs), taught)

    def _coordinates(self, points: Sequence[Values]) -> np.ndarray:
        return self.coordinates.rows(points) if self.coordinates else np.zeros((len(points), 0))

    def _expected(self) -> dict[int, float]:
        """Return what each trial with a score is expected to come to, in the model's scale."""
        if not (shown := self._shown()):
            return {}
        expected = dict(zip(sorted(self.points), self._forecast.expected.tolist(), strict=True))
        return {number: expected[number] for number in shown}

    @property
    def _drawable(self) -> int:
        """How many trials are still to be drawn."""
        return 0 if self.closed else max(0, self.trials - len(self.points.keys() | self.dropped))

    @property
    def _spare(self) -> int:
        """The epochs that are left; one is kept for each trial to be drawn, and counted for each that failed."""
        return self.budget - sum(self.limits.values()) - len(self.dropped) - self._drawable

    def _affordable(self) -> dict[int, int]:
        """Return the paused trials whose next step can be paid for, and to which epoch it leads."""
        following, spare = dict(pairwise(steps(self.epochs))), self._spare
        paused = ((number, at) for number, at in sorted(self.limits.items()) if at in following)
        steady = ((n, at) for n, at in paused if self._paused(n, at) and math.isfinite(self.scores[n][at]))
        return {number: following[at] for number, at in steady if following[at] - at <= spare}

    def _payable(self, affordable: Mapping[int, int]) -> int:
        """Return how many of these steps can be paid for side by side, the shortest first."""
        costs = np.cumsum(sorted(to - self.limits[number] for number, to in affordable.items()))
        return int((costs <= self._spare).sum())

    def _next_step(self) -> Step:
        affordable, drawable = self._affordable(), self._drawable
        shown = len(self._shown()) + len(self.dropped) + len(self.others)
        if not (affordable or drawable) or (drawable and shown < self.LEAST) or not self._shown():
            return Step()
        with one_thread():
            rates = dict(zip(affordable, self._forecast.promises(list(affordable)).tolist(), strict=True))
            points, rate = self._new_points() if drawable else ((), 0.0)
        best = max(rates, key=lambda number: (rates[number], -number), default=None)
        if best is None or (drawable and rate > rates[best]):
            return Step(points=points)
        return Step((best, affordable[best]))

    def _shown(self) -> list[int]:
        return [number for number, scores in self.scores.items() if _finite(scores)]

    def _new_points(self) -> tuple[tuple[Values, ...], float]:
        """Return points for a new trial, the best first, and what the best one promises per epoch."""
        if self.space is None:
            return (), 0.0
        leaders = [self.points[number] for number in self.ranking()[:LEADERS]]
        found = proposals(self.space, leaders, np.random.default_rng(len(self.points)))
        drawn = {_identity(self.space, values) for values in self.points.values()}
        new = {_identity(self.space, values): values for values in found}
        points = [values for identity, values in new.items() if identity not in drawn]
        if not points:
            return (), 0.0
        order, rate = self._forecast.best_points(self._coordinates(points))
        return tuple(points[at] for at in order), rate


def steps(epochs: int) -> tuple[int, ...]:
    """Return the epochs at which a trial may pause: each half as far again as the one before.

    Of 15 these are 1, 2, 3, 5, 8, 12, 15.
    """
    found = [1]
    while found[-1] < epochs:
        found.append(min(epochs, found[-1] + (found[-1] + 1) // 2))
    return tuple(found)


def halving(epochs: int, trials: int) -> int:
    """Return the epochs that successive halving takes where a third goes on at each rung from epoch 1 on."""
    rungs = (0, *ladder(1, epochs, ETA))
    return sum(trials // ETA**step * (high - low) for step, (low, high) in enumerate(pairwise(rungs)))


def proposals(space: Space, leaders: Sequence[Values], rng: np.random.Generator) -> Iterator[Values]:
    """Go through points at which a trial may be drawn: some anywhere, some that differ a little from a leader."""
    yield from (space.random(rng) for _ in range(ANYWHERE))
    for leader in leaders:
        yield from (_near(space, space.flat(leader), rng) for _ in range(NEAR))


def _near(space: Space, known: Mapping[str, Any], rng: np.random.Generator) -> Values:
    """Return a point that has most single draws of a known one, its numbers moved a little."""

    def pick(name: str, dimension: Dimension) -> Any:
        if name not in known or rng.random() < ANEW:
            return dimension.at(rng.random())
        if isinstance(dimension, Choice):
            return known[name]
        return dimension.at(min(max(dimension.share(known[name]) + STRIDE * rng.normal(), 0.0), 1.0))

    return space.draw(pick)


def _finite(scores: Mapping[int, float]) -> dict[int, float]:
    return {epoch: score for epoch, score in scores.items() if math.isfinite(score)}


def _identity(space: Space, values: Values) -> frozenset[tuple[str, Any]]:
    return frozenset(space.flat(values).items())
