"""Which figures a folder has, and what they show: so that another command need not draw them again.

What a figure shows is the call that draws it, the code that it calls, and Matplotlib's version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from trainables.files import LARGEST_JSON, parsed, read, write_whole

LIST = ".figures.json"


class Drawn:
    """The figures of a folder, each with a digest of what it shows, and with those of its files."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / LIST
        self._known = _read(self.file)

    def has(self, name: str, call: partial[bytes], files: Iterable[Path]) -> bool:
        """Tell whether a figure's files are there, whole, and show what this call would draw."""
        return self._known.get(name) == _described(call, files)

    def note(self, name: str, call: partial[bytes], files: Iterable[Path]) -> None:
        """Note that a figure's files show what this call draws. Raises OSError."""
        self._known[name] = _described(call, files)
        write_whole(self.file, json.dumps(self._known, indent=1).encode())


def _read(file: Path) -> dict[str, dict[str, str]]:
    """Return the list; nothing where there is none, or none that makes sense: then figures are drawn."""
    try:
        form = parsed(read(file, LARGEST_JSON))
    except (OSError, ValueError):
        return {}
    return form if isinstance(form, dict) else {}


def _described(call: partial[bytes], files: Iterable[Path]) -> dict[str, str]:
    """Return the digests of what a figure shows and of its files, "" of one that is not there."""
    hashed = hashlib.sha256(_code())
    for part in _parts((call.func.__name__, call.args, call.keywords)):
        hashed.update(part)
    of_files = {path.name: _digest(path.read_bytes()) if path.exists() else "" for path in files}
    return {"shows": hashed.hexdigest()} | of_files


def _parts(value: object) -> Iterator[bytes]:
    """Go through all that is in a value, in such a way that different values differ."""
    yield f"{type(value).__name__}(".encode()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif is_dataclass(value):
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _parts(pair)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each)
    else:
        yield repr(value).encode()
    yield b")"


@cache
def _code() -> bytes:
    """Return a digest of the code that draws."""
    import analysis

    sources = sorted((Path(str(analysis.__file__)).parent / "figures").glob("*.py"))
    hashed = hashlib.sha256(version("matplotlib").encode())
    for source in sources:
        hashed.update(source.read_bytes())
    return hashed.digest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
