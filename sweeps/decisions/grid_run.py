"""A grid under way: all its trials are known from the start. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from sweeps.decisions.ledger import Ledger
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Decision, StageResult, Task
from sweeps.decisions.stages import Cell, Stage
from trainables.config import Trial
from trainables.history import History


class GridRun:
    """The trials of a stage from its start. Those that nobody has run go to the ledger's queue.

    `before` is the stage whose winner it starts from.
    """

    judges: ClassVar[bool] = False
    decisions: ClassVar[Sequence[Decision]] = ()

    def __init__(self, stage: Stage, start: Trial, ledger: Ledger, before: StageResult | None = None) -> None:
        self.stage, self.start, self.ledger, self.before = stage, start, ledger, before
        self.cells = [(cell, ledger.terms.key(cell.trial)) for cell in stage.cells(start)]
        for cell, key in self.cells:
            self._note(cell, key)

    def next(self) -> Task | None:
        """Return None: all trials are in the queue."""
        return None

    def ready(self) -> int:
        """Return 0, likewise."""
        return 0

    def goes_on(self, key: str, epoch: int, score: float) -> bool:  # noqa: ARG002
        """Return True: all trials run in full, unless ASHA stops them."""
        return True

    def ended(self, key: str, history: History, reason: str | None) -> None:
        """Do nothing: the ledger has it."""

    def blames(self, outcome: Outcome) -> bool:  # noqa: ARG002
        """Return True: every trial was asked for by name."""
        return True

    def result(self) -> StageResult | None:
        """Return the outcomes and the winner once all trials have ended."""
        outcomes = self.ledger.outcomes
        if not all(key in outcomes for _, key in self.cells):
            return None
        found = tuple(outcomes[key].labelled(cell) for cell, key in self.cells)
        return StageResult(self.stage, found, self.ledger.terms.choose(found, self.before), start=self.start)

    def _note(self, cell: Cell, key: str) -> None:
        """Take a trial's outcome from the store, or have it run, unless another stage has seen to that."""
        ledger = self.ledger
        if self._was_only_screened(cell, key):
            del ledger.outcomes[key]  # here it runs in full
        elif key in ledger.outcomes or key in ledger.tasks:
            return
        known = ledger.known.get(key)
        if known and not ledger.wants(cell.trial, known):
            ledger.outcomes[key] = ledger.outcome(cell, key, known.history, ledger.terms.seeds)
            ledger.reused.append(key)
        else:
            ledger.tasks[key] = Task(self.stage.name, cell, key, known, ledger.terms.seeds)
            ledger.queue.append(ledger.tasks[key])

    def _was_only_screened(self, cell: Cell, key: str) -> bool:
        """Tell whether a search has run the trial, with fewer seeds or epochs than are asked for here."""
        task, terms = self.ledger.tasks.get(key), self.ledger.terms
        if task is None or task.drawn is None:
            return False
        return not self.ledger.outcomes[key].history.covers(terms.seeds, cell.trial.training.epochs)
