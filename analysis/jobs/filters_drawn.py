"""The filters themselves, drawn as tiles: the first layer's in colour, deeper ones averaged over input channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.figures import Panel, in_rows, panels
from analysis.filters.naming import convolution, filter_count
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.subject import Subject
from trainables.errors import UserError

MOST = 256  # tiles of one figure
WIDEST = 16  # tiles of one row
LEAST, LARGEST = 0.35, 0.6  # inches of a tile


@dataclass(frozen=True)
class FiltersDrawn(Job):
    """The filters of `layers`, names of convolutions; "all": of every one; None: the first and the last."""

    name: ClassVar[str] = "filters_drawn"

    layers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            object.__setattr__(self, "layers", tuple(self.layers))

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no such convolution."""
        for layer in self._chosen(subject):
            filter_count(subject, layer)

    def whole(self, subject: Subject) -> Arrays:
        """Return the filters by layer: of the first convolution (filters, c, h, w), of others means over c."""
        weights = {
            layer: convolution(subject.model, layer).weight.detach().cpu().numpy() for layer in self._chosen(subject)
        }
        return {
            layer: weight if layer == subject.convolutions[0] else weight.mean(axis=1)
            for layer, weight in weights.items()
        }

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw a figure for each layer."""
        [subject], [filters] = subjects, computed
        figures = {}
        for layer, tiles in filters.items():
            title = f"{subject.name}: filters of {layer}"
            caption = f"{subject.name}, trained on {subject.dataset}, {layer}"
            draw = _first if layer == subject.convolutions[0] else _averaged
            figures[f"filters_drawn-{layer}"] = draw(tiles, title, caption)
        sizes = ", ".join(f"{len(of)} of {of.shape[-2]}×{of.shape[-1]} in {layer}" for layer, of in filters.items())
        return Finding(self.name, f"Filters drawn: {sizes}", (), {}, figures, filters)

    def _chosen(self, subject: Subject) -> tuple[str, ...]:
        if self.layers not in (None, ("all",)):
            return self.layers or ()
        if not subject.convolutions:
            raise UserError(f"{subject.name} has no convolutions, and so no filters")
        if self.layers:
            return tuple(subject.convolutions)
        return tuple(dict.fromkeys((subject.convolutions[0], subject.convolutions[-1])))


def first_filters(weight: np.ndarray, title: str, caption: str) -> bytes:
    """Draw the first convolution's filters (n, c, h, w) as a PNG: in colour where c is 3, in gray where it is 1.

    A weight of 0 is mid-gray, the largest absolute weight of all is full or no light: one scale for the figure, said in
    its caption.
    """
    return _first(weight, title, caption).png


def _first(weight: np.ndarray, title: str, caption: str) -> Figure:
    largest = float(np.abs(weight).max())
    light = np.rint(127.5 + 127.5 * weight / (largest or 1.0)).astype(np.uint8).transpose(0, 2, 3, 1)
    what = (
        "red, green and blue are the weights of these channels"
        if weight.shape[1] == 3
        else "light is positive, dark negative"
    )
    caption = (
        f"{caption}. {_size(light)}; {what}: mid-gray is 0, the ends are ±{largest:.3g}, the largest absolute "
        f"weight.{_cut(light)}"
    )
    return Figure(panels(_grid(light), title=title, caption=caption, panel_inches=_side(light)), caption)


def _averaged(tiles: np.ndarray, title: str, caption: str) -> Figure:
    caption = f"{caption}. {_size(tiles)}; each averaged over its input channels; one scale.{_cut(tiles)}"
    side = _side(tiles)
    png = panels(
        _grid(tiles), title=title, caption=caption, panel_inches=side, colormap="RdBu_r", colour_label="mean weight"
    )
    return Figure(png, caption)


def _grid(tiles: np.ndarray) -> list[list[Panel]]:
    """Return the first MOST tiles (n, h, w, …), in rows of a grid about as wide as it is high."""
    return in_rows([Panel(tile) for tile in tiles[:MOST]], _columns(len(tiles)))


def _columns(count: int) -> int:
    return min(WIDEST, math.ceil(math.sqrt(count)))


def _side(tiles: np.ndarray) -> float:
    """Return the inches of a tile: of few, all fit on half a page."""
    return min(LARGEST, max(LEAST, 3.3 / _columns(len(tiles)) - 0.06))


def _size(tiles: np.ndarray) -> str:
    count, high, wide = tiles.shape[:3]
    return f"{count} filters of {high}×{wide} in the order of their numbers, row by row"


def _cut(tiles: np.ndarray) -> str:
    return f" Only the first {MOST} are drawn." if len(tiles) > MOST else ""
