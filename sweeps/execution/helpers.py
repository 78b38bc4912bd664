"""Which trials under way get helpers, where a worker would have nothing else to do; kept by the driver."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweeps.decisions.records import Task
from sweeps.execution import desk
from sweeps.execution.desk import DeskActor
from sweeps.execution.histories import Histories
from sweeps.execution.messages import Help

WORTH = 10.0  # seconds that a trial has left at least: a worker that helps may have to start, and load the images


@dataclass
class Led:
    """A trial under way: the worker that has it, and those that help, by name."""

    task: Task
    actor: Any
    jobs: dict[str, Help] = field(default_factory=dict)


class Helpers:
    """Sends helpers to the trials that have the longest time left. On the CPU alone: a GPU trains all replicates of a
    trial at once.
    """

    def __init__(self, histories: Histories, start: Callable[[], DeskActor] = desk.start) -> None:
        self._histories, self._start = histories, start
        self._led: dict[str, Led] = {}  # by the trial's key
        self._lost: set[str] = set()  # keys of trials that have lost a helper, and get none again
        self._desk: DeskActor | None = None

    def begin(self, task: Task, actor: Any) -> None:
        """Note that a worker has taken up a trial."""
        self._led[task.key] = Led(task, actor)

    def wanted(self) -> bool:
        """Tell whether a trial would end sooner with one more helper."""
        return any(self._left(each) > 0 for each in self._led.values())

    def send(self, device: str) -> Help | None:
        """Have a worker help the trial with the longest time left, and return its job; None where none needs help."""
        led = max(self._led.values(), key=self._left, default=None)
        if led is None or self._left(led) <= 0:
            return None
        self._desk = self._desk or self._start()
        job = Help(uuid.uuid4().hex, led.task.key, led.task.cell.trial, device, self._desk)
        led.jobs[job.name] = job
        led.actor.join.remote(job)
        return job

    def names(self, key: str) -> list[str]:
        """Return the names of the jobs with a trial."""
        return list(self._led[key].jobs) if key in self._led else []

    def dismiss(self, key: str) -> None:
        """End what helpers do for a trial that has ended, or has lost its worker."""
        led = self._led.pop(key, None)
        for job in led.jobs.values() if led else ():
            job.desk.close(job.inbox, job.outbox)

    def lost(self, job: Help) -> bool:
        """Note that a helper has gone: its trial goes on from its last snapshot, alone. False where that had ended."""
        led = self._led.get(job.key)
        if led is None or job.name not in led.jobs:
            return False
        self.dismiss(job.key)
        self._lost.add(job.key)
        self.begin(led.task, led.actor)
        self._desk = None  # it may be what was lost
        return True

    def _left(self, led: Led) -> float:
        """Return how many seconds a trial has left with its helpers; 0 where one more would be of no use."""
        task, workers = led.task, 1 + len(led.jobs)
        if led.task.key in self._lost:
            return 0.0
        left = self._histories.seconds_left(task.key, task.seeds, task.cell.trial.training.epochs)
        seconds = sum(left) / workers
        return seconds if seconds > WORTH and len(left) > workers else 0.0
