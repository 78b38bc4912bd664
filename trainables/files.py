"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIGEST_LENGTH = 64


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


def parsed(content: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError where it is not JSON, not text, or nested beyond reason."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"nested too deeply ({len(content):,} bytes)") from None


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as one: a zip, not compressed, whose comment is the SHA-256 of all that precedes it.

    The same files give the same bytes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980
    # A zip ends with the length of its comment, and the comment.
    body = buffer.getvalue()[:-2] + DIGEST_LENGTH.to_bytes(2, "little")
    return body + _digest(body)


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the files that zipped() made one of. Raises ValueError where it is not whole."""
    if content[-DIGEST_LENGTH:] != _digest(content[:-DIGEST_LENGTH]):
        raise ValueError(f"not whole: its checksum differs ({len(content):,} bytes)")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
