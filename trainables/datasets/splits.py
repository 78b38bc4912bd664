"""Holding back a share of each class: at random, but the same for every trial and replicate."""

from __future__ import annotations

import numpy as np

from trainables.datasets.dataset import Split
from trainables.errors import UserError

SEED = 20091  # fixes the split; not a replicate's seed


def hold_back(split: Split, share: float, class_names: tuple[str, ...], source: str) -> tuple[Split, Split]:
    """Split off a share of each class: what is kept, and what is held back.

    Raises UserError, naming `source`, where a class is too small to be split.
    """
    labels = split.labels
    held = _held_of_each(labels, share, class_names, source) if labels.ndim == 1 else _held_of_all(labels, share)
    if not held.any():
        raise UserError(f"{source}: no class has two images, one to keep and one to hold back; add images")
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def _held_of_each(labels: np.ndarray, share: float, class_names: tuple[str, ...], source: str) -> np.ndarray:
    """Choose a share of each class, at least one image: (N,) bool, for labels (N,)."""
    rng = np.random.default_rng(SEED)
    held = np.zeros(len(labels), bool)
    for label, class_name in enumerate(class_names):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = _rounded(share, members)
        if count >= len(members):
            raise UserError(
                f"{source}: class {class_name!r} has {len(members)} image(s), too few to hold back {count} and keep "
                "one; add images"
            )
        held[members[:count]] = True
    return held


def _held_of_all(labels: np.ndarray, share: float) -> np.ndarray:
    """Choose a share of each class's images, as near as their overlap allows, and of those without any class.

    Returns (N,) bool, for labels (N, classes). From the rarest class to the most common, as in the first step of
    Sechidis et al., "On the stratification of multi-label data", ECML 2011: an image is chosen or kept with the rarest
    of its classes, so that common classes do not use up the rare ones' images.
    """
    rng = np.random.default_rng(SEED)
    present = labels == 1
    groups = np.column_stack((present, ~present.any(axis=1)))
    held, settled = np.zeros((2, len(labels)), bool)
    for group in np.argsort(groups.sum(axis=0), kind="stable"):
        members = rng.permutation(np.flatnonzero(groups[:, group]))
        count = min(_rounded(share, members), len(members) - 1) - held[members].sum()  # a class's only image is kept
        held[members[~settled[members]][: max(0, count)]] = True
        settled[members] = True
    return held


def _rounded(share: float, members: np.ndarray) -> int:
    return max(1, int(share * len(members) + 0.5))
