"""The screening of a search's trials: up to which epoch each runs for now, by the rule, and what was decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeps.decisions.drawing import Draw
from sweeps.decisions.records import Decision
from sweeps.decisions.rules import Rule
from sweeps.decisions.status import Status

TAKEN = "taken"  # the decision that a trial was drawn which another study has trained


class Screening:
    """The trials that are screened, each with one seed; `draws` are those drawn so far, by key."""

    def __init__(self, rule: Rule, draws: Mapping[str, Draw]) -> None:
        self.rule, self._draws = rule, draws
        self.decisions: list[Decision] = []  # in order; the same events give the same decisions
        self._limits: dict[int, int] = {}  # by number, the epoch up to which a trial runs for now
        self._due: int | None = None  # how many trials the rule has run on now; None: something has happened since

    def begin(self, draw: Draw) -> None:
        """Take a new trial."""
        self._limits[draw.number] = self.rule.first(draw.number, draw.values)
        self._decided("first", draw, values=draw.values, runs_on_to=self._limits[draw.number])

    def goes_on(self, draw: Draw, epoch: int) -> bool:
        """Take an epoch that a running trial has a score of; return whether it runs on, or is paused."""
        if epoch < self._limits[draw.number]:
            return True
        self.something_happened()
        limit = self._note(draw, epoch)
        self._limits[draw.number] = limit or epoch
        return limit is not None

    def ended(self, draw: Draw) -> bool:
        """Take a trial's end or pause; return whether it was called due meanwhile, and is to run on."""
        if draw.reason:
            self.rule.drop(draw.number)
            self._decided("drop", draw, reason=draw.reason)
            return False
        if draw.state == Status.DONE:  # Tune asks nobody whether a full run goes on
            self._note(draw, draw.epochs, runs_on=False)
            return False
        return len(draw.scores) < self._limits[draw.number]

    def adopt(self, draw: Draw, lender: Mapping[str, Any]) -> None:
        """Take over a new trial as another study has trained it; `lender` says which one."""
        self.something_happened()
        self.rule.adopt(draw.number, draw.scores, draw.values)
        self._decided(TAKEN, draw, scores=list(draw.scores.values()), **lender)

    def beyond(self, draw: Draw, why: str) -> None:
        """Note that a trial is beyond one of the search's bounds, and cannot win."""
        self._decided("beyond", draw, reason=why)

    def promoted(self) -> Draw | None:
        """Return the next trial that the rule calls due, of those whose pause is complete; None where there is none."""
        while due := self.rule.due():
            number, limit = due
            draw = next(draw for draw in self._draws.values() if draw.number == number)
            self._limits[number] = limit
            self._decided("due", draw, runs_on_to=limit)
            if not draw.running:
                return draw
        return None

    def ready(self) -> int:
        """Return how many trials the rule has run on now."""
        if self._due is None:
            self._due = self.rule.ready()
        return self._due

    def something_happened(self) -> None:
        """Have the rule asked again how many trials it has run on."""
        self._due = None

    def _note(self, draw: Draw, epoch: int, *, runs_on: bool = True) -> int | None:
        score = draw.scores[epoch]
        limit = self.rule.note(draw.number, epoch, score)
        self._decided("note", draw, epoch=epoch, score=score, runs_on_to=limit if runs_on else None)
        return limit

    def _decided(self, what: str, draw: Draw, **how: Any) -> None:
        self.decisions.append({"decision": what, "number": draw.number} | how)
