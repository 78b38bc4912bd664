"""What takes its time to begin and to end, as Ray does, in a thread of its own: others do other things meanwhile.

The same thread begins, holds and ends it, as the kernel ends a process that is bound to whoever started it together
with the thread that did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager


class Background:
    """A context that a thread of its own enters, holds and leaves. Nothing happens before begin(), or wait()."""

    def __init__(self, context: Callable[[], AbstractContextManager[object]]) -> None:
        self._context = context
        self._entered, self._over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        # at a crash the process does not wait for it
        self._thread = threading.Thread(target=self._hold, name="background", daemon=True)

    @property
    def begun(self) -> bool:
        """Whether begin() was called."""
        return self._thread.ident is not None

    def begin(self) -> None:
        """Have the context entered, without waiting for it."""
        if not self.begun:
            self._thread.start()

    def wait(self) -> None:
        """Return once the context is entered. Raises what kept it from that."""
        self.begin()
        self._entered.wait()
        if self._error:
            raise self._error

    def end(self) -> None:
        """Have the context left, and wait for it; also where it is being entered yet, as that may not break off.

        Nothing may go on beside it: Ray's C++ part ends the process where a reference is let go of meanwhile.
        """
        self._over.set()
        if self.begun:
            self._thread.join()

    def _hold(self) -> None:
        try:
            with self._context():
                self._entered.set()
                self._over.wait()
        except BaseException as error:  # whoever waits for it gets it
            self._error = error
        finally:
            self._entered.set()
