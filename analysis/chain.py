"""A network as a chain of steps: it can be stopped behind any convolution, changed there, and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from analysis.filters import blocks
from trainables.models import ConvNet, Network, ResidualNet

State = (
    Tensor | tuple[Tensor, Tensor]
)  # what goes between two steps: a map (N, channels, h, w), or in a residual block (map, shortcut)
Step = Callable[[Any], Any]


def steps(model: Network) -> dict[str, Step]:
    """Return the network as a chain of steps, so that it can be stopped and gone on with behind every convolution.

    A step ends where a convolution's map enters the next layer, and has the convolution's name; `normalize` comes first
    and `head` last. One after another they compute, from pixels (N, C, H, W), the logits of the network in evaluation
    mode. Between steps goes a map, or inside a residual network's block (map, shortcut).
    """
    return _resnet_steps(model) if isinstance(model, ResidualNet) else _cnn_steps(model)


def switched_off(x: State, numbers: Sequence[int], fills: Tensor) -> State:
    """Return what goes between two steps with the map's channels `numbers` at their values in `fills` (channels,)."""
    maps = map_of(x).clone()
    maps[:, list(numbers)] = fills[list(numbers), None, None]
    return (maps, x[1]) if isinstance(x, tuple) else maps


def _cnn_steps(model: ConvNet) -> dict[str, Step]:
    chain: dict[str, Step] = {"normalize": model.normalize}
    for block in blocks(model):
        for index, conv in enumerate(block.convs):
            chain[f"conv{block.first + index}"] = nn.Sequential(conv, block.activation)
        # the last one's map goes through the pooling too, in the order of the block's forward()
        ending = (block.pool, block.activation) if block.pool_first else (block.activation, block.pool)
        chain[f"conv{block.first + index}"] = nn.Sequential(conv, *ending)
    return chain | {"head": nn.Sequential(nn.Flatten(), *model.hidden, model.head)}


def _resnet_steps(model: ResidualNet) -> dict[str, Step]:
    relu = nn.ReLU()  # torchvision's own works in place
    chain: dict[str, Step] = {
        "normalize": model.normalize,
        "conv1": nn.Sequential(model.conv1, model.bn1, relu, model.maxpool),
    }
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for number, block in enumerate(getattr(model, stage)):
            shortcut = block.downsample or nn.Identity()
            chain[f"{stage}.{number}.conv1"] = partial(
                _enter_block, nn.Sequential(block.conv1, block.bn1, relu), shortcut
            )
            chain[f"{stage}.{number}.conv2"] = partial(_go_on_in_block, nn.Sequential(block.conv2, block.bn2))
    head = nn.Sequential(model.avgpool, nn.Flatten(), model.fc)
    return chain | {"head": lambda x: head(_leave_block(x))}


def _enter_block(first: nn.Module, shortcut: nn.Module, x: State) -> State:
    x = _leave_block(x)
    return first(x), shortcut(x)


def _go_on_in_block(second: nn.Module, x: State) -> State:
    return second(x[0]), x[1]


def _leave_block(x: State) -> Tensor:
    return F.relu(x[0] + x[1]) if isinstance(x, tuple) else x


def map_of(x: State) -> Tensor:
    """Return the map of what goes between two steps."""
    return x[0] if isinstance(x, tuple) else x


def run(chain: Iterable[Step], x: State) -> Any:
    """Return what the steps make of `x`, one after another."""
    for step in chain:
        x = step(x)
    return x
