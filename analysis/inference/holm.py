"""Holm's step-down: p values of several tests, so that seldom is even one of them small by chance."""

from __future__ import annotations

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Return the adjusted p values of tests with the p values `p` (n,): float64 in 0..1, in the same order.

    To call those at most 0.05 more than chance is wrong, even once in all, in at most 5 % of cases, however the tests
    depend on each other. The smallest is multiplied by n, the next by n − 1, and so on; none ends below a smaller one.
    NaN stands for a test that was not made, stays, and does not count. Holm, "A simple sequentially rejective multiple
    test procedure", Scandinavian Journal of Statistics 1979. Raises ValueError for p values outside 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        raise ValueError(f"the p values are {p}, but must be in one row and from 0 to 1")
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return adjusted
