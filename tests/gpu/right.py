"""What has to hold of training on a GPU: its numbers, and that neither a graph nor an interruption changes them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from unittest.mock import patch

import torch
from torch import Tensor

from tests.gpu.rows import RIGHT, LeftOut, Result, Setting, row
from tests.gpu.workload import (
    CPU,
    FLOAT_ERROR,
    NETWORKS,
    apart,
    begin,
    captured,
    captures,
    eager,
    groups_of,
    images_on_the_host,
    members_of,
    relative,
    small,
    steps,
    trained,
    verdict,
)
from trainables import train as training
from trainables.checkpoint import pack, unpack
from trainables.config import Trial
from trainables.datasets import Dataset
from trainables.devices import fast_products, on_gpu
from trainables.group import Group
from trainables.kept import Kept
from trainables.lane import Lane
from trainables.replicate import Replicate
from trainables.resident import parts
from trainables.scoring import loss
from trainables.snapshot import STATE
from trainables.train import predict

MODERATE = {"flip": False, "crop_padding": 0}  # on every device the same images


def one_step(trial: Trial, data: Dataset, device: torch.device) -> Replicate:
    """Train on the first batch of the data in full float32."""
    [member] = members_of(trial, data, (0,), device)
    lane = Lane(member, parts(data, trial.training, device).train, trial.training, torch.float32, data.classes)
    lane.begin()
    lane.order.copy_(torch.arange(len(lane.order)))
    with lane.random.in_use():
        lane.step()
    return member


def weights(member: Replicate) -> Tensor:
    """Return all weights in one vector on the CPU."""
    return torch.cat([each.detach().cpu().flatten().double() for each in member.model.parameters()])


@row("one-step-adamw", RIGHT, 15, optimizer="adamw", allowed=2e-2)
@row("one-step-adam", RIGHT, 15, optimizer="adam", allowed=2e-2)
@row("one-step-sgd", RIGHT, 15, optimizer="sgd", allowed=1e-3)
def one_step_is_the_cpus(setting: Setting, optimizer: str, allowed: float) -> Result:
    """One step of {optimizer} in float32 moves the weights as the CPU does."""
    # Adam divides each gradient by its own size: where that is near zero, its error is as large as the step
    trial, data = small(setting, "cnn", optimizer=optimizer, weight_decay=1e-3, **MODERATE)
    start = weights(members_of(trial, data, (0,), CPU)[0])
    here, there = (weights(one_step(trial, data, device)) for device in (CPU, setting.device))
    return verdict(relative(there - start, here - start), allowed)


def gradients(setting: Setting, dtype: torch.dtype, device: torch.device, fast: bool = False) -> Tensor:
    """Return the gradients of the first batch, of a network whose weights are float64 where `dtype` is."""
    trial, data = small(setting, "cnn", **MODERATE)
    [member] = members_of(trial, data, (0,), device)
    model = member.model.double() if dtype == torch.float64 else member.model
    size = trial.training.batch_size
    images, labels = (torch.from_numpy(each[:size]).to(device) for each in (data.train.images, data.train.labels))
    pixels = images.permute(0, 3, 1, 2)
    half = dtype == torch.bfloat16
    with fast_products(device if fast else CPU):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = model(pixels.double() / 255 if dtype == torch.float64 else pixels)
        loss(logits.to(torch.promote_types(dtype, torch.float32)), labels).backward()
    return torch.cat([each.grad.detach().cpu().flatten().double() for each in model.parameters()])


@row("precision", RIGHT, 20)
def precision(setting: Setting) -> Result:
    """Gradients in float32, TF32 and bfloat16 are float64's within 1e-4, 2e-2 and 5e-2."""
    # In float64 with the factors of each product rounded to TF32's ten bits, as here, they are 3e-3 apart; with the
    # other bits cut off, as the hardware may do it, 7e-3. ReLUs and max pooling near a tie go the other way.
    exact = gradients(setting, torch.float64, CPU)
    found = {
        "float32": relative(gradients(setting, torch.float32, setting.device), exact),
        "TF32": relative(gradients(setting, torch.float32, setting.device, fast=True), exact),
        "bfloat16": relative(gradients(setting, torch.bfloat16, setting.device, fast=True), exact),
    }
    right = found["float32"] <= 1e-4 and found["TF32"] <= 2e-2 and found["bfloat16"] <= 5e-2
    used = "" if found["TF32"] > 2 * found["float32"] else "TF32 computes no less exactly: it is not in use"
    return Result(right, found, used)


def bits_again(setting: Setting, network: str) -> Result:
    """Two runs of {network} are equal in every bit."""
    if setting.tiny and network == "resnet":
        raise LeftOut("not with --tiny: eleven million weights")
    trial, data = small(setting, network)
    first, second = (captured(setting.device, lambda: trained(trial, data, setting.device)) for _ in range(2))
    return verdict(apart(first, second))


for _name in NETWORKS:
    row(f"bits-{_name}", RIGHT, 20, network=_name)(bits_again)


def interrupted(trial: Trial, data: Dataset, *where: torch.device) -> tuple[list[Replicate], list[str]]:
    """Train an epoch on each of the devices, with a snapshot in between; return what is said on the way."""
    said: list[str] = []
    members = members_of(trial, data, (0,), where[0])
    for number, device in enumerate(where, start=1):
        if number > 1:
            members = unpack(pack(trial, data, members)[STATE], trial, data, (0,), device, say=said.append)
        next(training.train(trial, data, members, device))
    return members, said


@row("resumed", RIGHT, 20)
def resumed(setting: Setting) -> Result:
    """A trial that is interrupted after every epoch is the uninterrupted one in every bit."""
    trial, data = small(setting, "norm-dropout", optimizer="adam")
    whole = captured(setting.device, lambda: trained(trial, data, setting.device))
    cut, said = captured(setting.device, lambda: interrupted(trial, data, *[setting.device] * 3))
    return verdict(apart(cut, whole), said=len(said))


@row("there-and-back", RIGHT, 20, needs=("gpu",))
def there_and_back(setting: Setting) -> Result:
    """A trial goes on from the CPU on the GPU and back, and says that its random numbers begin anew."""
    trial, data = small(setting, "norm-dropout", optimizer="adam")
    [member], said = interrupted(trial, data, CPU, setting.device, CPU)
    losses = [record.train_loss for record in member.records]
    right = len(said) == 2 and len(losses) == 3 and all(map(torch.isfinite, torch.tensor(losses)))
    return Result(bool(right), {"losses": " ".join(f"{each:.3f}" for each in losses)}, "; ".join(said))


@row("own-splits", RIGHT, 40, own_split=True)
@row("together", RIGHT, 40, own_split=False)
def together(setting: Setting, own_split: bool) -> Result:
    """Four replicates side by side are the same as each alone (validation images of their own: {own_split})."""
    trial, data = small(setting, "norm-dropout", vary_split=own_split)
    seeds = (0, 1, 2, 3)
    beside = captured(setting.device, lambda: trained(trial, data, setting.device, seeds))
    alone = [captured(setting.device, lambda s=seed: trained(trial, data, setting.device, (s,)))[0] for seed in seeds]
    return verdict(apart(beside, alone), FLOAT_ERROR)


@row("graph-is-eager-adam", RIGHT, 20, needs=("gpu",), optimizer="adam")
@row("graph-is-eager-sgd", RIGHT, 20, needs=("gpu",), optimizer="sgd")
def graph_is_eager(setting: Setting, optimizer: str) -> Result:
    """A captured step of {optimizer} trains as the eager one: schedule, random numbers, short last batch."""
    trial, data = small(setting, "norm-dropout", optimizer=optimizer)
    graph = captured(setting.device, lambda: trained(trial, data, setting.device))
    with eager():
        plain = trained(trial, data, setting.device)
    return verdict(apart(graph, plain), FLOAT_ERROR)


@row("next-trial", RIGHT, 20, needs=("gpu",))
def next_trial(setting: Setting) -> Result:
    """A trial that takes over the captured step of the one before is the same as in a process of its own."""
    trial, data = small(setting, "norm-dropout")
    other = replace(trial, training=replace(trial.training, lr=0.02, schedule="linear"))
    kept = Kept()
    captured(setting.device, lambda: trained(trial, data, setting.device, kept=kept))
    with captures() as made:
        after = trained(other, data, setting.device, (5,), kept)
    if made:
        raise AssertionError("its step was captured anew")
    fresh = captured(setting.device, lambda: trained(other, data, setting.device, (5,)))
    return verdict(apart(after, fresh))


@row("on-the-host", RIGHT, 20)
def on_the_host(setting: Setting) -> Result:
    """Images that stay in the host's memory give the same bits."""
    trial, data = small(setting, "cnn")
    device = captured(setting.device, lambda: trained(trial, data, setting.device))
    with images_on_the_host():
        host = captured(setting.device, lambda: trained(trial, data, setting.device))
    return verdict(apart(host, device))


@row("no-wait-host", RIGHT, 15, needs=("gpu",), replayed=True, host=True)
@row("no-wait-graph", RIGHT, 15, needs=("gpu",), replayed=True, host=False)
@row("no-wait-eager", RIGHT, 15, needs=("gpu",), replayed=False, host=False)
def no_wait(setting: Setting, replayed: bool, host: bool) -> Result:
    """No step of an epoch waits for the GPU (replayed: {replayed}, images on the host: {host})."""
    trial, data = small(setting, "norm-dropout", optimizer="adam")
    with images_on_the_host() if host else nullcontext():
        if replayed:
            groups = captured(setting.device, lambda: _after_an_epoch(trial, data, setting.device))
        else:
            with eager():
                groups = _after_an_epoch(trial, data, setting.device)
        begin(groups)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            steps(groups, groups[0].lanes[0].whole)
            for lane in groups[0].lanes:
                with lane.random.in_use():
                    lane.rest()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Result(True, {"steps": groups[0].lanes[0].steps})


def _after_an_epoch(trial: Trial, data: Dataset, device: torch.device) -> list[Group]:
    groups = groups_of(trial, data, device)
    for each in groups:
        each.train(None, 3)
    return groups


@row("evaluated-in-float32", RIGHT, 15)
def evaluated_in_float32(setting: Setting) -> Result:
    """Evaluation is in full float32 while training takes TF32: its logits are float64's within 1e-5."""
    trial, data = small(setting, "cnn")
    seen: list[tuple[str, str]] = []

    def noted(*given):
        seen.append((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
        return evaluate(*given)

    evaluate = training.evaluate
    with patch.object(training, "evaluate", noted):
        [member] = trained(trial, data, setting.device)
    images = torch.from_numpy(data.test.images)
    found = predict(member.model, images.to(setting.device))
    exact = member.model.cpu().double()(images.permute(0, 3, 1, 2).double() / 255)
    error, settings = relative(found, exact), sorted(set(seen))
    full = settings == [("ieee", "ieee")] or not on_gpu(setting.device)
    return Result(full and error <= 1e-5, {"error": error, "precision": str(settings)})
