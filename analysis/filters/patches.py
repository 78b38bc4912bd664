"""The part of an image that a unit of a network sees."""

from __future__ import annotations

import numpy as np

from trainables.plan import Layer

PADDING = 128  # mid-gray, around a patch that the image's border cuts


def patch(image: np.ndarray, layer: Layer, position: int) -> np.ndarray:
    """Return the receptive field in `image` (H, W, C) of the unit at a flat position of the layer's map.

    Gray beyond the border; the whole image where the field is larger.
    """
    side = layer.receptive_field
    if side > min(image.shape[:2]):
        return image
    top, left = (round(layer.start + at * layer.jump - (side - 1) / 2) for at in divmod(int(position), layer.shape[2]))
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), constant_values=PADDING)
    return padded[side + top : 2 * side + top, side + left : 2 * side + left]
