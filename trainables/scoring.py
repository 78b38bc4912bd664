"""What is minimised and what is reported, for data with one label an image and with many."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.metrics import average_precisions, mean_average_precision


@dataclass(frozen=True)
class Score:
    """A network on one part of the data; values per class are None for a class without images.

    Single-label data: mean cross-entropy, accuracy, accuracy per class. Multi-label data: mean binary cross-entropy,
    mean average precision (mAP), average precision per class.
    """

    loss: float  # nats
    value: float  # 0..1
    per_class: tuple[float | None, ...]  # 0..1


def loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean loss of logits (N, C): cross-entropy with labels (N,), binary cross-entropy with labels (N, C).

    Labels of multi-label data are 1 (present), 0 (absent) and -1 (unknown: counts nowhere).
    """
    if labels.ndim == 1:
        return F.cross_entropy(logits, labels)
    known = labels >= 0
    total = F.binary_cross_entropy_with_logits(logits, (labels > 0).float(), known.float(), reduction="sum")
    return total / known.sum()


def score(logits: Tensor, labels: Tensor, ap_rule: str) -> Score:
    """Score logits (N, C) against labels (N,), or (N, C) by this rule of average precision.

    Raises ValueError where multi-label data has no image of any class.
    """
    mean_loss = float(loss(logits, labels))
    if labels.ndim == 1:
        classes = logits.shape[1]
        hits = torch.bincount(labels[logits.argmax(1) == labels], minlength=classes).tolist()
        totals = torch.bincount(labels, minlength=classes).tolist()
        per_class = tuple(right / total if total else None for right, total in zip(hits, totals, strict=True))
        return Score(mean_loss, sum(hits) / len(labels), per_class)
    found = average_precisions(logits.double().cpu().numpy(), labels.cpu().numpy(), ap_rule)
    mean = mean_average_precision(found)
    if mean is None:
        raise ValueError("no image is known to have any of the classes, so that there is no average precision")
    return Score(mean_loss, mean, found)
