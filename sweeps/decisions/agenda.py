"""What is to be run next: the study's stages unrolled, as winners become known, into trials that nobody has finished
yet. Pure.

Stages that do not wait for one another are open side by side, so that no worker idles at a stage's end. A search is
open by itself: it may draw a trial of another stage, and would pause it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sweeps.decisions.search_run import SCREENING, Drawn, SearchRun
from sweeps.decisions.stages import Cell, Search, Stage, Study
from sweeps.decisions.winner import Outcome, Status, Winner, Yardstick, choose, diverged, relabelled
from trainables.config import Trial
from trainables.history import History


@dataclass(frozen=True)
class Known:
    """What the store has of a trial: how it ended last time, and its history so far."""

    status: str
    history: History
    run_id: str
    reason: str | None = None  # of a failure


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
    tags: Mapping[str, str] = field(default_factory=dict)  # more to be kept of it

    @property
    def name(self) -> str:
        """The trial's name in MLflow and on screen."""
        return f"{self.stage}: {self.cell.label}"


@dataclass(frozen=True)
class StageResult:
    """A stage that is decided. `skipped` says why none of its trials ran; a search's own course is in `search`."""

    stage: Stage | Search
    outcomes: tuple[Outcome, ...] = ()
    winner: Winner | None = None
    skipped: str | None = None
    search: SearchRun | None = None


@dataclass
class _Open:
    stage: Stage | Search
    cells: list[tuple[Cell, str]]
    search: SearchRun | None = None
    result: StageResult | None = None


@dataclass
class Agenda:
    """The trials of a study, in order, and what has come of them.

    `on_stage` is called once for each stage as it is decided. With `early_stopping`, what was stopped early in an
    earlier run stays so.
    """

    study: Study
    seeds: tuple[int, ...]
    contents: Mapping[str, str]  # digests of the data set and of pretrained weights, by name
    yardstick: Yardstick
    early_stopping: bool
    known: Mapping[str, Known]
    image_shape: tuple[int, int, int]  # (C, H, W)
    classes: int
    on_stage: Callable[[StageResult], None]
    drawn: Mapping[str, Sequence[Drawn]] = field(default_factory=dict)  # by search stage, what earlier runs drew
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)  # given out or to be, by key
    queue: list[Task] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)  # keys that the store had
    restarts: dict[str, list[str]] = field(default_factory=dict)  # by key, why each was needed
    _stages: dict[str, _Open] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.advance()

    def next(self) -> Task | None:
        """Return the next trial to run; None where nothing is ready before a running one ends."""
        if self.queue:
            return self.queue.pop(0)
        for entry in list(self._stages.values()):
            if entry.search and not entry.result and (task := self._next_of(entry.search)):
                return task
        self.advance()  # a search that finds nothing more to draw is over
        return None

    @property
    def over(self) -> bool:
        """Whether every stage is decided."""
        return len(self.results) == len(self.study.stages)

    @property
    def results(self) -> list[StageResult]:
        """The decided stages, in the study's order."""
        stages = (self._stages.get(stage.name) for stage in self.study.stages)
        return [entry.result for entry in stages if entry and entry.result]

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes that failed, each once.

        That a trial of a search diverges is a finding, and no failure of the study.
        """
        failed = (outcome for outcome in self.outcomes.values() if outcome.status == "failed")
        return [outcome for outcome in failed if not (outcome.diverged and self._search_of(outcome.key))]

    def finish(self, key: str, history: History, *, reason: str | None = None) -> Outcome:
        """Note how a trial ended: failed where there is a `reason`, done where it ran in full, else censored.

        Then comes advance().
        """
        task = self.tasks[key]
        self.outcomes[key] = self._outcome(task.cell, key, history, task.seeds, reason)
        if search := self._search_of(key):
            search.ended(key, history, reason)
        return self.outcomes[key]

    def may_be_stopped(self, key: str) -> bool:
        """Tell whether ASHA may stop the trial; of one in a search its rule decides."""
        return self.early_stopping and self._search_of(key) is None

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Tell a search its trial's validation score after an epoch, and return whether that runs on.

        It may be told again.
        """
        search = self._search_of(key)
        return search is None or search.goes_on(key, epoch, score)

    def restarted(self, key: str, reason: str) -> int:
        """Note why a trial under way starts again, and return how often it has."""
        self.restarts.setdefault(key, []).append(reason)
        return len(self.restarts[key])

    def put_back(self, key: str, *, alone: bool = False) -> None:
        """Put a trial that was under way at the head of the queue; it goes on from its last snapshot."""
        self.tasks[key] = replace(self.tasks[key], alone=alone or self.tasks[key].alone)
        self.queue.insert(0, self.tasks[key])

    def advance(self) -> None:
        """Open every stage whose start is known and decide every stage whose trials have ended, until nothing moves."""
        while any([self._open_next(), self._decide_next()]):
            pass

    def _search_of(self, key: str) -> SearchRun | None:
        stage = self.tasks[key].stage if key in self.tasks else None
        return self._stages[stage].search if stage else None

    def _next_of(self, search: SearchRun) -> Task | None:
        found = search.next()
        if found is None:
            return None
        draw, seeds = found
        self.outcomes.pop(draw.key, None)  # it may have been paused before
        tags = {"number": str(draw.number), "attempt": str(draw.attempt), "draw": json.dumps(draw.values)}
        known = self.known.get(draw.key)
        self.tasks[draw.key] = Task(search.stage.name, draw.cell, draw.key, known, seeds, tags=tags)
        return self.tasks[draw.key]

    def _outcome(
        self, cell: Cell, key: str, history: History, seeds: tuple[int, ...], reason: str | None = None
    ) -> Outcome:
        epochs = cell.trial.training.epochs
        status: Status = "failed" if reason else "done" if history.covers(seeds, epochs) else "censored"
        return Outcome(cell, key, status, history.cut(seeds, epochs), reason, tuple(self.restarts.get(key, ())))

    def _open_next(self) -> bool:
        for stage in self.study.stages:
            if stage.name in self._stages:
                continue
            if any(not entry.result and (entry.search or isinstance(stage, Search)) for entry in self._stages.values()):
                continue
            parent = self.study.parent(stage)
            before = self._stages[parent].result if parent and parent in self._stages else None
            if parent and not before:
                continue
            if before and not before.winner:
                self._settle(
                    _Open(stage, []), StageResult(stage, skipped=f"stage {parent} has no winner to start from")
                )
            elif isinstance(stage, Search):
                self._begin(
                    stage, before.winner.outcome.cell.trial if before and before.winner else self.study.base(stage)
                )
            else:
                self._open(
                    stage, before.winner.outcome.cell.trial if before and before.winner else self.study.base(stage)
                )
            return True
        return False

    def _begin(self, stage: Search, start: Trial) -> None:
        search = SearchRun(
            stage,
            start,
            self.image_shape,
            self.classes,
            tuple(range(max(stage.seeds, len(self.seeds)))),
            lambda trial: trial.key(self.contents),
            self.drawn.get(stage.name, ()),
            {key: known.history for key, known in self.known.items()},
            {key: known.reason for key, known in self.known.items() if known.reason and diverged(known.reason)},
        )
        self.reused += [key for key, draw in search.draws.items() if draw.scores]
        self._stages[stage.name] = _Open(stage, [], search)

    def _open(self, stage: Stage, start: Trial) -> None:
        cells = [(cell, cell.trial.key(self.contents)) for cell in stage.cells(start)]
        self._stages[stage.name] = _Open(stage, cells)
        for cell, key in cells:
            if (
                key in self.tasks
                and self._search_of(key)
                and not self.outcomes[key].history.covers(self.seeds, cell.trial.training.epochs)
            ):
                del self.outcomes[key]  # it was only screened: here it runs in full
            elif key in self.outcomes or key in self.tasks:
                continue
            known = self.known.get(key)
            if known and self._settled(known, cell.trial):
                self.outcomes[key] = self._outcome(cell, key, known.history, self.seeds)
                self.reused.append(key)
            else:
                self.tasks[key] = Task(stage.name, cell, key, known, self.seeds)
                self.queue.append(self.tasks[key])

    def _settled(self, known: Known, trial: Trial) -> bool:
        if known.history.covers(self.seeds, trial.training.epochs):
            return True
        stopped = known.status == "censored" and set(self.seeds) <= set(known.history.seeds)
        return self.early_stopping and stopped

    def _decide_next(self) -> bool:
        for entry in self._stages.values():
            if entry.result is None and entry.search and entry.search.over:
                self._settle(entry, self._found(entry.search))
                return True
            if entry.result is None and not entry.search and all(key in self.outcomes for _, key in entry.cells):
                outcomes = tuple(relabelled(self.outcomes[key], cell) for cell, key in entry.cells)
                self._settle(entry, StageResult(entry.stage, outcomes, choose(outcomes, self.yardstick)))
                return True
        return False

    def _found(self, search: SearchRun) -> StageResult:
        """Return a search's trials, best first; the winner is the best of those confirmed."""
        confirmed = search.confirmed or []
        outcomes = []
        for draw in search.ranking():
            seeds = search.seeds if draw in confirmed else SCREENING
            outcomes.append(self._outcome(draw.cell, draw.key, draw.history, seeds, draw.reason))
        return StageResult(
            search.stage, tuple(outcomes), choose(outcomes[: len(confirmed)], self.yardstick), search=search
        )

    def _settle(self, entry: _Open, result: StageResult) -> None:
        entry.result = result
        self._stages[entry.stage.name] = entry
        self.on_stage(result)

    @property
    def searching(self) -> bool:
        """Whether a search is under way or to come: how much it will train nobody knows."""
        return any(stage.name not in {result.stage.name for result in self.results} for stage in self.study.searches)

    def expected(self) -> Iterator[Trial]:
        """Go through the trials still ahead of those known now: queued ones, and for stages not open yet their cells from the baseline."""
        yield from (task.cell.trial for task in self.queue)
        for stage in self.study.stages:
            if stage.name not in self._stages:
                yield from (cell.trial for cell in stage.cells(self.study.base(stage)))
