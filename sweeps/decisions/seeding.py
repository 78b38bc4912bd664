"""How many of its seeds each trial is given, where they go to what would decide most. Pure.

The trials are those of a grid, or a search's candidates (confirmation.py), which do not race then.

Every trial first gets FIRST seeds. Then those that may be best get one more at a time, until one is left, or all that
are left are told within TIE of each other. Who was stopped early, has failed or is behind gets none: more of its seeds
would decide nothing.

Whoever looks after each seed, and stops once something shows, is wrong more often than in 5 %: so a trial counts as
behind only by intervals that hold for all looks at once, as for so many times the rivals. Simulated 2026-11-27
(tests/benchmarks/seeding.py): then the best is let go in at most 5 % (± 1), without it and from two seeds on in 13 %.
Of two trials that are two points apart it takes a third to three quarters of ten seeds for each, with as often the
right one alone at the end; of five equal ones nearly all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from sweeps.decisions.contest import Contest, hold
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.scatter import Spread
from sweeps.decisions.status import Status

FIRST = 3
TIE = 0.01  # a point: as fine as anybody needs to know
CONTESTED, DECIDED = "contested first", "until decided"  # whether at last the other trials get all their seeds too


class Seeding:
    """The seeds that a stage's trials have by now, by key; `most` are those that they may have."""

    def __init__(self, most: Sequence[int], how: str) -> None:
        self.most, self.how = tuple(most), how
        self._given: dict[str, int] = {}

    def of(self, key: str) -> tuple[int, ...]:
        """Return the seeds that a trial has by now."""
        return self.most[: self._given.get(key, FIRST)]

    def further(
        self, outcomes: Sequence[Outcome], by: Yardstick, before: Mapping[str, Spread] | None = None
    ) -> list[str]:
        """Give one more seed to each trial that should have one, and return their keys; none where that is enough.

        `outcomes` are all of the stage's, each with the seeds that it has by now; `before`: see hold().
        """
        full = [each for each in outcomes if each.status == Status.DONE]
        if not any(self._short(full)):
            return []
        wanted = self._short(contested(full, by, before, looks=len(self.most) - FIRST + 1))
        if not wanted and self.how == CONTESTED:
            wanted = self._short(full)
        for key in wanted:
            self._given[key] = len(self.of(key)) + 1
        return wanted

    def _short(self, outcomes: Sequence[Outcome]) -> list[str]:
        """Return the keys of those that may have more seeds, each once."""
        return list(dict.fromkeys(each.key for each in outcomes if len(self.of(each.key)) < len(self.most)))


def contested(
    full: Sequence[Outcome], by: Yardstick, before: Mapping[str, Spread] | None, looks: int
) -> Sequence[Outcome]:
    """Return the trials between which a stage is not decided by one of so many looks; none where it is. All, where
    nothing is told.
    """
    strictly = hold(full, by, before=before, looks=looks)
    if not strictly.told:
        return full
    return () if _are_one(strictly.best_set, hold(full, by, before=before)) else strictly.best_set


def _are_one(best: Sequence[Outcome], contest: Contest) -> bool:
    """Tell whether there is one, or all are told within TIE of each other."""
    found = (contest.difference(a, b) for a, b in combinations(best, 2))
    return all(each and each.low is not None and each.value - each.low <= TIE for each in found)
