"""Feature maps: what a network makes of one image, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.figures import Panel, in_rows, panels
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job, WrongOption
from analysis.subject import Subject, names
from trainables.errors import UserError, suggest
from trainables.models import ConvNet

COLUMNS = 8


@dataclass(frozen=True)
class FeatureMaps(Job):
    """The `per_layer` strongest maps of image number `image` of the test set (None: the first), in each of `layers`.

    `layers` are names of features; None: every block of a CNN, every stage and the last convolution of a ResNet. The
    strongest maps are those of the largest mean absolute value, the strongest first; ties go by channel number.
    """

    name: ClassVar[str] = "feature_maps"

    image: int | None = None
    per_layer: int = 16
    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))
        if self.image is not None and (type(self.image) is not int or self.image < 0):
            raise UserError(f"image is {self.image!r}, but must be the number of a test image, from 0")
        if type(self.per_layer) is not int or not 1 <= self.per_layer <= 256:
            raise UserError(f"per_layer is {self.per_layer!r}, but must be a whole number from 1 to 256")

    def check(self, subject: Subject) -> None:
        """Raise UserError where there is no such image or layer."""
        count = len(subject.images)
        if self._image >= count:
            raise WrongOption(
                f"image is {self.image}, but the test images of {subject.dataset} are numbered 0 to {count - 1}"
            )
        if not subject.convolutions:
            raise UserError(f"{subject.name} has no convolutions, and so no feature maps")
        known = list(_maps(subject, self._image))
        for layer in self._layers(subject):
            if layer not in known:
                raise WrongOption(f"{subject.name} has no feature maps {layer!r}{suggest(layer, known)}")

    def whole(self, subject: Subject) -> Arrays:
        """Return all maps of each layer, (channels, height, width), by the layers' names."""
        maps = _maps(subject, self._image)
        return {layer: maps[layer] for layer in self._layers(subject)}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw a figure for each layer: the image, and its strongest maps."""
        [subject], [maps] = subjects, computed
        figures = {f"feature_maps-{layer}": self._draw(subject, layer, values) for layer, values in maps.items()}
        silent = {layer: int((values == 0).all(axis=(1, 2)).sum()) for layer, values in maps.items()}
        counts = ", ".join(f"{silent[layer]} of {len(values)} in {layer}" for layer, values in maps.items())
        title = f"Feature maps: of image {self._image}, maps that are 0 everywhere: {counts}"
        return Finding(self.name, title, (), {}, figures, maps)

    @property
    def _image(self) -> int:
        return self.image or 0

    def _layers(self, subject: Subject) -> tuple[str, ...]:
        if self.layers is not None:
            return self.layers
        if isinstance(subject.model, ConvNet):
            return tuple(f"block{number}" for number in range(1, len(subject.model.blocks) + 1))
        return "layer1", "layer2", "layer3", "layer4", subject.convolutions[-1]

    def _draw(self, subject: Subject, layer: str, maps: np.ndarray) -> Figure:
        shown = strongest(maps, self.per_layer)
        labels = subject.labels[self._image]
        classes = names(np.flatnonzero(labels == 1) if subject.multi_label else [int(labels)], subject.class_names)
        pictures: list[Panel | None] = [Panel(maps[channel], str(channel)) for channel in shown]
        rows = in_rows(pictures, COLUMNS)
        beside: list[Panel | None] = [Panel(subject.images[self._image], "image"), *[None] * (len(rows) - 1)]
        channels, high, wide = maps.shape
        caption = (
            f"{subject.name}, test image {self._image} of {subject.dataset} ({classes}), {layer}: the {len(shown)} of "
            f"{channels} maps ({high}×{wide}) with the largest mean absolute value, the strongest first, on one scale. "
            "Above each map: its channel."
        )
        png = panels(
            [[first, *row] for first, row in zip(beside, rows, strict=True)],
            title=f"{subject.name}: feature maps of {layer}",
            caption=caption,
            colormap="viridis" if maps.min() >= 0 else "RdBu_r",
            colour_label=f"output of {layer}",
        )
        return Figure(png, caption)


def strongest(maps: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the (at most) `count` maps (channels, h, w) of the largest mean absolute value.

    Ties go by number.
    """
    return np.argsort(-np.abs(maps).mean(axis=(1, 2), dtype=np.float64), kind="stable")[:count]


def _maps(subject: Subject, image: int) -> dict[str, np.ndarray]:
    """Return all feature maps (channels, height, width) of an image, by name."""
    [(_, _, features)] = subject.batches(np.array([image]))
    return {name: maps[0].cpu().numpy() for name, maps in features.items() if maps.ndim == 4}
