"""Running a network with some of its filters switched off, on many images and for many sets of filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from analysis.filters.chain import Link, chain, run, switched_off
from analysis.filters.naming import Filters, filter_count
from analysis.subject import Subject
from trainables.models import State, made
from trainables.train import evaluation_batch

BATCH = 64

Fills = Mapping[str, Tensor]  # layer → the value of each of its channels that is off


def fills(subject: Subject, layers: Sequence[str], fill: str) -> dict[str, Tensor]:
    """Return what to set the channels of these layers to, (channels,): 0, or where `fill` is "mean" the mean of what
    enters the next layer over the test images and positions.
    """
    links = chain(subject.model)
    total = {
        layer: torch.zeros(filter_count(subject, layer), dtype=torch.float64, device=subject.device) for layer in layers
    }
    if fill == "mean":
        needed = list(links.items())[: 1 + max(map(list(links).index, layers))]
        for x in pixels(subject):
            for layer, link in needed:
                x = link(x)
                if layer in total:
                    total[layer] += made(x).double().mean((2, 3)).sum(0)
    return {layer: (sums / len(subject.images)).float() for layer, sums in total.items()}


def pixels(subject: Subject, index: np.ndarray | None = None, size: int = BATCH) -> Iterator[Tensor]:
    """Go through images (None: all) in batches of network input, (n, C, H, W)."""
    wanted = np.arange(len(subject.images)) if index is None else index
    for start in range(0, len(wanted), size):
        yield subject.pixels(wanted[start : start + size]).permute(0, 3, 1, 2)


def together(subject: Subject, filters: Filters, values: Fills) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits (N, classes) before and after all these filters are off, computed in the same batches."""
    links = chain(subject.model)
    before, after = [], []
    for batch in pixels(subject):
        before.append(run(links.values(), batch))
        x: Any = batch
        for layer, link in links.items():
            x = link(x)
            if layer in filters:
                x = switched_off(x, filters[layer], values[layer])
                _check_off(x, layer, filters[layer], values[layer])
        after.append(x)
    return torch.cat(before).cpu().numpy(), torch.cat(after).cpu().numpy()


def one_at_a_time(subject: Subject, layer: str, numbers: Sequence[int], value: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes predicted before (N,), and with each of these filters off (N, numbers).

    Only what follows the layer is computed again.
    """
    head, tail = _cut(subject, layer)
    before, each = [], []
    for batch in pixels(subject):
        x = run(head, batch)
        before.append(run(tail, x).argmax(1))
        each.append(torch.stack([run(tail, switched_off(x, (number,), value)).argmax(1) for number in numbers], 1))
    return torch.cat(before).cpu().numpy(), torch.cat(each).cpu().numpy()


def in_sets(subject: Subject, sets: Sequence[Filters], values: Fills, index: np.ndarray) -> np.ndarray:
    """Return the logits of images with each set of filters off, (sets, images, classes) float32.

    Sets are of the layers in `values`; what comes before the first of these is computed once.
    """
    links = chain(subject.model)
    first = min(values, key=list(links).index)
    head, _ = _cut(subject, first)
    after = list(links.items())[len(head) :]
    found = []
    for batch in pixels(subject, index, evaluation_batch(subject.images.shape[1:3], subject.device)):
        x = _channels_last(run(head, batch))
        found.append(torch.stack([_rest(x, first, after, each, values) for each in sets]))
    return torch.cat(found, 1).cpu().numpy()


def _rest(x: State, first: str, after: Sequence[tuple[str, Link]], filters: Filters, values: Fills) -> Tensor:
    """Return the logits from what the links up to `first` made of a batch, with these filters off."""
    state: Any = switched_off(x, filters[first], values[first]) if first in filters else x
    for layer, link in after:
        state = link(state)
        if layer in filters:
            state = switched_off(state, filters[layer], values[layer])
    return cast(Tensor, state)


def _channels_last(x: State) -> State:
    """Return the same maps laid out so that convolutions on the CPU take half the time."""
    if isinstance(x, tuple):
        return tuple(each.contiguous(memory_format=torch.channels_last) for each in x)  # type: ignore[return-value]
    return x.contiguous(memory_format=torch.channels_last)


def _cut(subject: Subject, layer: str) -> tuple[list[Link], list[Link]]:
    """Return the network's links up to a layer, and those behind it."""
    links = chain(subject.model)
    at = list(links).index(layer) + 1
    return list(links.values())[:at], list(links.values())[at:]


def _check_off(x: State, layer: str, numbers: Sequence[int], value: Tensor) -> None:
    channels = list(numbers)
    left = (made(x)[:, channels] - value[channels, None, None]).abs().max().item()
    if left != 0:
        raise RuntimeError(f"filters of {layer} are switched off, but still {left} away from their fill value")
