"""What every source becomes: a Dataset of uint8 images with labels, class names, a split and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainables.errors import UserError

Shape = tuple[int, int, int]  # of an image: (channels, height, width)


class Box(NamedTuple):
    """Where an object lies, in fractions 0..1 of the image's width and height, from its upper left corner."""

    label: int  # index into the class names
    difficult: bool  # such objects count neither for nor against
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Split:
    """Images of one part of a data set. Channels come last, so that a gather of them is torch's channels_last."""

    images: np.ndarray  # (N, H, W, C) uint8, C-contiguous
    labels: np.ndarray  # (N,) int64, one class per image; or (N, classes) int8: 1 present, 0 absent, -1 unknown
    masks: np.ndarray | None = None  # (N, H, W) bool, where the object is known
    boxes: tuple[tuple[Box, ...], ...] | None = None  # of each image, where its objects are known

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """Return a copy of the images at these positions, in this order."""
        masks = None if self.masks is None else self.masks[index]
        boxes = None if self.boxes is None else tuple(self.boxes[position] for position in index)
        return Split(self.images[index], self.labels[index], masks, boxes)


@dataclass(frozen=True)
class Source:
    """Where a data set comes from: its reader, and what is known before it is read."""

    read: Callable[[Path], tuple[Split, Split]]  # data folder → training and test part
    image_shape: Shape
    class_names: tuple[str, ...]
    multi_label: bool = False
    counts: tuple[int, int] | None = None  # training and test images of the whole, where the files may hold only a part
    warped: bool = False  # how images of another size are brought to the shape: whole; else the centre is cut out


@dataclass(frozen=True)
class Dataset:
    """A data set ready for training: plain arrays, so that processes can share it without a copy."""

    name: str  # as it was asked for; where the files hold only a part of a known data set, it says so
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    digest: str  # see digest()
    mean: tuple[float, ...]  # see statistics()
    sd: tuple[float, ...]
    own_val: bool = False  # whether the validation part came with the data, and was not held back here
    mapped: Path | None = None  # where the images are mapped from (see decoded.py); None: they are in memory

    @property
    def short_name(self) -> str:
        """The name for figures: of a folder only the last part of its path."""
        kind, folder, path = self.name.partition("folder:")
        return folder + Path(path).name if folder else kind

    @property
    def image_shape(self) -> Shape:
        """(channels, height, width)."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @property
    def size(self) -> int:
        """The bytes of all images."""
        return sum(part.images.nbytes for part in (self.train, self.val, self.test))

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several classes, or none."""
        return self.train.labels.ndim == 2

    @property
    def pool(self) -> Split:
        """All images that are not for testing: those for training, then those for validation.

        They are a copy, unless the ones lie behind the others, as those do that are mapped.
        """
        return Split(_joined(self.train.images, self.val.images), self.pool_labels)

    @property
    def pool_labels(self) -> np.ndarray:
        """The labels of these."""
        return np.concatenate((self.train.labels, self.val.labels))

    def check_can_be_split_again(self) -> None:
        """Raise UserError where the validation part came with the data: it may keep apart what is alike."""
        if self.own_val:
            raise UserError(
                f"vary_split is on, but {self.name} comes with a validation part, which is not to be drawn anew; leave "
                "it off, or move the images of val to train"
            )

    @property
    def metric(self) -> str:
        """The name of what models are scored by."""
        return "mAP" if self.multi_label else "accuracy"


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the images of both: where they are one behind the other in one array, without a copy."""
    start = first.__array_interface__["data"][0]
    if first.base is None or first.base is not second.base:
        return np.concatenate((first, second))
    if second.__array_interface__["data"][0] != start + first.nbytes or not first.flags.c_contiguous:
        return np.concatenate((first, second))
    shape = (len(first) + len(second), *first.shape[1:])
    return np.lib.stride_tricks.as_strided(first, shape, first.strides, writeable=False)


def check_labels(labels: np.ndarray, class_names: tuple[str, ...], source: str) -> None:
    """Raise UserError for the first label that is not one of the classes, or on multi-label data not -1, 0 or 1."""
    low, high = (0, len(class_names) - 1) if labels.ndim == 1 else (-1, 1)
    wrong = np.argwhere((labels < low) | (labels > high))
    if len(wrong):
        place = tuple(wrong[0])
        raise UserError(
            f"{source}: label {labels[place]} of image {place[0]} is out of range {low}..{high}; fetch the data anew"
        )


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation per channel, of pixels scaled to 0..1, of (N, H, W, C) uint8.

    They are exact, from histograms. Where a channel is constant its deviation is 1, so that dividing by it is safe.
    """
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 500):  # bincount widens to 64 bits, so not all at once
        pixels = images[start : start + 500].reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    level = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ level
    sd = np.sqrt((share * (level - mean[:, None]) ** 2).sum(axis=1))
    constant = (histogram > 0).sum(axis=1) == 1
    return tuple(mean.tolist()), tuple(np.where(constant, 1.0, sd).tolist())


def digest(class_names: tuple[str, ...], *splits: Split) -> str:
    """Return the SHA-256, hex, of all that training can see: class names, images, labels and split.

    The files they come from do not matter. Shapes come before the pixels, so that different data cannot run together
    into the same bytes.
    """
    hashed = hashlib.sha256(repr(class_names).encode())
    for split in splits:
        hashed.update(repr(split.images.shape).encode())
        hashed.update(split.images.data)
        hashed.update(split.labels.astype("<i8").data)
    return hashed.hexdigest()
