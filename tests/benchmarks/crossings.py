"""How often the curves of a table cross: of what early stopping has to live with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from tests.benchmarks.search_tables import Table, chosen_epochs

AFTER = (1, 2, 4, 8)  # epochs
CLEAR = 2.0  # standard errors by which networks must differ at the end: less may be noise


class Crossing(NamedTuple):
    """How networks stood after an epoch: which share of the pairs that differ clearly at the end was the other way
    round, among all networks and among the best quarter; and the rank correlation with the end in that quarter.
    """

    epoch: int
    all: float
    best: float
    correlation: float


def crossings(table: Table) -> list[Crossing]:
    """Return this for some epochs, by means over the seeds that all networks have; without networks that diverge."""
    val = table.val[table.made.all(axis=1)]
    val = val[:, ~np.isnan(val).any(axis=(0, 2))]
    ends = np.take_along_axis(val, chosen_epochs(val)[..., None] - 1, axis=2)[..., 0]
    error = np.sqrt(2 * ends.var(axis=0, ddof=1).mean() / len(val))
    end, curves = ends.mean(axis=0), val.mean(axis=0)
    best = np.argsort(-end, kind="stable")[: max(2, len(end) // 4)]
    return [
        Crossing(
            epoch,
            _turned(curves[:, epoch - 1], end, CLEAR * error),
            _turned(curves[best, epoch - 1], end[best], CLEAR * error),
            float(spearmanr(curves[best, epoch - 1], end[best]).statistic),
        )
        for epoch in AFTER
        if epoch < table.epochs
    ]


def _turned(then: np.ndarray, end: np.ndarray, clear: float) -> float:
    """Return the share of the pairs that differ by more than `clear` at the end, and differed the other way then."""
    ahead = end[:, None] - end > clear
    return float((ahead & (then[:, None] < then)).sum() / ahead.sum()) if ahead.any() else np.nan
