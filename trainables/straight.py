"""A network's way through its steps without what modules do around them: the same kernels with the same bits, at once.

What Python does in a module's call takes as long as the convolutions of a few small images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.models import Hidden, Network

Run = Callable[[Any], Any]


def straight(network: Network) -> Callable[[Tensor], Tensor]:
    """Return the network's forward pass, as long as its modules and their parameters are the same objects.

    Hooks are not called.
    """
    runs = [run for step in network.steps() for run in _runs(step.run)]

    def forward(pixels: Tensor) -> Tensor:
        x = pixels
        for run in runs:
            x = run(x)
        return x

    return forward


def _runs(run: Run) -> list[Run]:
    """Return what a step's call comes to in the end, call by call; the call itself where more may lie in it."""
    if type(run) is nn.Identity:
        return []
    if isinstance(run, Hidden):
        return [each for part in (run.linear, run.norm, run.activation, run.dropout) for each in _runs(part)]
    if type(run) is nn.Conv2d and run.padding_mode == "zeros":
        return [_convolution(run)]
    if isinstance(run, nn.Linear):
        weight, bias = run.weight, run.bias
        return [lambda x: F.linear(x, weight, bias)]
    if type(run) is nn.MaxPool2d and not run.return_indices:
        size: Any = (run.kernel_size, run.stride, run.padding, run.dilation, run.ceil_mode)
        return [lambda x: torch.max_pool2d(x, *size)]
    if type(run) is nn.ReLU and not run.inplace:
        return [torch.relu]
    return [run]


def _convolution(conv: nn.Conv2d) -> Run:
    weight, bias = conv.weight, conv.bias
    how: Any = (conv.stride, conv.padding, conv.dilation, conv.groups)
    return lambda x: torch.conv2d(x, weight, bias, *how)
