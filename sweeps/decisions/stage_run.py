"""What the agenda asks of a stage under way, whatever kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Decision, StageResult, Task
from trainables.history import History


class StageRun(Protocol):
    """A stage under way. Its trials are in the ledger that it shares with the other stages."""

    judges: ClassVar[bool]  # whether it says itself which trial runs on; else ASHA may stop its trials

    @property
    def decisions(self) -> Sequence[Decision]:
        """What it has decided, in order; a grid decides nothing."""

    def next(self) -> Task | None:
        """Return a trial to run now that is not in the ledger's queue; None where there is none."""

    def ready(self) -> int:
        """Return how many trials next() could give out now, one after another; it may turn out to be fewer."""

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Take a running trial's validation score after an epoch; return whether it runs on.

        It may be called again for the same epoch.
        """

    def ended(self, key: str, history: History, reason: str | None) -> None:
        """Take a trial's end; it failed where there is a `reason`."""

    def blames(self, outcome: Outcome) -> bool:
        """Tell whether a trial that failed makes the study fail."""

    def result(self) -> StageResult | None:
        """Return what the stage came to; None while trials are missing."""
