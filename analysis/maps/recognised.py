"""What a network makes of a class in an image, and the images in which the networks of all seeds recognise it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from analysis.subject import Subject
from trainables.train import predict

LIKELY = 0.5  # from this sigmoid probability on, a class is predicted on multi-label data
SCAN = 8  # images classified at once in the search, for each that is wanted


def recognised(subject: Subject, logits: Tensor, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a class's probability, (n,) float32, and whether it is predicted, (n,) bool, of logits (n, classes)."""
    if subject.multi_label:
        probability = logits[:, label].double().sigmoid()
        kept = probability >= LIKELY
    else:
        probability = logits.double().softmax(1)[:, label]
        kept = logits.argmax(1) == label
    return probability.float().cpu().numpy(), kept.cpu().numpy()


def of_class(subject: Subject, label: int) -> np.ndarray:
    """Return the numbers of the images of a class."""
    return np.flatnonzero(subject.labels[:, label] == 1 if subject.multi_label else subject.labels == label)


def first_right(networks: Sequence[Subject], images: np.ndarray, label: int, count: int) -> np.ndarray:
    """Return the first `count` of these images of a class in which all of the networks predict it; fewer where there
    are not so many.
    """
    right: list[int] = []
    for start in range(0, len(images), SCAN * count):
        if len(right) >= count:
            break
        numbers = images[start : start + SCAN * count]
        for network in networks:
            _, kept = recognised(network, predict(network.model, network.pixels(numbers)), label)
            numbers = numbers[kept]
            if not len(numbers):
                break
        right += numbers.tolist()
    return np.array(right[:count], np.int64)


def right_images(subject: Subject, several: str = "that are classified right") -> str:
    """Say which images first_right() takes."""
    them = f"that have it with a probability of at least {LIKELY:g}" if subject.multi_label else several
    seeds = len(subject.replicates)
    return them if seeds == 1 else f"{them}, by the networks of all {seeds} seeds"
