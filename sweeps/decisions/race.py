"""The race in which a search confirms its best: all set out together, the better half runs on after each lap. Pure.

All run with all of the fresh seeds. The first lap is a quarter of the epochs; each further one ends where twice as many
are done. So of two trials of which the one is barely better one is let go early, which costs little either way, while
an interval that tells them apart would take more seeds than there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Generic, TypeVar

FIRST = 4  # the first lap is this part of the epochs

Runner = TypeVar("Runner")


@dataclass(frozen=True)
class Lap(Generic[Runner]):
    """What was decided after an epoch: who runs on and who is out, each group with its best first."""

    epoch: int
    on: tuple[Runner, ...]
    out: tuple[Runner, ...]


@dataclass(frozen=True)
class Race(Generic[Runner]):
    """How far a race has come: the laps that are over, who is still in it, and up to which epoch these run now."""

    laps: tuple[Lap[Runner], ...]
    on: tuple[Runner, ...]
    until: int

    @cached_property
    def out(self) -> dict[Runner, int]:
        """Those who are out, the last to leave first, with the epoch."""
        return {runner: lap.epoch for lap in reversed(self.laps) for runner in lap.out}


def race(curves: Mapping[Runner, Sequence[float]], epochs: int, *, raced: bool = True) -> Race[Runner]:
    """Return how far a race over so many epochs has come, from each runner's scores after its epochs so far.

    A lap is over when all who are still in have come to its end. Of equals who is named first is the better. Without
    `raced` all run to the end.
    """
    on: list[Runner] = list(curves)
    laps: list[Lap[Runner]] = []
    for epoch in ends_of_laps(len(on), epochs) if raced else ():
        if any(len(curves[runner]) < epoch for runner in on):
            return Race(tuple(laps), tuple(on), epoch)
        ranked = sorted(on, key=lambda runner: curves[runner][epoch - 1], reverse=True)
        half = (len(on) + 1) // 2
        laps.append(Lap(epoch, tuple(ranked[:half]), tuple(ranked[half:])))
        on = ranked[:half]
    return Race(tuple(laps), tuple(on), epochs)


def ends_of_laps(runners: int, epochs: int) -> list[int]:
    """Return the epochs after which some are let go: until one is left, and all of them before the last epoch."""
    ends: list[int] = []
    while runners > 1:
        end = max(math.ceil(epochs * 2 ** len(ends) / FIRST), ends[-1] + 1 if ends else 1)
        if end >= epochs:
            break
        ends.append(end)
        runners = (runners + 1) // 2
    return ends


def epochs_of_race(runners: int, epochs: int, *, raced: bool = True) -> int:
    """Return how many epochs all runners of a race run together, each with one seed."""
    total = 0
    for begin, end in pairwise([0, *(ends_of_laps(runners, epochs) if raced else ()), epochs]):
        total += runners * (end - begin)
        runners = (runners + 1) // 2
    return total
