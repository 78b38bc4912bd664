"""Which classes one model is better on than another, of all the classes that may seem so by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.gains import Comparison, Estimate, Scores, over_resamples
from analysis.inference.holm import holm
from analysis.inference.mcnemar import mcnemar

POINTS = 100


@dataclass(frozen=True)
class ClassGains:
    """What further models gain over the first, in points: over all images, (models − 1,), and per class, an Estimate
    each.

    `p` (models − 1, classes) are p values after Holm over all of them, NaN for classes without images. `over_seeds`:
    whether it is known what seeds make; else all this is about one network of each model.
    """

    over_all: Estimate
    per_class: tuple[Estimate, ...]
    p: np.ndarray
    over_seeds: bool

    @property
    def tests(self) -> int:
        """How many p values Holm's step-down was over."""
        return int(np.isfinite(self.p).sum())


def of_accuracy(rights: Sequence[np.ndarray], labels: np.ndarray, classes: int) -> ClassGains:
    """Compare models by the images that their networks, one a seed, classify right: (n, N) bool each.

    `labels` (N,) are class numbers. Where all have a single network, p values are those of McNemar's exact test on the
    class's images.
    """
    counts = np.bincount(labels, minlength=classes)
    sizes = np.maximum(counts, 1)

    def by_class(apart: np.ndarray) -> np.ndarray:
        """Return the variances of the classes' means of what is known of each image, (N,) → (classes,)."""
        means, squares = (np.bincount(labels, values, classes) / sizes for values in (apart, apart**2))
        return np.where(counts > 0, (squares - means**2) / sizes, np.nan)

    points = [POINTS * right.astype(float) for right in rights]
    shares = [
        np.stack([np.bincount(labels, each, classes) / np.where(counts, counts, np.nan) for each in right])
        for right in points
    ]
    # Where two agree on every image, they need not be equal: as if there were two images more, on which either alone
    # is right. Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    # paired data", Journal of Educational and Behavioral Statistics 2012.
    images = len(labels)
    over_all = Comparison(
        [Scores(right.mean(axis=1, keepdims=True), right) for right in points],
        lambda apart: np.array([apart.var() / images]),
        np.array([max(images - 1.0, 1)]),
        2 * (POINTS / images) ** 2,
    )
    per_class = Comparison(
        list(map(Scores, shares, points)), by_class, np.maximum(counts - 1.0, 1), 2 * (POINTS / sizes) ** 2
    )
    exact = None if per_class.over_seeds else [_exact(right[0], rights[0][0], labels, classes) for right in rights[1:]]
    return _gains(over_all, per_class, exact)


def _exact(right: np.ndarray, first: np.ndarray, labels: np.ndarray, classes: int) -> list[float]:
    """Return McNemar's p values of each class, of a network against the first: which images are right (N,)."""
    gained, lost = (
        np.bincount(labels[alone], minlength=classes).tolist() for alone in (right & ~first, first & ~right)
    )
    return list(map(mcnemar, gained, lost))


def of_precision(values: Sequence[np.ndarray], resampled: Sequence[np.ndarray], present: np.ndarray) -> ClassGains:
    """Compare models by values in 0..1, over all and per class: (n, 1 + classes) each, and the same on resamples of the
    images, (n, resamples, 1 + classes).

    `present` (classes,) is how many images have each class.
    """

    def compared(columns: slice, freedom: np.ndarray) -> Comparison:
        models = [
            Scores(POINTS * own[:, columns], POINTS * (again - own[:, None])[..., columns])
            for own, again in zip(values, resampled, strict=True)
        ]
        return Comparison(models, over_resamples, np.maximum(freedom - 1.0, 1))

    return _gains(compared(slice(0, 1), present.sum(keepdims=True)), compared(slice(1, None), present), None)


def _gains(over_all: Comparison, per_class: Comparison, exact: Sequence[Sequence[float]] | None) -> ClassGains:
    further = range(1, len(per_class.models))
    together = [over_all.gain(model, 0) for model in further]
    gains = tuple(per_class.gain(model, 0) for model in further)
    known = np.isfinite([gain.value for gain in gains])
    p = np.where(known, np.array([gain.p for gain in gains] if exact is None else exact), np.nan)
    parts = ([getattr(gain, part)[0] for gain in together] for part in ("value", "variance", "freedom"))
    return ClassGains(Estimate(*map(np.array, parts)), gains, holm(p.ravel()).reshape(p.shape), per_class.over_seeds)
