"""The spool: what the Tracker has taken in and MLflow has not got yet, on the local disk, one folder a trial.

    spool/<key>/trial.json      what the trial is, and how it ended
    spool/<key>/metrics.jsonl   one line per epoch
    spool/<key>/files.json      the newest snapshot: file name → SHA-256 of its content
    spool/<key>/blobs/<sha256>  the contents
    spool/*.lock                the process that is at work here: the command that runs the study, its Tracker

Nothing in it records what MLflow has acknowledged. Every delivery can be repeated without a trace: the run is looked up
by its trial's key, a metric is written again only where its value changed, files are replaced. So after a crash the
spool is simply delivered again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from trainables.errors import UserError
from trainables.files import STATE, write_whole


@dataclass(eq=False)
class Spooled:
    """One trial in the spool, and what of it MLflow has.

    `about` and `outcome` are replaced, never changed: `about_sent is about` means that MLflow has it.
    """

    folder: Path
    about: dict[str, Any]  # key, experiment, name, params, tags, run_id, time
    outcome: dict[str, Any]  # status, reason, time
    files: dict[str, str] = field(default_factory=dict)  # the newest snapshot: name → SHA-256
    size: int = 0  # of metrics.jsonl

    run_id: str | None = None
    began: int = 0  # the run's start, in milliseconds
    about_sent: dict[str, Any] | None = None
    outcome_sent: dict[str, Any] | None = None
    files_sent: dict[str, str] = field(default_factory=dict)
    size_sent: int = 0
    values_sent: dict[tuple[str, int], tuple[float, int]] = field(
        default_factory=dict
    )  # (metric name, step) → newest value, its time
    slot: str | None = None  # the artifact that is the newest state which MLflow has whole

    left: bool = False  # was running when an earlier process ended; its worker may be at it still
    files_due: float = 0.0  # the monotonic time before which files are not sent again while the trial runs
    retry_due: float = 0.0  # and before which a trial that MLflow refused is not tried again
    error: str | None = None  # why the last delivery did not succeed

    @property
    def label(self) -> str:
        """The trial as messages name it."""
        return f"{self.about['name']} ({self.about['key'][:12]})"

    @property
    def running(self) -> bool:
        """Whether the trial has not ended yet."""
        return self.outcome["status"] == "running"

    @property
    def files_to_send(self) -> dict[str, str]:
        """The files of the newest snapshot that MLflow lacks: name → SHA-256."""
        return {name: digest for name, digest in self.files.items() if self.files_sent.get(name) != digest}

    @property
    def delivered(self) -> bool:
        """Whether MLflow has all there is."""
        told = self.about_sent is self.about and self.outcome_sent is self.outcome
        return told and self.size_sent == self.size and not self.files_to_send

    def save(self) -> None:
        """Write what the trial is and how it ended."""
        write_whole(self.folder / "trial.json", json.dumps({"about": self.about, "outcome": self.outcome}).encode())

    def append(self, line: dict[str, Any]) -> None:
        """Add a line of metrics, for good."""
        with (self.folder / "metrics.jsonl").open("ab") as file:
            file.truncate(self.size)  # away with half a line, from a power cut or a full disk
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self.size = file.tell()

    def put(self, files: dict[str, bytes]) -> None:
        """Replace the snapshot in one step: new contents first, then the list that names them, then away with the old contents."""
        digests = {name: _digest(content) for name, content in files.items()}
        blobs = self.folder / "blobs"
        for name, digest in digests.items():
            if not (blobs / digest).exists():
                write_whole(blobs / digest, files[name])
        self.files = self.files | digests
        write_whole(self.folder / "files.json", json.dumps(self.files).encode())
        for stale in {blob.name for blob in blobs.iterdir()} - set(self.files.values()):
            (blobs / stale).unlink()

    def state(self) -> bytes:
        """Return the newest snapshot's state; empty where it has none."""
        return (self.folder / "blobs" / self.files[STATE]).read_bytes() if STATE in self.files else b""

    def garbled(self) -> list[str]:
        """Return the names of the newest snapshot's files that are not what was written."""
        blobs = {name: self.folder / "blobs" / digest for name, digest in self.files.items()}
        return [name for name, blob in blobs.items() if not blob.exists() or _digest(blob.read_bytes()) != blob.name]

    def retire(self) -> None:
        """Forget on disk what MLflow has.

        The trial stays known, so that a late epoch or a retry still finds its run.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.files, self.size, self.size_sent = {}, 0, 0

    def go_on(self) -> None:
        """Take the trial up again that an earlier process left running: its worker is alive."""
        self.outcome, self.left = {"status": "running", "reason": None, "time": milliseconds()}, False
        self.save()

    def start_over(self) -> None:
        """Take nothing for delivered: MLflow has refused, the run may be gone.

        The next delivery looks for it, or creates it again.
        """
        self.about_sent = self.outcome_sent = None
        self.files_sent, self.size_sent, self.values_sent, self.slot = {}, 0, {}, None

    @classmethod
    def left_in(cls, folder: Path) -> Spooled:
        """Load what an earlier process left. A trial that was running then is interrupted, as of its last epoch."""
        trial = cls(folder, **json.loads((folder / "trial.json").read_bytes()))
        if (folder / "files.json").exists():
            trial.files = json.loads((folder / "files.json").read_bytes())
        metrics = folder / "metrics.jsonl"
        if metrics.exists():
            trial.size = metrics.read_bytes().rfind(b"\n") + 1
        if trial.running:
            last = max(path.stat().st_mtime for path in folder.iterdir())
            trial.outcome, trial.left = {"status": "interrupted", "reason": None, "time": round(last * 1000)}, True
        return trial


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lock(path: Path, patience: float) -> int:
    """Make sure that only one process is at work here, and note which.

    The lock goes with its process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(descriptor)
                by = path.read_text() or "another run of this study"
                raise UserError(
                    f"{path.parent} is in use by {by}; wait for its end, or give another --output"
                ) from None
            time.sleep(0.2)
        else:
            with contextlib.suppress(OSError):  # on a full disk it holds without a name
                os.truncate(descriptor, 0)
                os.pwrite(descriptor, holder().encode(), 0)
            return descriptor


@contextlib.contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a lock meanwhile."""
    descriptor = lock(path, patience)
    try:
        yield
    finally:
        os.close(descriptor)


def holder() -> str:
    """Return what names this process to whom it keeps out."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def check_name(name: str) -> None:
    """Raise ValueError for a file name that could leave the trial's folder."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or path.as_posix() != name
        or ".." in path.parts
        or "\\" in name
        or "\0" in name
        or name == "."
    ):
        raise ValueError(f"file name {name!r}: must be a relative path without '..'")


def milliseconds() -> int:
    """Return the time in milliseconds, as MLflow counts it."""
    return round(time.time() * 1000)
