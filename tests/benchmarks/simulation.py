"""A search in simulation: a contestant on simulated workers, which replay the curves of a table.

A contestant sees the curves of the seeds that screen and confirm in this repetition, and no others: it cannot look at
those that judge it. Nothing of the test set is in what it sees.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Protocol

import numpy as np

from sweeps.decisions.drawing import SCREENING
from tests.benchmarks.search_tables import Roles, Table
from trainables.history import History, Record, chosen_epoch
from trainables.marks import Marks, Right

WORKERS = 4
UNSEEN = float("nan")  # what a record holds of all but validation and time


class Seen:
    """What a contestant sees of a table in a repetition. Seeds go by their role: 0 screens, those from 1 on confirm."""

    def __init__(self, table: Table, roles: Roles) -> None:
        self.space, self.start, self.at, self.images = table.space, table.start, table.at, table.images
        self.epochs, self.seconds, self.image_shape = table.epochs, table.seconds, table.image_shape
        self.confirming = tuple(range(len(SCREENING), len(SCREENING) + table.confirming))
        seeds = [np.full(len(roles.confirm), roles.screens), *np.array(roles.confirm).T]
        networks = np.arange(len(roles.confirm))
        self._val = np.stack([table.val[seed, networks] for seed in seeds])
        kept = table.right
        self._right = None if kept is None else np.stack([kept[seed, networks] for seed in seeds])

    def score(self, network: int, seed: int, epoch: int) -> float:
        """Return the validation score after an epoch, NaN where the run has diverged before its end."""
        return float(self._val[seed, network, epoch - 1])

    def mean(self, network: int, seeds: tuple[int, ...], epoch: int) -> float:
        """Return the mean over seeds of the validation score after an epoch."""
        return float(np.mean([self.score(network, seed, epoch) for seed in seeds]))

    def confirmed(self, network: int) -> float:
        """Return the mean over the seeds that confirm of the score at the chosen epoch; NaN where one diverges."""
        curves = self._val[self.confirming[0] :, network]
        return float(
            np.mean([curve[chosen_epoch(curve) - 1] if not np.isnan(curve).any() else np.nan for curve in curves])
        )

    def history(self, network: int, reached: dict[int, int]) -> History:
        """Return a trial's history with so many epochs of each seed."""
        records = {seed: self._records(network, seed)[:epochs] for seed, epochs in reached.items() if epochs}
        ended = [seed for seed, epochs in reached.items() if epochs == self.epochs]
        return History(records, {seed: self._marks(network, seed) for seed in ended if self._right is not None})

    @cached_property
    def _records(self):
        return cache(self._all_records)

    @cached_property
    def _marks(self):
        return cache(self._end)

    def _all_records(self, network: int, seed: int) -> tuple[Record, ...]:
        seconds = float(self.seconds[network])
        before, after = (UNSEEN,) * 3, (UNSEEN,) * 4
        return tuple(
            Record(*before, float(score), *after, seconds, ()) for score in self._val[seed, network] if score == score
        )

    def _end(self, network: int, seed: int) -> Marks:
        unseen = Right(bytes(-(-self.images // 8)), self.images)
        packed = self._right[seed, network].tobytes()
        return Marks(chosen_epoch(self._val[seed, network]), Right(packed, self.images), unseen)


@dataclass(frozen=True)
class Job:
    """A network that a worker trains with these seeds, from where each of them stands."""

    name: Hashable  # of the trial: the same when it is run on
    network: int
    seeds: tuple[int, ...] = SCREENING


class Contestant(Protocol):
    """A way to search: what a free worker does, and whether a trial goes on after an epoch."""

    seen: Seen

    def next(self) -> Job | None:
        """Return what a free worker does; None where it has to wait, or all is done."""

    def goes_on(self, job: Job, epoch: int, score: float, reached: dict[int, int]) -> bool:
        """Take an epoch, with the mean score over the job's seeds; return whether the worker stays at it.

        `reached` are the epochs of each of the trial's seeds.
        """

    def diverged(self, job: Job, reached: dict[int, int]) -> None:
        """Take it that a trial has ended so."""

    def incumbent(self) -> int | None:
        """Return the network that would win now; at the end that wins. None where none has shown anything."""


@dataclass
class Course:
    """What a search spent, and the network that would have won after each trial's end or pause."""

    epochs: int = 0
    work: float = 0.0  # seconds of all workers
    now: float = 0.0  # seconds since the beginning
    points: list[tuple[int, float, float, int | None]] = field(default_factory=list)  # of the three, and the network

    def winner(self, spent: float = np.inf, by: int = 0) -> int | None:
        """Return which network would have won once so many epochs were spent, or seconds: `by` says which of the three.

        None where nothing had ended by then.
        """
        within = [point[3] for point in self.points if point[by] <= spent]
        return within[-1] if within else None


def simulate(contestant: Contestant, workers: int = WORKERS) -> Course:
    """Run a search on workers that each train one trial at a time.

    As in the product, a trial's seeds run one after another, epoch by epoch; those that are behind catch up first.
    """
    course, seen = Course(), contestant.seen
    reached: dict[Hashable, dict[int, int]] = {}
    under_way: list[tuple[float, int, int, Job]] = []  # when its next epoch ends, the turn, the epoch, the job
    free = workers
    while True:
        while free and (job := contestant.next()):
            _train(job, course, seen, reached.setdefault(job.name, {}), under_way)
            free -= 1
        if not under_way:
            return course
        course.now, _, epoch, job = heapq.heappop(under_way)
        if _goes_on(contestant, job, epoch, reached[job.name]):
            _train(job, course, seen, reached[job.name], under_way)
        else:
            free += 1
            course.points.append((course.epochs, course.work, course.now, contestant.incumbent()))


def _train(job: Job, course: Course, seen: Seen, reached: dict[int, int], under_way: list) -> None:
    """Begin the next epoch of those of a job's seeds that are behind."""
    epoch = min(reached.get(seed, 0) for seed in job.seeds) + 1
    behind = sum(reached.get(seed, 0) < epoch for seed in job.seeds)
    seconds = behind * float(seen.seconds[job.network])
    course.epochs, course.work = course.epochs + behind, course.work + seconds
    heapq.heappush(under_way, (course.now + seconds, course.epochs, epoch, job))


def _goes_on(contestant: Contestant, job: Job, epoch: int, reached: dict[int, int]) -> bool:
    seen = contestant.seen
    score = seen.mean(job.network, job.seeds, epoch)
    if np.isnan(score):
        contestant.diverged(job, reached)
        return False
    for seed in job.seeds:
        reached[seed] = max(epoch, reached.get(seed, 0))
    return contestant.goes_on(job, epoch, score, reached)
