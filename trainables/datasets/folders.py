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

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.datasets import images
from trainables.datasets.dataset import Source, Split
from trainables.datasets.images import Format
from trainables.datasets.splits import hold_back
from trainables.errors import UserError, suggest

PREFIX = "folder:"
PARTS = {"train", "val", "test"}
TEST_SHARE = 0.2  # of a folder of one level


@dataclass(frozen=True)
class Folder:
    """The image files of a folder, sorted: by part (train, test, val, or "" where there is one level) and class."""

    class_names: tuple[str, ...]
    parts: dict[str, list[list[Path]]]
    format: Format


def source(name: str) -> Source:
    """Return what `folder:PATH` holds for training, reading no more than the images' headers.

    Raises UserError as `find` does; its `read` does for an unreadable image, and for a class too small to be split.
    """
    folder = find(name)

    def read_parts(_: Path) -> tuple[Split, ...]:
        parts = tuple(read(files, folder.format) for files in folder.parts.values())
        return parts if len(parts) > 1 else hold_back(parts[0], TEST_SHARE, folder.class_names, name)

    height, width, channels = folder.format.shape
    return Source(read_parts, (channels, height, width), folder.class_names)


def find(name: str) -> Folder:
    """Find the images of `folder:PATH` for training.

    Raises UserError for a missing folder, a layout or an image's header that cannot be read, and an empty class.
    """
    root = _root(name)
    found = {part: _classes(root / part, root) for part in _part_names(root)}
    class_names = tuple(next(iter(found.values())))
    for part, classes in found.items():
        odd = sorted(set(classes) ^ set(class_names))
        if odd:
            raise UserError(
                f"{root}: class {odd[0]!r} is not in each of {', '.join(found)}; every part must have the same classes"
            )
        _check_filled(root / part, classes)
    if len(class_names) < 2:
        held = "one class folder" if class_names else "no class folders"
        raise UserError(f"{root} holds {held}; at least two are needed, with the images inside them")
    parts = {part: list(classes.values()) for part, classes in found.items()}
    return Folder(class_names, parts, _common_format([path for files in parts.values() for path in _flat(files)]))


def _check_filled(part: Path, classes: dict[str, list[Path]]) -> None:
    for class_name, files in classes.items():
        if not files:
            raise UserError(f"{part / class_name} is empty; put images of the class {class_name!r} there, or remove it")


def read(files: list[list[Path]], form: Format) -> Split:
    """Return the images, in this format, and the labels of each class's files, class by class."""
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(of_class) for of_class in files])
    return Split(images.read(_flat(files), form, images.cropped), labels)


def read_labelled(name: str, class_names: tuple[str, ...], form: Format) -> Split:
    """Return the images of `folder:PATH`, in this format, to score a model of these classes on.

    Where PATH holds class folders that is every image, else part `test`, else `val`. Raises UserError for a missing
    folder, one of a class that the model does not know, and one without images.
    """
    root = _root(name)
    part = root / _scored_part(root)
    classes = _classes(part, root)
    check_classes(classes, class_names, str(part))
    files = [classes.get(class_name, []) for class_name in class_names]
    if not any(files):
        raise UserError(
            f"{part} holds no images; put them there, in one folder for each class, named as the model's classes are"
        )
    return read(files, form)


def _scored_part(root: Path) -> str:
    present = {folder.name for folder in _folders(root)}
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
    present = {folder.name for folder in _folders(root)}
    if not present or not present <= PARTS:  # else "train" may well be a class, beside "car"
        return ("",)
    for layout in (("train", "test", "val"), ("train", "test"), ("train", "val")):
        if present == set(layout):
            return layout
    raise UserError(
        f"{root} holds {', '.join(sorted(present))} only; it must hold train and test, train and val, all three, or "
        "classes"
    )


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(part: Path, root: Path) -> dict[str, list[Path]]:
    """Return the sorted files of each class.

    Raises UserError for what could not be shown, would lead out of `root`, or is not a file.
    """
    _check_inside(part, root)
    files = {}
    for folder in _folders(part):
        if not folder.name.isprintable():  # else it could end a line, command a terminal, or be no text at all
            raise UserError(
                f"{part}: the class folder {folder.name!r} has characters that cannot be printed; rename it"
            )
        _check_inside(folder, root)
        files[folder.name] = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        for path in files[folder.name]:
            _check_inside(path, root)
            if not path.is_file():  # reading from a pipe would wait for ever
                raise UserError(f"{path} cannot be read (it is not a file); remove it")
    return files


def _check_inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError(f"{path} is a link that leads out of {root}; put a copy there, or remove it")


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
