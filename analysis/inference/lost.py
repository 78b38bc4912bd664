"""What is lost on average, over networks of several seeds that are seen on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.readers_and_cases import by_images, variance_of_mean

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

    Both are taken for samples, the images being the same for all networks. With one seed the interval is over images
    alone.
    """
    seeds, images = lost.shape
    if images < 2:
        return Lost(float(lost.mean()), None, None)

    def spread(each: np.ndarray) -> np.ndarray:
        return np.asarray(each.var(ddof=1) / images)

    variance, freedom = spread(lost.mean(axis=0)), np.asarray(images - 1.0)
    if seeds > 1:
        between = lost.mean(axis=1).var(ddof=1)
        variance, freedom = variance_of_mean(
            variance, freedom, between / seeds, seeds - 1.0, by_images(lost, spread) / seeds
        )
    return _interval(float(lost.mean()), float(variance), max(1.0, float(freedom)))


def over_seeds(lost: np.ndarray) -> Lost:
    """Return the mean of what each network loses, (seeds,), with an interval over seeds alone."""
    if len(lost) < 2:
        return Lost(float(lost.mean()), None, None)
    return _interval(float(lost.mean()), lost.var(ddof=1) / len(lost), len(lost) - 1.0)


def _interval(mean: float, variance: float, freedom: float) -> Lost:
    from scipy.special import stdtrit  # Student's t, without what importing scipy.stats takes

    reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * variance**0.5
    return Lost(mean, mean - reach, mean + reach)
