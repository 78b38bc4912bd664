"""What a search draws: points of its space that can be built and keep within its bounds, each once. Pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeps.decisions.bounds import beyond, broken, planned_costs
from sweeps.decisions.outcome import diverged
from sweeps.decisions.points import Points
from sweeps.decisions.records import Drawn, Known, Terms
from sweeps.decisions.samplers import Sampler
from sweeps.decisions.stages import Cell, Search
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History
from trainables.plan import plan_of

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
    planned: Mapping[str, float] = field(default_factory=dict)  # what its network costs, see bounds.PLANNED
    scores: dict[int, float] = field(default_factory=dict)  # epoch → best validation score of the first seed up to it
    history: History = field(default_factory=lambda: History({}))
    running: bool = False
    reason: str | None = None  # of a failure
    among: int = 0  # see Drawn
    taken: int = 0  # likewise

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
    def costs(self) -> dict[str, float]:
        """What it costs, as far as that is known: its network, and the seconds of a full run at the pace so far."""
        records = self.history.records.get(SCREENING[0], ())[: self.epochs]
        if not records:
            return dict(self.planned)
        return {**self.planned, "seconds": sum(each.seconds for each in records) * (self.epochs / len(records))}

    @property
    def drawn(self) -> Drawn:
        """What the store is to know of it."""
        return Drawn(self.key, self.number, self.attempt, self.values, self.among, self.taken)

    def take(self, history: History) -> None:
        """Take over what has been trained."""
        self.history = history
        records = history.records.get(SCREENING[0], ())[: self.epochs]
        best = np.maximum.accumulate([record.val_score for record in records])
        self.scores = {epoch: float(score) for epoch, score in enumerate(best, start=1)}


class Drawing:
    """Draws a search's trials, one after another, and knows all that were drawn. A trial at work goes by begin() and
    end(): what is known of the others is kept, as a sampler is told of all of them at each draw. `hinders` says what
    keeps a trial from being drawn besides: that from there what follows could not be built.
    """

    def __init__(
        self,
        stage: Search,
        start: Trial,
        terms: Terms,
        asked: Iterable[Mapping[str, Any]] = (),
        hinders: Callable[[Trial], str | None] = lambda _: None,
    ) -> None:
        self.stage, self.start, self.terms, self._hinders = stage, start, terms, hinders
        self.asked = list(asked)  # points that somebody has asked for
        self.sampler = Sampler(stage.space, stage.sampler, stage.objectives, first=stage.first)
        self.draws: dict[str, Draw] = {}  # by key, in the order drawn
        self.lessons: Mapping[str, Told] = {}  # of others' trials: what the sampler is told before its own (others.py)
        self.unbuildable: list[tuple[Told, str]] = []  # what was drawn and never trained, and why
        self.used_up = False
        self._points = Points(stage.space, allowed=self.allows)
        self._at_work: dict[str, Draw] = {}
        self._told: dict[str, Told] = {}  # of the draws, by key
        self._failed: list[Told] = []  # of what was never trained
        self._attempts = 0
        self._numbers: set[int] = set()
        self._free = 0  # the lowest number that no trial has, or less

    @property
    def told(self) -> list[Told]:
        """All draws as samplers know them, in the order drawn."""
        for draw in self._at_work.values():
            self._note(draw)
        return sorted([*self._told.values(), *self._failed], key=operator.attrgetter("number"))

    @property
    def left(self) -> int:
        """The number of trials still to be drawn."""
        return 0 if self.used_up else max(0, self.stage.trials - len(self.draws))

    @property
    def running(self) -> bool:
        """Whether a trial is at work."""
        return bool(self._at_work)

    def begin(self, draw: Draw) -> None:
        """Take note that a trial is at work."""
        draw.running = True
        self._at_work[draw.key] = draw

    def end(self, draw: Draw, history: History, reason: str | None) -> None:
        """Take over what has been trained of a trial that is no longer at work; it failed where there is a `reason`."""
        draw.running, draw.reason = False, reason
        draw.take(history)
        self._at_work.pop(draw.key, None)
        self._note(draw)

    def value(self, draw: Draw, objective: str) -> float:
        """Return an objective's value for a trial run in full.

        That is its best validation score, its number of parameters, or its seconds of training.
        """
        return draw.scores[draw.epochs] if objective == "score" else draw.costs[objective]

    def broken(self, draw: Draw) -> str | None:
        """Return in words which of the search's bounds a trial breaks, as far as that is known; None where none."""
        return broken(self.stage.constraint, draw.costs) if self.stage.constraint else None

    def within_first(self, ranked: Iterable[Draw]) -> list[Draw]:
        """Return the trials in their order, last those that break a bound."""
        return sorted(ranked, key=lambda draw: self.broken(draw) is not None)

    def missing(self) -> list[Mapping[str, Any]]:
        """Return the points that were asked for and have not been drawn yet."""
        return [values for values in self.asked if not self.wrong_with(values)]

    def wrong_with(self, values: Mapping[str, Any]) -> str | None:
        """Return in words why a point cannot be drawn; None where it can."""
        found = self._trial(values)
        return found if isinstance(found, str) else None

    def new(self, wanted: Iterable[Mapping[str, Any]] = ()) -> Draw | None:
        """Draw a trial that can be built and was not drawn before. None where the space seems to hold no more.

        The points `wanted` are tried first, in order. What cannot be built, or the search's bounds forbid, is drawn
        anew, as if nothing had been drawn: no sampler learns of it.
        """
        first = filter(self.allows, wanted)
        for _ in range(TRIES):
            attempt = self._attempts
            values = next(first, None) or self.sampler.suggest(self._all_told(), attempt, self._points)
            if values is None:
                break
            found = self._trial(values)
            if isinstance(found, Trial):
                return self._add(self._free_number(), attempt, values, found)
            self._failed.append(Told(attempt, values, Status.FAILED, {}))
            self.unbuildable.append((self._failed[-1], found))
            self._points.add(values)
            self._attempts += 1
        self.used_up = True
        return None

    def as_told(self, draw: Draw) -> Told:
        """Return a trial as samplers know it."""
        over = beyond(self.stage.constraint, draw.costs) if self.stage.constraint else {}
        return Told(draw.attempt, draw.values, draw.state, dict(draw.scores), self._objectives(draw), over)

    def recall(self, drawn: Drawn, known: Known | None) -> Draw | None:
        """Take over a trial that an earlier run drew, with what is known of it.

        None where it is not known, or the search is no longer one that would draw it.
        """
        try:
            self.stage.space.flat(drawn.values)
            trial = self.start.with_values(drawn.values)
        except UserError:
            return None
        if known is None or self.terms.key(trial) != drawn.key or not self.allows(drawn.values):
            return None
        draw = self._add(drawn.number, drawn.attempt, drawn.values, trial)
        draw.among, draw.taken = drawn.among, drawn.taken
        self.end(draw, known.history, known.reason if diverged(known.reason) else None)
        return draw

    def _add(self, number: int, attempt: int, values: Mapping[str, Any], trial: Trial) -> Draw:
        cell = Cell(f"#{number}", (number,), trial)
        draw = Draw(number, attempt, values, cell, self.terms.key(trial), self.planned(trial))
        self.draws[draw.key] = draw
        self._numbers.add(number)
        self._attempts = max(self._attempts, attempt + 1)
        self._points.add(values)
        self._note(draw)
        return draw

    def _all_told(self) -> list[Told]:
        """Return what the sampler knows: others' trials but those drawn here too, then the search's own."""
        return [*(told for key, told in self.lessons.items() if key not in self.draws), *self.told]

    def _note(self, draw: Draw) -> None:
        self._told[draw.key] = self.as_told(draw)

    def _trial(self, values: Mapping[str, Any]) -> Trial | str:
        """Return a point's trial; in words, what keeps it from being trained: its network, a bound, or its twin."""
        found = self._built(values)
        twin = self.draws.get(self.terms.key(found)) if isinstance(found, Trial) else None
        return f"the same network and training as {twin.cell.label}" if twin else found

    def _built(self, values: Mapping[str, Any]) -> Trial | str:
        """Return a point's trial, whether it was drawn or not; else what keeps it from being built, or is forbidden."""
        try:
            trial = self.start.with_values(values)
            costs = self.planned(trial)
        except UserError as error:
            return str(error)
        return broken(self.stage.constraint, costs) or self._hinders(trial) or trial

    def planned(self, trial: Trial) -> dict[str, float]:
        """Return what a trial's network costs; see bounds.py. Raises UserError where it cannot be built."""
        return planned_costs(plan_of(trial, self.terms.image_shape, self.terms.classes))

    def allows(self, values: Mapping[str, Any]) -> bool:
        """Tell whether a point can be built, within the bounds that the plan knows of, and so can what follows."""
        return isinstance(self._built(values), Trial)

    def _free_number(self) -> int:
        while self._free in self._numbers:
            self._free += 1
        return self._free

    def _objectives(self, draw: Draw) -> tuple[float, ...] | None:
        if draw.state != Status.DONE:
            return None
        return tuple(self.value(draw, name) for name in self.stage.objectives)
