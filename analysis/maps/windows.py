"""Windows that hide a part of an image, for occlusion sensitivity: where they are put, what they show, and what the
network says then.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analysis.maps.incremental import Incremental
from analysis.maps.rectangles import Interval, Rectangle
from analysis.subject import Subject
from trainables.devices import on_gpu
from trainables.train import evaluation_batch

FILLS = ("gray", "mean", "black")
# Batches of evaluation that are computed at once on the CPU: a part of a map is small, and small calls are slow
AT_ONCE = 8


@dataclass(frozen=True)
class Grid:
    """Which windows are put where: their sizes, and the rows and columns of their centres."""

    windows: tuple[int, ...]
    rows: np.ndarray
    columns: np.ndarray
    stride: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image's maps: (windows, rows, columns)."""
        return len(self.windows), len(self.rows), len(self.columns)

    @property
    def middle(self) -> int:
        """The number of the window of middle size, of two the smaller one."""
        order = np.argsort(self.windows)
        return int(order[(len(order) - 1) // 2])

    def thinned(self, step: int, window: int | None = None) -> Grid:
        """Return every `step`-th place along both axes, of one window or of all."""
        kept = self.windows if window is None else (self.windows[window],)
        return replace(
            self, windows=kept, rows=self.rows[::step], columns=self.columns[::step], stride=step * self.stride
        )

    def places(self) -> str:
        """Say where the centres are."""
        return "every pixel" if self.stride == 1 else f"one pixel in {self.stride} along both axes"


def colour(fill: str, images: np.ndarray) -> np.ndarray:
    """Return what a window shows, (channels,) float32 in 0..1: gray (0.5), black, or the mean colour of `images`."""
    if fill == "mean":  # summed image by image first, which is 20 times as fast
        sums = images.sum(axis=0, dtype=np.uint32).sum(axis=(0, 1))
        return (sums / images[..., 0].size / 255).astype(np.float32)
    return np.full(images.shape[3], {"gray": 0.5, "black": 0.0}[fill], np.float32)


def occluded_logits(subject: Subject, number: int, grid: Grid, shown: np.ndarray) -> Tensor:
    """Return the logits of an image without a window, then with each at each place: (1 + windows × rows × columns,
    classes). `shown` is the window's colour.

    The pixels lie channels last, and convolutions and pooling keep it so: on the CPU that is three times as fast as
    channels first.
    """
    image = (subject.pixels(np.array([number])).float() / 255).permute(0, 3, 1, 2)
    colour, (height, width) = torch.from_numpy(shown).to(image.device), subject.images.shape[1:3]
    places = evaluation_batch((height, width), image.device) * (1 if on_gpu(image.device) else AT_ONCE)
    subject.model.eval()
    with torch.inference_mode():
        network = Incremental(subject.model, image)
        logits = network.logits.new_empty(*grid.shape, network.logits.shape[1])
        for at, window in enumerate(grid.windows):
            for rows, columns in _blocks(grid, (height, width), places):
                hidden = _hidden(grid.rows[rows], grid.columns[columns], window // 2, height, width)
                found = network.painted(hidden, colour)
                logits[at, rows[:, None], columns] = found.view(len(rows), len(columns), -1)
        return torch.cat([network.logits, logits.flatten(0, 2)])


def _blocks(grid: Grid, size: tuple[int, int], places: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the grid in blocks of at most so many places, as the numbers of their rows and of their columns; `size` is
    the image's, (height, width).

    Those of a block are about as far from a border, which cuts their windows, and what these reach, alike: all are
    computed as far as one of them reaches.
    """
    most = max(1, math.isqrt(places))
    rows, columns = (
        np.array_split(_outermost_first(centres, side), range(most, len(centres), most))
        for centres, side in zip((grid.rows, grid.columns), size, strict=True)
    )
    return itertools.product(rows, columns)


def _outermost_first(centres: np.ndarray, side: int) -> np.ndarray:
    return np.argsort(np.minimum(centres, side - 1 - centres), kind="stable")


def _hidden(rows: np.ndarray, columns: np.ndarray, reach: int, height: int, width: int) -> Rectangle:
    """Return what windows hide of an image, at each place in a block of centres, row by row."""
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    return Rectangle(
        *(
            Interval(np.maximum(centres - reach, 0), np.minimum(centres + reach, side - 1))
            for centres, side in ((y, height), (x, width))
        )
    )
