"""Decoded images on disk, from one start to the next: `DATA_DIR/.decoded/FOLDER-HASH/`, with a folder for each making.

    images.npy   all pixels, (N, height, width, channels) uint8: training, validation and test images in a row
    about.json   what they are, with the digest of all that training can see; sealed, and written last
    lock         held, shared, by each process that uses them

A making is never changed: it is whole, or made anew beside it, so that any number of processes may read and make at
once. One that is not wanted any more is removed once nobody holds it; a `lock` beside the makings keeps one that has
just been begun, and that its process does not hold yet, from being taken for such. The digest is worked out again from
the pixels each time that a process first uses them: what is damaged is never trained on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import math
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from trainables import files
from trainables.datasets.dataset import Dataset, Split, digest, statistics

VERSION = 1  # of this layout, and of how images are decoded
FOLDER = ".decoded"  # hidden, so that it is no class where the data folder is the images' folder
PIXELS, ABOUT, LOCK = "images.npy", "about.json", "lock"

_held: dict[Path, int] = {}  # open lock files, until this process ends: until then its workers may map the images


@dataclass(frozen=True)
class About:
    """What decoded images are."""

    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # of the training, validation and test images: how many of each class, in order
    shape: tuple[int, ...]  # of an image: (height, width, channels)
    own_val: bool
    digest: str = ""  # this and what follows: as the Dataset has it, once the pixels are there
    mean: tuple[float, ...] = ()
    sd: tuple[float, ...] = ()

    @property
    def total(self) -> int:
        """The number of images."""
        return sum(map(sum, self.counts))

    @property
    def size(self) -> int:
        """The bytes of their pixels."""
        return self.total * math.prod(self.shape)

    def dataset(self, name: str, images: np.ndarray, place: Path | None = None) -> Dataset:
        """Return the data set of these images, which are mapped from the making at `place`, if from one."""
        splits, start = [], 0
        for counts in self.counts:
            end = start + sum(counts)
            splits.append(Split(images[start:end], np.repeat(np.arange(len(counts), dtype=np.int64), counts)))
            start = end
        train, val, test = splits
        found = (self.digest, self.mean, self.sd)
        return Dataset(name, self.class_names, train, val, test, *found, own_val=self.own_val, mapped=place)

    def examined(self, images: np.ndarray) -> About:
        """Return the same with what only the pixels tell."""
        data = self.dataset("", images)
        mean, sd = statistics(data.train.images)
        return replace(self, digest=digest(self.class_names, data.train, data.val, data.test), mean=mean, sd=sd)


@dataclass(frozen=True)
class Shelf:
    """Where the decoded images of one folder lie, of which the fingerprint says in what state they were."""

    place: Path
    fingerprint: str

    @classmethod
    def of(cls, folder: Path, data_dir: Path, fingerprint: str) -> Shelf:
        """Return that of a folder, whatever path leads to it."""
        path = Path(os.path.realpath(folder))
        name = re.sub(r"[^\w.-]", "_", path.name)[:40]
        return cls(
            data_dir.absolute() / FOLDER / f"{name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}", fingerprint
        )

    def about(self) -> About | None:
        """Return what is kept, as it says itself; None where nothing is."""
        return next((about for _, about in self._makings()), None)

    def read(self, name: str) -> Dataset | None:
        """Return the data set, mapped from what is kept; None where nothing whole is.

        What is kept beside it, and held by nobody, is removed.
        """
        for place, about in self._makings():
            with suppress(OSError, ValueError):
                data = _verified(place, about, name)
                self._remove_all_but(place)
                return data
        return None

    def keep(self, name: str, about: About, images: Iterable[np.ndarray]) -> Dataset:
        """Write images, as they come, and return the data set, mapped from them. What was kept before is removed.

        Raises OSError, with nothing left behind, where that cannot be; and what `images` raises.
        """
        with self._making() as place:
            if about.size > shutil.disk_usage(place).free:  # at once, before the others on this disk run out of room
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            with (place / PIXELS).open("wb") as file:
                file.write(_header(about))
                for image in images:
                    file.write(image.data)
            pixels = _pixels(place, about)
            about = about.examined(pixels)
            (place / ABOUT).write_bytes(files.sealed({"fingerprint": self.fingerprint} | asdict(about)))
        self._remove_all_but(place)
        return about.dataset(name, pixels, place)

    @contextmanager
    def _making(self) -> Iterator[Path]:
        """Make a folder for a new making, and hold it; one that fails is removed."""
        place = self.place / f"{self.fingerprint[:16]}-{uuid.uuid4().hex[:8]}"
        self.place.mkdir(parents=True, exist_ok=True)
        try:
            with self._changing():
                place.mkdir()
                (place / LOCK).touch()
                _hold(place)
            yield place
        except BaseException:
            _let_go(place)
            shutil.rmtree(place, ignore_errors=True)
            raise

    def _makings(self) -> Iterator[tuple[Path, About]]:
        """Go through what is kept of this fingerprint."""
        for place in sorted(self.place.glob(f"{self.fingerprint[:16]}-*")):
            with suppress(OSError, ValueError, TypeError):  # TypeError: sealed by another version
                form = files.unsealed(files.read(place / ABOUT, files.LARGEST_JSON))
                if form.get("fingerprint") == self.fingerprint:
                    yield place, _about(form)

    def _remove_all_but(self, kept: Path) -> None:
        """Remove the makings that nobody holds, but for one. What cannot be removed stays: it does no harm."""
        with suppress(OSError), self._changing():
            for place in self.place.glob("*/"):
                if place != kept:
                    with suppress(OSError), _alone(place):
                        shutil.rmtree(place)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Be the only process that begins or removes makings, waiting for one that does."""
        lock = os.open(self.place / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def mapped(place: Path, name: str) -> Dataset:
    """Return the data set of a making that another process has read and holds.

    Raises OSError or ValueError where it is not there, or not the same.
    """
    about = _about(files.unsealed(files.read(place / ABOUT, files.LARGEST_JSON)))
    return about.dataset(name, _pixels(place, about), place)


def _about(form: dict[str, object]) -> About:
    return About(**{key: _tuples(value) for key, value in form.items() if key != "fingerprint"})  # type: ignore[arg-type]


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _verified(place: Path, about: About, name: str) -> Dataset:
    """Return the data set of a making, which is held from now on. Raises OSError or ValueError where it is damaged."""
    _hold(place)
    try:
        data = about.dataset(name, _pixels(place, about), place)
        if digest(data.class_names, data.train, data.val, data.test) != about.digest:
            raise ValueError(f"{place / PIXELS} is damaged")
    except (OSError, ValueError):
        _let_go(place)
        raise
    return data


def _pixels(place: Path, about: About) -> np.ndarray:
    """Map the pixels, read-only. Raises OSError or ValueError where they are not these images'."""
    header = _header(about)
    with (place / PIXELS).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(header)) != header or size != len(header) + about.size:
            raise ValueError(f"{place / PIXELS} does not hold {about.total} images {about.shape}")
        return np.asarray(np.memmap(file, np.uint8, "r", len(header), (about.total, *about.shape)))


def _header(about: About) -> bytes:
    """Return how the file of the pixels begins, which numpy can read."""
    header = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (about.total, *about.shape)}
    np.lib.format.write_array_header_1_0(header, form)
    return header.getvalue()


def _hold(place: Path) -> None:
    if place not in _held:
        _held[place] = _lock(place, exclusive=False)


def _let_go(place: Path) -> None:
    if place in _held:
        os.close(_held.pop(place))


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Have a making to oneself. Raises OSError where another holds it; one that has no lock yet can only be a wreck."""
    if not (place / LOCK).exists():
        yield
        return
    lock = _lock(place, exclusive=True)
    try:
        yield
    finally:
        os.close(lock)


def _lock(place: Path, *, exclusive: bool) -> int:
    """Hold a making until what is returned is closed. Raises OSError where it is gone, or held by another process."""
    file = os.open(place / LOCK, os.O_RDWR if exclusive else os.O_RDONLY)
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file
