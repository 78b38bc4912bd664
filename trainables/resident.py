"""A trial's images where its steps find them: on the device, or in the host's memory where they are too many."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from trainables import devices
from trainables.augment import as_evaluated, resized
from trainables.config import Training
from trainables.datasets import Dataset
from trainables.datasets.splits import held_again


@dataclass(frozen=True)
class Part:
    """One part of the data, as it is trained or evaluated on."""

    images: Tensor  # (N, H, W, C) uint8, on the device, or in the host's memory: pinned or mapped
    labels: Tensor  # (N,) int64, or (N, classes) int8, on the device
    index: Tensor | None = None  # which of these belong to it, (n,) int64, on the device; None: all

    def __len__(self) -> int:
        return len(self.labels if self.index is None else self.index)

    @property
    def on_device(self) -> bool:
        """Whether the images lie on the device."""
        return self.images.device == self.labels.device

    @property
    def own_labels(self) -> Tensor:
        """The labels of the images that belong to it."""
        return self.labels if self.index is None else self.labels[self.index]

    def chunks(self, size: int) -> Iterator[Tensor]:
        """Go through the images that belong to it, so many at a time."""
        if self.index is None:
            yield from self.images.split(size)
        else:
            for some in self.index.to(self.images.device).split(size):
                yield self.images.index_select(0, some)


@dataclass(frozen=True)
class Parts:
    """All data of a trial, resized; what is evaluated on is also cut out.

    With `vary_split`, `train` and `val` are both the pool of training and validation images, which is not cut out;
    split_by() says which of them are a replicate's.
    """

    train: Part
    val: Part
    test: Part


def parts(data: Dataset, recipe: Training, device: torch.device) -> Parts:
    """Bring the data to the device, once for all epochs. Images that are too many for it stay in pinned memory.

    On the CPU they are not copied: what is trained on is the array that all workers share, or the mapped file.

    They are resized on the host, as in the analyses: a GPU's pixels would differ in their last bit.
    """
    learned_from = [(data.pool, resized)] if recipe.vary_split else [(data.train, resized), (data.val, as_evaluated)]
    splits = [*learned_from, (data.test, as_evaluated)]
    images = [prepare(_shared(split.images), recipe) for split, prepare in splits]
    there = devices.fits(device, sum(each.numel() for each in images))
    train, *val, test = (
        Part(each.to(device) if there else _kept(each, data, device), _shared(split.labels).to(device))
        for each, (split, _) in zip(images, splits, strict=True)
    )
    return Parts(train, val[0] if val else train, test)


def _kept(images: Tensor, data: Dataset, device: torch.device) -> Tensor:
    """Return images that stay in the host's memory where the device can fetch them; mapped ones stay on the disk."""
    return images if data.mapped else devices.pinned(images, device)


def split_by(seed: int, pool: Parts, data: Dataset) -> Parts:
    """Return the parts of a replicate that holds back validation images of its own.

    Raises UserError where the data set came with a validation part.
    """
    data.check_can_be_split_again()
    held = torch.from_numpy(held_again(data.pool_labels, len(data.val), seed))
    train, val = (
        replace(pool.train, index=which.nonzero().squeeze(1).to(pool.train.labels.device)) for which in (~held, held)
    )
    return Parts(train, val, pool.test)


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
