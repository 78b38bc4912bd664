"""Which trials run on after an epoch."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

from sweeps.decisions.agenda import Agenda
from sweeps.execution.messages import Order, Progress, message

# Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020. Half of a stage's trials go on at each
# rung: a stage has few trials, each of them a row of the published table, so that the paper's factor of 4 would leave
# most rows without an end.
REDUCTION_FACTOR = 2


def grace_period(epochs: int) -> int:
    """Return the number of epochs that every trial gets under early stopping: a quarter."""
    return max(1, round(epochs / 4))


class EarlyStopping(FIFOScheduler):
    """Tune's scheduler: a search decides by its own rule, and within each other stage ASHA does, unless it is off.

    ASHA compares a trial only with trials that differ from it in the stage's factor.
    """

    def __init__(self, agenda: Agenda) -> None:
        super().__init__()
        self.agenda = agenda
        self.stages: dict[str, AsyncHyperBandScheduler] = {}

    def begin(self, trial: Any) -> None:
        """Give a trial of Tune's to its stage's rungs, now that it is known which one it is."""
        if rungs := self._rungs(trial):
            rungs.on_trial_add(None, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on."""
        if rungs := self._rungs(trial):
            return rungs.on_trial_result(tune_controller, trial, result)
        order, news = Order.of(trial.config), message(result)
        if order is None or not isinstance(news, Progress):
            return self.CONTINUE
        return self.CONTINUE if all(self.agenda.goes_on(order.key, *score) for score in news.scores()) else self.STOP

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Record the trial's last result in its rung."""
        if rungs := self._rungs(trial):
            rungs.on_trial_complete(tune_controller, trial, result)

    def __getstate__(self) -> dict[str, Any]:
        """Hold nothing for Tune's own snapshot of the experiment, which is never restored."""
        return {}

    def _rungs(self, trial: Any) -> AsyncHyperBandScheduler | None:
        order = Order.of(trial.config)
        if order is None or not self.agenda.may_be_stopped(order.key):
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
