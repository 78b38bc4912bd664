"""The hot path: train() trains a trial's replicates and yields one record per epoch.

The whole data set lies on the device as uint8, channels last; a batch is one gather of it. Nothing waits for the device
inside an epoch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trainables.augment import as_evaluated, augmented, resized
from trainables.config import Training, Trial
from trainables.datasets import Dataset, Split
from trainables.history import Epoch, Record
from trainables.models import Network, build
from trainables.plan import flops, plan
from trainables.pretrained import load
from trainables.scoring import Score, loss, score

Weights = dict[str, Tensor]
# Called before each step of the first replicate: with the epochs done (a fraction inside an epoch), the network, and
# the batch (N, H, W, C) uint8
Observer = Callable[[float, Network, Tensor], None]

# Forward FLOPs of a batch from which bfloat16 is the faster on the CPU. Measured 2026-11-21 on one AVX512-BF16 core
# with R0's networks at batch 4 to 64: below it gains of 0.75 to 0.96, above it of 1.03 to 1.99.
CAST_FLOPS = 50e6


class Diverged(RuntimeError):
    """The training loss is no longer a number."""


@dataclass
class Replicate:
    """One seed of a trial: a network with its optimizer and random numbers, its records and best weights so far."""

    seed: int
    model: Network
    optimizer: torch.optim.Optimizer
    rng: Tensor  # the device generator's state between its epochs
    records: list[Record] = field(default_factory=list)
    best: Weights = field(default_factory=dict)  # on the CPU, at the best validation score

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return len(self.records)

    @property
    def chosen(self) -> Record:
        """The record at the best validation score, the earliest of equals. Raises ValueError before the first epoch."""
        return max(self.records, key=lambda record: record.val_score)


def replicate(
    trial: Trial, data: Dataset, seed: int, device: torch.device, weights: Weights | None = None
) -> Replicate:
    """Return an untrained replicate; with pretrained `weights` it starts from those that fit by name and shape.

    The seed fixes its initial weights (the same on every device), its batches and its dropout.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = build(trial.model, trial.training.input_shape(data.image_shape), data.classes, data.mean, data.sd)
        rng = _get_rng(device)
    if weights is not None:
        load(model, weights, trial.rename)
    model.to(device).to(memory_format=torch.channels_last)
    return Replicate(seed, model, _optimizer(trial.training, model), rng)


def train(
    trial: Trial, data: Dataset, replicates: list[Replicate], device: torch.device, observer: Observer | None = None
) -> Iterator[Epoch]:
    """Train the replicates up to the trial's number of epochs and yield an Epoch over all of them after each.

    Replicates that are behind (added later, or restored from an earlier state) catch up alone. On one device, the same
    seeds give the same bits, interrupted or not. Raises Diverged, naming seed and epoch, where a training loss becomes
    NaN or infinite.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
    course = _Course.of(trial, data, device)
    for number in range(1, trial.training.epochs + 1):
        behind = [member for member in replicates if member.epoch < number]
        for member in behind:
            with _own_random_numbers(member, device):
                _run_epoch(member, course, observer if member is replicates[0] else None)
        if behind:
            yield Epoch(number, tuple(m.seed for m in replicates), tuple(m.records[number - 1] for m in replicates))


def computing_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the hardware computes it, else float32. Emulated bfloat16 would be slower than float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else torch.float32


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, ap_rule: str) -> Score:
    """Score `model` on uint8 images (N, H, W, C) as it gets them in evaluation, both on the model's device.

    In float32 on every hardware, as the analyses do, so that one checkpoint has one score.
    """
    # Where the hardware computes bfloat16, older records of protocol 2 were evaluated in it and may differ in the last
    # digits. The protocol stays: the hardware decided even then which of the two it was, and training keeps its bits.
    return score(predict(model, images), labels, ap_rule)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits (N, classes), computed in float32, of uint8 images (N, H, W, C) on the model's device."""
    model.eval()
    size = evaluation_batch(images.shape[1:3], images.device)
    with torch.inference_mode():
        return torch.cat([model(batch.permute(0, 3, 1, 2)) for batch in images.split(size)])


def evaluation_batch(size: Sequence[int], device: torch.device) -> int:
    """Return how many images of `size` (height, width) to evaluate at once; on the CPU what stays in the cache."""
    most, pixels = (2048, 2**24) if device.type == "cuda" else (128, 2**19)
    return max(1, min(most, pixels // math.prod(size)))


@dataclass(frozen=True)
class _Part:
    """One part of the data on the device, as it is trained or evaluated on."""

    images: Tensor  # (N, H, W, C) uint8
    labels: Tensor  # (N,) int64, or (N, classes) int8

    @classmethod
    def of(
        cls, split: Split, prepare: Callable[[Tensor, Training], Tensor], recipe: Training, device: torch.device
    ) -> _Part:
        return cls(prepare(_shared(split.images).to(device), recipe), _shared(split.labels).to(device))


@dataclass(frozen=True)
class _Course:
    """What is the same for every epoch of every replicate: the recipe, what it computes in, and the data."""

    recipe: Training
    dtype: torch.dtype
    train: _Part
    val: _Part
    test: _Part

    @classmethod
    def of(cls, trial: Trial, data: Dataset, device: torch.device) -> _Course:
        recipe = trial.training
        train = _Part.of(data.train, resized, recipe, device)
        val, test = (_Part.of(split, as_evaluated, recipe, device) for split in (data.val, data.test))
        return cls(recipe, _training_dtype(trial, data, device), train, val, test)


def _training_dtype(trial: Trial, data: Dataset, device: torch.device) -> torch.dtype:
    """Return what to train in: on the CPU, steps too small to earn the casts of every weight stay in float32."""
    layers = plan(trial.model, trial.training.input_shape(data.image_shape), data.classes)
    too_small = device.type == "cpu" and flops(layers) * trial.training.batch_size < CAST_FLOPS
    return torch.float32 if too_small else computing_dtype(device)


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # arrays out of Ray's object store are read-only; nothing here writes to them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _run_epoch(member: Replicate, course: _Course, observer: Observer | None) -> None:
    recipe, val, test = course.recipe, course.val, course.test
    begin = time.perf_counter()
    learned = _train_epoch(member, course, observer)
    trained = time.perf_counter()
    if not math.isfinite(learned.loss):
        raise Diverged(f"the training loss became {learned.loss} in epoch {member.epoch + 1} (seed {member.seed})")
    chosen_by = evaluate(member.model, val.images, val.labels, recipe.ap_rule)
    read = evaluate(member.model, test.images, test.labels, recipe.ap_rule)
    if not member.records or chosen_by.value > member.chosen.val_score:
        member.best = {name: tensor.detach().cpu().clone() for name, tensor in member.model.state_dict().items()}
    member.records.append(
        Record(
            train_loss=learned.loss,
            train_score=learned.value,
            val_loss=chosen_by.loss,
            val_score=chosen_by.value,
            test_loss=read.loss,
            test_score=read.value,
            class_score=read.per_class,
            lr=recipe.lr * recipe.lr_factor(member.epoch),
            images_per_second=len(course.train.labels) / (trained - begin),
            seconds=time.perf_counter() - begin,
        )
    )


def _train_epoch(member: Replicate, course: _Course, observer: Observer | None) -> Score:
    """Train one epoch; return its score, as the weights moved. Nothing is read off the device before the end."""
    recipe, part = course.recipe, course.train
    model, optimizer = member.model.train(), member.optimizer
    device = part.images.device
    batches = _batches(len(part.labels), recipe.batch_size, device)
    seen: list[Tensor] = []
    with _fast_products(device):
        for step, index in enumerate(batches):
            progress = member.epoch + step / len(batches)
            _set_lr(optimizer, recipe.lr * recipe.lr_factor(progress))
            images = augmented(part.images[index], recipe)
            if observer:
                observer(progress, model, images)
            with torch.autocast(device.type, torch.bfloat16, enabled=course.dtype == torch.bfloat16):
                logits = model(images.permute(0, 3, 1, 2)).float()
            loss(logits, part.labels[index]).backward()
            optimizer.step()
            optimizer.zero_grad()
            seen.append(logits.detach())
    return score(torch.cat(seen), part.labels[torch.cat(batches)], recipe.ap_rule)


@contextmanager
def _fast_products(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices in TF32 on a GPU, while training only: evaluation and analyses do not."""
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _batches(count: int, size: int, device: torch.device) -> list[Tensor]:
    """Return a fresh permutation in batches.

    A last batch of one image joins the one before: batch norm cannot train on it.
    """
    batches = list(torch.randperm(count, device=device).split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


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
