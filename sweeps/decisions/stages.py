"""The stages that a study is made of: a grid over some fields, or a free search of a space; and its recheck. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple

from sweeps.decisions import bounds, rules
from sweeps.decisions.labels import label, listed
from sweeps.decisions.samplers import FROM_FULL_RUNS, Sampler
from sweeps.decisions.space import Space
from trainables.config import Trial
from trainables.errors import UserError

RECHECK = "recheck"  # the name of a study's last stage, where it has one
UNVARIED = "as it starts"  # the label of the only trial of a stage that varies nothing
FINAL = "final winner"  # the name of a recheck's first trial
FIXED = {
    "dataset",
    "weights",
    "training.epochs",
    "training.vary_split",
    "training.threads",
}  # what a search does not draw


class Published(NamedTuple):
    """A report's numbers for one trial; None and () where it gives none.

    A score is an accuracy, or on multi-label data a mAP.
    """

    loss: float | None  # final training loss
    score: float  # the best on `part`, percent
    epoch: int | None  # of the best score
    classes: tuple[float, ...] = ()  # scores per class, percent
    part: str = "test"  # of the data; "validation" where the report has no test set


@dataclass(frozen=True)
class Cell:
    """One trial of a stage, labelled by the values that the stage gives it, beside a report's numbers for it.

    `fields` are the names of the values in a sentence, where they have some.
    """

    label: str
    values: tuple[Any, ...]
    trial: Trial
    published: Published | None = None
    fields: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The values as a sentence has them: `conv_layers = 2`, `activation = none`."""
        pairs = zip(self.fields, self.values, strict=True) if self.fields else ()
        named = ", ".join(f"{name} = {label(value)}" for name, value in pairs) or self.label
        return "the starting configuration" if named == UNVARIED else named


def named_all(cells: Sequence[Cell]) -> str:
    """Return several trials as a sentence has them: `conv_layers = 2, 3 and 4`."""
    fields = {cell.fields for cell in cells}
    if len(fields) == 1 and len(only := fields.pop()) == 1:
        return f"{only[0]} = {listed([cell.label for cell in cells])}"
    return listed([cell.named for cell in cells])


@dataclass(frozen=True)
class Stage:
    """A grid over one or more fields; everything else is as in its start.

    `start` is the name of the stage whose winner it starts from, or a trial of its own; None: the winner of the stage
    before, and in the first stage the study's baseline. A stage that varies nothing is its start alone. `published`
    holds a report's numbers, by value.
    """

    open_ended: ClassVar[bool] = False

    name: str
    vary: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    start: str | Trial | None = None
    published: Mapping[Any, Published] = field(default_factory=dict)
    note: str = ""
    question: str = ""  # for the report

    @property
    def title(self) -> str:
        """The stage's name with the fields that it varies."""
        fields = ", ".join(self.fields)
        return self.name if fields in ("", self.name) else f"{self.name} ({fields})"

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that it varies, without the way to them."""
        return tuple(path.rpartition(".")[2] for path in self.vary)

    def check(self, baseline: Trial) -> None:
        """Raise UserError for a field that `baseline` does not have, or that is given no values."""
        for path, values in self.vary.items():
            baseline.get(path)
            if not values:
                raise UserError(f"stage {self.name} varies {path}, but gives it no values")

    def cells(self, start: Trial) -> list[Cell]:
        """Return the stage's trials, in the order of the declared values.

        Raises UserError for an unknown field or a bad value.
        """
        cells = []
        for values in itertools.product(*self.vary.values()):
            trial = start.with_values(dict(zip(self.vary, values, strict=True)))
            published = self.published.get(values[0] if len(values) == 1 else values)
            cells.append(Cell(self._label(values), values, trial, published, self.fields))
        return cells

    def foreseen(self, start: Trial) -> list[Trial]:
        """Return the trials that it will run from `start`."""
        return [cell.trial for cell in self.cells(start)]

    def changed(self, **how: Any) -> Stage:  # noqa: ARG002
        """Return the same stage: `how` names fields of a Search."""
        return self

    def without_published(self) -> Stage:
        """Return the stage without a report's numbers."""
        return replace(self, published={})

    def with_weights(self, other: Callable[[str | None], str | None]) -> Stage:
        """Return the stage with `other` pretrained weights where it varies them, without those that `other` drops."""
        if "weights" not in self.vary:
            return self
        kept = {value: other(value) for value in self.vary["weights"] if value is None or other(value) is not None}
        published = {kept.get(value, value): numbers for value, numbers in self.published.items()}
        return replace(self, vary={**self.vary, "weights": tuple(kept.values())}, published=published)

    def _label(self, values: tuple[Any, ...]) -> str:
        words = [label(value) for value in values]
        if len(words) == 1:
            return words[0]
        named = (f"{path.rpartition('.')[2]}={word}" for path, word in zip(self.vary, words, strict=True))
        return ", ".join(named) or UNVARIED


@dataclass(frozen=True)
class Search:
    """A free search of a space, as a stage. It starts where a Stage would.

    `trials` trials are drawn by a sampler (see samplers.py), run side by side with one seed, and stopped early by a
    rule (see rules.py). Then the `confirm` most promising of them (see candidates.py) run with `seeds` fresh seeds, and
    the winner is the best that comes to the end: in a `race` those that are behind after the first epochs are let go
    (see race.py). Without one all run in full; so they do with several objectives, and where the cheapest that may be
    best is to win. Points in `first` are tried first. With several objectives (see told.py) all trials run in full.
    `constraint` are upper bounds, such as `{"parameters": 1e6, "flops": 5e7, "seconds": 60}` (see bounds.py): what is
    beyond one that the plan knows is never drawn, and what is beyond one that training shows does not win. Raises
    UserError where the space, a name or a number makes no sense.
    """

    open_ended: ClassVar[bool] = True  # which trials it runs shows only as it runs

    name: str
    space: Space
    trials: int = 64
    sampler: str = "tpe"
    rule: str = "asha"
    objectives: tuple[str, ...] = ("score",)
    first: tuple[Mapping[str, Any], ...] = ()
    confirm: int = 3
    race: bool = True
    seeds: int = 3
    start: str | Trial | None = None
    note: str = ""
    question: str = ""  # for the report
    constraint: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("trials", "confirm", "seeds"):
            if getattr(self, name) < 1:
                raise UserError(f"search {self.name}: {name} is {getattr(self, name)}, but must be at least 1")
        for path in FIXED & set(self.space.fields):
            raise UserError(f"search {self.name} draws {path}, but that is the same for all trials of a search")
        try:
            bounds.check(self.constraint)
        except UserError as error:
            raise UserError(f"search {self.name}: {error}") from error
        rules.make(self.rule, epochs=1, trials=self.trials)
        Sampler(self.space, self.sampler, self.objectives, first=self.first)
        if self.sampler in FROM_FULL_RUNS and self.rule != "none":
            raise UserError(
                f"search {self.name}: sampler {self.sampler} learns only from trials run in full, which are few "
                f"under rule {self.rule!r}; use rule 'none' or sampler 'tpe'"
            )
        if len(self.objectives) > 1 and self.rule != "none":
            raise UserError(
                f"search {self.name}: with several objectives all trials run in full; "
                f"the rule must be 'none', not {self.rule!r}"
            )

    @property
    def title(self) -> str:
        """The search's name."""
        return self.name

    @property
    def raced(self) -> bool:
        """Whether those confirmed may race: of several objectives no single score tells who is behind."""
        return self.race and len(self.objectives) == 1

    @property
    def planned_constraint(self) -> dict[str, float]:
        """The bounds on what the plan knows."""
        return {name: bound for name, bound in self.constraint.items() if name in bounds.PLANNED}

    def check(self, baseline: Trial) -> None:
        """Raise UserError for a field that `baseline` does not have."""
        self.space.check(baseline)

    def foreseen(self, start: Trial) -> None:
        """Return None: nobody can know the trials beforehand."""

    def changed(self, **how: Any) -> Search:
        """Return the search with these fields changed, e.g. `trials` or `rule`."""
        return replace(self, **how)

    def without_published(self) -> Search:
        """Return the same search: no report has numbers for it."""
        return self

    def with_weights(self, other: Callable[[str | None], str | None]) -> Search:  # noqa: ARG002
        """Return the same search: it does not draw the weights."""
        return self


class Swap(NamedTuple):
    """The final winner with another value of a stage. `behind`: that stage told the value to be behind its winner's."""

    cell: Cell
    behind: bool


@dataclass(frozen=True)
class Recheck:
    """A study's last stage: the final winner again, and beside it with other values of the stages that it is `of`.

    Which values these are is known once all other stages are decided (see recheck.py).
    """

    open_ended: ClassVar[bool] = False
    start: ClassVar[None] = None
    name: ClassVar[str] = RECHECK
    title: ClassVar[str] = RECHECK
    question: ClassVar[str] = "Did one factor at a time miss an interaction?"
    note: ClassVar[str] = (
        "Each stage took the best value of one factor and kept it. Here the final winner takes, one at a time, the "
        "best value of each stage that it does not have."
    )

    of: tuple[str, ...]
    winner: str = ""  # the final winner in words
    swaps: tuple[Swap, ...] = ()
    left_out: tuple[str, ...] = ()  # the other stages, each with the reason

    def cells(self, start: Trial) -> list[Cell]:
        """Return the final winner, which is `start`, and those with another value."""
        return [Cell(FINAL, (), start), *(swap.cell for swap in self.swaps)]

    def foreseen(self, start: Trial) -> list[Trial]:
        """Return as many trials as it may run; each is taken to be like `start`."""
        return [start] * len(self.of)


Declared = Stage | Search  # what a study is written in
AnyStage = Declared | Recheck
