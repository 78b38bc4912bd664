"""Files as their publishers put them out: downloaded where missing, and checked before they are used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trainables.errors import UserError


def verified(path: Path, md5: str, size: int | None = None) -> bytes:
    """Return the file's bytes. Raises UserError where its md5, or its size where that is known, is not as published."""
    content = sized(path, size)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise UserError(
            f"{path} is corrupt: its md5 is {found}, must be {md5}; delete {path.parent} to have it downloaded anew"
        )
    return content


def sized(path: Path, size: int | None) -> bytes:
    """Return the file's bytes. Raises UserError where it is missing or does not have `size` bytes (None: any)."""
    if not path.is_file():
        raise UserError(f"{path} is missing; put it there, or delete {path.parent} to have it downloaded anew")
    content = path.read_bytes()
    if size is not None and len(content) != size:
        raise UserError(
            f"{path} has {len(content):,} bytes, must have {size:,}; delete {path.parent} to have it downloaded anew"
        )
    return content


def download(kind: str, data_dir: Path, missing: str, **which: str) -> None:
    """Have torchvision download its data set `kind` to `data_dir`.

    Raises UserError where it cannot, which says what is `missing`, and what to do.
    """
    from torchvision import datasets  # slow to import, and seldom needed

    try:
        getattr(datasets, kind)(data_dir, download=True, **which)
    except (OSError, RuntimeError) as error:  # no network; all mirrors failed, or a wrong md5
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(
            f"{missing} in {data_dir.absolute()}, and {kind} could not be downloaded ({reason}); "
            "connect to the network, put the files there, or name their folder with --data-dir"
        ) from error
