"""Steps of a network that can be taken in a part of a map: what a place sees, and what the part's surroundings are."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from analysis.maps.patches import Base, Patch
from analysis.maps.rectangles import Field, Frame, Reach, Rectangle
from trainables.models import Network, Step, made

Maps = tuple[Tensor, ...]  # what goes from step to step, as models.State: a map (N, C, H, W), or of each branch one

SAME_PLACE = Field()
OfMap = TypeVar("OfMap")


@dataclass(frozen=True)
class Local:
    """A step that makes a map of which a place sees `field` of maps before; what else it yields it leaves as it is."""

    before: Maps  # of the unchanged image
    after: Maps  # the first one is made
    reads: Mapping[int, Base]  # the maps before that it sees, by number, with their padding
    field: Field = SAME_PLACE
    products: int = 0  # multiplications that a place takes

    def reached(self, changed: Sequence[Rectangle]) -> tuple[Rectangle, ...]:
        """Return what changes of the maps before reach of those after."""
        seen = reduce(Rectangle.joined, (changed[number] for number in self.reads))
        return self.field.reached(seen, *self.after[0].shape[2:]), *self._left(changed)

    def on(self, run: Callable[[Any], Any], patches: Sequence[Patch], frame: Frame) -> tuple[Patch, ...]:
        """Return the patches of the maps after, the first one in this frame. `run` is the step with nothing padded."""
        seen, values = self.field.seen(frame), [patch.values for patch in patches]
        for number, base in self.reads.items():
            values[number] = patches[number].part(base, seen)
        return Patch(made(run(as_state(values))), frame), *self._left(patches)

    def _left(self, of_maps: Iterable[OfMap]) -> Iterator[OfMap]:
        """Yield what belongs to the maps that are left as they are."""
        by_map = dict(zip(map(id, self.before), of_maps, strict=True))
        return (by_map[id(kept)] for kept in self.after[1:])


def local_steps(model: Network, image: Tensor) -> tuple[list[Local], Tensor]:
    """Return the steps up to the first one that is not local, and the logits of an image (1, C, H, W)."""
    found: list[Local] = []
    state: Any = image
    for number, step in enumerate(model.steps()):
        before, state = state, step.run(state)
        if number == len(found) and (local := _local(step, as_maps(before), as_maps(state))):
            found.append(local)
    return found, state


def without_padding(model: Network) -> Network:
    """Return the network, with the same weights, but nothing padded: around a part of a map there is more of it."""
    shared = {id(each): each for each in itertools.chain(model.parameters(), model.buffers())}
    bare = copy.deepcopy(model, shared)
    for module in bare.modules():
        if isinstance(module, nn.Conv2d | nn.MaxPool2d):
            module.padding = (0, 0)
    return bare


def as_maps(state: Any) -> Maps:
    """Return what goes from step to step as a tuple."""
    return state if isinstance(state, tuple) else (state,)


def as_state(maps: Sequence[Tensor]) -> Any:
    """Return maps as they go from step to step."""
    return maps[0] if len(maps) == 1 else tuple(maps)


def _local(step: Step, before: Maps, after: Maps) -> Local | None:
    """Return a step as a local one, None where it is not known to be one."""
    left = [number for number, each in enumerate(before) if any(each is kept for kept in after[1:])]
    if any(each.ndim != 4 for each in (*before, *after)) or len(left) < len(after) - 1:
        return None
    if step.keeps_places:
        same = [number for number, each in enumerate(before) if each.shape[2:] == after[0].shape[2:]]
        reads = {number: Base.of(before[number]) for number in same}
        return Local(before, after, reads) if reads else None
    module = step.conv2d or step.shortcut or step.run
    read = [number for number in range(len(before)) if number not in left or len(before) == 1]
    if len(read) != 1 or not _is_local(module):
        return None
    rows, columns = (Reach(*axis) for axis in _axes(module))
    padded_with = -torch.inf if isinstance(module, nn.MaxPool2d) else 0
    base = Base.of(before[read[0]], (rows.padding, columns.padding), padded_with)
    products = module.weight.numel() if isinstance(module, nn.Conv2d) else 0
    return Local(before, after, {read[0]: base}, Field(rows, columns), products)


def _is_local(module: object) -> bool:
    """Tell whether a module is a convolution or pooling of which all is known."""
    if type(module) is nn.Conv2d:
        return module.padding_mode == "zeros" and not isinstance(module.padding, str)
    if type(module) is nn.MaxPool2d:
        return not (module.ceil_mode or module.return_indices)
    return type(module) is nn.AvgPool2d and not module.ceil_mode and _both(module.padding) == (0, 0)


def _axes(module: Any) -> Iterator[tuple[int, int, int]]:
    """Yield span, stride and padding along the rows and along the columns."""
    sizes, dilations = _both(module.kernel_size), _both(getattr(module, "dilation", 1))
    for size, dilation, stride, padding in zip(
        sizes, dilations, _both(module.stride), _both(module.padding), strict=True
    ):
        yield (size - 1) * dilation + 1, stride, padding


def _both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
