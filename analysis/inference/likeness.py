"""How alike maps are: correlations over their positions."""

from __future__ import annotations

import numpy as np


def correlations(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation over the positions of each map with each of the others: (n, h, w), (m, h, w) → (n,
    m) float64.

    NaN where one of the two is the same everywhere.
    """
    one, other = (_standardised(values.reshape(len(values), -1).astype(np.float64)) for values in (maps, others))
    return one @ other.T


def ranked(maps: np.ndarray) -> np.ndarray:
    """Return maps (n, …) with each value's rank in its map, of equal values their mean: correlations() of ranks are
    Spearman's.
    """
    ranks = np.empty(maps.shape)
    for number, values in enumerate(maps):
        _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks[number] = (counts.cumsum() - (counts - 1) / 2)[at].reshape(values.shape)
    return ranks


def _standardised(flat: np.ndarray) -> np.ndarray:
    """Return rows of mean 0 and length 1; NaN in a row that is the same everywhere."""
    away = flat - flat.mean(axis=1, keepdims=True)
    same = flat.max(axis=1, keepdims=True) == flat.min(axis=1, keepdims=True)  # rounding may leave some away from 0
    lengths = np.where(same, np.nan, np.sqrt((away**2).sum(axis=1, keepdims=True)))
    return np.asarray(away / lengths)
