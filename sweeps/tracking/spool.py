"""The spool: what the Tracker has taken in and MLflow has not got yet, on the local disk, one folder a trial.

    spool/<key>/trial.json      what the trial is, and where it stands: About, Standing
    spool/<key>/metrics.jsonl   one Line per epoch
    spool/<key>/files.json      the newest snapshot: file name → SHA-256 of its content
    spool/<key>/blobs/<sha256>  the contents
    spool/*.lock                the process that is at work here: the command that runs the study, its Tracker

What else lies in a spool is another's. Each JSON has a checksum of its own (trainables/files.py), but for those that an
earlier version left, and whatever is read is of the form that is written, or is an error.

Nothing in it records what MLflow has acknowledged. Every delivery can be repeated without a trace: the run is looked up
by its trial's key, a metric is written again only where its value changed, files are replaced. So after a crash the
spool is simply delivered again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from sweeps.decisions.status import Status
from sweeps.tracking.forms import check_count, check_numbers, check_texts
from sweeps.tracking.origin import check_data_set
from trainables.errors import UserError
from trainables.files import LARGEST_FILE, LARGEST_JSON, read, sealed, unsealed, write_whole
from trainables.snapshot import STATE

TRIAL_FILE, METRICS_FILE, FILES_FILE, BLOBS = "trial.json", "metrics.jsonl", "files.json", "blobs"


@dataclass(frozen=True)
class About:
    """What a trial is, and whose: an Entry as it was started."""

    key: str
    experiment: str
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    run_id: str | None  # the run to go on in, where one was known
    time: int  # of the start, in milliseconds
    worker: str = ""
    dataset: Mapping[str, str] = field(default_factory=dict)  # that it is trained on: see origin.data_set()
    source: str | None = None  # the run that a new one begins as a copy of


@dataclass(frozen=True)
class Standing:
    """Where a trial stands, since when (milliseconds), and why; at its end with its summary, metrics by name."""

    status: Status
    reason: str | None
    time: int
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One epoch's metrics, and when they came in (milliseconds)."""

    step: int
    time: int
    metrics: Mapping[str, float]

    def packed(self) -> bytes:
        """Return the line as it stands in the file."""
        return sealed(asdict(self)) + b"\n"

    @classmethod
    def parse(cls, text: bytes) -> Line:
        """Read a line of the file. Raises ValueError where it is damaged."""
        try:
            form = unsealed(text)
            line = cls(**form)
        except TypeError as error:  # another field, or none
            raise ValueError(f"not a line of metrics: {text!r:.100}") from error
        check_count("step", line.step)
        check_count("time", line.time)
        check_numbers("metrics", line.metrics)
        return line


@dataclass(eq=False)
class Spooled:
    """One trial in the spool: what is on disk, and the same in memory, where a full disk takes nothing.

    `about` and `standing` are replaced, never changed: that one is another object means that there is news.
    """

    folder: Path
    about: About
    standing: Standing
    files: dict[str, str] = field(default_factory=dict)  # the newest snapshot: name → SHA-256
    size: int = 0  # of the metrics, in bytes
    left: bool = False  # was running when an earlier process ended; its worker may be at it still

    @property
    def running(self) -> bool:
        """Whether the trial has not ended yet."""
        return self.standing.status == Status.RUNNING

    def save(self) -> None:
        """Write what the trial is and where it stands."""
        form = {"about": asdict(self.about), "outcome": asdict(self.standing)}
        write_whole(self.folder / TRIAL_FILE, sealed(form))

    def append(self, line: Line) -> None:
        """Add a line of metrics, for good."""
        with (self.folder / METRICS_FILE).open("ab") as file:
            file.truncate(self.size)  # away with half a line, from a power cut or a full disk
            file.write(line.packed())
            file.flush()
            os.fsync(file.fileno())
            self.size = file.tell()

    def lines(self, begin: int, end: int) -> list[bytes]:
        """Return the lines of metrics between two places in the file, as they stand."""
        with (self.folder / METRICS_FILE).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin).splitlines()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Replace the snapshot in one step: the new contents, then the list that names them; then the old ones go."""
        digests = {name: _digest(content) for name, content in files.items()}
        for name, digest in digests.items():
            if not self.blob(digest).exists():
                write_whole(self.blob(digest), files[name])
        self.files = self.files | digests
        write_whole(self.folder / FILES_FILE, sealed(self.files))
        for stale in {blob.name for blob in (self.folder / BLOBS).iterdir()} - set(self.files.values()):
            self.blob(stale).unlink()

    def blob(self, digest: str) -> Path:
        """Return where the content with this SHA-256 is."""
        return self.folder / BLOBS / digest

    def state(self) -> bytes:
        """Return the newest snapshot's state; empty where it has none."""
        return self.blob(self.files[STATE]).read_bytes() if STATE in self.files else b""

    def garbled(self) -> list[str]:
        """Return the names of the newest snapshot's files that are not what was written."""
        return [name for name, digest in self.files.items() if not _is_whole(self.blob(digest))]

    def go_on(self) -> None:
        """Take the trial up again that an earlier process left running: its worker is alive."""
        self.standing, self.left = Standing(Status.RUNNING, None, milliseconds()), False
        self.save()

    def clear(self) -> None:
        """Forget on disk what MLflow has."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.files, self.size = {}, 0

    @classmethod
    def left_in(cls, folder: Path) -> Spooled:
        """Load what an earlier process left. A trial that was running then is interrupted, as of its last epoch.

        Raises ValueError or OSError where it cannot be read.
        """
        if folder.is_symlink():
            raise ValueError("it is a link")
        form = unsealed(read(folder / TRIAL_FILE, LARGEST_JSON))
        trial = cls(folder, *_about_and_standing(form))
        if trial.about.key != folder.name:
            raise ValueError(f"it is of the trial {trial.about.key!r:.100}")
        if (folder / FILES_FILE).exists():
            trial.files = unsealed(read(folder / FILES_FILE, LARGEST_JSON))
            _check_files(trial.files)
        if (folder / METRICS_FILE).exists():
            trial.size = read(folder / METRICS_FILE, LARGEST_JSON).rfind(b"\n") + 1
        if trial.running:
            last = max(path.stat().st_mtime for path in folder.iterdir())
            trial.standing, trial.left = Standing(Status.INTERRUPTED, None, round(last * 1000)), True
        return trial


def is_key(text: str) -> bool:
    """Whether a text has the form of a trial's key."""
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def trials_in(spool: Path) -> list[Path]:
    """Return the folders of the trials in a spool."""
    return [path.parent for path in sorted(spool.glob(f"*/{TRIAL_FILE}")) if is_key(path.parent.name)]


def _about_and_standing(form: Mapping[str, Any]) -> tuple[About, Standing]:
    """Return what a trial.json says. Raises ValueError where it has another form than the one that is written."""
    if form.keys() != {"about", "outcome"}:
        raise ValueError(f"it has the entries {', '.join(form)!r:.100}")
    try:
        about, standing = About(**form["about"]), Standing(**form["outcome"])
        standing = replace(standing, status=Status(standing.status))
    except (TypeError, ValueError) as error:  # a field too many or too few, no entries, no status
        raise ValueError(f"it has another form: {error!s:.100}") from error
    check_texts("about", {"name": about.name, "worker": about.worker, "experiment": about.experiment})
    check_name(about.experiment)
    optional = {"run_id": about.run_id, "reason": standing.reason, "source": about.source}
    check_texts("about", {name: text for name, text in optional.items() if text is not None})
    check_texts("params", about.params)
    check_texts("tags", about.tags)
    check_texts("dataset", about.dataset)
    check_data_set(about.dataset)
    check_count("time", about.time)
    check_count("time", standing.time)
    check_numbers("scores", standing.scores)
    if standing.status == Status.SUPERSEDED:
        raise ValueError("it is superseded, which no trial under way is")
    return about, standing


def _check_files(files: Mapping[str, Any]) -> None:
    for name, digest in files.items():
        check_name(name)
        if not isinstance(digest, str) or not is_key(digest):
            raise ValueError(f"{FILES_FILE}: {name!r:.100} has the digest {digest!r:.100}")


def _is_whole(blob: Path) -> bool:
    try:
        return _digest(read(blob, LARGEST_FILE)) == blob.name
    except (OSError, ValueError):  # it is gone, no file, or too large for one
        return False


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
    """Return how this process is named to those that it keeps out."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"


def check_name(name: str) -> None:
    """Raise ValueError for a file name that could leave the trial's folder."""
    path = PurePosixPath(name)
    elsewhere = path.is_absolute() or ".." in path.parts or name == "."
    if elsewhere or path.as_posix() != name or "\\" in name or "\0" in name:
        raise ValueError(f"file name {name!r:.200}: must be a relative path without '..'")


def milliseconds() -> int:
    """Return the time in milliseconds, as MLflow counts it."""
    return round(time.time() * 1000)
