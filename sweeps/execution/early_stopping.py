"""Which trials run on after an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

from sweeps.decisions.agenda import Agenda
from sweeps.execution.messages import Order, Progress, message
from sweeps.execution.unsaved import Unsaved

# Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. Half of a stage's trials go on at each
# rung: a stage has few trials, so that the paper's factor of 4 would leave most without an end. Even so it is a toss
# among equals, and which rows of a table it leaves without an end is chance: by default decisions/stopping.py decides.
REDUCTION_FACTOR = 2


def grace_period(epochs: int) -> int:
    """Return the number of epochs that every trial gets under ASHA: a quarter."""
    return max(1, round(epochs / 4))


class EarlyStopping(Unsaved, FIFOScheduler):
    """Tune's scheduler: each stage decides by its own rule, or ASHA does within a grid where that is asked for.

    ASHA compares a trial only with trials that differ from it in the stage's factor. A trial whose process was lost may
    report epochs again: it counts once, and is stopped where it was to be stopped.
    """

    def __init__(self, agenda: Agenda, crowded: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.agenda, self.crowded = agenda, crowded  # whether others want the place of a worker that has nothing to run
        self.stages: dict[str, AsyncHyperBandScheduler] = {}
        self.stopped: dict[str, int] = {}  # by key, the epoch after which ASHA has a trial stop

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the trial that is next to get a worker. A worker without one, of which Tune keeps one, is ended where
        others want its place: Tune has no setting for that, and calls this with every step.
        """
        if self.crowded():
            tune_controller._cleanup_cached_actors(force_all=True)
        return super().choose_trial_to_run(tune_controller)

    def begin(self, trial: Any) -> None:
        """Give a trial of Tune's to its stage's rungs, now that it is known which one it is."""
        order = Order.of(trial.config)
        if order and (rungs := self._rungs(order)):
            rungs.on_trial_add(None, _Counted(order.key))

    def on_trial_result(self, _: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on.

        One that is to stop, and whose snapshot is yet to come, stops with its next step, which trains nothing.
        """
        order, news = Order.of(trial.config), message(result)
        if order is None or not isinstance(news, Progress) or self._goes_on(order, news, result):
            return self.CONTINUE
        if news.kept:
            return self.STOP
        trial.temporary_state.ray_actor.wind_up.remote()  # comes before its next step, as an actor's calls keep order
        return self.CONTINUE

    def on_trial_complete(self, _: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record the trial's last result in its rung."""
        order = Order.of(trial.config)
        if order and (rungs := self._rungs(order)):
            rungs.on_trial_complete(None, _Counted(order.key), result)

    def _goes_on(self, order: Order, news: Progress, result: dict[str, Any]) -> bool:
        if not all(self.agenda.goes_on(order.key, *score) for score in news.scores()):
            return False
        rungs = self._rungs(order)
        if rungs is None:
            return True
        if rungs.on_trial_result(None, _Counted(order.key), result) == self.STOP:
            self.stopped.setdefault(order.key, news.epoch)
        return news.epoch < self.stopped.get(order.key, math.inf)

    def _rungs(self, order: Order) -> AsyncHyperBandScheduler | None:
        if not self.agenda.may_be_stopped(order.key):
            return None
        if order.stage not in self.stages:
            epochs = order.trial.training.epochs
            self.stages[order.stage] = AsyncHyperBandScheduler(
                time_attr="epoch",
                metric="val_score",
                mode="max",
                max_t=epochs,
                grace_period=grace_period(epochs),
                reduction_factor=REDUCTION_FACTOR,
            )
        return self.stages[order.stage]


@dataclass(frozen=True)
class _Counted:
    """A trial as ASHA counts it: by its key, as Tune may have it under several ids, one after another."""

    trial_id: str
