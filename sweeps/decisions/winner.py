"""What a trial came to, and the rule by which a stage's winner is chosen. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sweeps.decisions.stages import Cell
from trainables.history import History

Status = Literal["done", "censored", "failed"]


@dataclass(frozen=True)
class Outcome:
    """A trial's end. `censored`: stopped early, so its later epochs are unknown."""

    cell: Cell
    key: str
    status: Status
    history: History
    reason: str | None = None  # of a failure
    restarts: tuple[str, ...] = ()  # why each was needed

    def chosen(self, metric: str) -> np.ndarray:
        """Return one metric of each replicate at its best validation epoch, (replicates,)."""
        return np.array([getattr(record, metric) for record in self.history.chosen()])

    @property
    def diverged(self) -> bool:
        """Whether it failed for its numbers alone, as it would again."""
        return diverged(self.reason)

    @property
    def score(self) -> float:
        """The mean over replicates of the best validation score."""
        return float(self.chosen("val_score").mean())


def diverged(reason: str | None) -> bool:
    """Tell whether this is the reason of a training whose numbers went out of bounds."""
    return (reason or "").startswith("Diverged:")


@dataclass(frozen=True)
class Winner:
    """The chosen outcome, why in one sentence, and the labels of those that the data cannot tell from it."""

    outcome: Outcome
    why: str
    level: tuple[str, ...]


@dataclass(frozen=True)
class Yardstick:
    """What trials are held against: the metric's name, and the number of images that it is taken on."""

    metric: str
    images: int


def choose(outcomes: Sequence[Outcome], by: Yardstick) -> Winner | None:
    """Return the winner among the trials that ran in full: highest mean validation score; the test set is not looked
    at.

    Exact ties go to the cell declared first. A rival is level with the winner where the difference is below twice its
    standard error: from the spread over replicates where both have several, else the binomial error of a validation
    accuracy; a mean average precision of one replicate has none, and no rival is called level. None where no trial ran
    in full.
    """
    full = [outcome for outcome in outcomes if outcome.status == "done"]
    if not full:
        return None
    best = max(full, key=lambda outcome: outcome.score)
    rivals = [outcome for outcome in full if outcome is not best]
    level = tuple(o.cell.label for o in rivals if best.score - o.score < 2 * (_standard_error(best, o, by) or 0.0))
    return Winner(best, _why(best, rivals, level, by), level)


def _why(best: Outcome, rivals: Sequence[Outcome], level: tuple[str, ...], by: Yardstick) -> str:
    score = f"validation {by.metric} {100 * best.score:.2f} %"
    if not rivals:
        return f"{best.cell.label}: {score}, the only trial that is ranked"
    second = max(rivals, key=lambda outcome: outcome.score)
    error = _standard_error(best, second, by)
    spread = " (spread unknown)" if error is None else f" ± {100 * error:.2f}"
    ahead = f"{100 * (best.score - second.score):.2f}{spread} points ahead of {second.cell.label}"
    return f"{best.cell.label}: {score}, {ahead}" + (f"; not told apart from {', '.join(level)}" if level else "")


def _standard_error(a: Outcome, b: Outcome, by: Yardstick) -> float | None:
    """Return the standard error of the difference of two scores, None where nothing tells it."""
    ours, theirs = a.chosen("val_score"), b.chosen("val_score")
    if min(len(ours), len(theirs)) > 1:
        return math.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    if by.metric != "accuracy":
        return None
    return math.sqrt(sum(score * (1 - score) for score in (a.score, b.score)) / by.images)


def relabelled(outcome: Outcome, cell: Cell) -> Outcome:
    """Return the same outcome as another stage names it."""
    return replace(outcome, cell=cell)
