"""How far a command goes, where it is not to go to the end of its study."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sweeps.decisions.labels import counted, span


@dataclass
class Bound:
    """The limits of a command, and how far it has come: the time it takes, the epochs it trains, each with one seed,
    and the validation score that is enough, 0..1. None: no limit.
    """

    seconds: float | None = None
    epochs: int | None = None
    score: float | None = None
    found: str | None = None  # what has that score, in words
    began: float = field(default_factory=time.monotonic)
    trained: int = 0

    def reached(self, under_way: int) -> str | None:
        """Return which limit is reached, in words, once `under_way` epochs that have begun are trained too; else
        None.
        """
        if self.seconds is not None and time.monotonic() - self.began >= self.seconds:
            return f"the time of --for ({span(self.seconds)}) is over"
        if self.epochs is not None and self.trained + under_way >= self.epochs:
            return f"the budget ({counted(self.epochs, 'epoch')}) is spent"
        return self.found

    def take(self, name: str, score: float, margin: float | None) -> None:
        """Take a trial's validation score, with half the width of its 95 % interval, where that is known."""
        if self.score is not None and margin is not None and score - margin > self.score:
            interval = f"{100 * score:.1f} [{100 * (score - margin):.1f}, {100 * (score + margin):.1f}] %"
            self.found = f"{name} has {interval} on validation, above the {100 * self.score:g} % of --until"
