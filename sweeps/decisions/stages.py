"""A study as data: a baseline trial and stages that vary some of its fields, or search a space of them.

Expansion is plain arithmetic.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from sweeps.decisions import rules
from sweeps.decisions.samplers import FROM_FULL_RUNS, Sampler
from sweeps.decisions.space import Space, shown
from trainables.config import Trial
from trainables.errors import UserError, suggest


class Published(NamedTuple):
    """A report's numbers for one trial; None and () where it gives none.

    A score is an accuracy, or of multi-label data a mAP.
    """

    loss: float | None  # final training loss
    score: float  # the best on `part`, percent
    epoch: int | None  # of the best score
    classes: tuple[float, ...] = ()  # scores per class, percent
    part: str = "test"  # of the data; "validation" where the report has no test set


FIXED = {"dataset", "weights", "training.epochs"}  # what a search does not draw


@dataclass(frozen=True)
class Cell:
    """One trial of a stage, named by the values that the stage gives it."""

    label: str
    values: tuple[Any, ...]
    trial: Trial


@dataclass(frozen=True)
class Stage:
    """A grid over one or more fields, all else as in its start.

    `start` is the name of the stage whose winner it starts from, or a trial of its own; None: the winner of the stage
    before, and in the first stage the study's baseline. A stage that varies nothing is its start alone. `published`
    holds a report's numbers, by value.
    """

    name: str
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    start: str | Trial | None = None
    published: Mapping[Any, Published] = field(default_factory=dict)
    note: str = ""

    def cells(self, start: Trial) -> list[Cell]:
        """Return the stage's trials, in the order of the declared values.

        Raises UserError for an unknown field or a bad value.
        """
        cells = []
        for values in itertools.product(*self.vary.values()):
            trial = start.with_values(dict(zip(self.vary, values, strict=True)))
            cells.append(Cell(self._label(values), values, trial))
        return cells

    def published_for(self, cell: Cell) -> Published | None:
        """Return the report's numbers for a cell, where it has some."""
        return self.published.get(cell.values[0] if len(cell.values) == 1 else cell.values)

    def _label(self, values: tuple[Any, ...]) -> str:
        words = [shown(value) for value in values]
        if len(words) == 1:
            return words[0]
        return (
            ", ".join(f"{path.rpartition('.')[2]}={word}" for path, word in zip(self.vary, words, strict=True))
            or "as it starts"
        )


@dataclass(frozen=True)
class Search:
    """A free search of a space, as a stage. What starts it is as in Stage.

    `trials` trials are drawn by a sampler (see suggest.py), run side by side with one seed, and stopped early by a rule
    (see rules.py). Then the best `confirm` of them run in full with `seeds` seeds, and the winner is one of these.
    Points in `first` are tried first. With several objectives (see suggest.py) trials run in full. Raises UserError
    where the space, a name or a number makes no sense.
    """

    name: str
    space: Space
    trials: int = 64
    sampler: str = "tpe"
    rule: str = "asha"
    objectives: tuple[str, ...] = ("score",)
    first: tuple[Mapping[str, Any], ...] = ()
    confirm: int = 3
    seeds: int = 3
    start: str | Trial | None = None
    note: str = ""
    vary: ClassVar[Mapping[str, Sequence[Any]]] = {}  # it has no grid, and no report to be held against
    published: ClassVar[Mapping[Any, Published]] = {}

    def __post_init__(self) -> None:
        for name in ("trials", "confirm", "seeds"):
            if getattr(self, name) < 1:
                raise UserError(f"search {self.name}: {name} is {getattr(self, name)}, but must be at least 1")
        for path in FIXED & set(self.space.fields):
            raise UserError(f"search {self.name} draws {path}, but that is the same for all trials of a search")
        rules.make(self.rule, epochs=1, trials=self.trials)
        Sampler(self.space, self.sampler, self.objectives, first=self.first)
        if self.sampler in FROM_FULL_RUNS and self.rule != "none":
            raise UserError(
                f"search {self.name}: sampler {self.sampler} learns from trials run in full alone, and by rule "
                f"{self.rule!r} few are; "
                "give it the rule 'none', or take the sampler tpe"
            )
        if len(self.objectives) > 1 and self.rule != "none":
            raise UserError(
                f"search {self.name}: with several objectives trials run in full; the rule must be 'none', not "
                f"{self.rule!r}"
            )

    def cells(self, start: Trial) -> list[Cell]:  # noqa: ARG002
        """Return the trials known beforehand: none."""
        return []

    def published_for(self, cell: Cell) -> None:
        """Return a report's numbers for a cell: there are none."""


@dataclass(frozen=True)
class Watch:
    """When to look at a trial while it trains, in epochs done (0: before the first step, 0.5: halfway through the first
    epoch).

    `filters`: the first convolution's filters are drawn; `images`: so are the first images of the batch, as the network
    gets them.
    """

    filters: tuple[float, ...] = ()
    images: tuple[float, ...] = ()


@dataclass(frozen=True)
class Study:
    """A chain of stages.

    Raises UserError where a name could not be a file's, two stages share one, a stage is empty, or a start is no
    earlier stage. No stage starts from a search: its winner could be anything, and so nothing after it could be checked
    beforehand.
    """

    name: str
    baseline: Trial
    stages: tuple[Stage | Search, ...]
    watch: Watch = Watch()
    # what the best models are asked at the end, job → its options (see analysis/jobs.py): the best trial on validation
    # is, or where a job looks at several models, each stage's winner
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(
        default_factory=lambda: {"dataset": "shapes", "training.epochs": 6}
    )  # what `--quick` changes
    quick_search: Mapping[str, Any] = field(
        default_factory=lambda: {"trials": 8, "confirm": 2, "seeds": 2}
    )  # and in its searches

    def __post_init__(self) -> None:
        _check_name("study", self.name)
        if not self.stages:
            raise UserError(f"study {self.name} has no stages")
        seen: list[str] = []
        for stage in self.stages:
            _check_name("stage", stage.name)
            if stage.name in seen:
                raise UserError(f"study {self.name} has two stages named {stage.name!r}")
            for path, values in stage.vary.items():
                self.baseline.get(path)
                if not values:
                    raise UserError(f"stage {stage.name} varies {path}, but gives it no values")
            if isinstance(stage.start, str) and stage.start not in seen:
                raise UserError(
                    f"stage {stage.name} starts from {stage.start!r}, which is no earlier "
                    f"stage{suggest(stage.start, seen)}"
                )
            seen.append(stage.name)
        searches = {stage.name for stage in self.searches}
        for stage in self.stages:
            if (parent := self.parent(stage)) in searches:
                raise UserError(
                    f"stage {stage.name} starts from {parent}, but must not: no plan can know where a search ends"
                )

    @property
    def searches(self) -> tuple[Search, ...]:
        """The stages that are searches."""
        return tuple(stage for stage in self.stages if isinstance(stage, Search))

    def parent(self, stage: Stage | Search) -> str | None:
        """Return the name of the stage whose winner `stage` starts from, None where its start is known beforehand."""
        if isinstance(stage.start, Trial):
            return None
        at = self.stages.index(stage)
        return stage.start or (self.stages[at - 1].name if at else None)

    def base(self, stage: Stage | Search) -> Trial:
        """Return the start of a stage without a parent."""
        return stage.start if isinstance(stage.start, Trial) else self.baseline

    def changed(self, values: Mapping[str, Any]) -> Study:
        """Return the same study with these fields changed in all its trials.

        On another data set the published numbers say nothing.
        """
        elsewhere = values.get("dataset", self.baseline.dataset) != self.baseline.dataset
        changed = self._map(lambda trial: trial.with_values(values))
        return changed.without_published() if elsewhere else changed

    def without_published(self) -> Study:
        """Return the study without the reports' numbers."""
        stages = (replace(stage, published={}) if isinstance(stage, Stage) else stage for stage in self.stages)
        return replace(self, stages=tuple(stages))

    def starting_from(self, weights: str | None) -> Study:
        """Return the same study with other pretrained weights wherever it has some; None: without the trials that a stage starts so."""

        def other(value: str | None) -> str | None:
            return None if value is None else weights

        study = self._map(lambda trial: trial.with_values({"weights": other(trial.weights)}))
        return replace(study, stages=tuple(_starting_from(stage, other) for stage in study.stages))

    def searching(self, **how: Any) -> Study:
        """Return the study with these fields of its searches changed, e.g.

        `trials` or `rule`. Raises UserError where it has none.
        """
        if how and not self.searches:
            raise UserError(f"study {self.name} has no search that {', '.join(how)} could be changed of")
        return replace(
            self, stages=tuple(replace(stage, **how) if isinstance(stage, Search) else stage for stage in self.stages)
        )

    def _map(self, change: Callable[[Trial], Trial]) -> Study:
        stages = (
            replace(stage, start=change(stage.start) if isinstance(stage.start, Trial) else stage.start)
            for stage in self.stages
        )
        return replace(self, baseline=change(self.baseline), stages=tuple(stages))

    def only(self, names: Sequence[str]) -> Study:
        """Return the study with the named stages and those whose winners they need.

        Raises UserError for an unknown name.
        """
        known = [stage.name for stage in self.stages]
        for name in names:
            if name not in known:
                raise UserError(f"study {self.name} has no stage {name!r}{suggest(name, known)}")
        wanted = set(names)
        for stage in reversed(self.stages):
            parent = self.parent(stage)
            if stage.name in wanted and parent:
                wanted.add(parent)
        # a stage that followed its neighbour keeps its parent by name, since the neighbour may be gone
        kept = (
            replace(stage, start=stage.start or self.parent(stage)) for stage in self.stages if stage.name in wanted
        )
        return replace(self, stages=tuple(kept))


def _check_name(what: str, name: str) -> None:
    """Raise UserError for a name that is not safe as a folder's, a file's and an MLflow experiment's, on every system."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._=-]{0,78}[A-Za-z0-9])?", name):
        raise UserError(
            f"the name of a {what} is {name[:90]!r}, but must be 1 to 80 of A-Z, a-z, 0-9, '.', '_', '=' and '-', "
            "with a letter or digit at both ends"
        )


def _starting_from(stage: Stage | Search, other: Callable[[str | None], str | None]) -> Stage | Search:
    if isinstance(stage, Search) or "weights" not in stage.vary:
        return stage
    kept = {value: other(value) for value in stage.vary["weights"] if value is None or other(value) is not None}
    published = {kept.get(value, value): numbers for value, numbers in stage.published.items()}
    return replace(stage, vary={**stage.vary, "weights": tuple(kept.values())}, published=published)
