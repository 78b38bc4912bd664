"""Ray's own processes on this machine: where one of them is gone the command ends too, with a line that says so."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sweeps.execution import last_word

FLUSH_SECONDS = 2.0  # for what was printed before, where nobody may be reading


@contextmanager
def watched(processes: Mapping[str, subprocess.Popen]) -> Iterator[None]:
    """End this process with one line and status 1 as soon as one of these processes, by name, is gone.

    Nothing that is left to do could be done without it, and what workers have handed over is on disk. Ray would end
    this process itself: within a minute, by an error, or at once from its C++ part, without a word; then a process of
    its own says the line.
    """
    watch = _Watch(processes)
    try:
        yield
    finally:
        watch.end()


class _Watch:
    """Threads that wait for processes which are to live as long as this."""

    def __init__(self, processes: Mapping[str, subprocess.Popen]) -> None:
        command = [sys.executable, "-I", "-S", last_word.__file__]
        self._other = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # no Ctrl-C reaches it
        )
        self._descriptor = self._other.stdin.fileno()  # type: ignore[union-attr]
        self._ending = threading.Lock()
        self._over = False
        for name, process in processes.items():
            threading.Thread(target=self._wait, args=(name, process), name=f"watch {name}", daemon=True).start()

    def end(self) -> None:
        """Let the processes end."""
        with self._ending:
            self._over = True
            self._other.communicate(last_word.SAID)

    def _wait(self, name: str, process: subprocess.Popen) -> None:
        process.wait()
        with self._ending:
            if not self._over:
                flush = threading.Thread(target=sys.stdout.flush, daemon=True)
                flush.start()
                flush.join(FLUSH_SECONDS)
                self._end(f"Ray on this machine has ended (its {name} is gone): {last_word.GO_ON}\n")

    def _end(self, line: str) -> None:
        """End this process without a pause in which Ray could say something of its own."""
        for descriptor, said in ((self._descriptor, last_word.SAID), (2, line.encode())):
            with contextlib.suppress(OSError):  # its reader is gone
                os.write(descriptor, said)
        os._exit(1)
