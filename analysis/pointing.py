"""Whether a map points at the object: the share of it that lies there, and the pointing game."""

from __future__ import annotations

import math

import numpy as np


def on_object(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each map's mass that lies on the object, (n,), and 1 where its maximum does, else 0, (n,):
    the pointing game.

    `maps` (n, H, W) without negative values, `masks` (n, H, W) bool. NaN where a map is all zero, or an image has no
    object. Of several equal maxima the first counts. Zhang et al., "Top-down neural attention by excitation backprop",
    ECCV 2016, without its tolerance.
    """
    pixels = maps.shape[1] * maps.shape[2]
    flat, inside = maps.astype(np.float64).reshape(len(maps), pixels), masks.reshape(len(masks), pixels)
    mass = flat.sum(axis=1)
    known = (mass > 0) & inside.any(axis=1)
    share = np.divide((flat * inside).sum(axis=1), mass, out=np.full(len(flat), np.nan), where=known)
    return share, np.where(known, inside[np.arange(len(flat)), flat.argmax(axis=1)], np.nan)


def hits(points: np.ndarray) -> str | None:
    """Return how many maps point at the object, of those for which that is known, in words; None where it never is.

    `points` (n,) are 1, 0 or NaN, as on_object() returns them.
    """
    known = points[np.isfinite(points)]
    return f"{int(known.sum())} of {len(known)}" if len(known) else None


def verdict(excess: np.ndarray) -> str:
    """Say whether the mean of (n,) differences from chance is more than two standard errors from 0."""
    if len(excess) < 2:
        return "of a single image"
    error = excess.std(ddof=1) / math.sqrt(len(excess))
    if abs(excess.mean()) <= 2 * error:
        return "not told apart from chance"
    return "more than chance" if excess.mean() > 0 else "less than chance"
