"""The records of the trials under way, put together on the driver from what workers report."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.execution.messages import Progress
from trainables.history import History, Record
from trainables.marks import Marks


class Histories:
    """The records of each trial that was started, by its key."""

    def __init__(self) -> None:
        self._records: dict[str, dict[int, list[Record]]] = {}  # key → seed → records, epoch 1 first
        self._marks: dict[str, dict[int, Marks]] = {}  # key → seed → what is kept of its chosen epoch

    def begin(self, key: str, known: History | None) -> None:
        """Begin a trial's history with what the store has of it; one that has begun already goes on."""
        if key not in self._records:
            self._records[key] = {seed: list(records) for seed, records in known.records.items()} if known else {}
            self._marks[key] = dict(known.marks) if known else {}

    def add(self, key: str, progress: Progress) -> Record:
        """Add what a worker reports, replacing what was there of the same epochs; return the newest record of the
        first replicate.
        """
        records = self._records[key]
        self._marks[key] |= progress.marks
        for seed, new in progress.records.items():
            records.setdefault(seed, [])[new.after :] = new.records
        return next(iter(records.values()))[-1]

    def seconds_left(self, key: str, seeds: Sequence[int], epochs: int) -> list[float]:
        """Return how long each replicate that has not run all epochs has left, by its newest epoch, or another's.

        Empty where no epoch has run.
        """
        records = self._records.get(key, {})
        pace = next((rows[-1].seconds for rows in records.values() if rows), None)
        left = [epochs - len(records.get(seed, ())) for seed in seeds]
        return [] if pace is None else [pace * number for number in left if number > 0]

    def of(self, key: str) -> History:
        """Return a trial's history so far; empty where it was never started."""
        records = {seed: tuple(records) for seed, records in self._records.get(key, {}).items()}
        return History(records, dict(self._marks.get(key, {})))

    def keys(self) -> set[str]:
        """Return the keys of the trials that were started."""
        return set(self._records)
