"""Early stopping as pure decisions: which trials of a search get more epochs.

A trial can be paused after any epoch and run on later from its checkpoint. So nothing is stopped for good, as Ray
Tune's ASHA does: a trial is paused, and promoted once it is seen to be among the best. A rule only ever looks at what
trials have reached. Its next decision is a function of that alone: the same calls give the same decisions, and a
resumed search goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from sweeps.decisions.books import Books, Promotion, Values, ladder
from sweeps.decisions.freeze_thaw import FreezeThaw
from sweeps.decisions.space import Space
from sweeps.decisions.told import Told
from trainables.errors import UserError, suggest


class Rule(Protocol):
    """Says how far each trial runs. Trials are numbered in the order in which they are drawn; higher scores are better.

    The search is over when all trials are drawn, none runs and due() is None.
    """

    def wants(self) -> Iterable[Values]:
        """Return the points at which a new trial is to be drawn, the best first; what it leaves open is the sampler's.

        To be asked when due() has just returned None.
        """

    def no_more(self) -> None:
        """Take it that no new trial can be drawn."""

    def teach(self, others: Sequence[Told]) -> None:
        """Take what others have seen of trials in the search's space, before the search's own are asked for."""

    def first(self, number: int, values: Mapping[str, Any] = {}) -> int:
        """Take a new trial, which was drawn at the point `values`; return the epoch to which it runs first."""

    def note(self, number: int, epoch: int, score: float) -> int | None:
        """Take the best score so far of a trial that has come to its limit.

        Return the epoch to run on to at once, None to pause it.
        """

    def drop(self, number: int) -> None:
        """Leave out a trial that failed, or that was never started."""

    def due(self) -> Promotion | None:
        """Return a trial to run on now, and to which epoch; None where all wait or are done. Each is given out once."""

    def ready(self) -> int:
        """Return how many trials due() would give out now, one after another."""

    def ranking(self) -> list[int]:
        """Return the trials that have come to an epoch at which they may pause, those expected to be best first."""

    def recall(self, number: int, scores: Mapping[int, float], values: Mapping[str, Any] = {}) -> None:
        """Take over a stored trial with its best score so far after each epoch, and decide nothing. See resume()."""

    def adopt(self, number: int, scores: Mapping[int, float], values: Mapping[str, Any] = {}) -> None:
        """Likewise take over a trial that this rule has not run, in the course of a search."""


def make(name: str, epochs: int, trials: int, space: Space | None = None) -> Rule:
    """Return the rule of this name for a search of this many trials of this many epochs. Raises UserError.

    A rule that learns from where trials were drawn needs the `space`; without it, it takes all to be alike.
    """
    if name not in RULES:
        raise UserError(f"early stopping {name!r} is not known{suggest(name, RULES)}")
    return RULES[name](epochs, trials, space)


def resume(
    rule: Rule, reached: Mapping[int, Mapping[int, float]], points: Mapping[int, Mapping[str, Any]] = {}
) -> None:
    """Bring a new rule to where a search stands, from what each trial has reached: its best score so far by epoch.

    `points` are where they were drawn. A trial that is between two rungs was promoted before the search broke off:
    due() gives it out again, before all others. What failed is left out of `reached` and dropped. New trials are drawn
    from the next number on.
    """
    for number in sorted(reached):
        rule.recall(number, reached[number], points.get(number, {}))


class Full(Books):
    """Every trial runs in full."""

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return (self.epochs,)

    def _promotable(self) -> Iterator[Promotion]:
        return iter(())


class ASHA(Books):
    """Asynchronous successive halving with promotions: Li et al., MLSys 2020, algorithm 2.

    Of the trials that have come to a rung, the best 1/eta run on to the next, the highest rung first; it waits for
    nobody. The highest rung is at two thirds of the epochs: the best run further with the seeds that confirm them, and
    another run of the seed that chose them would tell little more (tests/benchmarks/search.py).
    """

    ETA = 3  # the paper has 4; what is promising after an epoch is not always so after four
    GRACE = 1  # epochs of the lowest rung
    PART = 1.5  # the highest rung is at the epochs divided by this

    @classmethod
    def rungs(cls, epochs: int) -> tuple[int, ...]:
        """Return the epochs at which trials may be paused."""
        return ladder(cls.GRACE, math.ceil(epochs / cls.PART), cls.ETA)

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return self.rungs(self.epochs)

    def _promotable(self) -> Iterator[Promotion]:
        for low, high in reversed(list(pairwise(self._rungs(0)))):
            there = self._at(low)
            yield from ((number, high) for number in there[: len(there) // self.ETA] if self._paused(number, low))


class PASHA(ASHA):
    """Progressive ASHA: Bohdal et al., "PASHA: Efficient HPO and NAS with Progressive Resource Allocation", ICLR 2023.

    ASHA on the two lowest rungs. The next rung opens when trials in the highest open one rank otherwise there than one
    rung below: the paper's simple ranking. Its soft one would need the noise of the curves between the rungs.
    """

    def _promotable(self) -> Iterator[Promotion]:
        highest = self._highest()
        return ((number, to) for number, to in super()._promotable() if to <= highest)

    def _highest(self) -> int:
        rungs = self._rungs(0)
        for low, high in pairwise(rungs):
            there = self._at(high)
            if there == self._best(there, low):
                return high
        return rungs[-1]


class Hyperband(Books):
    """Hyperband: Li et al., JMLR 2018, algorithm 1.

    Brackets of many short to few full trials follow one another, and again from the first. A bracket's rung is decided
    when all its trials have come to it or are dropped; the next best takes a dropped one's place.
    """

    ETA = 3  # the default in the paper

    def __init__(self, epochs: int, trials: int, space: Space | None = None) -> None:
        super().__init__(epochs, trials, space)
        highest = math.floor(math.log(epochs, self.ETA) + 1e-9)
        self.brackets: list[tuple[range, tuple[int, ...]]] = []  # their trials and rungs
        start = 0
        while start < trials:
            for s in range(highest, -1, -1):
                size = math.ceil((highest + 1) / (s + 1) * self.ETA**s)
                rungs = tuple(max(1, round(epochs / self.ETA**step)) for step in range(s, -1, -1))
                self.brackets.append((range(min(start, trials), min(start + size, trials)), rungs))
                start += size

    def _rungs(self, number: int) -> tuple[int, ...]:
        return next(rungs for numbers, rungs in self.brackets if number in numbers)

    def _promotable(self) -> Iterator[Promotion]:
        for numbers, rungs in self.brackets:
            running = [number for number in numbers if number not in self.dropped]
            for step, (low, high) in enumerate(pairwise(rungs), start=1):
                if not all(low in self.scores.get(number, {}) for number in running):
                    break
                running = self._best(running, low)[: max(1, len(numbers) // self.ETA**step)]
                yield from ((number, high) for number in running if self._paused(number, low))


class Median(Books):
    """The median rule of Google Vizier: Golovin et al., KDD 2017.

    A trial pauses when its best score is below the median of the averages, over their epochs so far, of other trials.
    These are the ones drawn before it that have come to the same epoch, complete or not, so that what is drawn later
    changes nothing.
    """

    GRACE = 0.1  # of all epochs, that every trial gets: a guess, the paper names none
    OTHERS = 5  # with fewer nobody pauses: the default of Optuna's MedianPruner

    def __init__(self, epochs: int, trials: int, space: Space | None = None) -> None:
        super().__init__(epochs, trials, space)
        self.grace = max(1, round(self.GRACE * epochs))
        self.averages: dict[tuple[int, int], float] = {}

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return tuple(range(1, self.epochs + 1))

    def note(self, number: int, epoch: int, score: float) -> int | None:
        """Judge this trial alone: the others' order matters to nobody here."""
        self.scores[number][epoch] = score
        return self._promote((number, epoch + 1)) if epoch < self.epochs and self._good(number, epoch) else None

    def _promotable(self) -> Iterator[Promotion]:
        for number, epoch in sorted(self.limits.items()):
            if epoch < self.epochs and self._paused(number, epoch) and self._good(number, epoch):
                yield number, epoch + 1

    def _good(self, number: int, epoch: int) -> bool:
        if epoch < self.grace:
            return True
        others = [
            self._average(other, epoch) for other, scores in self.scores.items() if other < number and epoch in scores
        ]
        return len(others) < self.OTHERS or self.scores[number][epoch] >= statistics.median(others)

    def _average(self, number: int, epoch: int) -> float:
        if (number, epoch) not in self.averages:
            self.averages[number, epoch] = statistics.fmean(
                score for at, score in self.scores[number].items() if at <= epoch
            )
        return self.averages[number, epoch]


RULES: dict[str, Callable[[int, int, Space | None], Rule]] = {
    "asha": ASHA,
    "freeze-thaw": FreezeThaw,
    "hyperband": Hyperband,
    "median": Median,
    "pasha": PASHA,
    "none": Full,
}
DRAWING = ("freeze-thaw",)  # those that also choose where new trials are drawn, once they can tell
