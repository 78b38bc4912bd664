"""What a process keeps from one trial to the next: the images on the device, and the last steps that were captured."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch

from trainables import graphs
from trainables.config import Training, Trial
from trainables.datasets import Dataset
from trainables.devices import training_dtype
from trainables.group import Group, Say
from trainables.lane import Lane
from trainables.plan import flops, plan_of
from trainables.replicate import Replicate
from trainables.resident import Parts, parts, split_by

log = logging.getLogger(__name__)

# What a captured step reads from tensors, or does not read: trials that differ in it alone share one.
FREE = {field: getattr(Training(), field) for field in ("epochs", "lr", "schedule", "gamma", "ap_rule")}


class Kept:
    """Holds what the next trial may need too, until another one needs something else."""

    def __init__(self, say: Say = log.warning) -> None:
        """`say` gets a line where steps cannot be captured."""
        self.say = say
        self.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._data: Dataset | None = None
        self._parts: tuple[tuple[object, ...], Parts] | None = None
        self._own: dict[int, Parts] = {}
        self._group: tuple[tuple[object, ...], Group] | None = None

    def parts(self, data: Dataset, recipe: Training, device: torch.device) -> Parts:
        """Return the data on the device."""
        wanted = (recipe.resize, recipe.crop, recipe.vary_split, device)
        if self._data is not data or self._parts is None or self._parts[0] != wanted:
            self.clear()  # first: two of them may not fit
            self._data, self._parts = data, (wanted, parts(data, recipe, device))
        return self._parts[1]

    def parts_of(self, member: Replicate, data: Dataset, recipe: Training, device: torch.device) -> Parts:
        """Return the data on the device as it is split for a replicate."""
        shared = self.parts(data, recipe, device)
        if not recipe.vary_split:
            return shared
        if member.seed not in self._own:
            self._own[member.seed] = split_by(member.seed, shared, data)
        return self._own[member.seed]

    def groups(self, members: Sequence[Replicate], trial: Trial, data: Dataset, device: torch.device) -> list[Group]:
        """Return the replicates in groups: all in one where steps can be captured, else each alone."""
        if not graphs.can_capture(device):
            return [self._new_group([member], trial, data, device) for member in members]
        like = (trial.model, replace(trial.training, **FREE), len(members))
        if self._group and self._group[0] == like and self._group[1].replay:
            for lane, member in zip(self._group[1].lanes, members, strict=True):
                lane.take_over(member, self.parts_of(member, data, trial.training, device).train, trial.training)
        else:
            self._group = None  # first, likewise
            self._group = (like, self._new_group(members, trial, data, device))
        return [self._group[1]]

    def _new_group(self, members: Sequence[Replicate], trial: Trial, data: Dataset, device: torch.device) -> Group:
        layers = plan_of(trial, data.image_shape, data.classes)
        dtype = training_dtype(device, flops(layers) * trial.training.batch_size)
        lanes = [
            Lane(each, self.parts_of(each, data, trial.training, device).train, trial.training, dtype, data.classes)
            for each in members
        ]
        return Group(lanes, device, self.say)
