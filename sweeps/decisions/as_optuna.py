"""A search as Optuna has it: its trials, its points, and its database. The one home of Optuna.

Optuna is imported only where it is asked: a plan needs none.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.decisions.dimensions import Choice, Dimension, Whole
from sweeps.decisions.space import Space
from sweeps.decisions.status import Status
from sweeps.decisions.told import OBJECTIVES, Told

if TYPE_CHECKING:
    from types import ModuleType

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

STATES = {Status.RUNNING: "RUNNING", Status.CENSORED: "PRUNED", Status.DONE: "COMPLETE", Status.FAILED: "FAIL"}


def optuna() -> ModuleType:
    """Return Optuna, quiet."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def new_study(objectives: Sequence[str], **options: Any) -> Study:
    """Return an empty study of these objectives; `options` are Optuna's."""
    return optuna().create_study(directions=[OBJECTIVES[name] for name in objectives], **options)


def frozen(space: Space, trial: Told, scores: Mapping[int, float], **attributes: Any) -> FrozenTrial:
    """Return a trial with these scores by epoch; `attributes` are Optuna's."""
    flat = space.flat(trial.values)
    distributions = {}

    def note(name: str, dimension: Dimension) -> Any:
        distributions[name] = _distribution(dimension)
        return flat[name]

    space.draw(note)
    return optuna().trial.create_trial(
        state=optuna().trial.TrialState[STATES[trial.state]],
        values=trial.objectives if trial.state == Status.DONE else None,
        params={name: _word(value) for name, value in flat.items()},
        distributions=distributions,
        intermediate_values=dict(scores),
        constraints=dict(trial.beyond) or None,
        **attributes,
    )


def asked(trial: Trial, name: str, dimension: Dimension) -> Any:
    """Return what a trial under way suggests for a single draw."""
    if isinstance(dimension, Choice):
        words = [_word(value) for value in dimension.values]
        return dimension.values[words.index(trial.suggest_categorical(name, words))]
    if isinstance(dimension, Whole):
        return trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def as_database(
    name: str,
    space: Space,
    objectives: Sequence[str],
    told: Sequence[Told],
    attributes: Mapping[int, Mapping[str, Any]] | None = None,
) -> bytes:
    """Return the search as Optuna's study `name` in a sqlite database, which `optuna-dashboard sqlite:///PATH` shows.

    `attributes` are more to note of trials, by number, such as a failure's reason.
    """
    storage = optuna().storages.RDBStorage("sqlite:///:memory:")  # a file would be synced to disk at each trial
    study = new_study(objectives, storage=storage, study_name=name)
    for trial in sorted(told, key=lambda trial: trial.number):
        noted = {"epochs": max(trial.scores, default=0)} | dict((attributes or {}).get(trial.number, {}))
        study.add_trial(frozen(space, trial, trial.scores, user_attrs=noted))
    storage.remove_session()
    with storage.engine.connect() as connection:
        content: bytes = connection.connection.driver_connection.serialize()
    storage.engine.dispose()
    return content


@functools.cache
def _distribution(dimension: Dimension) -> BaseDistribution:
    distributions = optuna().distributions
    if isinstance(dimension, Choice):
        return distributions.CategoricalDistribution(tuple(map(_word, dimension.values)))
    kind = distributions.IntDistribution if isinstance(dimension, Whole) else distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)


def _word(value: Any) -> Any:
    """Return a value as Optuna can store it: a tuple in words."""
    return str(value) if isinstance(value, tuple) else value
