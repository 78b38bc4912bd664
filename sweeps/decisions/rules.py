"""Early stopping as pure decisions: which trials of a search get more epochs.

A trial can be paused after any epoch and run on later from its checkpoint. So nothing is stopped for good, as Ray
Tune's ASHA does: a trial is paused, and promoted once it is seen to be among the best. A rule only ever looks at what
trials have reached. Its next decision is a function of that alone: the same calls give the same decisions, and a
resumed search goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Protocol

from trainables.errors import UserError, suggest

Promotion = tuple[int, int]  # a trial's number, and the epoch it is to run on to


class Rule(Protocol):
    """Says how far each trial runs. Trials are numbered in the order in which they are drawn; higher scores are better.

    The search is over when all trials are drawn, none runs and due() is None.
    """

    def first(self, number: int) -> int:
        """Return the epoch to which a new trial runs first."""

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
        """Return the trials best first: by the highest epoch noted, then by the score there."""

    def recall(self, number: int, scores: Mapping[int, float]) -> None:
        """Take over a stored trial with its best score so far after each epoch, and decide nothing. See resume()."""


def make(name: str, epochs: int, trials: int) -> Rule:
    """Return the rule of this name for a search of this many trials of this many epochs. Raises UserError."""
    if name not in RULES:
        raise UserError(f"early stopping {name!r} is not known{suggest(name, RULES)}")
    return RULES[name](epochs, trials)


def resume(rule: Rule, reached: Mapping[int, Mapping[int, float]]) -> None:
    """Bring a new rule to where a search stands, from what each trial has reached: its best score so far by epoch.

    A trial that is between two rungs was promoted before the search broke off: due() gives it out again, before all
    others. What failed is left out of `reached` and dropped. New trials are drawn from the next number on.
    """
    for number in sorted(reached):
        rule.recall(number, reached[number])


def ladder(first: int, last: int, eta: int) -> tuple[int, ...]:
    """Return rungs from `first` to `last`, whole epochs, with a factor of about `eta` from each to the next.

    (1, 15, 4) gives 1, 4, 15.
    """
    if first >= last:
        return (last,)
    steps = max(1, round(math.log(last / first, eta)))
    return tuple(round(first * (last / first) ** (step / steps)) for step in range(steps + 1))


class _Books:
    """What has been reached, and by whom. A rule adds where the rungs are and who is promotable."""

    def __init__(self, epochs: int, trials: int) -> None:  # noqa: ARG002 (Hyperband alone depends on their number)
        self.epochs = epochs
        self.scores: dict[int, dict[int, float]] = {}  # of each trial, at the rungs it has come to
        self.limits: dict[int, int] = {}  # the rung at which each trial is, or to which it runs
        self.broken_off: list[int] = []
        self.dropped: set[int] = set()

    def _rungs(self, number: int) -> tuple[int, ...]:
        """Return the epochs at which this trial may be paused, the full number last."""
        raise NotImplementedError

    def _promotable(self) -> Iterator[Promotion]:
        """Go through the paused trials that are to run on, the most urgent first."""
        raise NotImplementedError

    def first(self, number: int) -> int:
        self.scores[number] = {}
        self.limits[number] = self._rungs(number)[0]
        return self.limits[number]

    def note(self, number: int, epoch: int, score: float) -> int | None:
        self.scores[number][epoch] = score
        # another one may be more urgent: the order is the same if the search breaks off here
        following = next(self._promotable(), None)
        return self._promote(following) if following and following[0] == number else None

    def drop(self, number: int) -> None:
        self.dropped.add(number)
        self.scores.pop(number, None)
        self.limits.pop(number, None)

    def due(self) -> Promotion | None:
        while self.broken_off:
            number = self.broken_off.pop(0)
            if number in self.limits:
                return number, self.limits[number]
        following = next(self._promotable(), None)
        if following:
            self._promote(following)
        return following

    def ready(self) -> int:
        broken_off = sum(number in self.limits for number in self.broken_off)
        return broken_off + sum(1 for _ in self._promotable())

    def ranking(self) -> list[int]:
        ends = {number: max(scores.items()) for number, scores in self.scores.items() if scores}
        return sorted(ends, key=lambda number: (-ends[number][0], -ends[number][1], number))

    def recall(self, number: int, scores: Mapping[int, float]) -> None:
        last, rungs = max(scores, default=0), self._rungs(number)
        self.scores[number] = {rung: scores[rung] for rung in rungs if rung in scores}
        self.limits[number] = next((rung for rung in rungs if rung >= last), self.epochs)
        if last < self.limits[number]:
            self.broken_off.append(number)

    def _promote(self, promotion: Promotion) -> int:
        number, epoch = promotion
        self.limits[number] = epoch
        return epoch

    def _at(self, rung: int) -> list[int]:
        """Return the trials that have come to a rung, best first."""
        return self._best((number for number, scores in self.scores.items() if rung in scores), rung)

    def _best(self, numbers: Iterable[int], rung: int) -> list[int]:
        return sorted(numbers, key=lambda number: (-self.scores[number][rung], number))

    def _paused(self, number: int, rung: int) -> bool:
        return self.limits[number] == rung and rung in self.scores[number]


class Full(_Books):
    """Every trial runs in full."""

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return (self.epochs,)

    def _promotable(self) -> Iterator[Promotion]:
        return iter(())


class ASHA(_Books):
    """Asynchronous successive halving with promotions: Li et al., MLSys 2020, algorithm 2.

    Of the trials that have come to a rung, the best 1/eta run on to the next, the highest rung first; it waits for
    nobody.
    """

    ETA = 3  # the paper has 4; 3 costs no more epochs and loses less: tests/benchmarks/search.py
    GRACE = 1  # epochs of the lowest rung; 2 and more cost more and gain little there

    def _rungs(self, number: int) -> tuple[int, ...]:  # noqa: ARG002
        return ladder(self.GRACE, self.epochs, self.ETA)

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


class Hyperband(_Books):
    """Hyperband: Li et al., JMLR 2018, algorithm 1.

    Brackets of many short to few full trials follow one another, and again from the first. A bracket's rung is decided
    when all its trials have come to it or are dropped; the next best takes a dropped one's place.
    """

    ETA = 3  # the default in the paper

    def __init__(self, epochs: int, trials: int) -> None:
        super().__init__(epochs, trials)
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


class Median(_Books):
    """The median rule of Google Vizier: Golovin et al., KDD 2017.

    A trial pauses when its best score is below the median of the averages, over their epochs so far, of other trials.
    These are the ones drawn before it that have come to the same epoch, complete or not, so that what is drawn later
    changes nothing.
    """

    GRACE = 0.1  # of all epochs, that every trial gets: a guess, the paper names none
    OTHERS = 5  # with fewer nobody pauses: the default of Optuna's MedianPruner

    def __init__(self, epochs: int, trials: int) -> None:
        super().__init__(epochs, trials)
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


RULES: dict[str, Callable[[int, int], Rule]] = {
    "asha": ASHA,
    "hyperband": Hyperband,
    "median": Median,
    "pasha": PASHA,
    "none": Full,
}
