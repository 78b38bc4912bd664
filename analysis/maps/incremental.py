"""What a network says of an image with a rectangle painted over, without computing again what that cannot change.

Layer by layer only the rectangle of the map that sees the change is computed, out of the unchanged image's map and the
rectangle before, for as long as this saves something; from there on whole maps go through the network as usual. Nothing
is left out: the logits are the whole network's but for rounding. It is the exact part of Krypton: Nakandala et al.,
"Incremental and approximate inference for faster occlusion-based deep CNN explanations", SIGMOD 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from analysis.maps.local_steps import SAME_PLACE, Local, Maps, as_state, local_steps, without_padding
from analysis.maps.patches import Base, Patch, numbers
from analysis.maps.rectangles import Frame, Interval, Rectangle
from trainables.models import Network
from trainables.train import evaluation_batch

# What takes as long as so many multiplications: to make a value; to gather one for a patch; and to gather at all.
# Measured 2026-11-26 on one core of an Intel Xeon with AVX512, with R0's network and ResNet-18.
VALUE, GATHERED, CALL = 40, 200, 7e6


class Incremental:
    """A network that has seen an image, and says what it makes of changed ones.

    `logits` (1, classes) are the image's own.
    """

    def __init__(self, model: Network, image: Tensor) -> None:
        """`image` (1, C, H, W) is float in 0..1, on the model's device; the model is in evaluation mode."""
        self.model, self.bare, self.image = model, without_padding(model), image
        self.local, self.logits = local_steps(model, image)

    def painted(self, changed: Rectangle, colour: Tensor) -> Tensor:
        """Return the logits (n, classes) of n images that are this one but for a rectangle each, of one `colour`
        (C,).
        """
        frames = [changed.frame(*self.image.shape[2:]), *self._frames(changed)]
        until = switch(self.image, self.local, frames)
        frame = frames[0] if until else Frame.whole(frames[0].images, *self.image.shape[2:])
        maps: Maps = (self.image,)
        patches: tuple[Patch, ...] = (Patch(self._paint(changed, frame, colour), frame),)
        for local, frame, step in zip(self.local[:until], frames[1:], self.bare.steps(), strict=False):
            patches, maps = local.on(step.run, patches, frame), local.after
        return self._rest([patch.whole(each) for patch, each in zip(patches, maps, strict=True)], until)

    def _frames(self, changed: Rectangle) -> Iterator[Frame]:
        """Yield what is to be computed of the map that each local step makes."""
        reached: tuple[Rectangle, ...] = (changed,)
        for local in self.local:
            reached = local.reached(reached)
            yield reached[0].frame(*local.after[0].shape[2:])

    def _paint(self, changed: Rectangle, frame: Frame, colour: Tensor) -> Tensor:
        """Return the changed images in a frame, (n, C, h, w), channels last."""
        rows, columns = (
            _within(numbers(cut, self.image.device), interval) for cut, interval in zip(frame, changed, strict=True)
        )
        inside = (rows[:, :, None] & columns[:, None])[..., None]
        pixels = self.image if frame.places == self.image[0, 0].numel() else Base.of(self.image).part(frame)
        return torch.where(inside, colour, pixels.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _rest(self, maps: Sequence[Tensor], until: int) -> Tensor:
        """Return the logits of what goes into step number `until`, in batches that stay in the cache."""
        size, logits = evaluation_batch(maps[0].shape[2:], self.image.device), []
        for parts in zip(*(each.split(size) for each in maps), strict=True):
            state = as_state(parts)
            for step in itertools.islice(self.model.steps(), until, None):
                state = step.run(state)
            logits.append(state)
        return torch.cat(logits)


def switch(image: Tensor, local: Sequence[Local], frames: Sequence[Frame]) -> int:
    """Return how many steps to take in parts, so that all takes the least work; 0 where whole images do.

    `frames` are what changes of the image, and then of the map that each local step makes.
    """
    count = frames[0].images
    parts = itertools.accumulate(map(_part, local, frames[1:]), initial=0.0)
    wholes = [_place(each) * each.after[0][0, 0].numel() for each in local]
    left = itertools.accumulate(wholes, lambda rest, whole: rest - whole, initial=sum(wholes))
    gathers = (sum(_gather(maps[0].numel(), count) for maps in each.after) for each in local)
    work = [sum(each) for each in zip(parts, left, [VALUE * image.numel(), *gathers], strict=True)]
    return work.index(min(work))


def _place(local: Local) -> float:
    """Return the work that a place of the map takes which a step makes."""
    return local.products + VALUE * local.after[0].shape[1]


def _part(local: Local, frame: Frame) -> float:
    """Return the work that a frame of an image's map takes; what goes from place to place is there already."""
    work, seen = frame.places * _place(local), local.field.seen(frame).places
    if local.field == SAME_PLACE and len(local.reads) == 1:
        return work
    return work + sum(_gather(seen * base.table.shape[1], frame.images) for base in local.reads.values())


def _gather(values: int, count: int) -> float:
    """Return the work it takes to gather so many values of an image, of `count` images at once."""
    return GATHERED * values + CALL / count


def _within(places: Tensor, interval: Interval) -> Tensor:
    first, last = (torch.from_numpy(each).to(places.device)[:, None] for each in interval)
    return (places >= first) & (places <= last)
