"""A trial's images where its steps find them: on the device, or in the host's memory where they are too many."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables import devices
from trainables.augment import as_evaluated, resized
from trainables.config import Training
from trainables.datasets import Dataset


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
    """Bring the data to the device, once for all epochs. Images that are too many for it stay in pinned memory.

    They are resized on the host, as in the analyses: a GPU's pixels would differ in their last bit.
    """
    images = [
        prepare(_shared(split.images), recipe)
        for split, prepare in ((data.train, resized), (data.val, as_evaluated), (data.test, as_evaluated))
    ]
    there = devices.fits(device, sum(each.numel() for each in images))
    return Parts(
        *(
            Part(each.to(device) if there else devices.pinned(each, device), _shared(split.labels).to(device))
            for each, split in zip(images, (data.train, data.val, data.test), strict=True)
        )
    )


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
