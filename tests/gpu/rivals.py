"""Other ways to train replicates of R0 together than branches of a graph: all of them in one tensor operation.

Each is a whole training step with SGD, in TF32, captured as one graph where there is a GPU. What it computes is held
against the networks one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from tests.gpu.measure import rate, seconds, start_memory
from tests.gpu.rows import FAST, Result, Setting, row
from tests.gpu.workload import dataset, members_of, r0, relative
from trainables.datasets import Dataset
from trainables.devices import fast_products, on_gpu
from trainables.models import Network
from trainables.replicate import Replicate

Weights = dict[str, Tensor]  # as in one network, with a leading axis for the replicates
# Pixels (R, N, C, H, W) in 0..1 to logits (R, N, classes)
Forward = Callable[[Network, Weights, Tensor], Tensor]
IMAGES = 6_400  # of each replicate, an epoch


def grouped(model: Network, weights: Weights, pixels: Tensor, form: torch.memory_format) -> Tensor:
    """One convolution with a group for each replicate."""
    replicates = len(pixels)
    x = model.normalize(pixels).transpose(0, 1).flatten(1, 2).contiguous(memory_format=form)  # (N, R·C, H, W)
    for weight, bias in convolutions(weights):
        kernels = weight.flatten(0, 1).contiguous(memory_format=form)
        x = F.relu(F.max_pool2d(F.conv2d(x, kernels, bias.flatten(), groups=replicates), 2))
    maps = x.unflatten(1, (replicates, -1)).permute(1, 0, 3, 4, 2)  # flattened place by place, as the network does
    return classified(weights, maps.flatten(2))


def unfolded(model: Network, weights: Weights, pixels: Tensor) -> Tensor:
    """Each convolution as a batched matrix product of its windows."""
    replicates, size = pixels.shape[:2]
    x = model.normalize(pixels)
    for weight, bias in convolutions(weights):
        outputs, kernel = weight.shape[1], weight.shape[-1]
        side = x.shape[-1] - kernel + 1
        windows = F.unfold(x.flatten(0, 1), kernel).unflatten(0, (replicates, size))  # (R, N, C·k·k, places)
        columns = windows.transpose(1, 2).flatten(2)  # (R, C·k·k, N·places)
        maps = torch.baddbmm(bias[:, :, None], weight.flatten(2), columns)
        maps = maps.view(replicates, outputs, size, side, side).transpose(1, 2)
        x = F.relu(F.max_pool2d(maps.flatten(0, 1), 2)).unflatten(0, (replicates, size))
    return classified(weights, x.permute(0, 1, 3, 4, 2).flatten(2))


def mapped(model: Network, weights: Weights, pixels: Tensor) -> Tensor:
    """The network itself under torch.func.vmap."""
    return vmap(lambda own, images: functional_call(model, own, (images,)))(weights, pixels)


def convolutions(weights: Weights) -> list[tuple[Tensor, Tensor]]:
    """Return kernels (R, O, C, k, k) and biases (R, O)."""
    return [(weights[name], weights[name.replace("weight", "bias")]) for name in weights if weights[name].dim() == 5]


def classified(weights: Weights, x: Tensor) -> Tensor:
    """Run the FC layers, on (R, N, features)."""
    layers = [name.removesuffix(".weight") for name in weights if name.endswith("weight") and weights[name].dim() == 3]
    for number, name in enumerate(layers, start=1):
        x = torch.baddbmm(weights[f"{name}.bias"][:, None], x, weights[f"{name}.weight"].transpose(1, 2))
        x = F.relu(x) if number < len(layers) else x
    return x


class Together:
    """Replicates in one step, over data that lies on the device."""

    def __init__(self, members: list[Replicate], data: Dataset, batch: int, forward: Forward) -> None:
        """Take copies of the members' weights."""
        self.model, self.forward = members[0].model, forward
        self.model.train()
        device = next(self.model.parameters()).device
        stacked, _ = stack_module_state([each.model for each in members])
        self.weights = {name: value.detach().clone().requires_grad_() for name, value in stacked.items()}
        self.optimizer = torch.optim.SGD(list(self.weights.values()), 0.01, 0.9, weight_decay=2e-3, fused=True)
        self.images = torch.from_numpy(data.train.images).to(device)
        self.labels = torch.from_numpy(data.train.labels).to(device)
        count = len(self.labels) // batch
        orders = [torch.randperm(len(self.labels), device=device)[: count * batch].view(count, batch) for _ in members]
        self.order = torch.stack(orders, 1)  # (steps, R, N)
        self.at = torch.zeros(1, dtype=torch.int64, device=device)

    def logits(self, index: Tensor) -> Tensor:
        """Return those of images (R, N)."""
        pixels = self.images[index].permute(0, 1, 4, 2, 3).float() / 255
        return self.forward(self.model, self.weights, pixels)

    def step(self) -> None:
        """Train on the next batch of every replicate."""
        index = self.order.index_select(0, self.at)[0]
        logits = self.logits(index)
        loss = F.cross_entropy(logits.flatten(0, 1), self.labels[index].flatten(), reduction="sum") / index.shape[1]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.at += 1

    def epoch(self, step: Callable[[], None]) -> None:
        """Take all steps."""
        self.at.zero_()
        for _ in range(len(self.order)):
            step()


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Return the step as a graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def error(work: Together, members: list[Replicate]) -> float:
    """Return how far its logits are from those of each network alone."""
    index = work.order[0]
    with torch.no_grad():
        alone = [each.model(work.images[own].permute(0, 3, 1, 2)) for each, own in zip(members, index, strict=True)]
        return relative(work.logits(index), torch.stack(alone))


def rival(setting: Setting, way: str, replicates: int) -> Result:
    """{replicates} replicates of R0, batch 64, as {way}."""
    trial = r0(setting, batch_size=setting.size(64, 4))
    data = dataset(setting.size(IMAGES, 12))
    members = members_of(trial, data, range(replicates), setting.device)
    work = Together(members, data, trial.training.batch_size, WAYS[way])
    apart = error(work, members)
    start_memory(setting.device)
    with fast_products(setting.device):
        step = work.step
        if on_gpu(setting.device):
            work.at.zero_()
            step = captured(work.step)
        work.epoch(step)
        times = seconds(lambda: work.epoch(step), setting.device)
    values = rate(replicates * math.prod(work.order.shape[::2]), times) | {"error": apart}
    if on_gpu(setting.device):
        values["peak MiB"] = torch.cuda.max_memory_reserved(setting.device) / 2**20
    return Result(apart <= 1e-3, values)


WAYS: dict[str, Forward] = {
    "grouped": partial(grouped, form=torch.contiguous_format),
    "grouped-channels-last": partial(grouped, form=torch.channels_last),
    "vmap": mapped,
    "unfold-bmm": unfolded,
}
for _replicates in (4, 16):
    for _way in WAYS:
        _peer = f"branches-{_replicates}"
        row(f"{_way}-{_replicates}", FAST, 25, turn=4, peer=_peer, way=_way, replicates=_replicates)(rival)
