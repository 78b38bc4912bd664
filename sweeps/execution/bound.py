"""How far a command goes, where it is not to go to the end of its study."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sweeps.decisions.labels import counted, span


@dataclass
class Bound:
    """The limits of a command, and how far it has come: the time it takes, and the epochs it trains, each with one
    seed. None: no limit.
    """

    seconds: float | None = None
    epochs: int | None = None
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
        return None
