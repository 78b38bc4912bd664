"""A worker that helps another one with a trial: the two ends of what passes between them, by way of the desk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.execution.desk import by_reference, dereferenced
from sweeps.execution.messages import FailedThere, Failure, Help
from sweeps.execution.team import Restore, Share, TrainHere
from trainables.checkpoint import pack
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.history import Record
from trainables.replicate import Replicate
from trainables.snapshot import STATE


@dataclass(frozen=True)
class TakeOver:
    """What a helper is to train from now on, and from which state on, by reference."""

    seeds: tuple[int, ...]
    state: Any


@dataclass(frozen=True)
class Train:
    """One epoch is wanted, of what was taken over, or is now."""

    take_over: TakeOver | None


@dataclass(frozen=True)
class GiveState:
    """The replicates' state is wanted."""


class Away:
    """A helper, as the worker that has the trial sees it. Where it has gone, Closed is raised."""

    def __init__(self, job: Help) -> None:
        self._job = job

    def train(self, share: Share) -> None:
        """Have it train an epoch."""
        take_over = TakeOver(share.seeds, by_reference(share.state)) if share.fresh else None
        self._job.desk.put(self._job.inbox, Train(take_over))

    def records(self) -> Mapping[int, Record]:
        """Wait for the epoch's records."""
        records: Mapping[int, Record] = self._answer()
        return records

    def state(self) -> bytes:
        """Wait for the state."""
        self._job.desk.put(self._job.inbox, GiveState())
        return dereferenced(self._answer())

    def _answer(self) -> Any:
        answer = self._job.desk.take(self._job.outbox)
        if isinstance(answer, Failure):
            raise FailedThere(answer)
        return answer


@dataclass
class Assistant:
    """The helper's own end."""

    trial: Trial
    data: Dataset
    train_here: TrainHere
    restore: Restore
    replicates: list[Replicate] = field(default_factory=list)

    def serve(self, job: Help) -> None:
        """Do what is asked for until the desk is closed: then Closed is raised."""
        while True:
            asked = job.desk.take(job.inbox)
            job.desk.put(job.outbox, self._answer(asked))

    def _answer(self, asked: Train | GiveState) -> Any:
        try:
            if isinstance(asked, GiveState):
                return by_reference(self.state())
            if asked.take_over:
                self.take_over(dereferenced(asked.take_over.state), asked.take_over.seeds)
            return self.train()
        except Exception as error:  # whatever it is, it is the trial's failure, and told there
            return Failure.of(error)

    def take_over(self, state: bytes, seeds: tuple[int, ...]) -> None:
        """Train these replicates from now on."""
        self.replicates = self.restore(state, seeds)
        self._epochs = self.train_here(self.replicates)

    def train(self) -> Mapping[int, Record]:
        """Train an epoch, and return the new records by seed."""
        before = {member.seed: member.epoch for member in self.replicates}
        next(self._epochs)
        return {each.seed: each.records[-1] for each in self.replicates if each.epoch > before[each.seed]}

    def state(self) -> bytes:
        """Return the replicates' state."""
        return pack(self.trial, self.data, self.replicates)[STATE]
