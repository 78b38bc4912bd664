"""A trial's replicates, trained here and by other workers at the same time, and joined after every epoch.

Which worker trains a replicate changes none of its bits, as each has its own network, optimizer and random numbers,
and goes from one worker to the next as a snapshot does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from trainables.checkpoint import pack, size
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.history import Epoch, Record
from trainables.replicate import Replicate
from trainables.snapshot import STATE

TrainHere = Callable[[list[Replicate]], Iterator[Epoch]]
Restore = Callable[[bytes, tuple[int, ...]], list[Replicate]]  # from a state, the replicates of so many seeds


class Helper(Protocol):
    """Another worker that trains replicates of this trial. What fails there is raised here where it is waited for."""

    def train(self, share: Share) -> None:
        """Have it train an epoch of its share, taking that over first where it is `fresh`; do not wait."""

    def records(self) -> Mapping[int, Record]:
        """Wait for that epoch, and return the records by seed."""

    def state(self) -> bytes:
        """Return the state (trainables/checkpoint.py) of its replicates."""


@dataclass
class Share:
    """The replicates that a helper trains. `fresh`: it is yet to be given their state, which may be empty."""

    helper: Helper
    seeds: tuple[int, ...]
    state: bytes
    fresh: bool = True


class Team:
    """Trains the replicates an epoch at a time. Those that are behind the others catch up first.

    `train_here` trains replicates on this worker (trainables.train), `restore` returns those of a state.
    """

    def __init__(
        self,
        trial: Trial,
        data: Dataset,
        replicates: Sequence[Replicate],
        train_here: TrainHere,
        restore: Restore,
    ) -> None:
        self.trial, self.data, self.replicates = trial, data, list(replicates)
        self._train_here, self._restore = train_here, restore
        self._shares: list[Share] = []
        self._newcomers: list[Helper] = []
        self._begin(self.replicates)

    @property
    def size(self) -> int:
        """How many bytes a snapshot gives to weights and optimizers at most, once an epoch has run."""
        return size(self._own) * len(self.replicates) // len(self._own)

    def join(self, helper: Helper) -> None:
        """Let another worker help from the next epoch on."""
        self._newcomers.append(helper)

    def next(self) -> Epoch | None:
        """Train the next epoch and return it, over all replicates; None where they have run all.

        Raises what training raises, here or there: of several errors that of the first replicate.
        """
        if self._newcomers:
            self._deal()
        number = min(member.epoch for member in self.replicates) + 1
        if number > self.trial.training.epochs:
            return None
        at_work = [share for share in self._shares if any(each.epoch < number for each in self._members(share))]
        for share in at_work:
            share.helper.train(share)
            share.state, share.fresh = b"", False
        if any(member.epoch < number for member in self._own):
            next(self._here)
        for share in at_work:
            new = share.helper.records()
            for member in self._members(share):
                member.records += [new[member.seed]] if member.seed in new else []
        return Epoch(
            number,
            tuple(member.seed for member in self.replicates),
            tuple(member.records[number - 1] for member in self.replicates),
        )

    def gathered(self) -> list[Replicate]:
        """Return all replicates as they are now, those that helpers train with what these have made of them."""
        for share in self._shares:
            if not share.fresh:
                restored = {each.seed: each for each in self._restore(share.helper.state(), share.seeds)}
                self.replicates = [restored.get(each.seed, each) for each in self.replicates]
        return self.replicates

    def _begin(self, own: Sequence[Replicate]) -> None:
        self._own = list(own)
        self._here = self._train_here(self._own)

    def _deal(self) -> None:
        """Deal the replicates that have epochs to run out anew: the first ones stay here, as the first is watched."""
        self.gathered()
        helpers = [share.helper for share in self._shares] + self._newcomers
        self._newcomers = []
        left = [member for member in self.replicates if member.epoch < self.trial.training.epochs]
        _, *given = _dealt(left, len(helpers) + 1)
        self._shares = [
            Share(helper, tuple(member.seed for member in some), self._state(some))
            for helper, some in zip(helpers, given, strict=True)
        ]
        away = {seed for share in self._shares for seed in share.seeds}
        self._begin([member for member in self.replicates if member.seed not in away])

    def _state(self, members: Sequence[Replicate]) -> bytes:
        """Return the state of replicates; empty where none has run an epoch, as they begin from their seeds."""
        begun = [member for member in members if member.epoch]
        return pack(self.trial, self.data, begun)[STATE] if begun else b""

    def _members(self, share: Share) -> list[Replicate]:
        return [member for member in self.replicates if member.seed in share.seeds]


def _dealt(members: Sequence[Replicate], hands: int) -> list[Sequence[Replicate]]:
    """Return the members in so many parts, in order, of which the first are one larger where that is uneven."""
    least, over = divmod(len(members), hands)
    ends = [least * number + min(number, over) for number in range(hands + 1)]
    return [members[begin:end] for begin, end in pairwise(ends)]
