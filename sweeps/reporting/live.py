"""A report that grows as trials end, for a small share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST = 5.0  # seconds between two reports
SHARE = 20.0  # times as long as writing took: 5 % of the time


class Live:
    """Writes the report again when a trial has ended, unless that was done a moment ago."""

    def __init__(self, write: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._due = clock()

    def trial_ended(self) -> None:
        """Take the end of a trial."""
        began = self._clock()
        if began < self._due:
            return
        self._write()
        ended = self._clock()
        self._due = ended + max(LEAST, SHARE * (ended - began))
