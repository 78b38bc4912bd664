"""Permutation tests: whether what belongs together goes together, and whether one of two ways is better on the same
images.

Both are two-sided, and exact where there are few images.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

LIKELY = 0.05  # p above it tells nothing apart
EXACT = 5_040  # arrangements, of at most so many all are tried: those of 7 images, or the signs of 12
DRAWN = 2_000  # at random, where there are more
SEED = 0
LAST_BIT = 1e-9  # sums of the same numbers in another order are equal


@dataclass(frozen=True)
class Matched:
    """What images have with their own partners and on average with those of the others.

    `p` is None of fewer than two images, which cannot change partners.
    """

    own: float
    others: float
    p: float | None
    images: int


def matched(values: np.ndarray) -> Matched | None:
    """Test whether image i has more, or less, with its own partner i than with those of other images: values (n, n).

    The partners change places among the images. An image whose own value is NaN is left out with its partner; None
    where that are all.
    """
    known = np.flatnonzero(np.isfinite(np.diagonal(values)))
    count = len(known)
    if not count:
        return None
    values = values[np.ix_(known, known)].astype(np.float64)
    own, total = float(np.diagonal(values).mean()), values.sum()
    if count < 2:
        return Matched(own, math.nan, None, count)
    others = float((total - count * own) / (count * (count - 1)))
    exact = math.factorial(count) <= EXACT
    means = values[np.arange(count), _arrangements(count, exact)].mean(axis=1)
    return Matched(own, others, _two_sided(means, own, drawn=not exact), count)


def paired(differences: np.ndarray) -> float | None:
    """Return p of the hypothesis that differences (n,) are as likely to have the opposite sign; None of fewer than two.

    What is tested is their mean. Those that are NaN are left out.
    """
    known = differences[np.isfinite(differences)].astype(np.float64)
    count = len(known)
    if count < 2:
        return None
    exact = 2**count <= EXACT
    if exact:
        signs = np.array(list(itertools.product((1, -1), repeat=count)))
    else:
        signs = np.random.default_rng(SEED).choice(np.array([1, -1]), (DRAWN, count))
    return _two_sided((signs * known).mean(axis=1), float(known.mean()), drawn=not exact)


@functools.lru_cache(maxsize=2)  # one finding has several tests of as many images
def _arrangements(count: int, exact: bool) -> np.ndarray:
    """Return all permutations of so many images, or some drawn at random, (arrangements, count)."""
    if exact:
        return np.array(list(itertools.permutations(range(count))))
    return np.random.default_rng(SEED).permuted(np.tile(np.arange(count, dtype=np.int32), (DRAWN, 1)), axis=1)


def _two_sided(means: np.ndarray, seen: float, *, drawn: bool) -> float:
    """Return p of the mean that was seen among those of all arrangements, or of some drawn at random.

    To those drawn the one that was seen is added, so that p is never 0.
    """
    near = LAST_BIT * max(float(np.abs(means).max()), abs(seen))
    as_far = min(int((means >= seen - near).sum()), int((means <= seen + near).sum()))
    return min(1.0, 2 * (as_far + drawn) / (len(means) + drawn))
