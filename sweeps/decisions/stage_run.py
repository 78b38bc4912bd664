"""What the agenda asks of a stage under way, whatever kind it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Decision, StageResult, Task
from trainables.history import History


class StageRun(Protocol):
    """A stage under way. Its trials are in the ledger that it shares with the other stages."""

    @property
    def judges(self) -> bool:
        """Whether it says itself which trial runs on; else Ray's ASHA may stop its trials."""

    @property
    def decisions(self) -> Sequence[Decision]:
        """What it has decided, in order."""

    def next(self) -> Task | None:
        """Return a trial to run now that is not in the ledger's queue; None where there is none."""

    def ready(self) -> int:
        """Return how many trials next() could give out now, one after another; it may turn out to be fewer."""

    def goes_on(self, key: str, epoch: int, score: float) -> bool:
        """Take a running trial's validation score after an epoch; return whether it runs on.

        It may be called again for the same epoch.
        """

    def waits(self, key: str) -> bool:
        """Tell whether a trial that does not run on is to do so later, when others have had their turn."""

    def let_go(self) -> Sequence[str]:
        """Return the keys of the trials that wait, and that are not to run on after all; each is given out once."""

    def ended(self, key: str, history: History, reason: str | None) -> None:
        """Take a trial's end; it failed where there is a `reason`."""

    def blames(self, outcome: Outcome) -> bool:
        """Tell whether a trial that failed makes the study fail."""

    def result(self) -> StageResult | None:
        """Return what the stage came to; None while trials are missing."""

    def so_far(self) -> StageResult:
        """Return the trials that have ended, without a winner."""
