"""What a search draws: points of its space that can be built, each once. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeps.decisions.outcome import diverged
from sweeps.decisions.records import Drawn, Known, Terms
from sweeps.decisions.samplers import Sampler, Told
from sweeps.decisions.space import unbuildable
from sweeps.decisions.stages import Cell, Search
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History
from trainables.plan import parameters, plan_of

TRIES = 200  # to draw a trial that can be built and was not drawn yet; then the space counts as used up
SCREENING = (0,)  # the seed that trials are screened with


@dataclass(eq=False)
class Draw:
    """A trial of the search, and how far it has come."""

    number: int
    attempt: int
    values: Mapping[str, Any]
    cell: Cell
    key: str
    scores: dict[int, float] = field(default_factory=dict)  # epoch → best validation score of the first seed up to it
    history: History = field(default_factory=lambda: History({}))
    running: bool = False
    reason: str | None = None  # of a failure

    @property
    def epochs(self) -> int:
        """The number of epochs of a full run."""
        return self.cell.trial.training.epochs

    @property
    def state(self) -> Status:
        """Where it stands; one that is paused counts as censored."""
        if self.reason:
            return Status.FAILED
        if self.running:
            return Status.RUNNING
        return Status.DONE if self.epochs in self.scores else Status.CENSORED

    @property
    def drawn(self) -> Drawn:
        """What the store is to know of it."""
        return Drawn(self.key, self.number, self.attempt, self.values)

    def take(self, history: History) -> None:
        """Take over what has been trained."""
        self.history = history
        records = history.records.get(SCREENING[0], ())[: self.epochs]
        best = np.maximum.accumulate([record.val_score for record in records])
        self.scores = {epoch: float(score) for epoch, score in enumerate(best, start=1)}


class Drawing:
    """Draws a search's trials, one after another, and knows all that were drawn."""

    def __init__(self, stage: Search, start: Trial, terms: Terms) -> None:
        self.stage, self.start, self.terms = stage, start, terms
        self.sampler = Sampler(stage.space, stage.sampler, stage.objectives, first=stage.first)
        self.draws: dict[str, Draw] = {}  # by key, in the order drawn
        self.unbuildable: list[tuple[Told, str]] = []  # what was drawn and never trained, and why
        self.used_up = False

    @property
    def told(self) -> list[Told]:
        """All draws as samplers know them, in the order drawn."""
        drawn = [
            Told(draw.attempt, draw.values, draw.state, dict(draw.scores), self._objectives(draw))
            for draw in self.draws.values()
        ]
        return sorted([*drawn, *(told for told, _ in self.unbuildable)], key=lambda told: told.number)

    @property
    def left(self) -> int:
        """The number of trials still to be drawn."""
        return 0 if self.used_up else max(0, self.stage.trials - len(self.draws))

    def value(self, draw: Draw, objective: str) -> float:
        """Return an objective's value for a trial run in full.

        That is its best validation score, its number of parameters, or its seconds of training.
        """
        if objective == "score":
            return draw.scores[draw.epochs]
        if objective == "parameters":
            return float(_parameters(draw.cell.trial, self.terms.image_shape, self.terms.classes))
        return sum(record.seconds for record in draw.history.records[SCREENING[0]][: draw.epochs])

    def new(self, wanted: Iterable[Mapping[str, Any]] = ()) -> Draw | None:
        """Draw a trial that can be built and was not drawn before. None where the space seems to hold no more.

        The points `wanted` are tried first, in order.
        """
        first = iter(wanted)
        for _ in range(TRIES):
            told = self.told
            attempt = max((each.number for each in told), default=-1) + 1
            values = next(first, None) or self.sampler.suggest(told, attempt)
            if values is None:
                break
            reason = unbuildable(self.start, values, self.terms.image_shape, self.terms.classes) or self._twin(values)
            if reason is None:
                return self._add(self._free_number(), attempt, values, self.start.with_values(values))
            self.unbuildable.append((Told(attempt, values, Status.FAILED, {}), reason))
        self.used_up = True
        return None

    def recall(self, drawn: Drawn, known: Known | None) -> Draw | None:
        """Take over a trial that an earlier run drew, with what is known of it.

        None where it is not known, or the search is no longer one that would draw it.
        """
        try:
            self.stage.space.flat(drawn.values)
            trial = self.start.with_values(drawn.values)
        except UserError:
            return None
        if known is None or self.terms.key(trial) != drawn.key:
            return None
        draw = self._add(drawn.number, drawn.attempt, drawn.values, trial)
        draw.take(known.history)
        draw.reason = known.reason if diverged(known.reason) else None
        return draw

    def _add(self, number: int, attempt: int, values: Mapping[str, Any], trial: Trial) -> Draw:
        cell = Cell(f"#{number}", (number,), trial)
        draw = Draw(number, attempt, values, cell, self.terms.key(trial))
        self.draws[draw.key] = draw
        return draw

    def _twin(self, values: Mapping[str, Any]) -> str | None:
        """Return which earlier draw a point is the same as, in words; None where it is new."""
        twin = self.draws.get(self.terms.key(self.start.with_values(values)))
        return f"the same network and training as {twin.cell.label}" if twin else None

    def _free_number(self) -> int:
        taken = {draw.number for draw in self.draws.values()}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def _objectives(self, draw: Draw) -> tuple[float, ...] | None:
        if draw.state != Status.DONE:
            return None
        return tuple(self.value(draw, name) for name in self.stage.objectives)


@functools.cache  # samplers ask for it at each draw
def _parameters(trial: Trial, image_shape: tuple[int, int, int], classes: int) -> int:
    return parameters(plan_of(trial, image_shape, classes))
