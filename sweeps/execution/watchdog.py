"""Ends the processes of trials that hang."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import ray


class Patience(NamedTuple):
    """How many seconds a trial may go without an epoch before it counts as hung, so that its process is killed."""

    first: float = 3600.0  # before its first epoch: networks and data may be large
    least: float = 300.0
    factor: float = 20.0  # times its longest epoch so far


PATIENCE = Patience()
MOST_BETWEEN_LOOKS = 1.0  # seconds that count: this process looks ten times a second, unless it does not run
LOST = "its process was lost"


@dataclass
class Watched:
    """A trial on a worker: its actor, the time of its last sign of life, and its longest epoch in seconds."""

    actor: Any
    sign: float
    longest: float | None = None

    @property
    def patience(self) -> float:
        """How long it may be silent, in seconds."""
        return PATIENCE.first if self.longest is None else max(PATIENCE.least, PATIENCE.factor * self.longest)


class Watchdog:
    """Watches the trials that workers have under way, by key, and remembers why it ended a process.

    Time in which this process did not run, as it was stopped or the machine slept, counts for nobody: the workers may
    not have run either, and what they reported has not been read.
    """

    def __init__(self) -> None:
        self._ran, self._looked = 0.0, time.monotonic()  # seconds that this process ran, up to the last look
        self._watched: dict[str, Watched] = {}
        self._reasons: dict[str, str] = {}  # why a trial has no process any more, where that is known

    def watch(self, key: str, actor: Any) -> None:
        """Watch a trial that an actor has taken up."""
        self._watched[key] = Watched(actor, self._now())

    def note_epoch(self, key: str) -> None:
        """Note the end of an epoch. The first one's time includes the start."""
        trial, now = self._watched[key], self._now()
        trial.longest, trial.sign = max(trial.longest or 0.0, now - trial.sign), now

    def leave(self, key: str) -> None:
        """Watch a trial no longer."""
        self._watched.pop(key, None)

    def under_way(self) -> list[str]:
        """Return the keys of the trials that are watched."""
        return list(self._watched)

    def kill_what_hangs(self) -> None:
        """Kill the process of every trial that was silent for too long. Ray then reports it as lost."""
        now = self._now()
        for key, trial in self._watched.items():
            silent = now - trial.sign
            if silent > trial.patience:
                longest = "" if trial.longest is None else f", its longest so far having taken {trial.longest:.1f} s"
                self.blame(key, f"it hung: {silent:.0f} s without an epoch{longest}")
                trial.sign = now
                ray.kill(trial.actor)

    def _now(self) -> float:
        """Return the time in seconds, without that in which this process did not run."""
        now = time.monotonic()
        self._ran, self._looked = self._ran + min(now - self._looked, MOST_BETWEEN_LOOKS), now
        return self._ran

    def blame(self, key: str, reason: str) -> None:
        """Note why a trial's process is gone, or is about to be."""
        self._reasons[key] = reason

    def reason(self, key: str) -> str:
        """Return why a trial's process is gone, once: the next one may go for another reason."""
        return self._reasons.pop(key, LOST)

    def named_in(self, error: Exception) -> list[str]:
        """Return the keys of the trials whose actors an error of Ray's names."""
        text = str(error)
        return [key for key, trial in self._watched.items() if trial.actor._actor_id.hex() in text]
