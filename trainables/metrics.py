"""Average precision: how well scores rank the images that have a class above those that have not."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def average_precision(scores: np.ndarray, labels: np.ndarray, rule: str) -> float | None:
    """Return the average precision, in 0..1, of one class; None where no image is known to have it.

    `scores` (N,) float64, such as logits, are higher where the class is likelier; `labels` (N,) int8 are 1 (present), 0
    (absent) or -1 (unknown: the image is left out). Precision at a recall is the highest one at that recall or a higher
    one (interpolated). Rules: "11-point", VOC 2007's, is its mean at recall 0, 0.1, … 1; "all-point", VOC's since 2010,
    is the area under its curve. Equal scores are one threshold, so that the order of the images does not matter.

    Everingham et al., "The PASCAL visual object classes (VOC) challenge", IJCV 2010.
    Raises ValueError where a score is NaN, and for an unknown rule.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN, which ranks nowhere")
    known = labels >= 0
    scores, present = scores[known], labels[known] == 1
    total = int(present.sum())
    if total == 0:
        return None
    order = np.argsort(-scores)
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of each run of equal scores
    hits = present[order].cumsum()[last]
    precision = hits / (last + 1)
    interpolated = np.maximum.accumulate(precision[::-1])[::-1]
    match rule:
        case "11-point":  # integers, as rounding would lose a recall of exactly 0.3
            return float(np.mean([interpolated[10 * hits >= tenths * total][0] for tenths in range(11)]))
        case "all-point":
            return float(np.diff(hits, prepend=0) @ interpolated / total)
    raise ValueError(f"{rule!r} is not a rule of average precision")


def average_precisions(logits: np.ndarray, labels: np.ndarray, rule: str) -> tuple[float | None, ...]:
    """Return `average_precision` of each class, for logits (N, C) float64 and labels (N, C) int8."""
    return tuple(average_precision(logits[:, label], labels[:, label], rule) for label in range(labels.shape[1]))


def mean_average_precision(values: Iterable[float | None]) -> float | None:
    """Return the mean, in 0..1, over the classes that have an average precision (mAP); None where none has."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
