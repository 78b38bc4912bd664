"""A grid under way: all its trials are known from the start, and some may stop early. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sweeps.decisions.judge import Judge
from sweeps.decisions.ledger import Ledger
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Decision, Known, StageResult, Task
from sweeps.decisions.seeding import Seeding
from sweeps.decisions.stages import Cell, Recheck, Stage
from sweeps.decisions.status import Status
from sweeps.decisions.stopping import ASHA, Behind
from trainables.config import Trial
from trainables.history import History


class GridRun:
    """The trials of a stage from its start. Those that nobody has run go to the ledger's queue.

    `before` is the stage whose winner it starts from, `decided` what earlier runs of this one decided.
    """

    def __init__(
        self,
        stage: Stage | Recheck,
        start: Trial,
        ledger: Ledger,
        before: StageResult | None = None,
        decided: Sequence[Decision] = (),
    ) -> None:
        self.stage, self.start, self.ledger, self.before = stage, start, ledger, before
        self.cells = [(cell, ledger.terms.key(cell.trial)) for cell in stage.cells(start)]
        self.judges = not (ledger.terms.early_stopping and ledger.terms.rule == ASHA)
        self._made_before = decided
        terms = ledger.terms
        self._seeding = Seeding(terms.seeds, terms.seeding) if terms.seeding else None
        self._judge = self._appointed()
        for cell, key in self.cells:
            self._note(cell, key)
        # those that another stage runs, or an earlier start has run: the judge has yet to hear of them
        self._elsewhere = [key for _, key in self.cells if not self._is_own(key)]

    @property
    def decisions(self) -> Sequence[Decision]:
        """All decisions in order, those of earlier runs first."""
        made = self._judge.decisions if self._judge else []
        resumed: list[Decision] = [{"decision": "resumed"}] if self._made_before and made else []
        return [*self._made_before, *resumed, *made]

    def next(self) -> Task | None:
        """Return the next of the trials that wait to run on; the others are in the queue."""
        if not (self._judge and self.ready()):
            return None
        return self.ledger.waiting.pop(self._judge.first_of(self.ledger.waiting)).task

    def ready(self) -> int:
        """Return how many trials wait to run on."""
        return self._judge.how_many_of(self.ledger.waiting) if self._judge else 0

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Take a running trial's score; return whether it runs on. One that does not has stopped, or waits."""
        if not self._judge:
            return True
        self._take_over_ended(self._judge)
        return self._judge.goes_on(key, epoch, score, wanted=bool(self.ledger.queue))

    def waits(self, key: str) -> bool:
        """Tell whether a trial that does not go on now is to do so later."""
        return self._judge is not None and self._judge.waits(key)

    def let_go(self) -> Sequence[str]:
        """Return the keys of the trials that wait no longer, as others have meanwhile shown that they are behind."""
        return self._judge.let_go(self.ledger.waiting) if self._judge else ()

    def ended(self, key: str, history: History, reason: str | None) -> None:  # noqa: ARG002
        """Take a trial's end; the ledger has it."""
        if self._judge and reason:
            self._judge.failed(key, reason)

    def blames(self, outcome: Outcome) -> bool:  # noqa: ARG002
        """Return True: every trial was asked for by name."""
        return True

    def result(self) -> StageResult | None:
        """Return the outcomes and the winner once all trials have ended."""
        outcomes, terms = self.ledger.outcomes, self.ledger.terms
        if not all(key in outcomes for _, key in reversed(self.cells)):  # the last ones end last: seen at once
            return None
        found = tuple(self._outcome(cell, key) for cell, key in self.cells)
        if self._seeding and (further := self._seeding.further(found, terms.yardstick, terms.spreads(self.before))):
            self._give_seeds(set(further))
            return self.result() if all(key in outcomes for key in further) else None
        return StageResult(self.stage, found, terms.choose(found, self.before), start=self.start)

    def so_far(self) -> StageResult:
        """Return the outcomes of the trials that have ended."""
        ended = self.ledger.outcomes
        found = tuple(self._outcome(cell, key) for cell, key in self.cells if key in ended)
        return StageResult(self.stage, found, start=self.start)

    def _note(self, cell: Cell, key: str) -> None:
        """Take a trial's outcome from the store, or have it run, unless another stage has seen to that."""
        ledger = self.ledger
        if self._was_only_screened(cell, key):
            ledger.forget(key)  # here it runs in full
        elif key in ledger.outcomes or key in ledger.tasks:
            return
        known = ledger.known.get(key)
        if key in ledger.dropped:
            ledger.note(ledger.outcome(cell, key, known.history if known else History({}), ledger.terms.seeds))
        elif known and not ledger.wants(cell.trial, known, self._seeds(key)):
            ledger.note(ledger.outcome(cell, key, known.history, self._seeds(key)))
            ledger.reused.append(key)
        else:
            ledger.tasks[key] = Task(self.stage.name, cell, key, known, self._seeds(key))
            ledger.queue.append(ledger.tasks[key])
            if known and self._judge and set(self._seeds(key)) <= set(known.history.seeds):
                self._take_over(self._judge, key, known.history)

    def _seeds(self, key: str) -> tuple[int, ...]:
        """Return the seeds that a trial has here by now."""
        return self._seeding.of(key) if self._seeding else self.ledger.terms.seeds

    def _outcome(self, cell: Cell, key: str) -> Outcome:
        """Return what a trial came to, with the seeds that it has here: another stage may have given it more."""
        outcome = self.ledger.outcomes[key].labelled(cell)
        if self._seeding and outcome.status == Status.DONE:
            return replace(outcome, history=outcome.history.cut(self._seeds(key), cell.trial.training.epochs))
        return outcome

    def _give_seeds(self, keys: Collection[str]) -> None:
        """Have these trials run on with one more seed, unless it is known already."""
        ledger, again = self.ledger, set[str]()
        for cell, key in self.cells:
            if key not in keys or ledger.outcomes[key].history.covers(self._seeds(key), cell.trial.training.epochs):
                continue
            ran, known = ledger.outcomes[key].history, ledger.known.get(key)
            ledger.forget(key)
            if known and not ledger.wants(cell.trial, known, self._seeds(key)):
                ledger.note(ledger.outcome(cell, key, known.history, self._seeds(key)))
                continue
            so_far = Known(Status.INTERRUPTED, ran, known.run_id if known else "")
            ledger.tasks[key] = Task(self.stage.name, cell, key, so_far, self._seeds(key))
            ledger.queue.append(ledger.tasks[key])
            again.add(key)
        ledger.reused = [key for key in ledger.reused if key not in again]

    def _was_only_screened(self, cell: Cell, key: str) -> bool:
        """Tell whether a search has run the trial, with fewer seeds or epochs than are asked for here."""
        task = self.ledger.tasks.get(key)
        if task is None or task.drawn is None:
            return False
        return not self.ledger.outcomes[key].history.covers(self._seeds(key), cell.trial.training.epochs)

    def _appointed(self) -> Judge | None:
        """Return who says which trial stops early; None where all run in full, or Ray's ASHA decides.

        All run in full where no formula tells what the images add to a score's noise, as for mAP, and where trials
        differ in their number of epochs or their schedule of learning rates: then curves cross by design.
        """
        terms, recipes = self.ledger.terms, [cell.trial.training for cell, _ in self.cells]
        if not (terms.early_stopping and self.judges and terms.yardstick.metric == "accuracy"):
            return None
        if len({(recipe.epochs, recipe.schedule) for recipe in recipes}) > 1:
            return None
        rule = Behind(recipes[0].epochs, terms.yardstick.images)
        return Judge(rule, {key: cell.label for cell, key in self.cells})

    def _is_own(self, key: str) -> bool:
        return key in self.ledger.tasks and self.ledger.tasks[key].stage == self.stage.name

    def _take_over_ended(self, judge: Judge) -> None:
        """Hold trials also against those that ran in full elsewhere."""
        ended = [key for key in self._elsewhere if key in self.ledger.outcomes]
        if ended:
            self._elsewhere = [key for key in self._elsewhere if key not in self.ledger.outcomes]
        for key in ended:
            if self.ledger.outcomes[key].status == Status.DONE:
                self._take_over(judge, key, self.ledger.outcomes[key].history)

    def _take_over(self, judge: Judge, key: str, history: History) -> None:
        seen = history.cut(self._seeds(key), judge.rule.epochs)
        judge.take_over(key, [float(score) for score in seen.curve("val_score").mean(axis=0)])
