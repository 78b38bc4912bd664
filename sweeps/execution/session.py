"""The folder of a Ray that a command starts for itself: for this user alone, short enough, gone with the command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import UserError

PREFIX = ".cnn-sweeps-"  # nobody else's, as what has it and is not held is removed
# Ray's sockets lie in session_<date>_<time>_<process>/sockets/ below it, and no socket's path may be longer than 107
# bytes (103 on macOS)
LONGEST = 16


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder of mode 0700 in the first place for temporary files where one can be; remove it at the end.

    What commands that were killed have left in that place is removed first. Raises UserError where there is no such
    place.
    """
    folder, lock = _made()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what a process that ends still writes, the next start removes
        os.close(lock)


def _made() -> tuple[Path, int]:
    """Return a new folder, and the descriptor that holds the lock on it as long as this process lives."""
    named = (os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"), "/tmp")  # noqa: S108
    places = list(dict.fromkeys(filter(None, named)))
    for place in places:
        if len(os.fsencode(Path(place).absolute())) <= LONGEST:
            with contextlib.suppress(OSError):  # it is not there, or read-only, or full
                return _make(Path(place).absolute())
    raise UserError(
        f"Ray needs a folder for temporary files that can be written and whose path has at most {LONGEST} bytes, and "
        f"there is none at {' or '.join(places)}; TMPDIR names another"
    )


def _make(place: Path) -> tuple[Path, int]:
    _remove_left(place)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another command, as it started, took it for one that was left
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)  # likewise


def _remove_left(place: Path) -> None:
    """Remove this user's folders on which no process holds the lock."""
    for folder in place.glob(f"{PREFIX}*"):
        # gone meanwhile; not a folder; another user's; held
        with contextlib.suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
