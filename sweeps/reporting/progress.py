"""How far a study has come: trials done of all, and the time that the rest takes at the pace so far."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import NamedTuple

from sweeps.decisions.agenda import Agenda, searches, to_come
from sweeps.decisions.ahead import Ahead, of_search
from sweeps.decisions.records import Task
from trainables.config import Trial

Running = Mapping[str, tuple[Task, int]]  # by key, the trials under way and the epochs they have run


class Count(NamedTuple):
    """Trials that have ended, of all that are foreseen; `share`: of all, with the parts of those that have begun."""

    done: int
    total: int
    share: float


class Progress:
    """Counts the work as it is done."""

    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda
        self.began: float | None = None  # when the first trial was taken up
        self.worked = 0.0  # the work of the epochs seen so far
        # Each pair is one value: several threads ask. The queue as last gone through, and the work of none of its
        # trials, of its last one, of its last two, …
        self._seen: tuple[list[Task], list[float]] = [], [0.0]
        self._to_come: tuple[list[Trial], float] = [], 0.0  # likewise, as it was, and its work in all

    def begin(self) -> None:
        """Note that a trial has been taken up: from the first on the pace is measured."""
        self.began = self.began or time.monotonic()

    def rest(self, seconds: float) -> None:
        """Note that for so long nothing was to be run: that is no part of the pace."""
        if self.began is not None:
            self.began += seconds

    def note(self, task: Task) -> None:
        """Count an epoch of a trial."""
        self.worked += self.work(task.cell.trial) * len(task.seeds)

    def work(self, trial: Trial) -> float:
        """Return what an epoch of a trial takes with one seed."""
        return self.agenda.urgency.effort(trial)

    def count(self, running: Running) -> Count:
        """Count the trials, those that earlier runs have done among them."""
        searches = self._searches()
        ended = {*self.agenda.outcomes, *self.agenda.reused} - running.keys()
        done = len(ended) + sum(each.again for each in searches)
        begun = [*running.values(), *self._laid_aside()]
        parts = [min(1.0, epoch / task.cell.trial.training.epochs) for task, epoch in begun]
        ledger = self.agenda.ledger
        expected = sum(map(len, (ledger.alone, ledger.queue, ledger.waiting, to_come(self.agenda))))
        total = done + len(running) + expected + sum(each.trials for each in searches)
        return Count(done, total, (done + sum(parts)) / max(1, total))

    def seconds_left(self, running: Running) -> float | None:
        """Estimate the seconds left if no trial of a grid is stopped early. None before the first epoch."""
        if not self.worked or self.began is None:
            return None
        seeds = len(self.agenda.terms.seeds)
        ahead = self._expected() * seeds
        ahead += sum(each.work for each in self._searches())
        ahead -= sum(self.work(task.cell.trial) * epoch * len(task.seeds) for task, epoch in self._laid_aside())
        for task, epoch in running.values():
            if not task.drawn:  # a search's are in its own estimate
                ahead += self.work(task.cell.trial) * (task.cell.trial.training.epochs - epoch) * len(task.seeds)
        return ahead / self.worked * (time.monotonic() - self.began)

    def _expected(self) -> float:
        """Return the work of the trials ahead of those given out, with one seed."""
        ledger = self.agenda.ledger
        apart = [*ledger.alone, *(each.task for each in list(ledger.waiting.values()))]
        return self._queued() + self._beyond() + sum(self._whole(task.cell.trial) for task in apart)

    def _queued(self) -> float:
        """Return the work of the queue. Mostly it has lost its first trials since: then that is known."""
        queue, (seen, from_its_end) = list(self.agenda.ledger.queue), self._seen
        known = seen[len(seen) - len(queue) :]
        if not queue or len(known) < len(queue) or known[0] is not queue[0] or known[-1] is not queue[-1]:
            work = (self._whole(task.cell.trial) for task in reversed(queue))
            from_its_end = list(itertools.accumulate(work, initial=0.0))
            self._seen = queue, from_its_end
        return from_its_end[len(queue)]

    def _beyond(self) -> float:
        """Return the work of stages that are not open yet."""
        beyond, (seen, in_all) = to_come(self.agenda), self._to_come
        if beyond is not seen:
            in_all = sum(map(self._whole, beyond))
            self._to_come = beyond, in_all
        return in_all

    def _whole(self, trial: Trial) -> float:
        return self.work(trial) * trial.training.epochs

    def _laid_aside(self) -> list[tuple[Task, int]]:
        """Return the trials that wait until others have come as far, and the epochs they have run."""
        return [(each.task, each.history.epochs) for each in list(self.agenda.ledger.waiting.values())]

    def _searches(self) -> list[Ahead]:
        study = self.agenda.study
        return [of_search(stage, run, study.base(stage), self.work) for stage, run in searches(self.agenda)]
