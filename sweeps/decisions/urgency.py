"""Which trial to begin first, so that the last one ends as early as can be: the one with the longest way behind it.

That is its own training, and then the longest chain of stages that wait for its stage: the critical path, by which list
scheduling orders jobs (Hu, "Parallel sequencing and assembly line problems", Operations Research 1961). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from sweeps.decisions.ledger import Ledger
from sweeps.decisions.records import Task, Terms
from sweeps.decisions.stages import AnyStage, Cell, Recheck
from sweeps.decisions.study import Study
from trainables.config import Trial
from trainables.errors import UserError
from trainables.history import History
from trainables.plan import effort, plan_of


class Urgency:
    """How long trials take: by their plan, and once trials have run, by what they took."""

    def __init__(self, study: Study, terms: Terms) -> None:
        self.study, self.terms = study, terms
        self._stages: dict[str, Sequence[str]] = {}  # the keys of those that are open, or were
        self._planned: dict[Trial, float] = {}
        self._measured: dict[Trial, float] = {}
        self._seconds = self._efforts = 0.0  # of the measured ones, in all

    @cached_property
    def foreseen(self) -> dict[str, dict[str, Trial]]:
        """The trials that stages have from the baseline, by stage and key: they are asked for with every epoch."""
        return {stage.name: _foreseen(stage, self.study.base(stage), self.terms) for stage in self.study.all_stages}

    def learn(self, trial: Trial, history: History) -> None:
        """Take what an epoch with one seed took."""
        if history.epochs and trial not in self._measured:
            self._measured[trial] = float(history.curve("seconds").mean())
            self._seconds += self._measured[trial]
            self._efforts += self.effort(trial)

    def effort(self, trial: Trial) -> float:
        """Return what an epoch of a trial takes with one seed, by its plan, in FLOPs a training image."""
        if trial not in self._planned:
            layers = plan_of(trial, self.terms.image_shape, self.terms.classes)
            self._planned[trial] = effort(layers, trial.training.batch_size)
        return self._planned[trial]

    def opened(self, stage: str, cells: Sequence[tuple[Cell, str]], ledger: Ledger) -> None:
        """Take in a stage with its trials and their keys, and put the most urgent of all trials first in the queue.

        Equals stay as they were. A trial of several stages is as urgent as for the first of them.
        """
        self._stages[stage] = [key for _, key in cells]
        for cell, key in cells:
            if key in ledger.known:
                self.learn(cell.trial, ledger.known[key].history)
        waiting: dict[str, float] = {}
        for name, keys in self._stages.items():
            behind = self._behind(name)
            waiting |= {key: max(behind, waiting.get(key, 0.0)) for key in keys}
        ledger.queue.sort(key=lambda task: self._left(task) + waiting[task.key], reverse=True)

    def _left(self, task: Task) -> float:
        """Return how long a trial has yet to train."""
        trial, seeds = task.cell.trial, len(task.seeds)
        done = task.known.history.cut(task.seeds, trial.training.epochs).count if task.known else 0
        return self._epoch(trial) * (trial.training.epochs * seeds - done)

    def _epoch(self, trial: Trial) -> float:
        if trial in self._measured:
            return self._measured[trial]
        pace = self._seconds / self._efforts if self._efforts else 1.0
        return pace * self.effort(trial)

    def _behind(self, name: str) -> float:
        """Return how long the longest chain of trials takes that waits for a stage: one of each stage after it.

        Each is taken to start from the baseline, as its winner is not known.
        """
        longest = 0.0
        for stage in self.study.after(name):
            trials = self.foreseen[stage.name].values() or [self.study.base(stage)]
            full = (self._epoch(each) * each.training.epochs * len(self.terms.seeds) for each in trials)
            longest = max(longest, max(full) + self._behind(stage.name))
        return longest


def _foreseen(stage: AnyStage, base: Trial, terms: Terms) -> dict[str, Trial]:
    """Return a stage's trials from the baseline, by key; of a recheck only how many there are is known.

    None where they cannot be built from there, as they need not be where a search comes before.
    """
    try:
        trials = stage.foreseen(base) or []
        for trial in trials:
            plan_of(trial, terms.image_shape, terms.classes)
    except UserError:
        return {}
    if isinstance(stage, Recheck):
        return {f"{stage.name} {number}": trial for number, trial in enumerate(trials)}
    return {terms.key(trial): trial for trial in trials}
