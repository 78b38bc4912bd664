"""The hot path: train() trains a trial's replicates and yields one record per epoch.

The whole data set lies on the device as uint8, channels last; a batch is one gather of it. Nothing waits for the device inside an epoch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.augment import crop, flip
from trainables.config import Training, Trial
from trainables.datasets import Dataset, Split
from trainables.history import Epoch, Record
from trainables.models import ConvNet
from trainables.plan import flops, plan

Weights = dict[str, Tensor]

# Forward FLOPs of a batch from which bfloat16 is the faster on the CPU. Measured 2026-11-21 on one AVX512-BF16 core with R0's networks at
# batch 4 to 64: below it gains of 0.75 to 0.96, above it of 1.03 to 1.99.
CAST_FLOPS = 50e6


class Diverged(RuntimeError):
    """The training loss is no longer a number."""


@dataclass
class Replicate:
    """One seed of a trial: a network with its optimizer, its own random numbers, its records so far and its best weights so far."""

    seed: int
    model: ConvNet
    optimizer: torch.optim.Optimizer
    rng: Tensor  # the device generator's state between its epochs
    records: list[Record] = field(default_factory=list)
    best: Weights = field(default_factory=dict)  # on the CPU, at the best validation accuracy

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return len(self.records)


def replicate(trial: Trial, data: Dataset, seed: int, device: torch.device) -> Replicate:
    """Return an untrained replicate. The seed fixes its initial weights (the same on every device), its batches and its dropout."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = ConvNet(trial.model, data.image_shape, data.classes, data.mean, data.sd)
        rng = _get_rng(device)
    model.to(device).to(memory_format=torch.channels_last)
    return Replicate(seed, model, _optimizer(trial.training, model), rng)


def train(trial: Trial, data: Dataset, replicates: list[Replicate], device: torch.device) -> Iterator[Epoch]:
    """Train the replicates up to the trial's number of epochs and yield an Epoch over all of them after each.

    Replicates that are behind (added later, or restored from an earlier state) catch up alone. On one device, the same seeds give the same
    bits, interrupted or not. Raises Diverged, naming seed and epoch, where a training loss becomes NaN or infinite.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("high")  # TF32 for what is not in bfloat16
    train_part, val, test = (_Part.on(device, split) for split in (data.train, data.val, data.test))
    dtype = _training_dtype(trial, data, device)
    for number in range(1, trial.training.epochs + 1):
        behind = [member for member in replicates if member.epoch < number]
        for member in behind:
            with _own_random_numbers(member, device):
                _run_epoch(member, trial.training, dtype, train_part, val, test)
        if behind:
            yield Epoch(number, tuple(m.seed for m in replicates), tuple(m.records[number - 1] for m in replicates))


def computing_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes it, else float32. Emulated bfloat16 would be slower than float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else torch.float32


def _training_dtype(trial: Trial, data: Dataset, device: torch.device) -> torch.dtype:
    """Return what to compute in: on the CPU, steps too small to earn the casts of every weight stay in float32."""
    forward = flops(plan(trial.model, data.image_shape, data.classes)) * trial.training.batch_size
    return torch.float32 if device.type == "cpu" and forward < CAST_FLOPS else computing_dtype(device)


@dataclass(frozen=True)
class Score:
    """A model on one part of the data: mean cross-entropy, accuracy, and accuracy per class (None for a class without images)."""

    loss: float
    accuracy: float
    class_accuracy: tuple[float | None, ...]


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Score:
    """Score `model` on uint8 images (N, H, W, C) with labels (N,), both on the model's device."""
    model.eval()
    loss = torch.zeros((), device=images.device)
    right = torch.zeros(classes, dtype=torch.int64, device=images.device)
    size = 2048 if images.is_cuda else 128  # on the CPU a batch that stays in the cache
    with torch.inference_mode(), _autocast(images.device, computing_dtype(images.device)):
        for batch, target in zip(images.split(size), labels.split(size), strict=True):
            logits = model(batch.permute(0, 3, 1, 2)).float()
            loss += F.cross_entropy(logits, target, reduction="sum")
            right += torch.bincount(target[logits.argmax(1) == target], minlength=classes)
    of_class = torch.bincount(labels, minlength=classes).tolist()
    per_class = tuple(hits / total if total else None for hits, total in zip(right.tolist(), of_class, strict=True))
    return Score(float(loss) / len(labels), int(right.sum()) / len(labels), per_class)


@dataclass(frozen=True)
class _Part:
    images: Tensor  # (N, H, W, C) uint8
    labels: Tensor  # (N,) int64

    @classmethod
    def on(cls, device: torch.device, split: Split) -> _Part:
        return cls(_shared(split.images).to(device), _shared(split.labels).to(device))


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # arrays out of Ray's object store are read-only; nothing here writes to them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _run_epoch(member: Replicate, recipe: Training, dtype: torch.dtype, train_part: _Part, val: _Part, test: _Part) -> None:
    begin = time.perf_counter()
    loss, accuracy = _train_epoch(member, recipe, dtype, train_part)
    trained = time.perf_counter()
    if not math.isfinite(loss):
        raise Diverged(f"the training loss became {loss} in epoch {member.epoch + 1} (seed {member.seed})")
    classes = member.model.head.out_features
    chosen_by = evaluate(member.model, val.images, val.labels, classes)
    read = evaluate(member.model, test.images, test.labels, classes)
    if chosen_by.accuracy > max((record.val_accuracy for record in member.records), default=-1.0):
        member.best = {name: tensor.detach().cpu().clone() for name, tensor in member.model.state_dict().items()}
    member.records.append(
        Record(
            train_loss=loss,
            train_accuracy=accuracy,
            val_loss=chosen_by.loss,
            val_accuracy=chosen_by.accuracy,
            test_loss=read.loss,
            test_accuracy=read.accuracy,
            class_accuracy=read.class_accuracy,
            lr=recipe.lr * recipe.lr_factor(member.epoch),
            images_per_second=len(train_part.labels) / (trained - begin),
            seconds=time.perf_counter() - begin,
        )
    )


def _train_epoch(member: Replicate, recipe: Training, dtype: torch.dtype, part: _Part) -> tuple[float, float]:
    """Train one epoch; return its mean loss and accuracy. They are read off the device once, at the end."""
    model, optimizer = member.model.train(), member.optimizer
    batches = _batches(len(part.labels), recipe.batch_size, part.images.device)
    loss_sum = torch.zeros((), device=part.images.device)
    right = torch.zeros((), dtype=torch.int64, device=part.images.device)
    for step, index in enumerate(batches):
        _set_lr(optimizer, recipe.lr * recipe.lr_factor(member.epoch + step / len(batches)))
        target = part.labels[index]
        with _autocast(part.images.device, dtype):
            logits = model(_augmented(part.images[index], recipe).permute(0, 3, 1, 2))
        loss = F.cross_entropy(logits.float(), target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            loss_sum += loss * len(index)
            right += (logits.argmax(1) == target).sum()
    return float(loss_sum) / len(part.labels), int(right) / len(part.labels)


def _batches(count: int, size: int, device: torch.device) -> list[Tensor]:
    """Return a fresh permutation in batches. A last batch of one image joins the one before: batch norm cannot train on it."""
    batches = list(torch.randperm(count, device=device).split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _augmented(images: Tensor, recipe: Training) -> Tensor:
    if recipe.crop_padding:
        images = crop(images, recipe.crop_padding)
    return flip(images) if recipe.flip else images


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _optimizer(recipe: Training, model: nn.Module) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def _set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


@contextmanager
def _own_random_numbers(member: Replicate, device: torch.device) -> Iterator[None]:
    """Let the replicate go on with its own random numbers, so that replicates in turn equal replicates alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        _set_rng(member.rng, device)
        yield
        member.rng = _get_rng(device)


def _get_rng(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_rng(state: Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Weights:
    """Return the optimizer's tensors by the name `<parameter number>.<name>`."""
    return {f"{index}.{name}": value for index, slots in optimizer.state_dict()["state"].items() for name, value in slots.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what optimizer_tensors() returned.

    A slot takes the memory format of its parameter: fused optimizers walk both in the order of memory.
    """
    slots: dict[int, Weights] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for path, value in tensors.items():
        index, name = path.split(".", 1)
        like = parameters[int(index)]
        slots.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
