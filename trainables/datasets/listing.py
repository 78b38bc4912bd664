"""What lies in a folder of class folders: names, sizes and times, looked up at each start, without opening a file.

What may not be read is refused: a link that leads out of the folder, what is not a file, a class folder whose name
cannot be printed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainables.errors import UserError


class File(NamedTuple):
    """A file of a class folder, as the file system knows it; of a link, what it leads to."""

    name: str
    size: int  # bytes
    modified: int  # nanoseconds, likewise
    changed: int  # when name, content or place were last changed: unlike `modified`, nobody can set it


Classes = Mapping[str, Sequence[File]]  # by the class folder's name


def folders(root: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, sorted."""
    with os.scandir(root) as entries:
        return [root / name for name in sorted(each.name for each in entries if _shown(each) and each.is_dir())]


def classes(part: Path, root: Path) -> dict[str, list[File]]:
    """Return the sorted files of each class folder in `part`.

    Raises UserError for what could not be shown, would lead out of `root`, or is not a file.
    """
    _check_inside(part, root)
    found = {}
    for folder in folders(part):
        if not folder.name.isprintable():  # else it could end a line, command a terminal, or be no text at all
            raise UserError(
                f"{part}: the class folder {folder.name!r} has characters that cannot be printed; rename it"
            )
        _check_inside(folder, root)
        with os.scandir(folder) as entries:
            shown = sorted(filter(_shown, entries), key=lambda entry: entry.name)
        found[folder.name] = [_file(entry, root) for entry in shown]
    return found


def fingerprint(parts: Mapping[str, Classes], *beside: object) -> str:
    """Return a SHA-256, hex, that changes with each name, size and time of the parts' files, and with what is `beside`.

    Equal ones mean the same images, unless somebody turns back the clock of the machine.
    """
    hashed = hashlib.sha256(repr(beside).encode())
    for part, found in parts.items():
        for class_name, files in found.items():
            hashed.update(repr((part, class_name, list(map(tuple, files)))).encode())
    return hashed.hexdigest()


def _shown(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".")


def _file(entry: os.DirEntry[str], root: Path) -> File:
    if entry.is_symlink():
        _check_inside(Path(entry.path), root)
    if not entry.is_file():  # reading from a pipe would wait for ever
        raise UserError(f"{entry.path} cannot be read (it is not a file); remove it")
    try:
        found = entry.stat()
    except OSError as error:  # it has gone since, or lies where it may not be looked at
        raise UserError(f"{entry.path} cannot be read ({error.strerror}); repair or remove it") from error
    return File(entry.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _check_inside(path: Path, root: Path) -> None:
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError(f"{path} is a link that leads out of {root}; put a copy there, or remove it")
