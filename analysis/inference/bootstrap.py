"""The paired bootstrap over images: the same images drawn again and again for all that is set side by side.

Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RESAMPLES = 1000
BLOCK = 100  # resamples that are held as floats at a time
SEED = 0  # of all resamples: what is drawn depends on the number of images alone, so that everything is paired


@lru_cache(maxsize=2)
def drawn(images: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return how often each image is in each resample, (images, resamples) uint8, the same each time and read-only."""
    rng = np.random.default_rng((SEED, images))
    counts = np.empty((images, resamples), np.uint8)
    for number in range(resamples):
        counts[:, number] = np.bincount(rng.integers(images, size=images), minlength=images)
    counts.flags.writeable = False
    return counts


def means(values: np.ndarray, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the means over the images of each resample: values (images, K) → (resamples, K) float64."""
    counts = drawn(len(values), resamples)
    blocks = [counts[:, start : start + BLOCK].T.astype(float) for start in range(0, resamples, BLOCK)]
    return np.concatenate([block @ values for block in blocks]) / len(values)


def average_precisions(logits: np.ndarray, labels: np.ndarray, rule: str, resamples: int = RESAMPLES) -> np.ndarray:
    """Return each class's average precision on each resample, (resamples, classes) float64, NaN where it has no image.

    Logits, labels and rule are as for trainables.metrics.average_precisions(), which this is on the images of a
    resample.
    """
    counts = drawn(len(labels), resamples)
    columns = zip(logits.T, labels.T, strict=True)
    return np.stack([_average_precision(scores, marks, rule, counts) for scores, marks in columns], axis=1)


def _average_precision(scores: np.ndarray, labels: np.ndarray, rule: str, counts: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(labels >= 0)
    order = known[np.argsort(-scores[known], kind="stable")]
    ranked, present, weights = scores[order], labels[order] == 1, counts[order]
    if not present.any():
        return np.full(counts.shape[1], np.nan)
    # The precision falls from an image that has the class to the next, so that it matters there alone: at the last of
    # the images with an equal score.
    ends = np.unique(np.searchsorted(-ranked, -ranked[present], side="right"))
    parts = [slice(start, end) for start, end in zip(np.append(0, ends), ends, strict=False)]
    seen = np.stack([weights[part].sum(axis=0, dtype=np.int32) for part in parts]).cumsum(axis=0)
    hits = np.stack([weights[part][present[part]].sum(axis=0, dtype=np.int32) for part in parts]).cumsum(axis=0)
    found = _area(hits, np.maximum.accumulate((hits / np.maximum(seen, 1))[::-1])[::-1], rule)
    return np.where(hits[-1] > 0, found, np.nan)


def _area(hits: np.ndarray, precision: np.ndarray, rule: str) -> np.ndarray:
    """Return the average of interpolated precision over recall, both (thresholds, resamples) → (resamples,)."""
    total = hits[-1]
    match rule:
        case "11-point":
            first = [(10 * hits < tenths * total).sum(axis=0) for tenths in range(11)]
            return np.mean([np.take_along_axis(precision, at[None], axis=0)[0] for at in first], axis=0)
        case "all-point":
            return (np.diff(hits, axis=0, prepend=0) * precision).sum(axis=0) / np.maximum(total, 1)
    raise ValueError(f"{rule!r} is not a rule of average precision")
