"""What the rows train and on what: synthetic images of CIFAR-10's shape, R0's networks, and ways to force a path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from sweeps.part_a import BASELINE
from tests.gpu.rows import Result, Setting
from trainables import devices, graphs, group, resident
from trainables.config import CNN, Model, ResNet, Training, Trial
from trainables.datasets import Dataset, Split
from trainables.devices import fast_products, on_gpu, prepare
from trainables.group import Group
from trainables.kept import Kept
from trainables.replicate import Replicate, optimizer_tensors, replicate
from trainables.train import train

log = logging.getLogger(__name__)

CPU = torch.device("cpu")
FLOAT_ERROR = 1e-2  # of weights after 60 steps in another order of summing
MANY = 10**6  # epochs to come, for which every capture is worth it
R0 = BASELINE.with_values({"model.channels": (32, 64, 256), "model.fc_layers": 4})
SMALL = {"model.channels": (4, 8, 16), "model.fc_widths": (16, 8)}  # the same on a CPU, in a moment

NETWORKS: dict[str, Model] = {
    "cnn": R0.model,
    "norm-dropout": CNN(
        conv_layers=4,
        channels=(16, 32),
        padding=1,
        convs_per_block=2,
        batch_norm=True,
        conv_dropout=0.1,
        fc_layers=2,
        fc_batch_norm=True,
        fc_dropout=0.2,
    ),
    "pool-3-2": CNN(conv_layers=2, channels=(16, 32), padding=1, pool_size=3, pool_stride=2, fc_layers=2),
    "resnet": ResNet(),
}


def dataset(train_images: int, others: int = 0, size: int = 32) -> Dataset:
    """Return learnable images (the class is how bright one channel is) with as many of `others` for val and test."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 160, (count, size, size, 3), dtype=np.uint8)
        images[np.arange(count), :, :, labels % 3] += (9 * labels[:, None, None]).astype(np.uint8)
        return Split(images, labels)

    few = others or max(4, train_images // 10)
    return Dataset(
        "synthetic", tuple("abcdefghij"), split(train_images), split(few), split(few), "0" * 64, *[(0.4, 0.4, 0.4)] * 2
    )


def r0(setting: Setting, **training: Any) -> Trial:
    """Return R0's largest network with its recipe, of which `training` changes some."""
    trial = R0.with_values(SMALL) if setting.tiny else R0
    return replace(trial, training=replace(trial.training, **training))


def small(setting: Setting, name: str, **training: Any) -> tuple[Trial, Dataset]:
    """Return a trial that augments its images, and data for 20 whole batches an epoch and a short one."""
    model = NETWORKS[name]
    batch, steps = setting.size(32, 4), setting.size(20, 3)
    if setting.tiny and isinstance(model, CNN):
        model = replace(model, channels=(4, 8, 16), fc_widths=(16, 8))
    usual = {"epochs": 3, "lr": 0.01, "schedule": "cosine", "flip": True, "crop_padding": 2}
    recipe = Training(**usual | {"batch_size": batch} | training)
    return Trial(model=model, training=recipe), dataset(batch * steps + batch // 2)


def members_of(trial: Trial, data: Dataset, seeds: Sequence[int], device: torch.device) -> list[Replicate]:
    """Return untrained replicates."""
    prepare(device)
    return [replicate(trial, data, seed, device) for seed in seeds]


def trained(
    trial: Trial, data: Dataset, device: torch.device, seeds: Sequence[int] = (0,), kept: Kept | None = None
) -> list[Replicate]:
    """Return replicates that have been trained to their end."""
    members = members_of(trial, data, seeds, device)
    for _ in train(trial, data, members, device, kept=kept):
        pass
    return members


def groups_of(
    trial: Trial, data: Dataset, device: torch.device, seeds: Sequence[int] = (0,), say: group.Say = log.warning
) -> list[Group]:
    """Return replicates ready to be trained: in one group where steps can be captured, else each alone."""
    return Kept(say).groups(members_of(trial, data, seeds, device), trial, data, device)


def begin(groups: Sequence[Group]) -> None:
    """Begin an epoch of every lane."""
    for each in groups:
        for lane in each.lanes:
            lane.begin()


def steps(groups: Sequence[Group], count: int) -> None:
    """Take the first steps of an epoch that was begun, as Group.train() does it; no more than there are."""
    for each in groups:
        with fast_products(each.device):
            for step in range(count):
                for lane in each.lanes:
                    lane.load(step)
                if each.replay:
                    each.replay()
                    continue
                for lane in each.lanes:
                    with lane.random.in_use():
                        lane.step()


@contextmanager
def eager() -> Iterator[None]:
    """Let no step be captured meanwhile."""
    with patch.object(graphs, "can_capture", lambda _: False):
        yield


@contextmanager
def captures() -> Iterator[list[Exception | None]]:
    """Have steps captured however few there are; yields, of each capture, what went wrong."""
    made: list[Exception | None] = []
    capture = graphs.capture

    def noted(branches: Sequence[graphs.Branch], device: torch.device) -> graphs.Replay:
        try:
            replay = capture(branches, device)
        except Exception as error:
            made.append(error)
            raise
        made.append(None)
        return replay

    with patch.object(group, "FEWEST_STEPS", 0), patch.object(graphs, "capture", noted):
        yield made


@contextmanager
def in_bfloat16(device: torch.device, wanted: bool) -> Iterator[None]:
    """Train in bfloat16 whatever the size, or never."""
    with patch.dict(devices.CAST_FLOPS, {device.type: 0 if wanted else float("inf")}):
        yield


@contextmanager
def images_on_the_host() -> Iterator[None]:
    """Let no images lie on the device."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(devices, "fits", lambda *_: False))
        stack.enter_context(patch.object(resident.Part, "on_device", False))
        yield


def apart(some: Sequence[Replicate], others: Sequence[Replicate]) -> float:
    """Return the largest difference of weights, optimizer, random numbers and records, relative to each one's largest
    value: 0 for equal bits alone.
    """
    pairs = zip(some, others, strict=True)
    return max(_apart(*both) for one, other in pairs for both in zip(_tensors(one), _tensors(other), strict=True))


def relative(found: Tensor, expected: Tensor) -> float:
    """Return ‖found − expected‖ / ‖expected‖, in float64 on the CPU."""
    found, expected = (each.detach().double().cpu() for each in (found, expected))
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


def verdict(difference: float, allowed: float = 0.0, **values: Any) -> Result:
    """Return a result that is right where the difference is no larger than allowed."""
    note = "equal bits" if difference == 0 else "not the same bits" if allowed == 0 else f"allowed: {allowed:.0e}"
    return Result(difference <= allowed, {"largest difference": difference} | values, note)


def captured(device: torch.device, work: Callable[[], Any]) -> Any:
    """Return what work() does, with its steps captured. Raises AssertionError where a GPU's were not."""
    with captures() as made:
        found = work()
    if on_gpu(device) and (not made or any(made)):
        raise AssertionError(f"no step was captured: {next(filter(None, made), 'none was tried')!s}")
    return found


def _tensors(member: Replicate) -> list[Tensor]:
    named = (member.model.state_dict(), optimizer_tensors(member.optimizer), member.chosen.weights)
    kept = [each[name] for each in named for name in sorted(each)]
    timeless = [replace(record, seconds=0.0, images_per_second=0.0) for record in member.records]
    numbers = [
        float("nan") if value is None else value
        for record in timeless
        for value in (*astuple(record)[:-1], *record.class_score)
    ]
    return [*kept, member.rng, torch.tensor(numbers, dtype=torch.float64)]


def _apart(one: Tensor, other: Tensor) -> float:
    one, other = one.detach().cpu().double(), other.detach().cpu().double()
    if torch.equal(one.nan_to_num(nan=-1.0), other.nan_to_num(nan=-1.0)):
        return 0.0
    largest = float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))
    return largest if largest == largest else float("inf")  # NaN: one has a number where the other has none
