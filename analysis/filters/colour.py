"""What is in an image before any network looks: how bright it is, and how much there is of each colour."""

from __future__ import annotations

import numpy as np

COLOURS = ("red", "green", "blue")


def means(images: np.ndarray) -> np.ndarray:
    """Return the mean of each channel over the pixels of images (N, H, W, C) uint8: (N, C) float64 in 0..255."""
    return images.mean(axis=(1, 2), dtype=np.float64)


def rankings(channels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what images can be ranked by that a single number says, from means(): name → (N,), the first the highest.

    Both ways, as a filter's weights can have either sign.
    """
    measured = {"brightness": channels.mean(axis=1)}
    if channels.shape[1] == len(COLOURS):
        measured |= dict(zip(COLOURS, channels.T, strict=True))
    return {
        f"{end} mean {name}": sign * values
        for name, values in measured.items()
        for end, sign in (("high", 1), ("low", -1))
    }


def mixed(responses: np.ndarray, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mix of the channels' means that comes closest to each response, and how much of it that explains.

    `responses` (N, filters), `channels` from means(): the least squares fit, (N, filters), and its R², (filters,) in
    0..1, NaN for a response that is the same for all images, or is not always a finite number. A filter of the first
    convolution, summed over the map before the activation, is such a mix but for the border.
    """
    values = np.where(np.isfinite(responses).all(axis=0), responses.astype(np.float64), 0)
    terms = np.column_stack([channels, np.ones(len(channels))])
    fitted = terms @ np.linalg.lstsq(terms, values, rcond=None)[0]
    spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    left = ((values - fitted) ** 2).sum(axis=0)
    known = np.ptp(values, axis=0) > 0
    explained = np.divide(left, spread, out=np.full(len(spread), np.nan), where=known)
    return fitted, np.clip(1 - explained, 0, 1)
