"""All trials of a command: what the store had of them, what was given out, and what came of it. Pure.

The stages share it, so that a trial that several of them have runs once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Known, Task, Terms
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.history import History


@dataclass(frozen=True)
class Waiting:
    """A trial that has had some epochs, and whose next ones come after other trials': where it stands."""

    task: Task
    history: History


@dataclass
class Ledger:
    """The trials, by key."""

    terms: Terms
    known: dict[str, Known] = field(default_factory=dict)  # what the store had
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)  # given out, or to be
    queue: list[Task] = field(default_factory=list)  # to be given out, the next one first
    alone: list[Task] = field(default_factory=list)  # likewise, of those that need a GPU to themselves
    running: set[str] = field(default_factory=set)  # keys of those given out, until they come back
    waiting: dict[str, Waiting] = field(default_factory=dict)  # by key, those to be run on later
    closed: bool = False  # whether nothing more is given out
    cut: set[str] = field(default_factory=set)  # keys of those that wait since then, until it is opened again
    dropped: dict[str, str] = field(default_factory=dict)  # by key, who has asked that it is run no more, and why
    reused: list[str] = field(default_factory=list)  # keys that the store had
    lent: dict[str, Known] = field(default_factory=dict)  # what other studies have of trials that a search may draw
    taken: list[Task] = field(default_factory=list)  # drawn of these: to be stored as the study's own, not to be run
    restarts: dict[str, list[str]] = field(default_factory=dict)  # why each was needed
    counts: Counter[Status] = field(default_factory=Counter)  # of the outcomes, as they were noted
    best: Outcome | None = None  # of those that ran in full, the first of equals

    @property
    def ahead(self) -> list[Task]:
        """Those to be given out, and those to be run on later."""
        return [*self.alone, *self.queue, *(each.task for each in self.waiting.values())]

    def pop(self, *, alone: bool) -> Task | None:
        """Return the next one to be given out; None where there is none. `alone`: one that needs a GPU to itself."""
        waits = self.alone if alone else self.queue
        return waits.pop(0) if waits else None

    def take_out(self, key: str) -> None:
        """Have a trial wait no more, be it to be given out or to be run on."""
        self.queue = [task for task in self.queue if task.key != key]
        self.alone = [task for task in self.alone if task.key != key]
        self.waiting.pop(key, None)

    def name(self, outcome: Outcome) -> str:
        """Return what a trial is called: with its stage where it was run here."""
        return self.tasks[outcome.key].name if outcome.key in self.tasks else outcome.cell.label

    def cuts(self, key: str, epoch: int) -> bool:
        """Tell whether a trial that would run on after an epoch does not: it was dropped; or it waits, since it is
        closed.
        """
        if key in self.dropped:
            return True
        if self.closed and epoch < self.tasks[key].cell.trial.training.epochs:
            self.cut.add(key)
        return key in self.cut

    def restarted(self, key: str, reason: str) -> int:
        """Note why a trial under way starts again, and return how often it has."""
        self.restarts.setdefault(key, []).append(reason)
        return len(self.restarts[key])

    def note(self, outcome: Outcome) -> None:
        """Take what a trial came to; it replaces what it came to before. The panel asks for the counts all the time."""
        self.forget(outcome.key)
        self.outcomes[outcome.key] = outcome
        self.counts[outcome.status] += 1
        if outcome.status == Status.DONE and (self.best is None or outcome.score > self.best.score):
            self.best = outcome

    def forget(self, key: str) -> None:
        """Take a trial's outcome back, where it has one: it runs again."""
        gone = self.outcomes.pop(key, None)
        if gone is None:
            return
        self.counts[gone.status] -= 1
        if self.best and self.best.key == key:
            full = (outcome for outcome in self.outcomes.values() if outcome.status == Status.DONE)
            self.best = max(full, key=lambda outcome: outcome.score, default=None)

    def outcome(
        self, cell: Cell, key: str, history: History, seeds: tuple[int, ...], reason: str | None = None
    ) -> Outcome:
        """Return what a trial came to: dropped, where somebody asked for that; failed where there is a `reason`, done
        where it ran in full, else censored.
        """
        full = history.covers(seeds, cell.trial.training.epochs)
        status = Status.FAILED if reason else Status.DONE if full else Status.CENSORED
        if key in self.dropped:
            status, reason = Status.DROPPED, self.dropped[key]
        seen = history.cut(seeds, cell.trial.training.epochs)
        return Outcome(cell, key, status, seen, reason, tuple(self.restarts.get(key, ())))

    def wants(self, trial: Trial, known: Known, seeds: tuple[int, ...]) -> bool:
        """Tell whether a trial that the store has must still run with these seeds: with early stopping, what was
        stopped stays so.
        """
        if known.history.covers(seeds, trial.training.epochs):
            return False
        stopped = known.status == Status.CENSORED and set(seeds) <= set(known.history.seeds)
        return not (self.terms.early_stopping and stopped)
