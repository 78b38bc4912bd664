"""A study as data: a baseline trial and a chain of stages. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeps.decisions.claims import Claim
from sweeps.decisions.stages import RECHECK, AnyStage, Declared, Recheck, Stage
from sweeps.decisions.winner import BEST, RULES
from trainables.config import Trial
from trainables.errors import UserError, suggest
from trainables.fields import check_known


@dataclass(frozen=True)
class Watch:
    """When to look at a trial while it trains, in epochs done: 0 is before the first step, 0.5 half an epoch later.

    `filters`: the first convolution's filters are drawn; `images`: so are the first images of the batch, as the network
    gets them.
    """

    filters: tuple[float, ...] = ()
    images: tuple[float, ...] = ()


@dataclass(frozen=True)
class Study:
    """A chain of stages.

    Raises UserError where a name could not be a file's, two stages share one, one has that of the recheck, a stage is
    empty, or a start is not an earlier stage.
    """

    name: str
    baseline: Trial
    stages: tuple[Declared, ...]
    watch: Watch = Watch()
    # The analyses at the end: job → its options (see analysis/jobs). A job examines the best trial on validation, or,
    # where it compares models, the winner of every stage.
    analyses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    winner: str = BEST  # by which rule: RULES
    # Whether at last the best value of each stage that the final winner lacks is tried in it: what did one factor at a
    # time miss? (sweeps/decisions/recheck.py)
    recheck: bool = False
    # What a report says of these stages, to be held against what is measured (sweeps/decisions/claims.py)
    claims: tuple[Claim, ...] = ()
    # What `--quick` changes, in all trials and in searches
    quick: Mapping[str, Any] = field(default_factory=lambda: {"dataset": "shapes", "training.epochs": 6})
    quick_search: Mapping[str, Any] = field(default_factory=lambda: {"trials": 8, "confirm": 2, "seeds": 2})
    question: str = ""  # that the report answers

    def __post_init__(self) -> None:
        _check_name("study", self.name)
        check_known("winner", self.winner, RULES)
        if not self.stages:
            raise UserError(f"study {self.name} has no stages")
        earlier: dict[str, Declared] = {}
        for stage in self.stages:
            _check_name("stage", stage.name)
            if stage.name in earlier:
                raise UserError(f"study {self.name} has two stages named {stage.name!r}")
            stage.check(self.baseline)
            if isinstance(stage.start, str) and stage.start not in earlier:
                near = suggest(stage.start, earlier)
                raise UserError(f"stage {stage.name} starts from {stage.start!r}, which is not an earlier stage{near}")
            earlier[stage.name] = stage
        if self.recheck and RECHECK in earlier:
            raise UserError(f"study {self.name} has a stage named {RECHECK!r}, but its own recheck has that name")
        for claim in self.claims:
            claim.check(self.stages)

    @property
    def all_stages(self) -> tuple[AnyStage, ...]:
        """The stages, and last the recheck, where it is asked for and has anything to recheck."""
        of = tuple(stage.name for stage in self.lineage if stage.vary) if self.recheck else ()
        return (*self.stages, Recheck(of)) if of else self.stages

    @property
    def lineage(self) -> list[Stage]:
        """The grids that start from the baseline, or from the winner of such a one."""
        grids = (stage for stage in self.stages if isinstance(stage, Stage) and self.is_foreseeable(stage))
        return [stage for stage in grids if self.base(self.path(stage)[0]) == self.baseline]

    @property
    def open_ended(self) -> bool:
        """Whether which trials it runs shows only as it runs, since a stage is a search."""
        return any(stage.open_ended for stage in self.stages)

    def parent(self, stage: Declared) -> str | None:
        """Return the name of the stage whose winner `stage` starts from, None where its start is known beforehand."""
        if isinstance(stage.start, Trial):
            return None
        at = self.stages.index(stage)
        return stage.start or (self.stages[at - 1].name if at else None)

    def path(self, stage: Declared) -> tuple[Declared, ...]:
        """Return the stages whose winners lead to a stage, the first one first, and last itself."""
        parent = self.parent(stage)
        before = next((each for each in self.stages if each.name == parent), None)
        return (*self.path(before), stage) if before else (stage,)

    def after(self, name: str) -> list[Declared]:
        """Return the stages that start from the winner of the one of this name."""
        return [each for each in self.stages if self.parent(each) == name]

    def is_foreseeable(self, stage: Declared) -> bool:
        """Tell whether all starts that a stage could have are known beforehand: none after a search is."""
        return not any(each.open_ended for each in self.path(stage)[:-1])

    def base(self, stage: AnyStage) -> Trial:
        """Return the start of a stage without a parent."""
        return stage.start if isinstance(stage.start, Trial) else self.baseline

    def changed(self, values: Mapping[str, Any]) -> Study:
        """Return the same study with these fields changed in all its trials.

        On another data set the published numbers say nothing.
        """
        elsewhere = values.get("dataset", self.baseline.dataset) != self.baseline.dataset
        changed = self._with_trials(lambda trial: trial.with_values(values))
        return changed.without_published() if elsewhere else changed

    def without_published(self) -> Study:
        """Return the study without the reports' numbers and claims."""
        return replace(self._with_stages(lambda stage: stage.without_published()), claims=())

    def starting_from(self, weights: str | None) -> Study:
        """Return the same study with other pretrained weights wherever it has some.

        None leaves out the trials that a stage starts from weights. Raises UserError for weights that no trial would
        start from.
        """

        def other(value: str | None) -> str | None:
            return None if value is None else weights

        if weights is not None and self.starting_from(None) == self:
            raise UserError(
                f"weights are {weights!r}, but no trial of study {self.name} starts from pretrained weights"
            )
        study = self._with_trials(lambda trial: trial.with_values({"weights": other(trial.weights)}))
        return study._with_stages(lambda stage: stage.with_weights(other))

    def searching(self, **how: Any) -> Study:
        """Return the study with these fields of its searches changed, e.g. `trials` or `rule`.

        Raises UserError where it has no search.
        """
        if how and not self.open_ended:
            raise UserError(f"study {self.name} has no search whose {', '.join(how)} could be changed")
        return self._with_stages(lambda stage: stage.changed(**how))

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
        # a stage's parent is either named or just before it, so that leaving out others moves no start
        claims = tuple(claim for claim in self.claims if claim.stage in wanted)
        return replace(self, stages=tuple(stage for stage in self.stages if stage.name in wanted), claims=claims)

    def _with_stages(self, change: Callable[[Declared], Declared]) -> Study:
        return replace(self, stages=tuple(map(change, self.stages)))

    def _with_trials(self, change: Callable[[Trial], Trial]) -> Study:
        def started(stage: Declared) -> Declared:
            return replace(stage, start=change(stage.start)) if isinstance(stage.start, Trial) else stage

        return replace(self, baseline=change(self.baseline), stages=tuple(map(started, self.stages)))


def _check_name(what: str, name: str) -> None:
    """Raise UserError for a name that is not safe on every system for a folder, a file and an MLflow experiment."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._=-]{0,78}[A-Za-z0-9])?", name):
        raise UserError(
            f"the name of a {what} is {name[:90]!r}, but must be 1 to 80 of A-Z, a-z, 0-9, '.', '_', '=' and '-', "
            "with a letter or digit at both ends"
        )
