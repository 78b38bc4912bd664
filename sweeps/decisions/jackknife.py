"""What each image contributes to a mean average precision: the jackknife over images. Pure.

A mean average precision is no mean over images; leaving out one image at a time makes one of it, whose scatter over the
images is that of the score (Efron, "The jackknife, the bootstrap and other resampling plans", 1982).
"""

from __future__ import annotations

import numpy as np

from trainables.metrics import average_precisions, mean_average_precision

_CELLS = 1 << 21  # of a matrix at a time


def contributions(logits: np.ndarray, labels: np.ndarray, rule: str) -> np.ndarray | None:
    """Return each image's share in the mean average precision (mAP), (N,) float64, whose mean is the mAP itself.

    `logits` (N, C), `labels` (N, C) int8 and `rule` as in `trainables.metrics.average_precision`, which says what is
    raised. With θ the mAP and θ₋ᵢ that without image i, exactly: the pseudo-value N θ - (N - 1) θ₋ᵢ, less what the mean
    of these differs from θ. None where there is no θ, or no θ₋ᵢ for some image.
    """
    logits = logits.astype(np.float64)
    whole = average_precisions(logits, labels, rule)
    score = mean_average_precision(whole)
    if score is None:
        return None
    without = np.stack(
        [
            _without_each(logits[:, label], labels[:, label], rule, value)
            for label, value in enumerate(whole)
            if value is not None
        ]
    )
    left = np.isfinite(without).sum(axis=0)  # classes that still have an average precision
    if not left.all():
        return None
    scores = np.nansum(without, axis=0) / left
    return score + (len(labels) - 1) * (scores.mean() - scores)


def _without_each(scores: np.ndarray, labels: np.ndarray, rule: str, whole: float) -> np.ndarray:
    """Return a class's average precision without each of the images, (N,), NaN where none is left that has the class.

    Precision can be highest only at a threshold that an image of the class reaches. So all that an image without the
    class does is to count at every such threshold from the first that it reaches.
    """
    known, present = labels >= 0, labels == 1
    positives, ranked = np.sort(-scores[present]), np.sort(-scores[known])
    thresholds = np.unique(positives)
    hits = np.searchsorted(positives, thresholds, side="right")
    counts = np.searchsorted(ranked, thresholds, side="right")
    first = np.searchsorted(thresholds, -scores)
    total = len(positives)
    result = np.full(len(scores), whole)
    result[labels == 0] = np.append(_with_one_less(hits, counts, total, 0, rule), whole)[first[labels == 0]]
    result[present] = _with_one_less(hits, counts, total, 1, rule)[first[present]] if total > 1 else np.nan
    return result


def _with_one_less(hits: np.ndarray, counts: np.ndarray, total: int, hit: int, rule: str) -> np.ndarray:
    """Return the average precision without one image that counts from each threshold on, (thresholds,).

    `hits` and `counts` are the images of the class and all images that reach each threshold; `hit` is 1 where the image
    left out is of the class, else 0.
    """
    size = len(hits)
    rows = max(1, _CELLS // size)
    parts = []
    for start in range(0, size, rows):
        first = np.arange(start, min(start + rows, size))
        counted = np.arange(size) >= first[:, None]
        left = hits - hit * counted
        precision = left / np.maximum(counts - counted, 1)
        interpolated = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        if rule == "11-point":
            parts.append(_at_tenths(interpolated, hits, first, total, hit))
        else:
            parts.append((np.diff(left, prepend=0, axis=1) * interpolated).sum(axis=1) / (total - hit))
    return np.concatenate(parts)


def _at_tenths(interpolated: np.ndarray, hits: np.ndarray, first: np.ndarray, total: int, hit: int) -> np.ndarray:
    """Return the mean over recalls 0, 0.1, … 1 of the interpolated precision, by row."""
    needed = -(-np.arange(11) * (total - hit) // 10)
    before = np.searchsorted(hits, needed)
    after = np.searchsorted(hits, needed + hit)  # where the image left out no longer counts as a hit
    at = np.where(before < first[:, None], before, after)
    return np.take_along_axis(interpolated, at, axis=1).mean(axis=1)
