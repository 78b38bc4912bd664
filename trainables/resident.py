"""A trial's images where its steps find them: on the device, or in the host's memory where they are too many."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables import devices
from trainables.augment import RESIZE_CHUNK, as_evaluated, resized
from trainables.config import Training
from trainables.datasets import Dataset, Split

Prepare = Callable[[Tensor, Training], Tensor]


@dataclass(frozen=True)
class Part:
    """One part of the data, as it is trained or evaluated on."""

    images: Tensor  # (N, H, W, C) uint8, on the device or pinned in the host's memory
    labels: Tensor  # (N,) int64, or (N, classes) int8, on the device

    @property
    def on_device(self) -> bool:
        """Whether the images lie on the device."""
        return self.images.device == self.labels.device


@dataclass(frozen=True)
class Parts:
    """All data of a trial, resized; what is evaluated on is also cut out."""

    train: Part
    val: Part
    test: Part


def parts(data: Dataset, recipe: Training, device: torch.device) -> Parts:
    """Bring the data to the device, once for all epochs. Images that are too many for it stay in pinned memory."""
    prepared: tuple[tuple[Split, Prepare], ...] = (
        (data.train, resized),
        (data.val, as_evaluated),
        (data.test, as_evaluated),
    )
    side = recipe.resize
    size = sum(
        math.prod((len(split), *((side, side) if side else split.images.shape[1:3]), split.images.shape[3]))
        for split, _ in prepared
    )
    place = _on_device if devices.fits(device, size) else _on_host
    train, val, test = (
        Part(place(_shared(split.images), prepare, recipe, device), _shared(split.labels).to(device))
        for split, prepare in prepared
    )
    return Parts(train, val, test)


def _on_device(images: Tensor, prepare: Prepare, recipe: Training, device: torch.device) -> Tensor:
    return prepare(images.to(device), recipe)


def _on_host(images: Tensor, prepare: Prepare, recipe: Training, device: torch.device) -> Tensor:
    """Prepare images on the device, a few at once, and keep them in the host's memory."""
    chunks = [prepare(chunk.to(device), recipe).cpu() for chunk in images.split(RESIZE_CHUNK)]
    return devices.pinned(torch.cat(chunks), device)


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # arrays out of Ray's object store are read-only; nothing here writes to them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class Feed:
    """Brings batches of images that lie in the host's memory to the device, always to the same place there."""

    def __init__(self, images: Tensor, batch_size: int, device: torch.device) -> None:
        self.images = images
        self.batch = torch.empty((batch_size, *images.shape[1:]), dtype=torch.uint8, device=device)
        # one is filled while the other is on its way
        self.staged = [devices.Staged(self.batch) for _ in range(2)]

    def load(self, index: Tensor) -> None:
        """Have the images with these numbers (batch_size,), on the host, be the batch."""
        staged = self.staged[0]
        torch.index_select(self.images, 0, index, out=staged.buffer())
        staged.send(self.batch)
        self.staged.reverse()
