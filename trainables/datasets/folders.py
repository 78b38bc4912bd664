"""Your own images, in class folders: `folder:PATH`, a path from the working directory.

Layout: PATH/train and PATH/test hold one folder for each class; PATH/val, where present, is the validation split, or
the test part where there is no PATH/test. Or PATH itself holds the class folders: then we split off a test part.
Files: whatever is in a class folder must be an image of a common format, hidden files apart; files beside the class
folders have no label and are not read. Links may lead from place to place within PATH, but not out of it: whoever hands
over a folder shows only what is in it. Sizes: kept where all images have the same one; else the shorter side is resized
to S, the median of the shorter sides, and the centre S×S is cut out. Channels: one where every image is gray, else
three; transparency is dropped, 16-bit gray becomes 8-bit, an animation its first frame.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL

from trainables import memory
from trainables.datasets import decoded, images, listing
from trainables.datasets.dataset import Dataset, Shape, Split
from trainables.datasets.decoded import About, Shelf
from trainables.datasets.images import Format
from trainables.datasets.listing import Classes
from trainables.datasets.splits import SEED, held_back
from trainables.errors import UserError, suggest

log = logging.getLogger(__name__)

PREFIX = "folder:"
PARTS = {"train", "val", "test"}
TEST_SHARE = 0.2  # of a folder of one level


class Parts(NamedTuple):
    """Which of a folder's images are for training, validation and testing: positions among them all."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Folder:
    """What `folder:PATH` holds for training: its files, by part (train, test, val, or "" where there is one level)."""

    name: str
    root: Path
    class_names: tuple[str, ...]
    listed: dict[str, Classes]
    shelf: Shelf  # of the decoded images
    validation: float  # the share held back of each class

    @property
    def image_shape(self) -> Shape:
        """(channels, height, width) of every image."""
        height, width, channels = self.format.shape
        return channels, height, width

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many images there are for training, validation and testing."""
        train, val, test = map(len, self.parts)
        return train, val, test

    @cached_property
    def format(self) -> Format:
        """What all images are brought to; headers are read only where no decoded images are kept.

        Raises UserError for a header that cannot be read.
        """
        if kept := self.shelf.about():
            height, width, channels = kept.shape
            return Format(height, width, gray=channels == 1)
        return _common_format(self._paths)

    @cached_property
    def parts(self) -> Parts:
        """Which images are for what. Raises UserError for a class too small to be split."""
        labels = self._labels
        part = np.repeat(np.arange(len(self.listed)), [sum(map(len, found.values())) for found in self.listed.values()])
        learned_from, test = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
        if len(self.listed) == 1:
            held = held_back(labels, TEST_SHARE, self.class_names, self.name)
            learned_from, test = np.flatnonzero(~held), np.flatnonzero(held)
        if len(self.listed) == 3:
            return Parts(learned_from, np.flatnonzero(part == 2), test)
        held = held_back(labels[learned_from], self.validation, self.class_names, self.name)
        return Parts(learned_from[~held], learned_from[held], test)

    def load(self) -> Dataset:
        """Return the data set: from the decoded images that are kept, or decoded now and kept, if there is room.

        Raises UserError for an image that cannot be read, and where images neither find room on the disk nor in memory.
        """
        if kept := self.shelf.read(self.name):
            return kept
        if self.shelf.about():
            log.warning("%s: the decoded images in %s are damaged, and made anew", self.name, self.shelf.place)
        labels, paths = self._labels, self._paths
        counts = tuple(
            tuple(np.bincount(labels[part], minlength=len(self.class_names)).tolist()) for part in self.parts
        )
        about = About(self.class_names, counts, self.format.shape, own_val=len(self.listed) == 3)
        ordered = [paths[position] for position in np.concatenate(self.parts)]
        try:
            return self.shelf.keep(self.name, about, images.each(ordered, self.format, images.cropped))
        except OSError as error:
            place, why = self.shelf.place, error.strerror or error
            if about.size > memory.total():
                raise UserError(
                    f"{self.name}: its images take {about.size / 1e9:.1f} GB, too much for memory, and cannot be kept "
                    f"in {place} ({why}); make room there, or name another folder with --data-dir"
                ) from error
            log.warning("%s: its decoded images cannot be kept in %s (%s), which costs time", self.name, place, why)
        pixels = images.read(ordered, self.format, images.cropped)
        return about.examined(pixels).dataset(self.name, pixels)

    @cached_property
    def _paths(self) -> list[Path]:
        return [path for part, found in self.listed.items() for path in _flat(_files(self.root / part, found))]

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.concatenate([_labels(list(found.values())) for found in self.listed.values()])


def find(name: str, data_dir: Path, validation: float) -> Folder:
    """Find the images of `folder:PATH` for training. Decoded ones are kept in `data_dir`.

    Raises UserError for a missing folder, a layout that cannot be read, and an empty class.
    """
    root = _root(name)
    listed: dict[str, Classes] = {part: listing.classes(root / part, root) for part in _part_names(root)}
    class_names = tuple(next(iter(listed.values())))
    for part, found in listed.items():
        odd = sorted(set(found) ^ set(class_names))
        if odd:
            raise UserError(
                f"{root}: class {odd[0]!r} is not in each of {', '.join(listed)}; every part must have the same classes"
            )
        _check_filled(root / part, found)
    if len(class_names) < 2:
        held = "one class folder" if class_names else "no class folders"
        raise UserError(f"{root} holds {held}; at least two are needed, with the images inside them")
    made_by = (decoded.VERSION, PIL.__version__, validation, TEST_SHARE, SEED)
    shelf = Shelf.of(root, data_dir, listing.fingerprint(listed, *made_by))
    return Folder(name, root, class_names, listed, shelf, validation)


def _check_filled(part: Path, classes: Classes) -> None:
    for class_name, files in classes.items():
        if not files:
            raise UserError(f"{part / class_name} is empty; put images of the class {class_name!r} there, or remove it")


def read(files: list[list[Path]], form: Format) -> Split:
    """Return the images, in this format, and the labels of each class's files, class by class."""
    return Split(images.read(_flat(files), form, images.cropped), _labels(files))


def read_labelled(name: str, class_names: tuple[str, ...], form: Format) -> Split:
    """Return the images of `folder:PATH`, in this format, to score a model of these classes on.

    Where PATH holds class folders that is every image, else part `test`, else `val`. Raises UserError for a missing
    folder, one of a class that the model does not know, and one without images.
    """
    root = _root(name)
    part = root / _scored_part(root)
    found = listing.classes(part, root)
    check_classes(found, class_names, str(part))
    files = _files(part, {class_name: found.get(class_name, []) for class_name in class_names})
    if not any(files):
        raise UserError(
            f"{part} holds no images; put them there, in one folder for each class, named as the model's classes are"
        )
    return read(files, form)


def _scored_part(root: Path) -> str:
    present = {folder.name for folder in listing.folders(root)}
    if not present or not present <= PARTS:
        return ""
    if present == {"train"}:
        raise UserError(f"{root} holds train only; images to score a model on are in test, in val, or in class folders")
    return "test" if "test" in present else "val"


def check_classes(classes: Iterable[str], known: tuple[str, ...], source: str) -> None:
    """Raise UserError for the first class at `source` that is not among those the model knows."""
    for class_name in classes:
        if class_name not in known:
            raise UserError(f"{source}: the model knows no class {class_name!r}{suggest(class_name, known)}")


def _root(name: str) -> Path:
    root = Path(name.removeprefix(PREFIX)).expanduser()
    if not name.isprintable():
        raise UserError(f"{name!r} has characters that cannot be printed; rename the folder")
    if name == PREFIX or not root.is_dir():
        raise UserError(
            f"{name}: there is no such folder; give the path of a folder of class folders, as in folder:data/flowers"
        )
    return root


def _part_names(root: Path) -> tuple[str, ...]:
    """Return the folders of the training, test and, where there is one, validation part; ("",) for one level."""
    present = {folder.name for folder in listing.folders(root)}
    if not present or not present <= PARTS:  # else "train" may well be a class, beside "car"
        return ("",)
    for layout in (("train", "test", "val"), ("train", "test"), ("train", "val")):
        if present == set(layout):
            return layout
    raise UserError(
        f"{root} holds {', '.join(sorted(present))} only; it must hold train and test, train and val, all three, or "
        "classes"
    )


def _files(part: Path, classes: Classes) -> list[list[Path]]:
    """Return the paths of each class's files."""
    return [[part / class_name / file.name for file in found] for class_name, found in classes.items()]


def _labels(of_each: Sequence[Sequence[object]]) -> np.ndarray:
    """Return a label for each member of each class, class by class."""
    return np.repeat(np.arange(len(of_each), dtype=np.int64), [len(members) for members in of_each])


def _flat(files: list[list[Path]]) -> list[Path]:
    return [path for of_class in files for path in of_class]


def _common_format(paths: list[Path]) -> Format:
    """Decide size and channels for all images (the rule is the module's)."""
    headers = list(images.in_threads(images.header, paths))
    sizes = {(height, width) for height, width, _ in headers}
    if len(sizes) > 1:
        side = int(np.median([min(height, width) for height, width, _ in headers]) + 0.5)
        sizes = {(side, side)}
    return Format(*sizes.pop(), gray=all(gray for _, _, gray in headers))
