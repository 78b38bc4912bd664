"""Replicates that take their steps together: side by side in one captured step, or else in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor

from trainables import graphs
from trainables.devices import fast_products
from trainables.lane import Lane, Seen
from trainables.models import Network
from trainables.scoring import Score

FEWEST_STEPS = 50  # for which a capture is worth its warm-up

Say = Callable[[str], None]


class Observer(Protocol):
    """Looks at the first replicate while it trains. What it does between two steps may wait for the device."""

    def due(self, progress: float) -> bool:
        """Tell whether to look before the step after so many epochs (a fraction inside an epoch)."""

    def look(self, progress: float, network: Network, images: Tensor) -> None:
        """Look at the network, and at the batch (N, H, W, C) uint8 that it is about to get."""


class Group:
    """Trains its lanes an epoch at a time. Nothing is read off the device before the epoch's end."""

    def __init__(self, lanes: Sequence[Lane], device: torch.device, say: Say) -> None:
        self.lanes, self.device, self.say = lanes, device, say
        self.replay: graphs.Replay | None = None
        self.may_capture = graphs.can_capture(device)

    def train(self, observer: Observer | None, epochs: int) -> list[Score]:
        """Train one epoch, of so many that are still to come; return each lane's score, as its weights moved.

        The observer looks at the first lane.
        """
        for lane in self.lanes:
            lane.begin()
        with fast_products(self.device):
            self._capture_if_worth_it(epochs)
            if self.replay:
                self._side_by_side(self.replay, observer)
            else:
                self._in_turn(observer)
        return [lane.score() for lane in self.lanes]

    def _capture_if_worth_it(self, epochs: int) -> None:
        """Capture the step, without training by it. Where that fails, the lanes go in turn from now on."""
        whole = self.lanes[0].whole
        if self.replay or not self.may_capture or whole < graphs.WARM_UP or whole * epochs < FEWEST_STEPS:
            return
        self.may_capture = False
        with ExitStack() as undone:
            for lane in self.lanes:
                undone.enter_context(lane.undone())
                lane.load(0)
            try:
                self.replay = graphs.capture(self.lanes, self.device)
            except Exception as error:  # whatever it is, the same steps can be taken without a capture
                for lane in self.lanes:
                    lane.random.renew()
                why = " ".join(f"{type(error).__name__}: {error}".split())
                self.say(f"steps are not captured as a CUDA graph, which is slower: {why}")

    def _side_by_side(self, replay: graphs.Replay, observer: Observer | None) -> None:
        for step in range(self.lanes[0].whole):
            for lane in self.lanes:
                lane.load(step)
            if seen := self._seen(self.lanes[0], step, observer):
                self._step_in_turn(seen)
            else:
                replay()
        for lane in self.lanes:
            with lane.random.in_use():
                lane.rest(self._seen(lane, lane.whole, observer))

    def _step_in_turn(self, seen: Seen) -> None:
        for lane in self.lanes:
            with lane.random.in_use():
                lane.step(seen if lane is self.lanes[0] else None)

    def _in_turn(self, observer: Observer | None) -> None:
        for lane in self.lanes:
            with lane.random.in_use():
                for step in range(lane.whole):
                    lane.load(step)
                    lane.step(self._seen(lane, step, observer))
                lane.rest(self._seen(lane, lane.whole, observer))

    def _seen(self, lane: Lane, step: int, observer: Observer | None) -> Seen | None:
        """Return what looks at a lane's batch before this step, None where nothing does."""
        if observer is None or lane is not self.lanes[0]:
            return None
        progress = lane.member.epoch + step / lane.steps
        if not observer.due(progress):
            return None
        return lambda images: observer.look(progress, lane.member.model, images)
