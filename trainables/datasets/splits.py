"""Holding back a share of each class at random: once, the same for every trial, or once more for each seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainables.datasets.dataset import Split
from trainables.errors import UserError

SEED = 20091  # fixes the split; not a replicate's seed


def hold_back(split: Split, share: float, class_names: tuple[str, ...], source: str) -> tuple[Split, Split]:
    """Split off a share of each class: what is kept, and what is held back.

    Raises UserError, naming `source`, where a class is too small to be split.
    """
    held = held_back(split.labels, share, class_names, source)
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def held_back(labels: np.ndarray, share: float, class_names: tuple[str, ...], source: str) -> np.ndarray:
    """Return which images hold_back() holds back, by their labels alone: (N,) bool. Raises UserError as it does."""
    rng = np.random.default_rng(SEED)
    if labels.ndim == 1:
        held = _held_of_each(labels, _counts_of_each(labels, share, class_names, source), rng)
    else:
        sizes = _groups(labels).sum(axis=0)
        counts = [min(_rounded(share, size), size - 1) for size in sizes]  # a class's only image is kept
        held = _held_of_all(labels, counts, rng)
    if not held.any():
        raise UserError(f"{source}: no class has two images, one to keep and one to hold back; add images")
    return held


def held_again(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Hold back as many images as the last `size`, chosen anew for a replicate's seed: (N,) bool.

    `labels` (N,) or (N, classes) are those of the training images, then those of the validation images, whose number in
    each class stays; of several classes an image, as near as their overlap allows. Seed 0's are drawn anew as well.
    """
    rng = np.random.default_rng((SEED, 1 + seed))  # zeros at the end would count for nothing
    own = labels[len(labels) - size :]
    if labels.ndim == 1:
        return _held_of_each(labels, np.bincount(own, minlength=labels.max() + 1), rng)
    groups, wanted = _groups(labels), _groups(own).sum(axis=0)
    held = _held_of_all(labels, wanted, rng)
    while held.sum() != size:
        _come_nearer(held, size, groups, wanted, rng)
    return held


def _come_nearer(held: np.ndarray, size: int, groups: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> None:
    """Hold back one image more, or one less, in place: the one that brings the groups nearest to what is wanted.

    By the sum over groups of the squared difference over the group's size.
    """
    step = 1 if held.sum() < size else -1
    candidates = rng.permutation(np.flatnonzero(held == (step < 0)))
    missing = wanted - groups[held].sum(axis=0)
    change = (1 - 2 * step * missing) / np.maximum(1, groups.sum(axis=0))
    best = candidates[(groups[candidates] @ change).argmin()]
    held[best] = step > 0


def _counts_of_each(labels: np.ndarray, share: float, class_names: tuple[str, ...], source: str) -> list[int]:
    """Return how many images of each class make up the share, at least one, for labels (N,)."""
    counts = []
    for label, class_name in enumerate(class_names):
        size = int((labels == label).sum())
        count = _rounded(share, size)
        if count >= size:
            images = "1 image" if size == 1 else f"{size} images"
            raise UserError(
                f"{source}: class {class_name!r} has {images}, too few to hold back {count} and keep one; add images"
            )
        counts.append(count)
    return counts


def _held_of_each(labels: np.ndarray, counts: Sequence[int] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose so many images of each class: (N,) bool, for labels (N,)."""
    held = np.zeros(len(labels), bool)
    for label, count in enumerate(counts):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[:count]] = True
    return held


def _held_of_all(labels: np.ndarray, counts: Sequence[int] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose so many images of each class, as near as their overlap allows, and of those without any class.

    Returns (N,) bool, for labels (N, classes). From the rarest class to the most common, as in the first step of
    Sechidis et al., "On the stratification of multi-label data", ECML 2011: an image is chosen or kept with the rarest
    of its classes, so that common classes do not use up the rare ones' images.
    """
    groups = _groups(labels)
    held, settled = np.zeros((2, len(labels)), bool)
    for group in np.argsort(groups.sum(axis=0), kind="stable"):
        members = rng.permutation(np.flatnonzero(groups[:, group]))
        count = counts[group] - held[members].sum()
        held[members[~settled[members]][: max(0, count)]] = True
        settled[members] = True
    return held


def _groups(labels: np.ndarray) -> np.ndarray:
    """Return who is in which class, and last who is in none: (N, classes + 1) bool."""
    present = labels == 1
    return np.column_stack((present, ~present.any(axis=1)))


def _rounded(share: float, size: int) -> int:
    return max(1, int(share * size + 0.5))
