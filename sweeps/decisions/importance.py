"""What mattered in a search: how much each field had to do with its best trials being good. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sweeps.decisions.as_optuna import frozen, new_study, optuna
from sweeps.decisions.space import Space
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from trainables.errors import UserError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 8  # that importance is told from
RESAMPLES = 60  # for the scatter of an importance, which they tell to a tenth
TOP = 0.25  # of the trials are the good ones, whose fields importance looks at; Optuna's 0.1 is too few of a search's


def importance(space: Space, told: Sequence[Told], epoch: int) -> dict[str, float]:
    """Return each field's share in what made the best quarter of the trials good, the largest first; they sum to 1.

    Trials are compared by their scores at `epoch`; those that did not come so far say nothing. PED-ANOVA (Watanabe et
    al., IJCAI 2023) asks how the best differ from all that was drawn; a field that part of the trials draw counts by
    that part (Optuna 5 extends it so). The entries of an Each are added up. Fields that no such trial drew are left
    out. Raises UserError for fewer than 8 trials.
    """
    reached = _reached(told, epoch)
    fields = dict.fromkeys(path for path in space.fields if any(path in trial.values for trial in reached))
    shares = _shares(_scored(space, reached, epoch), fields)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def importance_errors(space: Space, told: Sequence[Told], epoch: int) -> dict[str, float]:
    """Return how far each field's importance would scatter with other trials drawn: the standard deviation of its share
    over resamples of the trials, with replacement (the bootstrap; Efron 1979).

    Raises UserError as importance() does.
    """
    trials, rng = _scored(space, _reached(told, epoch), epoch), np.random.default_rng(0)
    found = [
        _shares([trials[at] for at in rng.integers(len(trials), size=len(trials))], space.fields)
        for _ in range(RESAMPLES)
    ]
    return {path: float(np.std([each[path] for each in found], ddof=1)) for path in space.fields}


def _reached(told: Sequence[Told], epoch: int) -> list[Told]:
    """Return the trials that have come to an epoch. Raises UserError where they are too few to tell importance."""
    reached = [trial for trial in told if epoch in trial.scores]
    if len(reached) < LEAST_TRIALS:
        raise UserError(
            f"{len(reached)} trials have come to epoch {epoch}, but importance needs at least {LEAST_TRIALS}"
        )
    return reached


def _scored(space: Space, trials: Sequence[Told], epoch: int) -> list[FrozenTrial]:
    """Return the trials as Optuna knows them, done with their scores at the epoch, and bounded by nothing."""
    ended = (replace(each, state=Status.DONE, objectives=(each.scores[epoch],), beyond={}) for each in trials)
    return [frozen(space, each, {}) for each in ended]


def _shares(trials: Sequence[FrozenTrial], fields: Iterable[str]) -> dict[str, float]:
    """Return each field's share; 0 for one that none of the trials drew."""
    study = new_study(("score",))
    study.add_trials(trials)
    ped_anova = optuna().importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        # it warns of fields that hardly any trial drew, or hardly any did not
        warnings.simplefilter("ignore", UserWarning)
        shares = optuna().importance.get_param_importances(study, evaluator=ped_anova)
    return {path: sum(share for name, share in shares.items() if name.partition("[")[0] == path) for path in fields}
