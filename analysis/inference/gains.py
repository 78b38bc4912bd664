"""Is one model better than another: differences with what they vary by, over images and over seeds.

Every column of what is given here (a class, or all images) is treated by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.readers_and_cases import Spread, by_images, variance_of_mean

LEVEL = 0.95
OWN = 0.99  # a model keeps its own variance over seeds where an F test says at this level that it is the greater one
LEAST_FREEDOM = 2.0


@dataclass(frozen=True)
class Scores:
    """What the networks of one model, one a seed, score: `values` (n, K), NaN where unknown.

    `images` (n, M, …) are the same scores image by image; or on resamples of the images, less `values`.
    """

    values: np.ndarray
    images: np.ndarray
    seeded: bool = True  # False: nothing about it is drawn at random

    @property
    def mean(self) -> np.ndarray:
        """The mean over seeds, (K,)."""
        return self.values.mean(axis=0)


@dataclass(frozen=True)
class Estimate:
    """Values (K,) with the variance of their error, and the degrees of freedom that it is known with."""

    value: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """The two-sided p value of each one's being 0 in truth, (K,), NaN where that is not known."""
        from scipy.stats import t

        error = np.sqrt(self.variance)
        size = np.divide(np.abs(self.value), error, out=np.full(len(error), np.nan), where=error > 0)
        return np.where(self.value == 0, 1.0, 2 * t.sf(size, self.freedom))

    def margin(self, intervals: int = 1) -> np.ndarray:
        """Return how far a 95 % interval reaches to either side, (K,): simultaneous ones, where it is one of several.

        Šidák, "Rectangular confidence regions for the means of multivariate normal distributions", JASA 1967.
        """
        from scipy.stats import t

        return np.sqrt(self.variance) * t.ppf((1 + LEVEL ** (1 / max(1, intervals))) / 2, self.freedom)

    def by_chance(self) -> float:
        """Return what the largest of the values stays below in 95 % of cases where all are 0 in truth.

        NaN where none is known.
        """
        from scipy.optimize import brentq
        from scipy.stats import t

        known = np.isfinite(self.value)
        error, freedom = np.sqrt(self.variance[known]), self.freedom[known]
        if not (error > 0).any():
            return 0.0 if known.any() else np.nan

        def missing(bound: float) -> float:
            inside = 1 - 2 * t.sf(bound / error[error > 0], freedom[error > 0])
            return float(np.prod(inside)) - LEVEL

        return float(brentq(missing, 0, 2 * self.margin(len(error) + 1)[known].max()))


class Comparison:
    """Models that score on the same images: what each is worth, and what one gains over another, as Estimates.

    `spread` gives the variance that images make; `freedom` (K,) is what that is known with; `least` (K,) is added where
    two models are compared.
    """

    def __init__(self, models: Sequence[Scores], spread: Spread, freedom: np.ndarray, least: np.ndarray | float = 0.0):
        self.models, self.spread, self.freedom, self.least = models, spread, freedom, least
        several = [number for number, model in enumerate(models) if model.seeded and len(model.values) > 1]
        self.over_seeds = bool(several)  # whether it is known what seeds make
        if several:
            self._pool(several)

    def level(self, model: int) -> Estimate:
        """Return what a model scores, the mean of its networks."""
        return self._estimate(self.models[model].mean, self.models[model].images.mean(axis=0), [model], 0.0)

    def gain(self, model: int, over: int) -> Estimate:
        """Return what a model gains over another."""
        own, other = self.models[model], self.models[over]
        images = own.images.mean(axis=0) - other.images.mean(axis=0)
        return self._estimate(own.mean - other.mean, images, [model, over], self.least)

    def _pool(self, several: Sequence[int]) -> None:
        """Find out what seeds make: variances of the values, and what of these the images alone would make."""
        from scipy.stats import f

        freedom = np.array([len(self.models[number].values) - 1 for number in several])[:, None]
        variances = np.stack([self.models[number].values.var(axis=0, ddof=1) for number in several])
        own = np.zeros(freedom.shape, bool)
        if len(several) > 1:
            size, columns = np.nansum(variances, axis=1, keepdims=True), variances.shape[1]
            rest = freedom.sum() - freedom
            others = ((freedom * size).sum() - freedom * size) / rest
            own = size > f.ppf(OWN, columns * freedom, columns * rest) * others  # never all of them
        total = int((freedom * ~own).sum())
        pooled = (freedom * ~own * variances).sum(axis=0) / total
        kept = np.where(own, variances, pooled)
        of_images = np.stack([by_images(self.models[number].images, self.spread) for number in several])
        self._seeds = {
            number: _Seeds(len(self.models[number].values), *each)
            for number, *each in zip(several, kept, of_images, own[:, 0].tolist(), strict=True)
        }
        self._shared, self._borrowed = (pooled, total), np.maximum(0, kept - of_images).mean(axis=0)

    def _estimate(
        self, value: np.ndarray, images: np.ndarray, models: Sequence[int], least: np.ndarray | float
    ) -> Estimate:
        variance, freedom = self.spread(images) + least, self.freedom
        found = [self._of_seeds(number) for number in models if self.models[number].seeded and self.over_seeds]
        if found:
            of_images = np.sum([each.by_images / each.count for each in found], axis=0)
            seeds = moderated(*_added(found, self._shared[1]))
            variance, freedom = variance_of_mean(variance, freedom, *seeds, of_images)
        return Estimate(value, variance, np.maximum(freedom, LEAST_FREEDOM))

    def _of_seeds(self, number: int) -> _Seeds:
        """Return what seeds make of a model; one of a single seed borrows what they make of the others."""
        pooled, _ = self._shared
        return self._seeds.get(number, _Seeds(1, pooled, pooled - self._borrowed, False))


@dataclass(frozen=True)
class _Seeds:
    """The variance of a model's values over seeds, (K,), what of it the images make, and whether it is its own."""

    count: int
    variance: np.ndarray
    by_images: np.ndarray
    own: bool


def _added(models: Sequence[_Seeds], shared: int) -> tuple[np.ndarray, float]:
    """Return the variance of the sum of the models' means, and its degrees of freedom."""
    parts = [(each, each.variance / each.count) for each in models]
    total = np.sum([part for _, part in parts], axis=0)
    together = sum(float(np.nansum(part)) for each, part in parts if not each.own) ** 2 / shared
    alone = sum(float(np.nansum(part)) ** 2 / (each.count - 1) for each, part in parts if each.own)
    return total, float(np.nansum(total)) ** 2 / (together + alone) if together + alone else float(shared)


def moderated(variances: np.ndarray, freedom: float) -> tuple[np.ndarray, float]:
    """Return variances (K,), those below the others drawn towards them as far as chance alone may have set them apart;
    and the degrees of freedom that they have then.

    A class has few seeds, but there are many classes. Smyth, "Linear models and empirical Bayes methods for assessing
    differential expression in microarray experiments", Statistical Applications in Genetics and Molecular Biology 2004.
    """
    known = variances[np.isfinite(variances)]
    if len(known) < 2 or not known.any():
        return variances, freedom
    prior, middle = _prior(known, freedom)
    # Half the degrees of freedom, and none below its own: of ten classes, how alike they are is not well known. So at
    # most one in 20 comparisons of equal models names a class, also where one's spread over seeds is twice another's.
    prior /= 2
    return np.maximum(variances, (prior * middle + freedom * variances) / (prior + freedom)), freedom + prior


def _prior(variances: np.ndarray, freedom: float) -> tuple[float, float]:
    """Return how alike the variances are in truth, as degrees of freedom, and what they are about."""
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    logs = np.log(np.maximum(variances, 1e-5 * variances.mean())) - digamma(freedom / 2) + np.log(freedom / 2)
    apart = float(logs.var(ddof=1) - polygamma(1, freedom / 2))  # beyond what chance makes
    most = freedom * (len(variances) - 1)  # all that the others can tell
    if apart <= float(polygamma(1, most / 2)):
        return most, float(variances.mean())
    prior = 2 * float(np.exp(brentq(lambda log: float(polygamma(1, np.exp(log))) - apart, -20, 20)))
    return prior, float(np.exp(logs.mean() + digamma(prior / 2) - np.log(prior / 2)))


def reach(seeds: Mapping[str, int]) -> str:
    """Return how far what is said of differences reaches, in a sentence, for models of so many seeds each."""
    single = [name for name, count in seeds.items() if count == 1]
    if not single:
        return "Intervals and tests are over seeds and images, both."
    if len(single) == len(seeds):
        return "One seed each: what is said of differences holds for these networks alone, not for what the models are."
    return f"One seed: {', '.join(single)}; what others would make is taken from the models of several."


def over_resamples(apart: np.ndarray) -> np.ndarray:
    """Return the Spread of scores on resamples of the images, less the scores themselves, (R, K) → (K,): their mean
    square, NaN where nothing is known.

    It counts what resamples smooth: precision at a recall jumps, but its mean over resamples does not.
    """
    known = np.isfinite(apart)
    count = known.sum(axis=0)
    return np.where(count > 0, (np.where(known, apart, 0) ** 2).sum(axis=0) / np.maximum(count, 1), np.nan)
