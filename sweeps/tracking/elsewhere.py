"""The stored trials, of any study and anybody, that lie in the space of a search: it may make use of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sweeps.decisions.others import Other
from sweeps.decisions.space import Space
from sweeps.tracking.entry import point
from sweeps.tracking.store import Store, known, stored
from trainables.config import Trial
from trainables.errors import UserError


def inside(
    store: Store, space: Space, start: Trial, key_of: Callable[[Trial], str], without: Collection[str]
) -> list[Other]:
    """Return the stored trials that are points of a space around `start`, with their curves; those with the keys
    `without` aside.

    Only the curves of those are read. A store that cannot be read is a UserError.
    """
    points: dict[str, Mapping[str, Any]] = {}
    with store.readable():
        names = store.experiments()
        runs = store.best_runs(None, list(names))
        for key, run in runs.items():
            values = point(space, start, run.data.params) if key not in without else None
            if values is not None and _key(start, values, key_of) == key:
                points[key] = values
        curves = store.all_curves({key: runs[key] for key in points})
    trials = {key: stored(runs[key], names[runs[key].info.experiment_id], curves[key]) for key in points}
    return [Other(key, points[key], known(trial)) for key, trial in trials.items()]


def _key(start: Trial, values: Mapping[str, Any], key_of: Callable[[Trial], str]) -> str | None:
    try:
        return key_of(start.with_values(values))
    except UserError:
        return None
