"""Windows that hide a part of an image, for occlusion sensitivity: where they are put, what they show, and what the
network says then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from analysis.subject import Subject
from trainables.train import evaluation_batch

FILLS = ("gray", "mean", "black")


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
    image = subject.pixels(np.array([number]))[0].float() / 255
    fill = torch.from_numpy(shown).to(image.device)
    height, width = (torch.arange(side, device=image.device) for side in image.shape[:2])
    subject.model.eval()
    logits = []
    with torch.inference_mode():
        for row, column, reach in _places(grid, evaluation_batch(image.shape[:2], image.device), image.device):
            hidden = ((height - row).abs() <= reach)[:, :, None] & ((width - column).abs() <= reach)[:, None, :]
            occluded = torch.where(hidden[..., None], fill, image)
            logits.append(subject.model(occluded.permute(0, 3, 1, 2)))
    return torch.cat(logits)


def _places(grid: Grid, size: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """Yield the windows in chunks of `size`: row and column of their centres, and how far they reach from there, (n, 1)
    each.

    The first hides nothing: it reaches less than 0.
    """
    reaches = torch.tensor(grid.windows, device=device) // 2
    rows, columns = (torch.from_numpy(centres).to(device) for centres in (grid.rows, grid.columns))
    places = torch.cartesian_prod(reaches, rows, columns)
    for chunk in torch.cat([places.new_tensor([[-1, 0, 0]]), places]).split(size):
        reach, row, column = chunk.split(1, dim=1)
        yield row, column, reach
