"""A search stage under way: what it draws, who runs on, and at last the best confirmed in full with several seeds.
Pure.

First the screening: trials with one seed, drawn by the sampler and paused or run on by the rule. Then the confirmation:
the best of them run in full with all seeds, and the winner is one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sweeps.decisions import rules
from sweeps.decisions.samplers import Sampler, Told
from sweeps.decisions.space import unbuildable
from sweeps.decisions.stages import Cell, Search
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History
from trainables.plan import parameters, plan

TRIES = 200  # to draw a trial that can be built and was not drawn yet; then the space counts as used up
SCREENING = (0,)  # the seed that trials are screened with


@dataclass(frozen=True)
class Drawn:
    """What the store has of a trial that an earlier run of the search drew."""

    key: str
    number: int  # from 0, in the order of the trials run
    attempt: int  # from 0, in the order of the draws: some cannot be built
    values: Mapping[str, Any]


@dataclass(eq=False)
class Draw:
    """A trial of the search."""

    number: int
    attempt: int
    values: Mapping[str, Any]
    cell: Cell
    key: str
    scores: dict[int, float] = field(
        default_factory=dict
    )  # epoch → the best validation score of the first seed up to it
    history: History = field(default_factory=lambda: History({}))
    running: bool = False
    reason: str | None = None  # of a failure

    @property
    def epochs(self) -> int:
        """The number of epochs of a full run."""
        return self.cell.trial.training.epochs

    @property
    def state(self) -> Literal["running", "paused", "done", "failed"]:
        """The state as samplers know it."""
        return (
            "failed"
            if self.reason
            else "running"
            if self.running
            else "done"
            if self.epochs in self.scores
            else "paused"
        )

    def take(self, history: History) -> None:
        """Take over what has been trained."""
        self.history = history
        best = np.maximum.accumulate(
            [record.val_score for record in history.records.get(SCREENING[0], ())[: self.epochs]]
        )
        self.scores = {epoch: float(score) for epoch, score in enumerate(best, start=1)}


@dataclass
class SearchRun:
    """The trials of a search, drawn as workers become free. `key_of` gives a trial's key; `seeds` are those of the
    confirmation.

    `earlier` are the trials that an earlier run drew, with what became of them by key in `histories`; `failures` are
    the reasons of those that would fail again.
    """

    stage: Search
    start: Trial
    image_shape: tuple[int, int, int]
    classes: int
    seeds: tuple[int, ...]
    key_of: Callable[[Trial], str]
    earlier: Sequence[Drawn] = ()
    histories: Mapping[str, History] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    draws: dict[str, Draw] = field(default_factory=dict)  # by key, in the order drawn
    unbuildable: list[tuple[Told, str]] = field(default_factory=list)  # what was drawn and never trained, and why
    decisions: list[dict[str, Any]] = field(default_factory=list)  # in order; the same events give the same decisions
    confirmed: list[Draw] | None = None  # what is run in full with all seeds; None while trials are screened
    _waiting: list[tuple[Draw, tuple[int, ...]]] = field(default_factory=list)  # what is to run next, and its seeds
    _limits: dict[int, int] = field(default_factory=dict)
    _used_up: bool = False

    def __post_init__(self) -> None:
        self.sampler = Sampler(self.stage.space, self.stage.sampler, self.stage.objectives, first=self.stage.first)
        self.rule = rules.make(self.stage.rule, self.start.training.epochs, self.stage.trials)
        self._recall()
        self._move_on()

    @property
    def over(self) -> bool:
        """Whether the search has ended, with its best confirmed."""
        return self.confirmed is not None and not self._waiting and not self._running

    @property
    def told(self) -> list[Told]:
        """All draws as samplers know them, by the order drawn."""
        draws = self.draws.values()
        drawn = [
            Told(draw.attempt, draw.values, draw.state, dict(draw.scores), self._objectives(draw)) for draw in draws
        ]
        return sorted([*drawn, *(told for told, _ in self.unbuildable)], key=lambda told: told.number)

    @property
    def left(self) -> int:
        """The number of trials still to be drawn."""
        return 0 if self._used_up else max(0, self.stage.trials - len(self.draws))

    def next(self) -> tuple[Draw, tuple[int, ...]] | None:
        """Return what is to run now, with its seeds; None where nothing is before a running trial ends."""
        if not self._waiting and self.confirmed is None and (drawn := self._draw()):
            self._waiting.append((drawn, SCREENING))
        self._move_on()
        if not self._waiting:
            return None
        draw, seeds = self._waiting.pop(0)
        draw.running = True
        return draw, seeds

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Take a running trial's newest score; return whether it runs on, or is paused."""
        draw = self.draws[key]
        if self.confirmed is not None:
            return True
        draw.scores[epoch] = max(score, draw.scores.get(epoch - 1, score))
        if epoch < self._limits[draw.number]:
            return True
        limit = self.rule.note(draw.number, epoch, draw.scores[epoch])
        self._decided("note", draw, epoch=epoch, score=draw.scores[epoch], runs_on_to=limit)
        self._limits[draw.number] = limit or epoch
        return limit is not None

    def ended(self, key: str, history: History, reason: str | None) -> None:
        """Take a trial's end or pause."""
        draw = self.draws[key]
        draw.running, draw.reason = False, reason
        draw.take(history)
        if self.confirmed is None and reason:
            self.rule.drop(draw.number)
            self._decided("drop", draw, reason=reason)
        elif self.confirmed is None and draw.state == "done":  # Tune asks nobody whether a full run goes on
            self.rule.note(draw.number, draw.epochs, draw.scores[draw.epochs])
            self._decided("note", draw, epoch=draw.epochs, score=draw.scores[draw.epochs], runs_on_to=None)
        self._move_on()

    def ranking(self) -> list[Draw]:
        """Return the trials best first: those confirmed by their score over all seeds, the others by how far they came, and their score."""
        numbered = {draw.number: draw for draw in self.draws.values()}
        order = [numbered[number] for number in self.rule.ranking()]
        first = sorted((draw for draw in self.confirmed or () if not draw.reason), key=_confirmed_score, reverse=True)
        ranked = [*first, *(draw for draw in order if draw not in first)]
        return [*ranked, *(draw for draw in self.draws.values() if draw not in ranked)]

    def value(self, draw: Draw, objective: str) -> float:
        """Return an objective's value of a trial run in full: best validation score, number of parameters, or seconds of training."""
        if objective == "score":
            return draw.scores[draw.epochs]
        if objective == "parameters":
            trial = draw.cell.trial
            return float(parameters(plan(trial.model, trial.training.input_shape(self.image_shape), self.classes)))
        return sum(record.seconds for record in draw.history.records[SCREENING[0]][: draw.epochs])

    @property
    def _running(self) -> bool:
        return any(draw.running for draw in self.draws.values())

    def _recall(self) -> None:
        reached = {}
        for drawn in sorted(self.earlier, key=lambda drawn: drawn.number):
            draw = self._known(drawn)
            if draw is None:
                continue
            self.draws[draw.key] = draw
            if draw.reason:
                self.rule.first(draw.number)
                self.rule.drop(draw.number)
            elif draw.scores:
                reached[draw.number] = draw.scores
            else:
                self._begin(draw)
                self._waiting.append((draw, SCREENING))
        rules.resume(self.rule, reached)

    def _known(self, drawn: Drawn) -> Draw | None:
        """Return an earlier draw as it stands; None where the search is no longer one that would draw it."""
        try:
            self.stage.space.flat(drawn.values)
            trial = self.start.with_values(drawn.values)
        except UserError:
            return None
        draw = Draw(drawn.number, drawn.attempt, drawn.values, self._cell(drawn.number, trial), self.key_of(trial))
        draw.take(self.histories.get(draw.key, History({})))
        draw.reason = self.failures.get(draw.key)
        return draw if draw.key in self.histories or draw.reason else None

    def _move_on(self) -> None:
        """Have run what the rule calls due; when nothing is left to screen, have the best confirmed."""
        if self.confirmed is not None or self._waiting:
            return
        if due := self.rule.due():
            number, limit = due
            draw = next(draw for draw in self.draws.values() if draw.number == number)
            self._limits[number] = limit
            self._decided("due", draw, runs_on_to=limit)
            self._waiting.append((draw, SCREENING))
        elif not self.left and not self._running:
            self.confirmed = [draw for draw in self.ranking() if not draw.reason and draw.scores][: self.stage.confirm]
            self._waiting = [
                (draw, self.seeds) for draw in self.confirmed if not draw.history.covers(self.seeds, draw.epochs)
            ]

    def _draw(self) -> Draw | None:
        """Draw a new trial. None where none is to be drawn now: there are enough, or others are due first."""
        self._move_on()
        if self._waiting or not self.left:
            return None
        for _ in range(TRIES):
            told = self.told
            attempt = max((each.number for each in told), default=-1) + 1
            values = self.sampler.suggest(told, attempt)
            if values is None:
                break
            reason = unbuildable(self.start, values, self.image_shape, self.classes)
            trial = None if reason else self.start.with_values(values)
            key = self.key_of(trial) if trial else ""
            if trial is None or key in self.draws:
                twin = "" if trial is None else f"the same network and training as {self.draws[key].cell.label}"
                self.unbuildable.append((Told(attempt, values, "failed", {}), reason or twin))
                continue
            number = next(
                number
                for number in range(len(self.draws) + 1)
                if number not in {draw.number for draw in self.draws.values()}
            )
            draw = self.draws[key] = Draw(number, attempt, values, self._cell(number, trial), key)
            self._begin(draw)
            return draw
        self._used_up = True
        return None

    def _begin(self, draw: Draw) -> None:
        self._limits[draw.number] = self.rule.first(draw.number)
        self._decided("first", draw, values=draw.values, runs_on_to=self._limits[draw.number])

    def _cell(self, number: int, trial: Trial) -> Cell:
        return Cell(f"#{number}", (number,), trial)

    def _objectives(self, draw: Draw) -> tuple[float, ...] | None:
        return tuple(self.value(draw, name) for name in self.stage.objectives) if draw.state == "done" else None

    def _decided(self, what: str, draw: Draw, **how: Any) -> None:
        self.decisions.append({"decision": what, "number": draw.number} | how)


def _confirmed_score(draw: Draw) -> float:
    return float(draw.history.curve("val_score").max(axis=1).mean())
