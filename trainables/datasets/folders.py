"""Your own images, in class folders: `folder:PATH`, a path from the working directory.

Layout: PATH/train and PATH/test hold one folder for each class; PATH/val, where present, is the validation split, or
the test part where there is no PATH/test. Or PATH itself holds the class folders: then we split it. Files: whatever is
in a class folder must be an image of a common format, hidden files apart; files beside the class folders have no label
and are not read. Links may lead from place to place within PATH, but not out of it: whoever hands over a folder shows
what is in it alone. Sizes: kept where all images have the same; else the shorter side is resized to S, the median of
the shorter sides, and the centre S×S is cut out. Channels: one where every image is gray, else three; transparency is
dropped, 16-bit gray becomes 8-bit, an animation its first frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.datasets import images
from trainables.datasets.images import Format
from trainables.errors import UserError, suggest

PARTS = {"train", "val", "test"}


@dataclass(frozen=True)
class Folder:
    """The image files of a folder: part (train, test, val, or "" where there is one level) → files of each class, sorted."""

    class_names: tuple[str, ...]
    parts: dict[str, list[list[Path]]]
    format: Format


def find(name: str) -> Folder:
    """Find the images of `folder:PATH` for training, reading no more than their headers.

    Raises UserError for a missing folder, a layout or an image that cannot be read, and an empty class.
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
        for class_name, files in classes.items():
            if not files:
                raise UserError(
                    f"{root / part / class_name} is empty; put images of the class {class_name!r} there, or remove it"
                )
    if len(class_names) < 2:
        raise UserError(
            f"{root} holds {len(class_names)} class folder(s); at least two are needed, with the images inside them"
        )
    parts = {part: list(classes.values()) for part, classes in found.items()}
    return Folder(class_names, parts, _common_format([path for files in parts.values() for path in _flat(files)]))


def read(files: list[list[Path]], form: Format) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, height, width, channels) uint8 and labels (N,) int64 of each class's files, class by class."""
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(of_class) for of_class in files])
    return images.read(_flat(files), form, images.cropped), labels


def read_labelled(name: str, class_names: tuple[str, ...], form: Format) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels, as `read` does, to score a model of these classes on: all of them, or part `test`, else
    `val`.

    Raises UserError for a missing folder, one of a class that the model does not know, and one without images.
    """
    root = _root(name)
    present = {folder.name for folder in _folders(root)}
    if present and present <= PARTS:
        if present == {"train"}:
            raise UserError(
                f"{root} holds train only; images to score a model on are in test, in val, or in class folders"
            )
        part = root / ("test" if "test" in present else "val")
    else:
        part = root
    found = _classes(part, root)
    check_classes(found, class_names, str(part))
    files = [found.get(class_name, []) for class_name in class_names]
    if not any(files):
        raise UserError(
            f"{part} holds no images; put them there, in one folder for each class, named as the model's classes are"
        )
    return read(files, form)


def check_classes(found: Iterable[str], known: tuple[str, ...], source: str) -> None:
    """Raise UserError for the first class found at `source` that is not among those the model knows."""
    for class_name in found:
        if class_name not in known:
            raise UserError(f"{source}: the model knows no class {class_name!r}{suggest(class_name, known)}")


def _root(name: str) -> Path:
    root = Path(name.removeprefix("folder:")).expanduser()
    if not name.isprintable():
        raise UserError(f"{name!r} has characters that cannot be printed; rename the folder")
    if name == "folder:" or not root.is_dir():
        raise UserError(
            f"{name}: there is no such folder; give the path of a folder of class folders, as in folder:data/flowers"
        )
    return root


def _part_names(root: Path) -> tuple[str, ...]:
    """Return the folders that hold the training, the test and, where there is one, the validation part; ("",) where there is one level."""
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

    Raises UserError for what could not be shown, would lead out of `root`, or is no file.
    """
    _check_inside(part, root)
    found = {}
    for folder in _folders(part):
        if not folder.name.isprintable():  # else it could end a line, command a terminal, or be no text at all
            raise UserError(
                f"{part}: the class folder {folder.name!r} has characters that cannot be printed; rename it"
            )
        _check_inside(folder, root)
        found[folder.name] = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        for path in found[folder.name]:
            _check_inside(path, root)
            if not path.is_file():  # to read from a pipe would wait for ever
                raise UserError(f"{path} cannot be read (it is no file); remove it")
    return found


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
