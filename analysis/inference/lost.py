"""What is lost on average, over networks of several seeds that are seen on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Lost:
    """A mean with its 95 % interval; low and high are None where the values do not tell how sure it is."""

    mean: float
    low: float | None
    high: float | None

    def __format__(self, form: str) -> str:
        """Return mean [low, high] in words, each number in a form such as `.2f`."""
        if self.low is None:
            return f"{self.mean:{form}}"
        return f"{self.mean:{form}} [{self.low:{form}}, {self.high:{form}}]"


def over_seeds_and_images(lost: np.ndarray) -> Lost:
    """Return the mean of what is lost on each image by each network, (seeds, images), in the unit of its values.

    Both are taken for samples, the images being the same for all networks: the variance is that over images of the mean
    over seeds, and what seeds add beyond what single images make of them. With one seed the interval is over images
    alone. Freedom after Satterthwaite. Dorfman, Berbaum and Metz, "Receiver operating characteristic rating analysis:
    generalization to the population of readers and patients", Investigative Radiology 1992.
    """
    seeds, images = lost.shape
    if images < 2:
        return Lost(float(lost.mean()), None, None)
    variance, freedom = lost.mean(axis=0).var(ddof=1) / images, images - 1.0
    if seeds > 1:
        between = lost.mean(axis=1).var(ddof=1)
        by_images = lost.var(axis=0, ddof=1).mean() / images
        variance += max(0.0, between - by_images) / seeds
        if between > 0:
            freedom = min(freedom, variance**2 / ((between / seeds) ** 2 / (seeds - 1)))
    return _interval(float(lost.mean()), variance, max(1.0, freedom))


def over_seeds(lost: np.ndarray) -> Lost:
    """Return the mean of what each network loses, (seeds,), with an interval over seeds alone."""
    if len(lost) < 2:
        return Lost(float(lost.mean()), None, None)
    return _interval(float(lost.mean()), lost.var(ddof=1) / len(lost), len(lost) - 1.0)


def _interval(mean: float, variance: float, freedom: float) -> Lost:
    from scipy.special import stdtrit  # Student's t, without what importing scipy.stats takes

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * variance**0.5
    return Lost(mean, mean - reach, mean + reach)
