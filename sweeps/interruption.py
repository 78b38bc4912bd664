"""How a command ends that is asked to stop: by Ctrl-C, by SIGTERM, or because its terminal was closed (SIGHUP).

Where nothing is at stake it ends at once, with a line and exit status 130. Inside `tidy()` it is told by a
KeyboardInterrupt, once, and inside `held()` only at the end of the block, or at a `check()` in it. A second request
ends it at once, wherever it is. After `over()` a request only hastens the end.

Nothing else of ours is imported here: the first line of ours that runs imports it, before Ctrl-C can do harm.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import sys
import time
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes milliseconds, in which Ctrl-C is a traceback yet
    from collections.abc import Iterator, Mapping
    from types import FrameType
    from typing import Any, NoReturn

    Taken = Mapping[signal.Signals, Any]  # whose signals are

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LINE = "interrupted: each trial's last snapshot is kept; the same command goes on from there"
STATUS = 130
ONE_EVENT = 0.2  # seconds: a terminal and whatever started the command may both pass on one Ctrl-C
AFTER_A_PANEL = b"\r\x1b[K\x1b[?25h"  # instead of its last line, and with the cursor that it hides


class _Interruption:
    """Where the command stands, as far as it matters to whoever asks it to stop."""

    tidying = 0  # blocks that have something to put in order
    holding = 0  # blocks that must not break off halfway
    asked: float | None = None  # when it was asked to stop
    waiting = False  # it was asked, and has not been told yet
    status: int | None = None  # the exit status, once all is done

    def take(self, number: int, _: FrameType | None = None) -> None:
        """Take a signal."""
        if self.status is not None:
            os._exit(self.status)
        if self.asked is None:
            self.asked, self.waiting = time.monotonic(), True
            if not self.holding:
                self.tell()
        # of a terminal that is gone the shell and the kernel both tell, maybe seconds apart
        elif number != signal.SIGHUP and time.monotonic() - self.asked > ONE_EVENT:
            end_at_once()

    def tell(self) -> None:
        """Raise KeyboardInterrupt, or end here, where the command was asked to stop and does not know yet."""
        if self.waiting:
            self.waiting = False
            if not self.tidying:
                end_at_once()
            raise KeyboardInterrupt


_here = _Interruption()


def listen() -> Taken:
    """Take the signals that nobody has taken, or ignores: a command under nohup, or in the background of a script.

    Return whose they were; nothing where this process listens already.
    """
    taken = {each: signal.getsignal(each) for each in SIGNALS}
    taken = {each: by for each, by in taken.items() if by in (signal.SIG_DFL, signal.default_int_handler)}
    for each in taken:
        signal.signal(each, _here.take)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _unraisable
        atexit.register(_leave)  # registered first, it runs last
    return taken


def give_back(taken: Taken) -> None:
    """Give the signals back to whom they were taken from: a notebook, or a program of somebody's own, goes on."""
    for each, by in taken.items():
        signal.signal(each, by)
    _here.asked, _here.waiting, _here.status = None, False, None


@contextlib.contextmanager
def tidy() -> Iterator[None]:
    """Let a request to stop meanwhile be a KeyboardInterrupt, as there is something to put in order."""
    try:
        _here.tidying += 1
        yield
    finally:
        _here.tidying -= 1


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a request to stop wait for the end of what must not break off halfway, or for a `check()` in it."""
    try:
        _here.holding += 1
        yield
    finally:
        _here.holding -= 1
        if not _here.holding:
            _here.tell()


def check() -> None:
    """Raise KeyboardInterrupt where a request to stop waits: for use in `held()`, where stopping does no harm."""
    _here.tell()


def asked() -> bool:
    """Return whether the command was asked to stop."""
    return _here.asked is not None


def over(status: int) -> None:
    """Note that all is done, and the exit status: from now on a request to stop ends the process, with that status."""
    _here.status = status


def end_at_once() -> NoReturn:
    """End the process with the line, whatever it is at, and all processes that it has started."""
    with contextlib.suppress(OSError):  # the terminal is gone
        if os.isatty(1) and os.environ.get("TERM") not in (None, "dumb", "unknown"):
            os.write(1, AFTER_A_PANEL)
        os.write(2, f"{LINE}\n".encode())
    for process in _descendants():
        with contextlib.suppress(OSError):  # it has ended
            os.kill(process, signal.SIGKILL)
    os._exit(STATUS)


def _descendants() -> list[int]:
    """Return the processes below this one. Ray would end those itself, but its agents only after minutes."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[1-9]*/stat"):  # of a system without /proc nothing
        with contextlib.suppress(OSError):  # it has ended
            parent = stat.read_bytes().rpartition(b")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [os.getpid()]
    for process in found:
        found += children.get(process, [])
    return found[1:]


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """Ask once more where a KeyboardInterrupt came at a place where Python can only print it: in a `__del__`."""
    taken = [each for each in SIGNALS if signal.getsignal(each) == _here.take]
    if not taken or not isinstance(lost.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    import threading

    _here.asked = None
    threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident or 0, taken[0])).start()


def _leave() -> None:
    """End without being asked again, and without a search for cycles in all that torch and MLflow have made: it would
    take Python a second.
    """
    for each in SIGNALS:
        if signal.getsignal(each) == _here.take:
            signal.signal(each, signal.SIG_IGN)
    gc.disable()
    if "triton" not in sys.modules:  # it would print a line for each object that is left
        gc.freeze()
