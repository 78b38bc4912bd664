"""The lease on a study: of all commands that share an MLflow, on whatever machines, only one at a time runs it.

It is a tag of the experiment: who holds it, and a count that moves while the holder lives. Whether it moves is judged
by the watcher's own clock, as clocks of several machines differ.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sweeps.tracking.connection import plain
from sweeps.tracking.forms import check_count, check_texts
from sweeps.tracking.spool import holder
from sweeps.tracking.store import Store
from trainables.errors import UserError
from trainables.files import parsed

TAG = "lease"
MOVES_EVERY = 10.0  # seconds
WATCHED_FOR = 25.0  # seconds in which a holder that lives has moved its count
LOOKS_EVERY = 1.0
FIRST_LOOK = 2.0  # seconds until a holder looks whether another one took the lease at the same moment

UNKNOWN = "a command that cannot be told from its claim, which is damaged"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    """What the tag says: which command holds the lease, and its count."""

    id: str
    holder: str  # as messages name it
    place: str  # where its process's number is its own
    pid: int
    count: int


class Lease:
    """The lease on one experiment, for one command."""

    def __init__(self, store: Store, experiment: str, say: Callable[[str], None]) -> None:
        self._store, self._say = store, say
        self._experiment = store.patiently(lambda: store.experiment_id(experiment), say)
        self._own = Claim(uuid.uuid4().hex, holder(), _place(), os.getpid(), 0)
        self._ended = threading.Event()
        self._lost: str | None = None
        self.when_lost: Callable[[], object] = lambda: None  # called by another thread, before the command is stopped

    @property
    def lost(self) -> bool:
        """Whether another command has taken it: what this one has yet to say of its trials is no longer asked for."""
        return self._lost is not None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lease.

        Raises UserError, naming the holder, where another command has it, or turns out to have taken it meanwhile.
        """
        self._store.patiently(self._wait_for_another, self._say)
        self._store.patiently(self._write, self._say)
        # SIGINT may be ignored, as in the background of a script
        stopping = signal.getsignal(signal.SIGTERM)
        if not callable(stopping):  # else it is the command's
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        keeper = threading.Thread(target=self._keep, name="lease", daemon=True)
        keeper.start()
        try:
            yield
        except KeyboardInterrupt:
            if self._lost:
                raise UserError(self._lost) from None
            raise
        finally:
            self._ended.set()
            keeper.join(5)
            signal.signal(signal.SIGTERM, stopping)
            self._give_back()

    def _wait_for_another(self) -> None:
        """Return when nobody holds the lease: it was given back, or its holder is dead."""
        seen = self._read()
        if not seen or _dead_here(seen):
            return
        self._say(f"this study was being run by {seen.holder}; watching for {WATCHED_FOR:.0f} s whether it still is")
        until = time.monotonic() + WATCHED_FOR
        while seen and time.monotonic() < until:
            time.sleep(LOOKS_EVERY)
            now = self._read()
            if now and now != seen:
                raise UserError(_taken(now))
            seen = now

    def _keep(self) -> None:
        pause = FIRST_LOOK
        while not self._ended.wait(pause):
            pause = MOVES_EVERY
            try:
                current = self._read()
                if current and current.id != self._own.id:
                    self._lost = _taken(current)
                    self.when_lost()
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # as Ctrl-C
                    return
                self._write()
            except Exception as error:  # MLflow is away, for others as well
                log.info("the lease is not renewed: %s", error)

    def _give_back(self) -> None:
        try:
            current = self._read()
            if current and current.id == self._own.id:
                self._store.client.delete_experiment_tag(self._experiment, TAG)
        except Exception as error:  # it runs out by itself
            log.info("the lease is not given back: %s", error)

    def _read(self) -> Claim | None:
        text = self._store.client.get_experiment(self._experiment).tags.get(TAG)
        return claim(text) if text else None

    def _write(self) -> None:
        self._own = replace(self._own, count=self._own.count + 1)
        self._store.client.set_experiment_tag(self._experiment, TAG, json.dumps(asdict(self._own)))


def is_held(store: Store, experiment: str) -> bool:
    """Tell whether a command seems to hold the lease on an experiment; one of another machine may be dead."""
    text = store.client.get_experiment(experiment).tags.get(TAG)
    return text is not None and not _dead_here(claim(text))


def claim(text: str) -> Claim:
    """Return what the tag says.

    One that cannot be read is a claim too: whether its holder lives is seen as with others, by whether the tag changes.
    """
    try:
        read = Claim(**parsed(text))
        check_texts("claim", {"id": read.id, "holder": read.holder, "place": read.place})
        check_count("pid", read.pid)
        check_count("count", read.count)
    except (TypeError, ValueError):  # not JSON, other fields, other types
        return Claim(hashlib.sha256(text.encode(errors="replace")).hexdigest(), UNKNOWN, "", 0, 0)
    return replace(read, holder=plain(read.holder))


def _taken(by: Claim) -> str:
    return f"this study is being run by {by.holder}; wait for its end (its trials are shared through MLflow)"


def _dead_here(other: Claim) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    return other.place == _place() and not Path(f"/proc/{other.pid}").exists()


def _place() -> str:
    """Return where a process's number is its own: containers may share a host's name."""
    return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
