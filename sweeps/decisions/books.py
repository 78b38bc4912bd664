"""The books that a rule of a search keeps: which trials have come how far, who runs, who waits. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.decisions.space import Space
    from sweeps.decisions.told import Told

Promotion = tuple[int, int]  # a trial's number, and the epoch it is to run on to
Values = Mapping[str, Any]  # a point of the search's space


def ladder(first: int, last: int, eta: int) -> tuple[int, ...]:
    """Return rungs from `first` to `last`, whole epochs, with a factor of about `eta` from each to the next.

    (1, 15, 4) gives 1, 4, 15.
    """
    if first >= last:
        return (last,)
    steps = max(1, round(math.log(last / first, eta)))
    return tuple(round(first * (last / first) ** (step / steps)) for step in range(steps + 1))


class Books:
    """What has been reached, and by whom. A rule adds where the rungs are and who is promotable."""

    def __init__(self, epochs: int, trials: int, space: Space | None = None) -> None:  # noqa: ARG002 (for some rules)
        self.epochs = epochs
        self.scores: dict[int, dict[int, float]] = {}  # of each trial, at the rungs it has come to
        self.limits: dict[int, int] = {}  # the rung at which each trial is, or to which it runs
        self.broken_off: list[int] = []
        self.dropped: set[int] = set()

    def _rungs(self, number: int) -> tuple[int, ...]:
        """Return the epochs at which this trial may be paused, the last one that it runs to at the end."""
        raise NotImplementedError

    def _promotable(self) -> Iterator[Promotion]:
        """Go through the paused trials that are to run on, the most urgent first."""
        raise NotImplementedError

    def wants(self) -> Iterable[Values]:
        """Return none: where new trials are drawn is the sampler's."""
        return ()

    def no_more(self) -> None:
        """Take it; whoever is promotable is so all the same."""

    def teach(self, others: Sequence[Told]) -> None:
        """Take it; only the sampler learns from others."""

    def first(self, number: int, values: Mapping[str, Any] = {}) -> int:  # noqa: ARG002 (for rules that learn from them)
        """Take a new trial; return its first rung."""
        self.scores[number] = {}
        self.limits[number] = self._rungs(number)[0]
        return self.limits[number]

    def note(self, number: int, epoch: int, score: float) -> int | None:
        """Take a score at a rung; return the next one where this trial is the most urgent of all."""
        self.scores[number][epoch] = score
        # another one may be more urgent: the order is the same if the search breaks off here
        following = next(self._promotable(), None)
        return self._promote(following) if following and following[0] == number else None

    def drop(self, number: int) -> None:
        """Forget a trial."""
        self.dropped.add(number)
        self.scores.pop(number, None)
        self.limits.pop(number, None)

    def due(self) -> Promotion | None:
        """Return first what broke off between two rungs, then the most urgent of those promotable."""
        while self.broken_off:
            number = self.broken_off.pop(0)
            if number in self.limits:
                return number, self.limits[number]
        following = next(self._promotable(), None)
        if following:
            self._promote(following)
        return following

    def ready(self) -> int:
        """Return how many broke off or are promotable."""
        broken_off = sum(number in self.limits for number in self.broken_off)
        return broken_off + sum(1 for _ in self._promotable())

    def ranking(self) -> list[int]:
        """Return the trials by the highest rung noted, then by the score there."""
        ends = {number: max(scores.items()) for number, scores in self.scores.items() if scores}
        return sorted(ends, key=lambda number: (-ends[number][0], -ends[number][1], number))

    def recall(self, number: int, scores: Mapping[int, float], values: Mapping[str, Any] = {}) -> None:  # noqa: ARG002
        """Take a trial over at the rung to which it has come, or was on its way."""
        last, rungs = max(scores, default=0), self._rungs(number)
        self.scores[number] = {rung: scores[rung] for rung in rungs if rung in scores}
        self.limits[number] = next((rung for rung in rungs if rung >= last), last)
        if last < self.limits[number]:
            self.broken_off.append(number)

    def adopt(self, number: int, scores: Mapping[int, float], values: Mapping[str, Any] = {}) -> None:
        """Take over a trial that others have run for as long as they liked, at the highest rung that it has come to.

        One that has not come to the first is run on to it.
        """
        reached = max((rung for rung in self._rungs(number) if rung in scores), default=max(scores, default=0))
        self.recall(number, {epoch: score for epoch, score in scores.items() if epoch <= reached}, values)

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
