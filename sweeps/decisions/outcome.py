"""What a trial came to, and what trials are held against. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sweeps.decisions.jackknife import contributions
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from trainables.datasets.splits import held_again
from trainables.history import History


@dataclass(frozen=True)
class Outcome:
    """A trial's end."""

    cell: Cell
    key: str
    status: Status
    history: History
    reason: str | None = None  # of a failure, or of a drop
    restarts: tuple[str, ...] = ()  # why each was needed

    def chosen(self, metric: str) -> np.ndarray:
        """Return one metric of each replicate at its chosen epoch, (replicates,)."""
        return np.array([getattr(record, metric) for record in self.history.chosen()])

    @property
    def diverged(self) -> bool:
        """Whether it failed for its numbers alone, as it would again."""
        return diverged(self.reason)

    @cached_property
    def score(self) -> float:
        """The mean over replicates of the validation score at the chosen epoch."""
        return self.history.score()

    def labelled(self, cell: Cell) -> Outcome:
        """Return the same outcome as the cell of another stage."""
        return replace(self, cell=cell)


@dataclass(frozen=True)
class Yardstick:
    """What trials are held against: the metric's name, and the number of validation images.

    `share` is how many of the training and validation images these are, 0..1. `labels` are those of images with
    several, by part of the data ("train", "val", "test"): (N, classes) int8.
    """

    metric: str
    images: int
    labels: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    share: float = 1.0

    def sample(self, outcome: Outcome, part: str) -> np.ndarray | None:
        """Return what each image of a part of the data adds to a trial's score at its chosen epochs, (replicates, N).

        Whether it is right, bool; or its share in the mean average precision, float64. None where that was not kept.
        """
        marks = outcome.history.chosen_marks()
        if marks is None:
            return None
        seen = [getattr(each, part).unpacked() for each in marks]
        if self.labels:
            rule = outcome.cell.trial.training.ap_rule
            labels = [self._labels(outcome, part, seed) for seed in outcome.history.seeds]
            seen = [contributions(*each, rule) for each in zip(seen, labels, strict=True)]
        return None if any(each is None for each in seen) else np.stack(seen)

    def _labels(self, outcome: Outcome, part: str, seed: int) -> np.ndarray:
        """Return the labels of a part of the data as a replicate has it."""
        own = self.labels[part]
        if part == "test" or not outcome.cell.trial.training.vary_split:
            return own
        pool = np.concatenate((self.labels["train"], own))
        return pool[held_again(pool, len(own), seed)]


def diverged(reason: str | None) -> bool:
    """Tell whether this is the reason of a training whose numbers went out of bounds."""
    return (reason or "").startswith("Diverged:")
