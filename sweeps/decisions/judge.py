"""Which trials of a grid's stage run on, wait or stop, as their scores come in, with a record of it. Pure.

Each trial first runs to the first epoch after which it may stop, and then as many at a time. While others want its
worker it waits, and of those that wait the ones with fewest epochs run on first, of these the best: so trials are held
against each other whatever order they came in, and no worker waits.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeps.decisions.records import Decision
from sweeps.decisions.stopping import AHEAD, Behind

LOOKS = 50  # at trials that wait, each time that one of them could be seen to be behind


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
        self._waiting: dict[str, None] = {}  # the keys of those that wait, the next to be looked at first
        self._turns: list[tuple[tuple[int, float], int, str]] = []  # a heap of them, and of some that wait no longer
        self._turn_taken = itertools.count()  # of equals, who came first is first

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
        return key in self._waiting

    def how_many_of(self, laid_aside: Mapping[str, object]) -> int:
        """Return how many of these trials wait."""
        return len(self._waiting.keys() & laid_aside.keys())

    def first_of(self, laid_aside: Container[str]) -> str:
        """Return the trial that runs on before the others, and let it. At least one of those laid aside has to wait."""
        not_yet = []
        while (turn := heapq.heappop(self._turns))[-1] not in laid_aside or not self._is_due(turn):
            if self._is_due(turn):  # its worker is still at it
                not_yet.append(turn)
        for each in not_yet:
            heapq.heappush(self._turns, each)
        key = turn[-1]
        self._waits_no_longer(key)
        self._decided("due", key)
        return key

    def let_go(self, laid_aside: Container[str]) -> list[str]:
        """Return those of the waiting trials that others have meanwhile shown to be behind; they wait no longer.

        Of more than LOOKS the next ones are looked at each time.
        """
        looked_at = list(itertools.islice(self._waiting, LOOKS))
        gone = [key for key in looked_at if key in laid_aside and self._stops(key, self._fates[key].judged)]
        for key in looked_at:
            del self._waiting[key]
            self._waiting[key] = None
        for key in gone:
            self._waits_no_longer(key)
        return gone

    def failed(self, key: str, reason: str) -> None:
        """Hold nobody against a trial that failed."""
        self._fates.setdefault(key, _Fate())
        self._waits_no_longer(key)
        self._drop(key, reason=reason)

    def _judge(self, key: str, epoch: int, score: float, fate: _Fate, wanted: bool) -> None:
        fate.judged = epoch
        self.rule.note(self.labels[key], score)
        self._decided("note", key, epoch=epoch, score=score)
        if self._stops(key, epoch):
            fate.stops_at = epoch
        elif self._may_wait(epoch) and (wanted or self._is_somebody_before(key)):
            fate.waits_at = epoch
            self._waiting[key] = None
            heapq.heappush(self._turns, (self._turn(key), next(self._turn_taken), key))
            self._decided("wait", key)

    def _may_wait(self, epoch: int) -> bool:
        """Tell whether anything may come of it: a stage of two stops nothing."""
        return len(self.labels) > AHEAD and epoch % self.rule.first == 0 and epoch < self.rule.epochs

    def _is_somebody_before(self, key: str) -> bool:
        """Tell whether the turn of a trial that waits is before this one's."""
        while self._turns and not self._is_due(self._turns[0]):
            heapq.heappop(self._turns)
        return bool(self._turns) and self._turns[0][0] < self._turn(key)

    def _is_due(self, turn: tuple[tuple[int, float], int, str]) -> bool:
        """Tell whether the trial still waits for this turn; if it has run on it may wait for another one."""
        return turn[-1] in self._waiting and turn[0] == self._turn(turn[-1])

    def _waits_no_longer(self, key: str) -> None:
        self._fates[key].waits_at = None
        self._waiting.pop(key, None)

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
