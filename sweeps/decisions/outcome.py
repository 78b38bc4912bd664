"""What a trial came to, and what trials are held against. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from trainables.history import History


@dataclass(frozen=True)
class Outcome:
    """A trial's end."""

    cell: Cell
    key: str
    status: Status
    history: History
    reason: str | None = None  # of a failure
    restarts: tuple[str, ...] = ()  # why each was needed

    def chosen(self, metric: str) -> np.ndarray:
        """Return one metric of each replicate at its chosen epoch, (replicates,)."""
        return np.array([getattr(record, metric) for record in self.history.chosen()])

    @property
    def diverged(self) -> bool:
        """Whether it failed for its numbers alone, as it would again."""
        return diverged(self.reason)

    @property
    def score(self) -> float:
        """The mean over replicates of the validation score at the chosen epoch."""
        return self.history.score()

    def labelled(self, cell: Cell) -> Outcome:
        """Return the same outcome as the cell of another stage."""
        return replace(self, cell=cell)


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


def diverged(reason: str | None) -> bool:
    """Tell whether this is the reason of a training whose numbers went out of bounds."""
    return (reason or "").startswith("Diverged:")
