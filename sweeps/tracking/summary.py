"""What a run's metrics say of the whole trial, beside those of its epochs: the scores that tables show and rank by."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sweeps.decisions.outcome import Outcome
from sweeps.decisions.status import Status

STEP = 0  # of all of them, so that a newer value replaces the one before
PREFIXES = ("best_", "chosen_")

Values = Mapping[tuple[str, int], tuple[float, int]]  # (metric, step) → newest, its time


def summary(outcome: Outcome, metric: str) -> dict[str, float]:
    """Return a trial's metrics by name, means over the replicates; nothing of one that did not run in full, so that it
    is never ranked.

    `best_val_accuracy` and `best_test_accuracy` are each replicate's best epoch, `best_test_epoch` says which that is
    on the test set; `chosen_…` are of the epoch chosen on validation. Scores are fractions in 0..1, by the name of
    their `metric`, with a standard deviation (`…_sd`) where there are several replicates; epochs count from 1.
    """
    if outcome.status != Status.DONE:
        return {}
    curves = {part: outcome.history.curve(f"{part}_score") for part in ("val", "test")}
    scores = {f"best_{part}_{metric}": curve.max(axis=1) for part, curve in curves.items()}
    scores |= {f"chosen_{part}_{metric}": outcome.chosen(f"{part}_score") for part in curves}
    epochs = {"best_test_epoch": curves["test"].argmax(axis=1) + 1, "chosen_epoch": outcome.history.chosen_epochs()}
    means = {name: float(np.mean(values)) for name, values in (scores | epochs).items()}
    spreads = {f"{name}_sd": float(np.std(values, ddof=1)) for name, values in scores.items() if len(values) > 1}
    return means | spreads


def withdrawn(scores: Mapping[str, float], sent: Values) -> dict[str, float]:
    """Return NaN for each of a run's metrics of this kind that a newer summary lacks: MLflow deletes none.

    So does a trial that ran in full, and now goes on to more epochs, lose what it was ranked by.
    """
    return {name: math.nan for name, step in sent if step == STEP and name.startswith(PREFIXES) and name not in scores}
