"""Which trials of a grid's stage run on, wait or stop, as their scores come in, with a record of it. Pure.

Each trial first runs to the first epoch after which it may stop, and then as many at a time. While others want its
worker it waits, and of those that wait the ones with fewest epochs run on first, of these the best: so trials are held
against each other whatever order they came in, and no worker waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.decisions.records import Decision
from sweeps.decisions.stopping import AHEAD, Behind


@dataclass
class _Fate:
    """What is decided about a trial: up to which epoch, and after which it stops or waits."""

    judged: int = 0
    stops_at: int | None = None
    waits_at: int | None = None


class Judge:
    """Asks the rule about each epoch of each trial once, so that what is reported again has the same answer.

    Trials go by key; `labels` are what they are called in the decisions, which are a function of the calls alone.
    """

    def __init__(self, rule: Behind, labels: Mapping[str, str]) -> None:
        self.rule, self.labels = rule, labels
        self.decisions: list[Decision] = []
        self._fates: dict[str, _Fate] = {}

    def knows(self, key: str) -> bool:
        """Tell whether the trial's scores are known, be it in part."""
        return key in self._fates

    def take_over(self, key: str, scores: Sequence[float]) -> None:
        """Take what a trial has reached elsewhere, or earlier; its epochs so far are not judged."""
        self._fates[key] = _Fate(judged=len(scores))
        for score in scores:
            self.rule.note(self.labels[key], score)
        self._decided("known", key, scores=list(scores))

    def goes_on(self, key: str, epoch: int, score: float, *, wanted: bool) -> bool:
        """Take a running trial's score; return whether it runs on. `wanted`: another trial waits to be started.

        One of which earlier epochs are not known runs on.
        """
        fate = self._fates.setdefault(key, _Fate())
        if epoch == fate.judged + 1 and fate.stops_at is None:
            self._judge(key, epoch, score, fate, wanted)
        return all(end is None or epoch < end for end in (fate.stops_at, fate.waits_at))

    def waits(self, key: str) -> bool:
        """Tell whether a trial that does not run on now is to do so later."""
        return key in self._fates and self._fates[key].waits_at is not None

    def first_of(self, waiting: Sequence[str]) -> str:
        """Return the trial that runs on before the others, and let it."""
        key = min(waiting, key=self._turn)
        self._fates[key].waits_at = None
        self._decided("due", key)
        return key

    def let_go(self, waiting: Sequence[str]) -> list[str]:
        """Return those of the waiting trials that others have meanwhile shown to be behind; they wait no longer."""
        gone = [key for key in waiting if self._stops(key, self._fates[key].judged)]
        for key in gone:
            self._fates[key].waits_at = None
        return gone

    def failed(self, key: str, reason: str) -> None:
        """Hold nobody against a trial that failed."""
        self._fates.setdefault(key, _Fate()).waits_at = None
        self._drop(key, reason=reason)

    def _judge(self, key: str, epoch: int, score: float, fate: _Fate, wanted: bool) -> None:
        fate.judged = epoch
        self.rule.note(self.labels[key], score)
        self._decided("note", key, epoch=epoch, score=score)
        if self._stops(key, epoch):
            fate.stops_at = epoch
        elif self._may_wait(epoch) and (wanted or any(self._turn(other) < self._turn(key) for other in self._waiting)):
            fate.waits_at = epoch
            self._decided("wait", key)

    def _may_wait(self, epoch: int) -> bool:
        """Tell whether anything may come of it: a stage of two stops nothing."""
        return len(self.labels) > AHEAD and epoch % self.rule.first == 0 and epoch < self.rule.epochs

    @property
    def _waiting(self) -> list[str]:
        return [key for key, fate in self._fates.items() if fate.waits_at is not None]

    def _turn(self, key: str) -> tuple[int, float]:
        """Return by what trials take turns: the least is next."""
        return self._fates[key].judged, -self.rule.stands(self.labels[key])

    def _stops(self, key: str, epoch: int) -> bool:
        if not self.rule.stops(self.labels[key], epoch):
            return False
        ahead = self.rule.ahead(self.labels[key], epoch)
        self._drop(key, epoch=epoch, ahead={label: lead._asdict() for label, lead in ahead.items()})
        return True

    def _drop(self, key: str, **how: Any) -> None:
        self.rule.drop(self.labels[key])
        self._decided("drop", key, **how)

    def _decided(self, what: str, key: str, **how: Any) -> None:
        self.decisions.append({"decision": what, "trial": self.labels[key]} | how)
