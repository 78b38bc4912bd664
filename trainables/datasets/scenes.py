"""The embedded multi-label data set: pictures of four drawn objects each, 64×64 RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trainables.datasets import shapes
from trainables.datasets.dataset import Source, Split
from trainables.datasets.shapes import CLASS_NAMES, SIDE

TRAIN, TEST = (1000, 3), (250, 4)  # count and seed


def draw(count: int, seed: int) -> Split:
    """Return images (count, 64, 64, 3) uint8 of four drawn objects each, and labels (count, classes) int8.

    Labels are 1 (present) and 0 (absent). Same count and seed, same bytes.
    """
    objects = shapes.draw(4 * count, seed)
    tiles = objects.images.reshape(count, 2, 2, SIDE, SIDE, 3)
    mosaic = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count, 2 * SIDE, 2 * SIDE, 3)
    present = np.zeros((count, len(CLASS_NAMES)), np.int8)
    np.put_along_axis(present, objects.labels.reshape(count, 4), 1, axis=1)
    return Split(np.ascontiguousarray(mosaic), present)


def read(data_dir: Path) -> tuple[Split, Split]:
    """Return the training and the test images, drawn anew."""
    del data_dir  # drawn, not read
    return draw(*TRAIN), draw(*TEST)


SOURCE = Source(read, (3, 2 * SIDE, 2 * SIDE), CLASS_NAMES, multi_label=True, counts=(TRAIN[0], TEST[0]))
