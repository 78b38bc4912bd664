"""What a worker hands to the Tracker: it stays in the worker's hands until the Tracker has it on disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ray

# seconds to repeat what the Tracker could not do: a full disk may get room as MLflow takes over what is on it, an
# absent MLflow may return
FULL_DISK, OUTAGE = 60.0, 300.0
PAUSE = 1.0  # seconds between two tries


class Outbox:
    """One call after another to the Tracker. The last one is looked at before the next one is made, so that training
    need not wait for it.

    A Tracker that was killed is started again by Ray, which then repeats the call. All of them may be repeated.
    """

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._call: Callable[[], Any] | None = None  # the last one, until it is known how it ended
        self._answer: Any = None

    def send(self, method: str, *arguments: Any, **named: Any) -> None:
        """Call a method of the Tracker without waiting. Raises as settle() does, for the call before."""
        self.settle()
        self._call = lambda: getattr(self._tracker, method).remote(*arguments, **named)
        self._answer = self._call()

    def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the Tracker and return its answer. Raises as settle() does."""
        self.send(method, *arguments, **named)
        return self.settle()

    def settle(self) -> Any:
        """Wait for the last call and return its answer.

        An OSError is raised only where repeating it does not help, all else at once.
        """
        call, self._call = self._call, None
        began = time.monotonic()
        while call:
            try:
                return ray.get(self._answer)
            except OSError as error:
                if time.monotonic() - began > (OUTAGE if isinstance(error, ConnectionError) else FULL_DISK):
                    raise
            time.sleep(PAUSE)
            self._answer = call()
        return None

    def let_go(self) -> None:
        """Wait for the last call of a trial that has ended already.

        What the Tracker could not keep of it, the Tracker tells.
        """
        with contextlib.suppress(ray.exceptions.RayError):
            self.settle()
