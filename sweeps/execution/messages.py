"""What crosses between the driver and its workers: an order out, progress, a stop or a failure back.

Ray Tune passes dicts, a config out and results back. A trial of Tune's is a place on a worker at first: its config
holds a Place, and an Order only once a worker has started. A result holds one of these messages, and beside it the
plain values that Tune reads itself.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from sweeps.execution.desk import DeskActor
from sweeps.tracking.entry import Entry
from trainables.config import Trial
from trainables.gpu_errors import out_of_memory
from trainables.history import Record
from trainables.marks import Marks
from trainables.memory import Usage


@dataclass(frozen=True)
class Place:
    """A worker that is asked for, before it is known which trial it will run."""

    gpu: float  # its share of a GPU; 0: it trains on the CPU
    alone: bool = False  # for a trial that needs the GPU to itself
    cores: int = 1

    @property
    def device(self) -> str:
        """The kind of device that it trains on, in torch's words."""
        return "cuda" if self.gpu else "cpu"

    def to_config(self) -> dict[str, Any]:
        """Return the config for Tune."""
        return {"place": self}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Place:
        """Return the place that a config of Tune's asks for."""
        place: Place = config["place"]
        return place


@dataclass(frozen=True)
class Order:
    """A trial to run, from the driver to a worker."""

    key: str
    stage: str
    trial: Trial
    seeds: tuple[int, ...]
    device: str  # the kind of device that it trains on, in torch's words
    entry: Entry  # what MLflow is to know of it

    def put_into(self, config: dict[str, Any]) -> None:
        """Have a trial of Tune's be this one from now on."""
        config["order"] = self

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Order | None:
        """Return the order that a trial of Tune's has come to; None where it is a place only."""
        return config.get("order")


@dataclass(frozen=True)
class Help:
    """A part in another worker's trial, from the driver to both: who has the trial says by way of the desk which."""

    name: str
    key: str
    trial: Trial
    device: str
    desk: DeskActor

    @property
    def inbox(self) -> str:
        """The box of the helper."""
        return f"{self.name} in"

    @property
    def outbox(self) -> str:
        """The box of what it answers."""
        return f"{self.name} out"

    def put_into(self, config: dict[str, Any]) -> None:
        """Have a trial of Tune's be this help from now on."""
        config["help"] = self

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Help | None:
        """Return the help that a trial of Tune's has come to; None where it has come to none."""
        return config.get("help")


@dataclass(frozen=True)
class NewRecords:
    """The records of one replicate that the driver may lack: those of the epochs after number `after`."""

    after: int
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Progress:
    """An epoch that was trained, from a worker to the driver."""

    epoch: int
    val_score: float  # mean over the replicates that were trained
    last: bool  # whether it is the trial's last epoch
    earlier: tuple[float, ...]  # likewise, of all epochs before, where the trial was just taken up: Tune may lack them
    records: Mapping[int, NewRecords]  # by seed
    kept: bool = True  # whether the Tracker has been sent a snapshot of it
    marks: Mapping[int, Marks] = field(default_factory=dict)  # by seed, of the chosen epochs: with the last epoch alone
    notes: tuple[str, ...] = ()  # what the user is to know of how it is trained, a line each
    usage: Usage | None = None  # of the worker

    @property
    def trained(self) -> int:
        """How many replicates this epoch was trained with; others of the trial may have run all before."""
        return sum(bool(new.records) and new.after + len(new.records) == self.epoch for new in self.records.values())

    def scores(self) -> list[tuple[int, float]]:
        """Return the validation scores that may be new to the driver, each after its epoch."""
        return list(enumerate((*self.earlier, self.val_score), start=self.epoch - len(self.earlier)))

    def to_result(self) -> dict[str, Any]:
        """Return it as Tune passes it on."""
        return {"message": self, "epoch": self.epoch, "val_score": self.val_score, "done": self.last}


@dataclass(frozen=True)
class Stopped:
    """The end of a trial that was to stop, once the Tracker has a snapshot of it, from a worker to the driver."""

    def to_result(self) -> dict[str, Any]:
        """Return it as Tune passes it on."""
        return {"message": self, "done": True}


@dataclass(frozen=True)
class Failure:
    """The end of a trial that raised an error of its own, from a worker to the driver."""

    reason: str  # in one line
    traceback: str
    out_of_memory: bool  # of the GPU

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe an error; what an actor raised goes by its own name."""
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        if isinstance(cause, (Poisoned, FailedThere)):
            return cause.failure
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        return cls(reason, "".join(traceback.format_exception(error)), out_of_memory(cause))

    def to_result(self) -> dict[str, Any]:
        """Return it as Tune passes it on."""
        return {"message": self, "done": True}


class Poisoned(Exception):
    """A worker gives its process up, from where it is raised to the driver: the GPU's context may be of no more use."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


class FailedThere(Exception):
    """A helper failed with its part of a trial, from where it is raised to the driver: it is the trial's failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def nothing_to_do() -> dict[str, Any]:
    """Return the result of a worker that got no order."""
    return {"message": None, "done": True}


def message(result: Mapping[str, Any]) -> Progress | Stopped | Failure | None:
    """Return the message that a result of Tune holds; None where it has none."""
    return result.get("message")
