"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DIGEST_LENGTH = 64
SEAL = "/sha256/"  # the entry with a JSON's checksum; no file has this name

# What a file may have at most, so that one that is damaged or hostile is refused before memory is taken for it.
LARGEST_JSON = 256 << 20  # bytes: curves of 10 seeds over 1,000 epochs on 300 classes are a quarter of it
LARGEST_FILE = 8 << 30  # bytes: weights, and all that training needs to go on


def write_whole(path: Path, content: bytes) -> None:
    """Write all or nothing, also across a power cut. The folder is made if need be; a failure leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path, most: int) -> bytes:
    """Return a file's content. Raises ValueError, with nothing read, where it has more than `most` bytes or is not a
    plain file; OSError where it cannot be read.
    """
    if not path.is_file() and path.exists():
        raise ValueError(f"{path.name} is not a plain file")
    check_size(path.name, path.stat().st_size, most)
    return path.read_bytes()


def check_size(name: str, size: int, most: int) -> None:
    """Raise ValueError for a file of more than `most` bytes."""
    if size > most:
        raise ValueError(f"{name} has {size:,} bytes, but must have at most {most:,}")


def parsed(content: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError where it is not JSON, not text, or nested beyond reason."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"nested too deeply ({len(content):,} bytes)") from None


def sealed(form: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return plain data as JSON with a checksum among its entries; on one line, but for an `indent`."""
    return json.dumps({**form, SEAL: _seal(form)}, indent=indent).encode()


def unsealed(content: bytes) -> dict[str, Any]:
    """Return what sealed() made JSON of, or what has no checksum, as earlier versions wrote it.

    Raises ValueError where it is damaged.
    """
    form = parsed(content)
    if not isinstance(form, dict):
        raise ValueError(f"it is {form!r:.40}, but must have entries")
    if any(_is_one_off(name, SEAL) for name in form):  # else damage there would pass for an earlier version's file
        raise ValueError("not whole: the name of its checksum is damaged")
    if SEAL in form and form.pop(SEAL) != _seal(form):
        raise ValueError(f"not whole: its checksum differs ({len(content):,} bytes)")
    return form


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as one: a zip, not compressed, whose comment is the SHA-256 of all that precedes it.

    The same files give the same bytes.
    """
    buffer = _Parts()
    with zipfile.ZipFile(buffer, "w") as archive:  # type: ignore[call-overload]  # it asks for no more than _Parts has
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980
    *parts, end = buffer.parts.values()
    # A zip ends with the length of its comment, and the comment.
    parts.append(end[:-2] + DIGEST_LENGTH.to_bytes(2, "little"))
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    return b"".join([*parts, checksum.hexdigest().encode()])


class _Parts:
    """A file in memory for zipfile to write to, which keeps what it is given, uncopied: snapshots are large.

    What is written again, as a member's header is once its size is known, has the length that it had before.
    """

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}  # by place
        self.place = 0

    def write(self, content: bytes) -> int:
        if content:
            self.parts[self.place] = content
        self.place += len(content)
        return len(content)

    def tell(self) -> int:
        return self.place

    def seek(self, place: int) -> None:
        self.place = place

    def flush(self) -> None:
        pass


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the files that zipped() made one of.

    Raises ValueError where it is not whole, or no file of zipped()'s: then no memory is taken for what it may hold.
    """
    if content[-DIGEST_LENGTH:] != _digest(content[:-DIGEST_LENGTH]):
        raise ValueError(f"not whole: its checksum differs ({len(content):,} bytes)")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_stored(archive.infolist(), len(content))
            return {name: archive.read(name) for name in archive.namelist()}
    # all that zipfile raises for a file that another hand has made and sealed; BadZipFile is not a ValueError
    except (zipfile.BadZipFile, RuntimeError, EOFError, OverflowError, struct.error) as error:
        raise ValueError(f"not a zip of ours: {error!r:.200}") from error


def _check_stored(members: Sequence[zipfile.ZipInfo], size: int) -> None:
    """Raise ValueError where the members are not what zipped() writes: each once, stored as it is."""
    if any(each.compress_type != zipfile.ZIP_STORED for each in members):
        raise ValueError("not a zip of ours: it is compressed")
    if sum(each.file_size for each in members) > size or any(each.file_size != each.compress_size for each in members):
        raise ValueError("not a zip of ours: its files are larger than it is")
    if len({each.filename for each in members}) < len(members):
        raise ValueError("not a zip of ours: two of its files have the same name")


def _seal(form: Mapping[str, Any]) -> str:
    return _digest(json.dumps(form, sort_keys=True).encode()).decode()


def _is_one_off(name: str, other: str) -> bool:
    return len(name) == len(other) and sum(a != b for a, b in zip(name, other, strict=True)) == 1


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
