"""One seed of a trial: its network, its optimizer, its random numbers, and what it has come to so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.config import Training, Trial
from trainables.datasets import Dataset
from trainables.devices import new_random_numbers, on_gpu
from trainables.history import Record, smoothed
from trainables.marks import Marks
from trainables.models import Network, build
from trainables.pretrained import load

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Held:
    """A replicate's weights at the end of an epoch, on the CPU, and what it made of each image then.

    Those that an earlier version kept have no marks.
    """

    epoch: int  # from 1
    weights: Weights
    marks: Marks | None


@dataclass
class Replicate:
    """One seed of a trial: a network with its optimizer and random numbers, its records, and what is held of it.

    Which epoch is chosen turns on the one after it (trainables/history.py). So two are held: the newest, and the best
    of those before, whose neighbours are all known.
    """

    seed: int
    model: Network
    optimizer: torch.optim.Optimizer
    rng: Tensor  # the state of its random numbers between its epochs
    records: list[Record] = field(default_factory=list)
    settled: Held | None = None
    newest: Held | None = None

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return len(self.records)

    @property
    def chosen(self) -> Held:
        """What is held of the chosen epoch. Raises ValueError before the first epoch."""
        return self._better(self.settled, self.newest)

    def hold(self, record: Record, marks: Marks) -> None:
        """Take note of an epoch that was just trained."""
        self.records.append(record)
        if self.newest:
            self.settled = self._better(self.settled, self.newest)
        weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.model.state_dict().items()}
        self.newest = Held(self.epoch, weights, marks)

    def replace(self, held: Held, other: Held) -> None:
        """Hold something else of an epoch that is held."""
        if held is self.newest:
            self.newest = other
        else:
            self.settled = other

    def _better(self, *held: Held | None) -> Held:
        scores = smoothed(np.array([record.val_score for record in self.records]))
        return max(filter(None, held), key=lambda each: scores[each.epoch - 1])  # of equals the earlier


def replicate(
    trial: Trial, data: Dataset, seed: int, device: torch.device, weights: Weights | None = None
) -> Replicate:
    """Return an untrained replicate; with pretrained `weights` it starts from those that fit by name and shape.

    The seed fixes its initial weights (the same on every device), its batches and its dropout.
    """
    with torch.random.fork_rng(devices=[device] if on_gpu(device) else []):
        torch.manual_seed(seed)
        model = build(trial.model, trial.training.input_shape(data.image_shape), data.classes, data.mean, data.sd)
        rng = new_random_numbers(device)
    if weights is not None:
        load(model, weights, trial.rename)
    model.to(device).to(memory_format=torch.channels_last)
    return Replicate(seed, model, _optimizer(trial.training, model, device), rng)


# Torch guards this method against its compiler, and loads that for it at the first call, for a second and a half. It is
# told that it has: where its private name for that changes, it is as slow as before.
_ADD = getattr(torch.optim.Optimizer.add_param_group, "__wrapped__", None)
if _ADD:
    _ADD.__dict__.setdefault("__dynamo_disable", _ADD)


def _optimizer(recipe: Training, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Return the recipe's optimizer. Its learning rate is a tensor, so that a captured step follows the schedule."""
    parameters = list(model.parameters())
    # the fused kernels read a GPU's in single precision
    lr = torch.tensor(recipe.lr, dtype=torch.float32 if on_gpu(device) else torch.float64, device=device)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr, weight_decay=recipe.weight_decay, fused=True, capturable=on_gpu(device))


def update(optimizer: torch.optim.Optimizer) -> None:
    """Take the optimizer's step, and drop the gradients.

    SGD's on the CPU is the kernel that `optimizer.step()` would call, with the same bits: what Python does before it
    takes as long as the convolutions of four small images, and at the first step it loads torch's compiler, for a
    second and a half. There is no public way to it.
    """
    parameters = optimizer.param_groups[0]["params"]
    if isinstance(optimizer, torch.optim.SGD) and not on_gpu(parameters[0].device):
        _step_of_sgd(optimizer, optimizer.param_groups[0], [each for each in parameters if each.grad is not None])
    else:
        optimizer.step()
    for parameter in parameters:
        parameter.grad = None


def _step_of_sgd(optimizer: torch.optim.SGD, group: dict[str, Any], parameters: list[Tensor]) -> None:
    first = not optimizer.state
    momenta: list[Tensor] = []
    if group["momentum"]:
        for parameter in parameters:
            if first:
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter)
            momenta.append(optimizer.state[parameter]["momentum_buffer"])
    torch._fused_sgd_(
        parameters,
        [parameter.grad for parameter in parameters if parameter.grad is not None],
        momenta,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=0.0,
        nesterov=False,
        maximize=False,
        is_first_step=first and bool(momenta),  # which sets the momenta
    )


def learning_rate(optimizer: torch.optim.Optimizer) -> Tensor:
    """Return the learning rate that the next step uses, a tensor () to be written into."""
    lr: Tensor = optimizer.param_groups[0]["lr"]
    return lr


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Weights:
    """Return the optimizer's tensors by the name `<parameter number>.<name>`."""
    return {
        f"{index}.{name}": value
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what optimizer_tensors() returned.

    A slot takes the memory format of its parameter: fused optimizers walk both in the order of memory.
    """
    slots: dict[int, Weights] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for path, value in tensors.items():
        index, name = path.split(".", 1)
        like = parameters[int(index)]
        slots.setdefault(int(index), {})[name] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        )
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
