"""What a worker hands to the Tracker: it stays in the worker's hands until the Tracker has it on disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray

from sweeps.execution.tracker_actor import TrackerActor
from sweeps.tracking.tracker import Tracker

# seconds to repeat what the Tracker could not do: a full disk may get room as MLflow takes over what is on it, an
# absent MLflow may return
FULL_DISK, OUTAGE = 60.0, 300.0
PAUSE = 1.0  # seconds between two tries

P = ParamSpec("P")
R = TypeVar("R")


class Outbox:
    """One call after another to the Tracker. Each is checked only before the next, so that training need not wait.

    A Tracker that was killed is started again by Ray, which then repeats the call. All of them may be repeated.
    """

    def __init__(self, tracker: TrackerActor) -> None:
        self._tracker = tracker
        self._call: Callable[[], Any] | None = None  # the last one, until it is known how it ended
        self._answer: Any = None

    def send(self, method: Callable[Concatenate[Tracker, P], Any], *arguments: P.args, **named: P.kwargs) -> None:
        """Call a method of the Tracker without waiting. Raises as settle() does, for the call before."""
        self.settle()
        self._call = lambda: self._tracker.call(method, *arguments, **named)
        self._answer = self._call()

    def ask(self, method: Callable[Concatenate[Tracker, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        """Call a method of the Tracker and return its answer. Raises as settle() does."""
        self.send(method, *arguments, **named)
        answer: R = self.settle()
        return answer

    def settle(self) -> Any:
        """Wait for the last call and return its answer.

        An OSError is raised only once repeating has not helped, any other error at once.
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

        What could not be kept of it is among the Tracker's own problems.
        """
        with contextlib.suppress(ray.exceptions.RayError):
            self.settle()
