"""A network as a chain: it can be stopped behind any convolution, changed there, and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from trainables.models import Network, State, made

Link = Callable[[Any], Any]
HEAD = "head"


def chain(model: Network) -> dict[str, Link]:
    """Return the network in links, so that it can be stopped and gone on with behind every convolution.

    A link ends where a convolution's map enters the next layer, and has the convolution's name: behind the convolution
    and the steps after it that keep its channels apart, such as activation and pooling. `head` comes last. One after
    another they compute, from pixels (N, C, H, W), the logits of the network. Between links goes a map, or inside a
    residual block (map, other branch).
    """
    links: dict[str, Link] = {}
    runs: list[Link] = []
    convolution = None  # whose map is on its way to the next layer
    for step in model.steps():
        if convolution is not None and not step.keeps_channels:
            links[convolution], runs, convolution = partial(run, runs), [], None
        runs.append(step.run)
        if step.convolution is not None:
            convolution = step.name
    return links | {HEAD: partial(run, runs)}


def switched_off(x: State, numbers: Sequence[int], fills: Tensor) -> State:
    """Return what goes between two links with the map's channels `numbers` at their values in `fills` (channels,)."""
    maps = made(x).clone()
    maps[:, list(numbers)] = fills[list(numbers), None, None]
    return (maps, x[1]) if isinstance(x, tuple) else maps


def run(links: Iterable[Link], x: State) -> Any:
    """Return what the links make of `x`, one after another."""
    for link in links:
        x = link(x)
    return x
