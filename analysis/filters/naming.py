"""Which filters an analysis is about: written as text, checked against a network, and labelled the same way everywhere.

A filter is an output channel of a convolution, counted from 0: `conv1:0` is the first one of the first. A choice of
several is written `conv1:0,1,2 conv3:0-3`; in code it is a mapping of layer to filter numbers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import cast

from torch import nn

from analysis.job import WrongOption
from analysis.subject import Subject
from trainables.errors import UserError, suggest
from trainables.models import ConvNet, Network

Filters = dict[str, tuple[int, ...]]
FilterChoice = str | Mapping[str, Iterable[int]]  # as users write it

_PART = re.compile(r"(?P<layer>[^:\s]+):(?P<numbers>\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*)", re.ASCII)


def parse(text: str) -> Filters:
    """Return the filters that a text like `conv1:0,1,2 conv3:0-3` names, each once, in ascending order.

    Raises UserError for any other form, a range that falls, and a text that names none.
    """
    filters: Filters = {}
    for word in text.split():
        match = _PART.fullmatch(word)
        if not match:
            raise UserError(f"filters has {word!r}, but must be like 'conv1:0,1,2 conv3:0-3'")
        numbers = {number for part in match["numbers"].split(",") for number in _range(part)}
        layer = match["layer"]
        filters[layer] = tuple(sorted({*filters.get(layer, ()), *numbers}))
    if not filters:
        raise UserError("filters is empty, but must be like 'conv1:0,1,2 conv3:0-3'")
    return filters


def written(filters: FilterChoice) -> str:
    """Return a choice of filters as text in the one form that parse() gives back unchanged.

    Raises UserError as parse() does.
    """
    if not isinstance(filters, str):
        filters = " ".join(f"{layer}:{','.join(map(str, numbers))}" for layer, numbers in filters.items())
    return " ".join(f"{layer}:{','.join(_runs(numbers))}" for layer, numbers in parse(filters).items())


def chosen(filters: FilterChoice | None, subject: Subject) -> Filters:
    """Return the filters that a choice names; None: R0's choice, the first 3, 3 and 4 of the first three convolutions.

    Of a ResNet it is the first 3 of the first convolution and of the last one of each stage. Raises UserError, naming
    what there is, where the network has no such convolution or filter.
    """
    if not subject.convolutions:
        raise UserError(f"{subject.name} has no convolutions, and so no filters")
    wanted = _default(subject) if filters is None else parse(written(filters))
    for layer, numbers in wanted.items():
        count = filter_count(subject, layer)
        if numbers[-1] >= count:
            raise WrongOption(f"{layer} of {subject.name} has the filters 0 to {count - 1}, but no {numbers[-1]}")
    return wanted


def filter_count(subject: Subject, layer: str) -> int:
    """Return the number of filters of a convolution.

    Raises UserError, naming those there are, where there is none of this name.
    """
    if layer not in subject.convolutions:
        raise WrongOption(f"{subject.name} has no convolution {layer!r}{suggest(layer, subject.convolutions)}")
    return subject.layer(layer).shape[0]


def labels(filters: Filters) -> list[str]:
    """Return the filters' labels: `conv1:0`, `conv1:1`, …"""
    return [f"{layer}:{number}" for layer, numbers in filters.items() for number in numbers]


def convolution(model: Network, layer: str) -> nn.Conv2d:
    """Return the module of a convolution, by its name in the plan."""
    [found] = [step.conv2d for step in model.steps() if step.name == layer and step.convolution is not None]
    return cast(nn.Conv2d, found)


def _default(subject: Subject) -> Filters:
    convolutions = subject.convolutions
    if isinstance(subject.model, ConvNet):
        counts = dict(zip(convolutions, (3, 3, 4), strict=False))
    else:
        stages = {name.partition(".")[0]: name for name in convolutions}  # the last of each stage
        counts = dict.fromkeys(stages.values(), 3)
    return {layer: tuple(range(min(count, filter_count(subject, layer)))) for layer, count in counts.items()}


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    if last and int(last) < int(first):
        raise UserError(f"filters has {part!r}, but a range must rise")
    return range(int(first), int(last or first) + 1)


def _runs(numbers: Iterable[int]) -> list[str]:
    """Return ascending numbers as text, three or more in a row as a range."""
    runs = []
    for _, pairs in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [str(number) for _, number in pairs]
        runs += [f"{run[0]}-{run[-1]}"] if len(run) > 2 else run
    return runs
