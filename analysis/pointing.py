"""Whether a map points at the object: the share of it that lies there, and the pointing game."""

from __future__ import annotations

import numpy as np


def on_object(maps: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each map's mass that lies on the object, (n,), and 1 where its maximum does, else 0, (n,):
    the pointing game.

    `maps` (n, H, W) without negative values, `masks` (n, H, W) bool. NaN where a map is all zero, or an image has no
    object. Of several equal maxima the first counts. Zhang et al., "Top-down neural attention by excitation backprop",
    ECCV 2016, without its tolerance.
    """
    flat, inside = (
        values.reshape(len(values), values.shape[1] * values.shape[2]) for values in (maps.astype(np.float64), masks)
    )
    mass = flat.sum(axis=1)
    known = (mass > 0) & inside.any(axis=1)
    share = np.divide((flat * inside).sum(axis=1), mass, out=np.full(len(flat), np.nan), where=known)
    return share, np.where(known, inside[np.arange(len(flat)), flat.argmax(axis=1)], np.nan)
