"""What passes between the agenda, the stages that it drives, and those who run trials for it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeps.decisions.contest import Contest
from sweeps.decisions.labels import counted
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.scatter import Spread
from sweeps.decisions.seeding import FIRST
from sweeps.decisions.stages import AnyStage, Cell
from sweeps.decisions.status import Status
from sweeps.decisions.stopping import BEHIND
from sweeps.decisions.winner import BEST, Winner, choose
from trainables.config import Trial
from trainables.history import History
from trainables.plan import flops, plan_of


@dataclass(frozen=True)
class Terms:
    """What holds for all trials of a command: their seeds, what they are trained on, and how they are judged."""

    seeds: tuple[int, ...]
    contents: Mapping[str, str]  # digests of the data set and of pretrained weights, by name
    yardstick: Yardstick
    image_shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    early_stopping: bool = True
    rule: str = BEHIND  # by which a grid's trials stop early
    winner: str = BEST  # the rule by which winners are chosen
    seeding: str | None = None  # how a grid's trials get their seeds one by one (seeding.py); None: all at once
    _keys: dict[str, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    @property
    def seeds_in_words(self) -> str:
        """How many seeds a trial has."""
        fewest, most = min(FIRST, len(self.seeds)) if self.seeding else len(self.seeds), len(self.seeds)
        return counted(most, "seed") if fewest == most else f"{fewest} to {counted(most, 'seed')}"

    def flops(self, outcome: Outcome) -> int:
        """Return what a trial's network takes for an image, forward."""
        trial = outcome.cell.trial
        return flops(plan_of(trial, self.image_shape, self.classes))

    def choose(self, outcomes: Sequence[Outcome], before: StageResult | None) -> Winner | None:
        """Return the winner of a stage that starts from the winner of the one `before`; see winner.choose()."""
        return choose(outcomes, self.yardstick, rule=self.winner, cost=self.flops, before=self.spreads(before))

    def spreads(self, before: StageResult | None) -> Mapping[str, Spread] | None:
        """Return how the trials of the stage `before` scatter, and those that lead to it."""
        return before.winner.contest.spreads if before and before.winner else None

    def key(self, trial: Trial) -> str:
        """Return a trial's key. It is worked out once: the agenda, the report and the panel ask for it."""
        form = repr(trial)  # a rate of 1 is equal to one of 1.0, but has another key
        if form not in self._keys:
            self._keys[form] = trial.key(self.contents)
        return self._keys[form]


@dataclass(frozen=True)
class Known:
    """What the store has of a trial: how it ended last time, and its history so far."""

    status: Status
    history: History
    run_id: str  # empty where it ran in this command alone
    reason: str | None = None  # of a failure
    study: str = ""  # whose run it is; empty where that is not known


@dataclass(frozen=True)
class Drawn:
    """What the store has of a trial that an earlier run of a search drew."""

    key: str
    number: int  # from 0, in the order of the trials run
    attempt: int  # from 0, in the order of the draws: some cannot be built
    values: Mapping[str, Any]
    among: int = 0  # of how many draws it was chosen to be confirmed; 0: it was not
    taken: int = 0  # after how many epochs it was taken over from another study; 0: it was not


@dataclass(frozen=True)
class Task:
    """A trial to run.

    `known` is what it goes on from; `alone`: with a GPU to itself, as it found no room beside others.
    """

    stage: str
    cell: Cell
    key: str
    known: Known | None
    seeds: tuple[int, ...]
    alone: bool = False
    drawn: Drawn | None = None  # of a search

    @property
    def name(self) -> str:
        """The trial's name in MLflow and on screen."""
        return f"{self.stage}: {self.cell.label}"

    @property
    def history(self) -> History:
        """What it goes on from; empty where that is nothing."""
        return self.known.history if self.known else History({})

    @property
    def tags(self) -> dict[str, str]:
        """What the store is to keep of a search's draw, so that the search can go on from it."""
        if self.drawn is None:
            return {}
        drawn = self.drawn
        tags = {"number": str(drawn.number), "attempt": str(drawn.attempt), "draw": json.dumps(drawn.values)}
        return tags | {name: str(number) for name in ("among", "taken") if (number := getattr(drawn, name))}


@dataclass(frozen=True)
class StageResult:
    """A stage that is decided. `skipped` says why none of its trials ran; a grid's values were put into `start`."""

    stage: AnyStage
    outcomes: tuple[Outcome, ...] = ()
    winner: Winner | None = None
    skipped: str | None = None
    start: Trial | None = None

    @property
    def contest(self) -> Contest | None:
        """How its trials that ran in full compare; None where it has no winner."""
        return self.winner.contest if self.winner else None


def stage_winners(results: Sequence[StageResult]) -> dict[str, Outcome]:
    """Return the winners, by stage."""
    return {result.stage.name: result.winner.outcome for result in results if result.winner}


OnStage = Callable[[StageResult], None]
Decision = Mapping[str, Any]  # of a stage, as plain data for JSON: what was decided, about which trial, and how
