"""What a Tune worker runs: one trial after another, an epoch per step."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from ray import tune

from sweeps.decisions.study import Watch
from sweeps.execution.desk import Closed
from sweeps.execution.messages import Failure, Help, Order, Place, Poisoned, Progress, Stopped, nothing_to_do
from sweeps.execution.outbox import Outbox
from sweeps.execution.running import Bench, Running, assist
from sweeps.execution.tracker_actor import TrackerActor
from trainables.datasets import Dataset
from trainables.devices import give_memory_back, keep_memory, keep_within
from trainables.footprint import CONTEXT
from trainables.gpu_errors import empty_cache, let_go, poisons


class Worker(tune.Trainable):
    """Runs the trial that its order names, and reports each epoch to Tune; or helps another worker with its trial until
    that has ended. Without either it ends at once.

    An error of the trial's own is reported as its result, so that Tune's retries are left for what may pass: a lost
    process or node, or a GPU that failed under this process, which then is of no more use.
    """

    bench: Bench
    order: Order | Help | None
    running: Running | None  # None before the order's first step, and after an error
    helpers: list[Help]  # that have been sent, and are yet to be let in
    winding_up: bool  # whether the trial is to stop, and the next step to train nothing

    def setup(
        self,
        config: dict[str, Any],
        data: Dataset,
        weights: Mapping[str, bytes],
        watch: Watch,
        tracker: TrackerActor,
    ) -> None:
        """Remember what all trials share; the first one starts with the first step."""
        place = Place.of(config)
        if place.device == "cpu":
            torch.set_num_threads(1)
            keep_memory()
        elif place.gpu < 1:
            keep_within(place.gpu, CONTEXT)
        self.bench = Bench(data, weights, watch, Outbox(tracker))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Let go of the trial before: the same process takes up another one."""
        self.bench.outbox.let_go()
        self.order = self.running = None
        self.helpers, self.winding_up = [], False
        give_memory_back()
        return True

    def take(self, order: Order | Help | None) -> None:
        """Take up a trial. The driver calls it when Tune says that the worker has started, before the first step."""
        self.order = order

    def join(self, job: Help) -> None:
        """Let another worker help with the trial from the next epoch on. The driver calls it."""
        self.helpers.append(job)

    def wind_up(self) -> None:
        """Have the next step end the trial. The driver calls it where the last epoch's snapshot is yet to come."""
        self.winding_up = True

    def step(self) -> dict[str, Any]:
        """Train an epoch, or wind the trial up, and report it. Raises Poisoned where this process can do no more."""
        if self.order is None:
            return nothing_to_do()
        if isinstance(self.order, Help):
            with contextlib.suppress(Closed):
                assist(self.order, self.bench)
            self.bench.kept.clear()
            return nothing_to_do()
        try:
            return self._advance(self.order).to_result()
        except Exception as error:  # whatever it is, it is this trial's result, with its traceback kept
            self.running, failure = None, Failure.of(error)
            self.bench.kept.clear()
            let_go(error)  # with its memory
            if poisons(error):
                raise Poisoned(failure) from None
            empty_cache()
            return failure.to_result()

    def _advance(self, order: Order) -> Progress | Stopped:
        """Train an epoch, or wind the trial up. Where a helper has gone, it goes on from its last snapshot, alone."""
        if self.running is None:
            empty_cache()  # of the trial before; here, as Tune starts no trial again that fails in reset_config()
            self.running = Running(order, self.bench)
        for each in self.helpers:
            self.running.join(each)
        self.helpers = []
        try:
            return self.running.wind_up() if self.winding_up else self.running.step()
        except Closed:
            self.running, self.winding_up = Running(order, self.bench), False
            return self.running.step()

    def cleanup(self) -> None:
        """Let go of the trial's memory."""
        self.running = None
        self.bench.kept.clear()
        self.bench.outbox.let_go()
