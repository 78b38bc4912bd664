"""When one trial is better than another: seeds and images both scatter, and many are compared at once. Pure.

A trial's score is the mean over its n seeds and N images of c[s, i]: right or not, or what an image contributes to a
mean average precision (see jackknife.py). Other seeds would have given another score, and so would other images; images
that are hard for one trial are hard for all, so that of them only the difference of two trials counts. That is the
model of readers and cases in diagnostic imaging (Obuchowski and Rockette 1995). The difference of a and b has

    V = varᵢ(c̄ₐ - c̄_b) / N + 1 / N² + Eₐ / nₐ + E_b / n_b    with f = 2 V² / var(V) degrees of freedom, at least 2.

c̄ is the mean over seeds, and E what seeds add to the images' noise (see scatter.py, which also says how well it is
known). 1 / N² is one more image on which the two differ: that they agree on N does not mean that they always would.

The differences of all pairs lie in their intervals at once in 95 % of stages (Tukey and Kramer), and the best trial is
among those that may be best in 95 % (Hsu's multiple comparisons with the best). A trial of one seed is taken to scatter
as the study's others do, which nothing can check; where none has several, nothing is told.

Simulated 2026-11-26 (tests/benchmarks/inference.py): of stages of 2 or 5 equal trials with 3 or 5 seeds, at most 5.2 %
(± 0.5) have a pair told apart, also where one trial's seeds scatter two or three times as much; the rule before, two
standard errors over seeds, had 11 to 60 %. Of two trials, one a point better is found in 38 % with 3 seeds, in 67 %
with 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.decisions.labels import interval
from sweeps.decisions.quantiles import lead, widest
from sweeps.decisions.scatter import Scatter, Spread, scatter, spread

_MOST_SEEDS = 1000  # up to which their number is exact


@dataclass(frozen=True)
class Difference:
    """How much higher one score is than another, with the simultaneous 95 % interval; None where nothing tells it."""

    value: float
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """In points, with the interval where it is known: `+1.2 [−0.1, +2.5]`."""
        return interval(self.value, self.low, self.high)

    @property
    def ahead(self) -> bool:
        """Whether the one is told to be better."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """K trials beside each other. Scores and differences are in the units of what is compared: of accuracies, 0..1."""

    scores: np.ndarray  # (K,)
    may_be_best: np.ndarray  # (K,) bool
    _margins: np.ndarray | None = None  # (K, K) half the width of each interval
    _outlook: Outlook | None = None

    @property
    def told(self) -> bool:
        """Whether anything tells how seeds scatter: some trial, here or among the others, has several."""
        return self._margins is not None

    @property
    def resolution(self) -> float | None:
        """Half the width of an interval, the mean over all pairs: a smaller difference cannot be seen.

        None where nothing is told, or there is only one trial.
        """
        if self._margins is None or len(self.scores) < 2:
            return None
        return float(self._margins[np.triu_indices(len(self.scores), 1)].mean())

    def difference(self, a: int, b: int) -> Difference:
        """Return how much higher trial a scores than trial b."""
        value = float(self.scores[a] - self.scores[b])
        if self._margins is None:
            return Difference(value, None, None)
        margin = float(self._margins[a, b])
        return Difference(value, value - margin, value + margin)

    def seeds_for(self, delta: float, pair: tuple[int, int] | None = None) -> int | None:
        """Return about how many seeds each trial needs for intervals of at most ± `delta`, which is above 0.

        A true difference of `delta` is then seen in half of the cases. It is for a pair of trials, or for all in the
        mean. None where no number does, as the images alone leave more noise, and where nothing is told. It is more
        than there are where these leave wider intervals: those of few seeds allow for a scatter that is larger than it
        looks.
        """
        if self._outlook is None or self._margins is None or len(self.scores) < 2:
            return None
        found, half = self._outlook.seeds_for(delta, pair), self.resolution if pair is None else self._margins[pair]
        return found if found is None or half is None or half <= delta else max(found, self._outlook.seeds + 1)


def compare(samples: Sequence[np.ndarray], also: Iterable[Spread] = (), of: int = 0) -> Comparison:
    """Return how K ≥ 1 trials compare.

    Each sample is (n, N), by seed and image: bool, right or not, or float, what the image contributes. All trials are
    taken on the same N images; n may differ. `also` are further trials of the study on such data, each once: they tell
    how seeds scatter. Where these are the best `of` more than K trials, the intervals hold for all of those. Raises
    ValueError where the numbers of images differ, or there are no seeds or images.
    """
    means = np.stack([_mean_over_seeds(sample) for sample in samples])
    scores = means.mean(axis=1)
    seeds = scatter([spread(sample) for sample in samples], [*also])
    if seeds is None:
        return Comparison(scores, np.ones(len(scores), dtype=bool))
    images = over_images(means - scores[:, None])
    variance = images + seeds.of_pairs()
    freedom = variance**2 / (images**2 / max(1, means.shape[1] - 1) + seeds.doubt_of_pairs())
    return decided(scores, variance, freedom, Outlook.of(images, seeds, max(of, len(scores))))


def decided(scores: np.ndarray, variance: np.ndarray, freedom: np.ndarray, outlook: Outlook) -> Comparison:
    """Return how trials with these `scores` (K,) compare, whose differences have these variances (K, K), known with
    these degrees of freedom (K, K).
    """
    if len(scores) == 1:
        return Comparison(scores, np.ones(1, dtype=bool), np.zeros((1, 1)), outlook)
    margins = widest(outlook.count, freedom) * np.sqrt(variance)
    np.fill_diagonal(margins, 0)
    beaten = scores[:, None] - scores > lead(outlook.count, freedom) * np.sqrt(variance)
    return Comparison(scores, ~beaten.any(axis=0), margins, outlook)


def _mean_over_seeds(sample: np.ndarray) -> np.ndarray:
    if not sample.size:
        raise ValueError(f"a sample of {sample.shape[0]} seeds and {sample.shape[1]} images tells nothing")
    return sample.mean(axis=0, dtype=np.float64)


def over_images(centred: np.ndarray) -> np.ndarray:
    """Return the variances of the differences that come of the images, (K, K), from (K, N) of mean 0."""
    count = centred.shape[1]
    products = centred @ centred.T
    squares = np.diag(products)
    return (np.maximum(0, squares[:, None] + squares - 2 * products) + 1) / count**2


@dataclass(frozen=True, eq=False)
class Outlook:
    """What more seeds would do for the variances of the differences."""

    lasting: np.ndarray  # (K, K) what no seed takes away
    per_seed: np.ndarray  # (K, K) the rest, of one seed
    freedom: float  # that the other trials of the study add
    trials: int  # of which one more seed adds a degree of freedom each
    seeds: int  # the fewest that a trial has now
    count: int  # of trials for all of which the intervals hold at once

    @classmethod
    def of(cls, images: np.ndarray, seeds: Scatter, count: int) -> Outlook:
        """Return that of trials on the same images, whose noise in the differences is `images` (K, K)."""
        passing = seeds.images / seeds.seeds
        lasting = np.maximum(0, images - passing[:, None] - passing)
        per_seed = seeds.added + seeds.images
        others = seeds.freedom - (seeds.seeds - 1).sum()
        return cls(lasting, per_seed[:, None] + per_seed, others, len(per_seed), int(seeds.seeds.min()), count)

    def seeds_for(self, delta: float, pair: tuple[int, int] | None) -> int | None:
        """See Comparison.seeds_for()."""
        count = self.count
        first, second = np.triu_indices(len(self.per_seed), 1) if pair is None else pair
        lasting = self.lasting[first, second].mean()
        per_seed = self.per_seed[first, second].mean()
        seeds = np.arange(2, _MOST_SEEDS)
        passing = np.maximum(per_seed / seeds, 1e-30)
        variance = lasting + passing
        freedom = (variance / passing) ** 2 * (self.freedom + self.trials * (seeds - 1))
        enough = widest(count, freedom) ** 2 * variance <= delta**2
        if enough.any():
            return int(seeds[enough.argmax()])
        left = delta**2 / float(widest(count, np.array(np.inf))) ** 2 - lasting
        return math.ceil(per_seed / left) if left > 0 else None
