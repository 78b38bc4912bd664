"""What a report claims of a stage's values, and what the stage's trials say to it. Pure.

Differences of less than DELTA points are held to be none; that is declared here, before any is measured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sweeps.decisions.inference import Comparison, Difference
from sweeps.decisions.labels import label, listed
from sweeps.decisions.stages import AnyStage, Stage
from trainables.errors import UserError

DELTA = 0.5


@dataclass(frozen=True)
class Claim:
    """That one value of a stage is better than others, or the best. Values are as in `Stage.published`.

    Raises UserError where it could not be true of anything.
    """

    stage: str
    better: Any
    worse: tuple[Any, ...] = ()  # values; none: all others of the stage
    delta: float | None = None  # published, points
    source: str = ""  # report and section
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.worse, tuple):
            raise UserError(f"{self._name}: worse is {self.worse!r}, but must be a tuple of values")
        if self.better in self.worse:
            raise UserError(f"{self._name}: {label(self.better)} cannot be better than itself")
        if self.delta is not None and not 0 < self.delta < math.inf:
            raise UserError(f"{self._name}: delta is {self.delta}, but must be above 0 points, or None")
        if not self.source.strip():
            raise UserError(f"{self._name}: source is empty, but must name the report and its section")

    def check(self, stages: Iterable[AnyStage]) -> None:
        """Raise UserError where the stage is none of these, or has not the values that the claim names."""
        stage = next((each for each in stages if each.name == self.stage), None)
        if not isinstance(stage, Stage):
            raise UserError(f"{self._name}: there is no stage of that name whose values are known beforehand")
        known = [value_of(values) for values in itertools.product(*stage.vary.values())]
        for value in (self.better, *self.worse):
            if value not in known:
                raise UserError(f"{self._name}: {label(value)} is none of its values {', '.join(map(label, known))}")

    @property
    def _name(self) -> str:
        return f"claim on stage {self.stage}"


class Ruling(StrEnum):
    """What became of a claim."""

    HOLDS = "holds"
    REFUTED = "refuted"
    NO_DIFFERENCE = f"no difference of {DELTA} points"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class Verdict:
    """A claim in words, what became of it, and by which numbers: points, with simultaneous 95 % intervals."""

    claimed: str
    ruling: Ruling
    why: str


@dataclass(frozen=True)
class Entrant:
    """A trial of the stage. `missing` says why it is not ranked ("was stopped at epoch 4"), None where it is."""

    value: Any
    label: str
    missing: str | None = None


def value_of(values: tuple[Any, ...]) -> Any:
    """Return a cell's values as claims and `Stage.published` name them: a single one by itself."""
    return values[0] if len(values) == 1 else values


def judge(claim: Claim, entrants: Sequence[Entrant], compared: Comparison | None) -> Verdict:
    """Return the verdict on a claim.

    `compared` has the scores (fractions) of the entrants that are ranked, in their order; None where none is.
    """
    return Verdict(_claimed(claim, entrants), *_ruled(claim, entrants, compared))


def _claimed(claim: Claim, entrants: Sequence[Entrant]) -> str:
    labels = {each.value: each.label for each in entrants}
    better, *worse = (labels.get(value, label(value)) for value in (claim.better, *claim.worse))
    published = "" if claim.delta is None else f" by {claim.delta:g} point{'' if claim.delta == 1 else 's'}"
    return f"{better} is better than {listed(worse)}{published}" if worse else f"{better} is the best{published}"


def _ruled(claim: Claim, entrants: Sequence[Entrant], compared: Comparison | None) -> tuple[Ruling, str]:
    labels = {each.value: each.label for each in entrants}
    at = {each.value: index for index, each in enumerate(each for each in entrants if each.missing is None)}
    if compared is None or claim.better not in at:
        return Ruling.NOT_TESTED, _absent([claim.better], entrants)
    named = claim.worse or tuple(value for value in labels if value != claim.better)
    rivals = {value: compared.difference(at[claim.better], at[value]) for value in named if value in at}

    def against(values: Iterable[Any]) -> str:
        leads = [(rivals[value], labels[value]) for value in values]
        numbers = ", ".join(f"{each.words} points against {name}" for each, name in leads)
        return f"{labels[claim.better]}: {numbers}"

    behind = [value for value, each in rivals.items() if each.high is not None and each.high < 0]
    if behind:
        return Ruling.REFUTED, against(behind)
    if not claim.worse and not compared.may_be_best[at[claim.better]]:
        best = [value for value in rivals if compared.may_be_best[at[value]]]
        return Ruling.REFUTED, f"{against(best)}; it is not among those that may be best"
    if len(rivals) < len(named) or not named:
        absent = [value for value in named if value not in at]
        return Ruling.NOT_TESTED, _absent(absent, entrants) if absent else "there is nothing to compare it with"
    unmet = [value for value, each in rivals.items() if not each.ahead]
    if not unmet:
        return Ruling.HOLDS, against(rivals)
    if all(_negligible(rivals[value]) for value in unmet):
        return Ruling.NO_DIFFERENCE, against(unmet)
    needed = _needed(compared, {(at[claim.better], at[value]): rivals[value].value for value in unmet})
    return Ruling.UNDECIDED, f"{against(unmet)}; {needed}"


def _negligible(difference: Difference) -> bool:
    """Tell whether the interval lies within ± DELTA."""
    if difference.low is None or difference.high is None:
        return False
    return 100 * max(-difference.low, difference.high) < DELTA


def _needed(compared: Comparison, pairs: Mapping[tuple[int, int], float]) -> str:
    """Say how many seeds would decide about differences such as these: as above 0, or as negligible."""
    if not compared.told:
        return "differences cannot be tested, as no trial of the study has more than one seed"
    seeds = [compared.seeds_for(max(abs(value), DELTA / 100 - abs(value)), pair) for pair, value in pairs.items()]
    if None in seeds:
        return "no number of seeds could decide so small a difference on so few images"
    return f"about {max(filter(None, seeds))} seeds would decide it if the difference is as measured"


def _absent(values: Sequence[Any], entrants: Sequence[Entrant]) -> str:
    known = {each.value: each for each in entrants}
    reasons = [
        f"{known[value].label} {known[value].missing}" if value in known else f"{label(value)} was not run"
        for value in values
    ]
    return ", ".join(reasons)
