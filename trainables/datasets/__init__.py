"""The one door to data: a name becomes a Dataset of uint8 images with labels, class names, a split and a digest.

    cifar10         60,000 photographs, 32×32 RGB, in either of its published layouts; downloaded where missing
    fashion_mnist   70,000 pictures of clothes, 28×28 gray; downloaded where missing
    shapes          6,000 drawn objects, 32×32 RGB, with masks; embedded
    scenes          1,250 pictures of four such objects each, 64×64 RGB, multi-label; embedded
    voc2007         9,963 photographs with several labels each, 256×256 RGB, with boxes; downloaded where missing
    mnist …         what torchvision has of small images: digits, letters, CIFAR-100, SVHN, STL-10 (see catalogue.py)
    folder:PATH     your own images in class folders (see folders.py)

Validation is a part of the training images, the same for every trial and replicate, unless a trial has `vary_split`
(see splits.py); test images are never split or chosen from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from trainables.datasets import catalogue, cifar10, fashion_mnist, folders, scenes, shapes, voc
from trainables.datasets.dataset import Box, Dataset, Shape, Source, Split, check_labels, digest, statistics
from trainables.datasets.given import given
from trainables.datasets.images import Format
from trainables.datasets.splits import hold_back
from trainables.errors import UserError, suggest

__all__ = [
    "Box",
    "Dataset",
    "Found",
    "Shape",
    "Split",
    "find",
    "handed_over",
    "image_shape",
    "labelled",
    "load",
    "names",
]

SOURCES = {
    "cifar10": cifar10.SOURCE,
    "fashion_mnist": fashion_mnist.SOURCE,
    "shapes": shapes.SOURCE,
    "scenes": scenes.SOURCE,
    "voc2007": voc.SOURCE,
    **{name: entry.source for name, entry in catalogue.CATALOGUE.items()},
}


def names() -> list[str]:
    """Return what `load` takes, for help texts."""
    return [*SOURCES, "folder:PATH"]


class Found(Protocol):
    """A data set that is not read yet."""

    @property
    def image_shape(self) -> Shape:
        """(channels, height, width) of every image."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""

    @property
    def counts(self) -> tuple[int, int, int] | None:
        """How many images there are for training, validation and testing; None where only reading shows."""

    def load(self) -> Dataset:
        """Read the data set, as load() does."""


def find(name: str, data_dir: Path, *, validation: float = 0.1) -> Found:
    """Find a data set; nothing is downloaded, and of a folder the images' headers are read at most.

    `validation` is the share held back of each class. Raises UserError as `load` does, except for what only reading
    shows.
    """
    if not 0 < validation < 1:
        raise UserError(f"validation={validation}: the share held back must lie between 0 and 1")
    if name.startswith(folders.PREFIX):
        return folders.find(name, data_dir, validation)
    return _Named(name, _source(name), data_dir, validation)


def image_shape(name: str, data_dir: Path) -> tuple[Shape, int]:
    """Return (channels, height, width) and the number of classes. Raises UserError as `find` does."""
    found = find(name, data_dir)
    return found.image_shape, len(found.class_names)


def load(name: str, data_dir: Path, *, validation: float = 0.1) -> Dataset:
    """Read a data set, downloaded to `data_dir` where missing; `validation` is the share held back of each class.

    Raises UserError, in one line that says what is wrong and what to do, for an unknown name, missing data without
    network, a truncated or corrupt file, an unreadable image, an empty class or one too small to be split, and a label
    out of range.
    """
    return find(name, data_dir, validation=validation).load()


@dataclass(frozen=True)
class _Named:
    """A data set that has a name of its own here."""

    name: str
    source: Source
    data_dir: Path
    validation: float

    @property
    def image_shape(self) -> Shape:
        return self.source.image_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.source.class_names

    @property
    def counts(self) -> tuple[int, int, int] | None:
        if self.source.counts is None:
            return None
        train, test = self.source.counts
        held = round(train * self.validation)  # by class it is rounded for each, which may make a few more or less
        return train - held, held, test

    def load(self) -> Dataset:
        name, source, class_names = self.name, self.source, self.class_names
        train, test = source.read(self.data_dir)
        for split in (train, test):
            check_labels(split.labels, class_names, name)
        train, val = hold_back(train, self.validation, class_names, name)
        counts = (len(train) + len(val), len(test))
        if source.counts not in (None, counts):
            name = f"{name} (a part: {counts[0]:,} + {counts[1]:,} images)"
        identity, scale = digest(class_names, train, val, test), statistics(train.images)
        return Dataset(name, class_names, train, val, test, identity, *scale)


def labelled(name: str, data_dir: Path, class_names: tuple[str, ...], image_shape: Shape, multi_label: bool) -> Split:
    """Read labelled images to score a finished model on, in the format it was trained in.

    Labels are indices into the model's `class_names`. Of `folder:PATH` that is every image where PATH holds class
    folders, else part `test`, else `val`, brought to the model's `image_shape` (channels, height, width) as in
    training; classes may lack images. Of a named data set it is the test part. Raises UserError as `load` does, and
    where the data's classes, shape or kind of labels are not the model's.
    """
    if name.startswith(folders.PREFIX):
        _check_kind(name, False, multi_label)
        channels, height, width = image_shape
        return folders.read_labelled(name, class_names, Format(height, width, gray=channels == 1))
    source = _source(name)
    _check_kind(name, source.multi_label, multi_label)
    if source.image_shape != image_shape:
        raise UserError(
            f"{name}: its images are {_times(source.image_shape)}, but the model takes {_times(image_shape)}"
        )
    folders.check_classes(source.class_names, class_names, name)
    _, test = source.read(data_dir)
    check_labels(test.labels, source.class_names, name)
    return _relabelled(test, source.class_names, class_names)


def handed_over(images: Any, dataset: str, image_shape: Shape) -> np.ndarray:
    """Return images that a user hands to a model, (N, height, width, channels) uint8, in the format it was trained in.

    Other sizes and channels are brought to it as those of its `dataset` were. Raises UserError as given() does.
    """
    channels, height, width = image_shape
    source = SOURCES.get(dataset)  # its files, or the folder, may not be here
    return given(images, Format(height, width, gray=channels == 1), warped=source is not None and source.warped)


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise UserError(f"unknown data set {name!r}{suggest(name, names())}")
    return SOURCES[name]


def _check_kind(name: str, several: bool, wanted: bool) -> None:
    if several != wanted:
        kinds = ("one class per image", "any number of classes per image")
        raise UserError(f"{name} has {kinds[several]}, but the model was trained on data with {kinds[wanted]}")


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _relabelled(split: Split, old: tuple[str, ...], new: tuple[str, ...]) -> Split:
    """Return the split with labels that index the class names `new` instead of `old`.

    Of multi-label images it is unknown whether they show the classes that only `new` has.
    """
    place = np.array([new.index(class_name) for class_name in old])
    boxes = split.boxes and tuple(
        tuple(box._replace(label=int(place[box.label])) for box in image) for image in split.boxes
    )
    if split.labels.ndim == 1:
        return replace(split, labels=place[split.labels], boxes=boxes)
    labels = np.full((len(split), len(new)), -1, np.int8)
    labels[:, place] = split.labels
    return replace(split, labels=labels, boxes=boxes)
