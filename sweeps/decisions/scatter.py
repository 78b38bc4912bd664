"""How much seeds add to the noise of a score, when each trial has few of them. Pure.

T is the variance over seeds of the score on these images, w that which the images alone would give it: the mean over
images of the variance over seeds of each, divided by their number N. What seeds add is E = max(0, T - w).

A variance of three seeds is known badly, so that it is pooled over the study's J trials that have several (P, ν degrees
of freedom). But a trial that scatters more than the others' pool explains keeps its own: above F's upper quartile, as
even three times the standard deviation, of three seeds, is beyond its 99th percentile in half the cases only. For that
choice it pays with a degree of freedom: n - 2, at least ½. How unlike the true variances are, τ², shows in how much
more the measured ones differ than so few seeds explain; a trial that borrows from the pool may be any of these. A trial
of one seed takes the mean E.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """How one seed's score scatters: its variance over seeds, T, and what the images explain of it, w. NaN of one."""

    seeds: int
    total: float
    images: float


def spread(sample: np.ndarray) -> Spread:
    """Return how the score of one trial scatters, from its `sample` (n, N): see `inference.compare`."""
    seeds, images = sample.shape
    if seeds < 2:
        return Spread(seeds, math.nan, math.nan)
    return Spread(seeds, float(sample.mean(axis=1).var(ddof=1)), float(sample.var(axis=0, ddof=1).mean()) / images)


@dataclass(frozen=True, eq=False)
class Scatter:
    """What seeds add to the scores of K trials."""

    seeds: np.ndarray  # (K,) n
    added: np.ndarray  # (K,) E, the variance of a score of one seed
    images: np.ndarray  # (K,) w; the mean of the others' where there is one seed
    own: np.ndarray  # (K,) T where a trial keeps its own, else 0
    pooled: float  # P
    unlike: float  # τ²
    trials: int  # J
    freedom: float  # ν

    def of_pairs(self) -> np.ndarray:
        """Return what seeds add to the variance of each difference, (K, K)."""
        return _sums(self.of_each())

    def of_each(self) -> np.ndarray:
        """Return what seeds add to the variance of each score, (K,)."""
        return self.added / self.seeds

    def doubt_of_pairs(self) -> np.ndarray:
        """Return half the variance of that, (K, K)."""
        return _sums(self._borrowed) ** 2 * self._doubt_of_pool + _sums(self._doubt_of_own)

    def doubt_of_each(self) -> np.ndarray:
        """Return half the variance of what of_each() returns, (K,)."""
        return self._borrowed**2 * self._doubt_of_pool + self._doubt_of_own

    @property
    def _borrowed(self) -> np.ndarray:
        """The share of the pool in a score's variance, (K,)."""
        return np.where(self.own > 0, 0, 1 / self.seeds)

    @property
    def _doubt_of_pool(self) -> float:
        return self.pooled**2 / self.freedom + self.unlike / self.trials / 2

    @property
    def _doubt_of_own(self) -> np.ndarray:
        own = (self.own / self.seeds) ** 2 / np.maximum(self.seeds - 2, 0.5)
        return own + self._borrowed**2 * self.unlike / 2


def scatter(spreads: Sequence[Spread], also: Sequence[Spread]) -> Scatter | None:
    """Return what seeds add to the scores of trials that scatter so, beside others of the same study.

    None where no trial has several seeds.
    """
    every = [*spreads, *also]
    seeds, total, images = (np.array([getattr(each, name) for each in every]) for name in ("seeds", "total", "images"))
    several = seeds > 1
    if not several.any():
        return None
    freedom = seeds[several] - 1.0
    pooled = float(np.average(total[several], weights=freedom))
    own = np.zeros(len(every))
    own[several] = np.where(_stands_out(total[several], freedom), total[several], 0)
    images[~several] = images[several].mean()
    added = np.maximum(0, np.where(own > 0, own, pooled) - images)
    added[~several] = added[several].mean()
    here = slice(len(spreads))
    return Scatter(
        seeds[here],
        added[here],
        images[here],
        own[here],
        pooled=pooled,
        unlike=_unlike(total[several], freedom),
        trials=int(several.sum()),
        freedom=float(freedom.sum()),
    )


def _stands_out(total: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Tell of each variance whether it is more than the pool of the others explains."""
    from scipy.special import fdtri

    if len(total) < 2:
        return np.zeros(len(total), dtype=bool)
    others = freedom.sum() - freedom
    pool = (freedom @ total - freedom * total) / others
    return total > pool * fdtri(freedom, others, 0.75)


def _unlike(total: np.ndarray, freedom: np.ndarray) -> float:
    """Return the variance of the true variances: that of the measured ones is τ² + mean(2 T² / freedom)."""
    if len(total) < 2:
        return 0.0
    noise = (2 / freedom).mean()
    return max(0.0, float(total.var(ddof=1) - noise * np.average(total, weights=freedom) ** 2)) / (1 + noise)


def _sums(values: np.ndarray) -> np.ndarray:
    return values[:, None] + values
