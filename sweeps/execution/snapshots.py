"""When a trial's snapshot is due, by what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

SHARE = 20.0  # times as long as a snapshot takes is trained before the next one

# What a snapshot is taken to cost before this process has measured one: so many seconds, and so many for each byte of
# weights and optimizer. Measured 2026-11-26 with tests.benchmarks.snapshots on two busy cores: one of 14 MiB took 0.09
# to 0.17 s, one of 165 MiB 1.4 to 1.5 s.
FIXED, PER_BYTE = 0.01, 12e-9


@dataclass
class Costs:
    """What snapshots cost in this process, learned from one trial for the next."""

    factor: float = 1.0  # of what is taken for granted above

    def expected(self, size: int) -> float:
        """Return how many seconds a snapshot of `size` bytes of weights and optimizer is expected to take."""
        return self.factor * _assumed(size)

    def learn(self, size: int, seconds: float) -> None:
        """Take note of what one took. A single slow one, as when a disk was full for a while, counts little."""
        self.factor = min(seconds / _assumed(size), 2 * self.factor)


class Snapshots:
    """The snapshots of one trial: the next is due once the trial has trained SHARE times as long as one costs.

    Its cost is what it keeps the worker from training: packing, handing over, and waiting until the Tracker has it.
    """

    def __init__(self, size: Callable[[], int], costs: Costs, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with none. `size` returns that of the trial's weights and optimizer in bytes; it is asked for after an
        epoch, as an optimizer has nothing before.
        """
        self._measured, self._costs, self._clock = size, costs, clock
        self._trained = 0.0  # seconds since the newest one
        self._taken: float | None = None  # what the newest one took, in seconds, until it has been waited for

    @cached_property
    def _size(self) -> int:
        return self._measured()

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return self._trained >= SHARE * self._costs.expected(self._size)

    @property
    def outstanding(self) -> bool:
        """Whether it is not known yet that the Tracker has the newest one, whose content is held until then."""
        return self._taken is not None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count what happens meanwhile as training."""
        began = self._clock()
        yield
        self._trained += self._clock() - began

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Count what happens meanwhile as the cost of a new snapshot."""
        began = self._clock()
        yield
        self._trained, self._taken = 0.0, self._clock() - began

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what happens meanwhile as the rest of the newest one's cost, unless the Tracker has that already."""
        began = self._clock()
        yield
        if self._taken is not None:
            self._costs.learn(self._size, self._taken + self._clock() - began)
        self._taken = None


def _assumed(size: int) -> float:
    return FIXED + PER_BYTE * size
