"""Data sets that torchvision knows: small images of one size, with a test part, read and checked by torchvision itself.

The files lie where torchvision puts them and are downloaded where missing. It checks the md5s of CIFAR-100, SVHN and
STL-10 each time, of the others as they arrive; of all of them the number of images must be the published one.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainables.datasets.dataset import Shape, Source, Split
from trainables.errors import UserError

DIGITS = tuple(string.digits)
CHARACTERS = (*DIGITS, *string.ascii_uppercase, *string.ascii_lowercase)
ALIKE = "cijklmopsuvwxyz"  # small letters that EMNIST merges with their capitals
MERGED = tuple(character for character in CHARACTERS if character not in ALIKE)
BY_FLAG = ({"train": True}, {"train": False})
BY_NAME = ({"split": "train"}, {"split": "test"})
GRAY, RGB = (1, 28, 28), (3, 32, 32)
CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
KUZUSHIJI = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
# as torchvision's readers fail
FAILURES = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AssertionError)


@dataclass(frozen=True)
class Entry:
    """A data set of torchvision's: its class there, and what is known of it before it is read."""

    kind: str
    shape: Shape
    class_names: tuple[str, ...]
    counts: tuple[int, int]  # of training and test images
    parts: tuple[Mapping[str, Any], Mapping[str, Any]]  # what picks them
    first: int = 0  # the label of the first class
    turned: bool = False  # whether rows and columns are swapped in the files

    @property
    def source(self) -> Source:
        """The source that reads it."""
        return Source(partial(read, self), self.shape, self.class_names, counts=self.counts)


def read(entry: Entry, data_dir: Path) -> tuple[Split, Split]:
    """Return the training and the test images.

    Raises UserError for a set that is missing, damaged or incomplete and cannot be downloaded.
    """
    train, test = (_part(entry, data_dir, *part) for part in zip(entry.parts, entry.counts, strict=True))
    return train, test


def _part(entry: Entry, data_dir: Path, which: Mapping[str, Any], count: int) -> Split:
    from torchvision import datasets  # slow to import, and seldom needed

    try:
        found = getattr(datasets, entry.kind)(data_dir, download=True, **which)
        if len(found) != count:
            raise ValueError(f"it has {len(found):,} images, must have {count:,}")
        return _split(found, entry)
    except FAILURES as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(
            f"{entry.kind} in {data_dir.absolute()} is missing or damaged, and could not be downloaded ({reason}); "
            "connect to the network, put the files there, delete damaged ones, or name their folder with --data-dir"
        ) from error


def _split(found: Any, entry: Entry) -> Split:
    """Return the images and labels of torchvision's data set; an image is what it gives out, letters upright."""
    channels, height, width = entry.shape
    images = np.empty((len(found), height, width, channels), np.uint8)
    labels = np.empty(len(found), np.int64)
    for place in range(len(found)):
        image, label = found[place]
        pixels = np.asarray(image).reshape(height, width, channels)
        images[place] = pixels.transpose(1, 0, 2) if entry.turned else pixels
        labels[place] = label - entry.first
    return Split(images, labels)


def _emnist(part: str, class_names: tuple[str, ...], counts: tuple[int, int], first: int = 0) -> Entry:
    parts = ({"split": part, "train": True}, {"split": part, "train": False})
    return Entry("EMNIST", GRAY, class_names, counts, parts, first, turned=True)


CATALOGUE = {
    "mnist": Entry("MNIST", GRAY, DIGITS, (60_000, 10_000), BY_FLAG),
    "qmnist": Entry("QMNIST", GRAY, DIGITS, (60_000, 60_000), BY_FLAG),
    "kmnist": Entry("KMNIST", GRAY, KUZUSHIJI, (60_000, 10_000), BY_FLAG),
    "emnist-balanced": _emnist("balanced", MERGED, (112_800, 18_800)),
    "emnist-byclass": _emnist("byclass", CHARACTERS, (697_932, 116_323)),
    "emnist-bymerge": _emnist("bymerge", MERGED, (697_932, 116_323)),
    "emnist-digits": _emnist("digits", DIGITS, (240_000, 40_000)),
    "emnist-letters": _emnist("letters", tuple(string.ascii_lowercase), (124_800, 20_800), first=1),
    "emnist-mnist": _emnist("mnist", DIGITS, (60_000, 10_000)),
    "usps": Entry("USPS", (1, 16, 16), DIGITS, (7_291, 2_007), BY_FLAG),
    "cifar100": Entry("CIFAR100", RGB, CIFAR100, (50_000, 10_000), BY_FLAG),
    "svhn": Entry("SVHN", RGB, DIGITS, (73_257, 26_032), BY_NAME),
    "stl10": Entry("STL10", (3, 96, 96), STL10, (5_000, 8_000), BY_NAME),
}
