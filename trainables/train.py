"""The hot path: train() trains a trial's replicates and yields one record per epoch.

The whole data set lies on the device as uint8, channels last; a batch is one gather of it. Nothing waits for the device
inside an epoch.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
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
# Called before each step of the first replicate: epochs done (a fraction inside an epoch), the network, the batch (N,
# H, W, C) uint8
Watch = Callable[[float, Network, Tensor], None]

# Forward FLOPs of a batch from which bfloat16 is the faster on the CPU. Measured 2026-11-21 on one AVX512-BF16 core
# with R0's networks at batch 4 to 64: below it gains of 0.75 to 0.96, above it of 1.03 to 1.99.
CAST_FLOPS = 50e6


class Diverged(RuntimeError):
    """The training loss is no longer a number."""


@dataclass
class Replicate:
    """One seed of a trial: a network with its optimizer, its own random numbers, its records so far and its best weights so far."""

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


def replicate(
    trial: Trial, data: Dataset, seed: int, device: torch.device, weights: Weights | None = None
) -> Replicate:
    """Return an untrained replicate, or with pretrained `weights` one that starts from those of them that fit by name
    and shape.

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
    trial: Trial, data: Dataset, replicates: list[Replicate], device: torch.device, watch: Watch | None = None
) -> Iterator[Epoch]:
    """Train the replicates up to the trial's number of epochs and yield an Epoch over all of them after each.

    Replicates that are behind (added later, or restored from an earlier state) catch up alone. On one device, the same
    seeds give the same bits, interrupted or not. Raises Diverged, naming seed and epoch, where a training loss becomes
    NaN or infinite.
    """
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("high")  # TF32 for what is not in bfloat16
    recipe = trial.training
    train_part, val, test = (_Part.on(device, split) for split in (data.train, data.val, data.test))
    train_part = _Part(resized(train_part.images, recipe), train_part.labels)
    val, test = (_Part(as_evaluated(part.images, recipe), part.labels) for part in (val, test))
    dtype = _training_dtype(trial, data, device)
    for number in range(1, recipe.epochs + 1):
        behind = [member for member in replicates if member.epoch < number]
        for member in behind:
            with _own_random_numbers(member, device):
                _run_epoch(member, recipe, dtype, train_part, val, test, watch if member is replicates[0] else None)
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
    forward = (
        flops(plan(trial.model, trial.training.input_shape(data.image_shape), data.classes)) * trial.training.batch_size
    )
    return torch.float32 if device.type == "cpu" and forward < CAST_FLOPS else computing_dtype(device)


def evaluate(model: nn.Module, images: Tensor, labels: Tensor, ap_rule: str) -> Score:
    """Score `model` on uint8 images (N, H, W, C) as it gets them in evaluation, with their labels, both on the model's device."""
    return score(predict(model, images, torch.float32 if labels.ndim == 2 else None), labels, ap_rule)


def predict(model: nn.Module, images: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return the logits (N, classes) float32 of uint8 images (N, H, W, C) on the model's device.

    Computed in `dtype`, None: what is fastest. Ranking over a data set wants float32, as bfloat16 makes ties.
    """
    model.eval()
    most, pixels = (2048, 2**24) if images.is_cuda else (128, 2**19)  # on the CPU a batch that stays in the cache
    size = max(1, min(most, pixels // (images.shape[1] * images.shape[2])))
    with torch.inference_mode(), _autocast(images.device, dtype or computing_dtype(images.device)):
        return torch.cat([model(batch.permute(0, 3, 1, 2)).float() for batch in images.split(size)])


@dataclass(frozen=True)
class _Part:
    images: Tensor  # (N, H, W, C) uint8
    labels: Tensor  # (N,) int64, or (N, classes) int8

    @classmethod
    def on(cls, device: torch.device, split: Split) -> _Part:
        return cls(_shared(split.images).to(device), _shared(split.labels).to(device))


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # arrays out of Ray's object store are read-only; nothing here writes to them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _run_epoch(
    member: Replicate,
    recipe: Training,
    dtype: torch.dtype,
    train_part: _Part,
    val: _Part,
    test: _Part,
    watch: Watch | None,
) -> None:
    begin = time.perf_counter()
    learned = _train_epoch(member, recipe, dtype, train_part, watch)
    trained = time.perf_counter()
    if not math.isfinite(learned.loss):
        raise Diverged(f"the training loss became {learned.loss} in epoch {member.epoch + 1} (seed {member.seed})")
    chosen_by = evaluate(member.model, val.images, val.labels, recipe.ap_rule)
    read = evaluate(member.model, test.images, test.labels, recipe.ap_rule)
    if chosen_by.value > max((record.val_score for record in member.records), default=-1.0):
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
            images_per_second=len(train_part.labels) / (trained - begin),
            seconds=time.perf_counter() - begin,
        )
    )


def _train_epoch(member: Replicate, recipe: Training, dtype: torch.dtype, part: _Part, watch: Watch | None) -> Score:
    """Train one epoch; return its score, as the weights moved. Nothing is read off the device before the end."""
    model, optimizer = member.model.train(), member.optimizer
    batches = _batches(len(part.labels), recipe.batch_size, part.images.device)
    seen: list[Tensor] = []
    for step, index in enumerate(batches):
        progress = member.epoch + step / len(batches)
        _set_lr(optimizer, recipe.lr * recipe.lr_factor(progress))
        images = augmented(part.images[index], recipe)
        if watch:
            watch(progress, model, images)
        with _autocast(part.images.device, dtype):
            logits = model(images.permute(0, 3, 1, 2)).float()
        loss(logits, part.labels[index]).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(logits.detach())
    return score(torch.cat(seen), part.labels[torch.cat(batches)], recipe.ap_rule)


def _batches(count: int, size: int, device: torch.device) -> list[Tensor]:
    """Return a fresh permutation in batches.

    A last batch of one image joins the one before: batch norm cannot train on it.
    """
    batches = list(torch.randperm(count, device=device).split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


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
