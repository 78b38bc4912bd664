"""Pictures side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from analysis.figures import colours
from analysis.figures.page import GAP, MARGIN, WIDEST, as_png, check_labels, page
from analysis.figures.text import DESCENT, DPI, SMALL, plain, tallest, widest, wrap, write

DIVERGING = ("RdBu_r", "coolwarm")  # white or pale in the middle, which must be 0
MISSING = "0.75"  # light gray, but no shade of either
FLAGS = {None: ("", "black"), "right": ("✓", colours.COLOURS[0]), "wrong": ("✗", colours.COLOURS[1])}

LEAST, BAR = 0.35, 2.4  # inches: of a picture's side where there are many, and of the room for a colour bar

T = TypeVar("T")
Look = tuple[Colormap, Normalize]


@dataclass(frozen=True)
class Shades:
    """How numbers become colours: a colormap; its ends (None: those of all that is drawn in it); and what it measures,
    with units, on its colour bar (None: it has none).
    """

    colormap: str = "viridis"
    limits: tuple[float, float] | None = None
    label: str | None = None

    def of(self, maps: Sequence[np.ndarray]) -> tuple[Colormap, Normalize]:
        """Return colours and scale for these maps. Raises ValueError where a colour bar has nothing to measure."""
        if self.label is not None and not maps:
            raise ValueError(
                f"the colour bar {self.label!r} has nothing to measure: no panel has a float image or an overlay"
            )
        scale = colours.scale(maps, self.limits, symmetric=self.colormap in DIVERGING)
        return mpl.colormaps[self.colormap].with_extremes(bad=MISSING), scale


@dataclass(frozen=True)
class Panel:
    """A picture of a grid: (H, W, 3) uint8 in colour; (H, W, 1) or (H, W) uint8 in gray; (H, W) float in the grid's
    colours, NaN in gray.

    `title` stands above it, `flag` ("right" or "wrong") marks that in words and colour. `box`: left, top, right, bottom
    in pixels, edges counted from the upper left corner; what lies outside the picture is cut off. `overlay`: a float
    map (h, w) stretched over the picture, half transparent, see-through where it is NaN. `shades`: colours that are
    not the grid's.
    """

    image: np.ndarray
    title: str = ""
    box: tuple[float, float, float, float] | None = None
    overlay: np.ndarray | None = None
    flag: str | None = None
    shades: Shades | None = None

    def __post_init__(self) -> None:
        shape, kind = self.image.shape, self.image.dtype
        a_picture = kind == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))
        if not self.image.size or not (a_picture or _is_map(self.image)):
            raise ValueError(
                f"panel {self.title!r}: the image is {shape} {kind}, but must be (H, W, 3), (H, W, 1), (H, W) uint8 "
                "or (H, W) float"
            )
        if self.overlay is not None and not (self.overlay.size and _is_map(self.overlay)):
            shape, kind = self.overlay.shape, self.overlay.dtype
            raise ValueError(f"panel {self.title!r}: the overlay is {shape} {kind}, but must be (h, w) float")
        if self.box is not None and not _is_box(self.box):
            raise ValueError(f"panel {self.title!r}: the box {self.box} is not left < right, top < bottom")
        if self.flag not in FLAGS:
            raise ValueError(f'panel {self.title!r}: the flag is {self.flag!r}, but must be "right", "wrong" or None')

    @property
    def maps(self) -> list[np.ndarray]:
        """What is drawn in the grid's colours."""
        return [values for values in (self.image, self.overlay) if values is not None and _is_map(values)]

    def size(self, side: float) -> tuple[float, float]:
        """Return the picture's width and height in inches where it just fits into a square."""
        high, wide = self.image.shape[:2]
        return side * wide / max(high, wide), side * high / max(high, wide)


def in_rows(items: Sequence[T], columns: int) -> list[list[T]]:
    """Return items as rows of this many; the last may be shorter."""
    return [list(items[start : start + columns]) for start in range(0, len(items), columns)]


@as_png
def panels(
    rows: Sequence[Sequence[Panel | None]],
    *,
    title: str,
    caption: str,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    colormap: str = "viridis",
    limits: tuple[float, float] | None = None,
    colour_label: str | None = None,
    panel_inches: float = 1.1,
) -> Figure:
    """Draw a grid of pictures, pixel by pixel, each within a square of `panel_inches`, or as many fewer as a page is
    wide, as long as words have room. None, and what a short row lacks, is a gap.

    All float images and overlays share one scale: `limits`, else from the least to the greatest finite value, symmetric
    about 0 for the colormaps "RdBu_r" and "coolwarm"; those of panels with the same `shades` another. `colour_label`
    (what it measures, units) draws its colour bar. Raises ValueError where there is nothing to draw, or labels do not
    match rows and columns.
    """
    own = Shades(colormap, limits, colour_label)
    grid = _Grid(rows, panel_inches, row_labels, column_labels)
    maps: dict[Shades, list[np.ndarray]] = {own: []}
    for panel in filter(None, itertools.chain.from_iterable(rows)):
        maps.setdefault(panel.shades or own, []).extend(panel.maps)
    found = {shades: shades.of(values) for shades, values in maps.items()}
    bars = [(wrap(shades.label, BAR - MARGIN, SMALL), *look) for shades, look in found.items() if shades.label]
    foot = 0.45 + tallest([label for label, _, _ in bars], SMALL) if bars else 0.0
    figure, place = page(max(grid.width, grid.left + len(bars) * BAR), foot + grid.height, title, caption)
    grid.draw(place(0, foot, grid.width, grid.height), {panel: found[panel or own] for panel in (None, *found)})
    for number, (label, colormap_of, scale) in enumerate(bars):
        axes = place(grid.left + number * BAR, 0.2, BAR - 2 * MARGIN, 0.1)
        _colour_bar(figure, axes, ScalarMappable(scale, colormap_of), label)
    return figure


@dataclass(frozen=True)
class _Grid:
    """Where pictures and their words stand: squares in rows and columns, all in inches."""

    rows: Sequence[Sequence[Panel | None]]
    largest: float  # that a square may be
    row_labels: Sequence[str]
    column_labels: Sequence[str]

    def __post_init__(self) -> None:
        if not any(panel for row in self.rows for panel in row) or not all(self.rows):
            raise ValueError(
                "there are no panels to draw, but at least one in all and a place for one in each row is needed"
            )
        if self.row_labels:
            check_labels("row labels", self.row_labels, len(self.rows))
        if self.column_labels:
            check_labels("column labels", self.column_labels, self.columns)

    @property
    def columns(self) -> int:
        return max(map(len, self.rows))

    @cached_property
    def side(self) -> float:
        """The side of a square: all of them fit on a page, unless the longest word above them does not fit then."""
        words = [part for panel in filter(None, itertools.chain.from_iterable(self.rows)) for part in _parts(panel)]
        heads = [part for label in self.column_labels for part in label.split()]
        needed = max(LEAST, widest(words, SMALL), widest(heads, SMALL, bold=True))
        return min(self.largest, max(needed, (WIDEST - self.left) / self.columns - GAP))

    @cached_property
    def names(self) -> list[str]:
        """The row labels, left of the pictures."""
        return [wrap(label, 1.2, SMALL) for label in self.row_labels]

    @cached_property
    def heads(self) -> list[str]:
        """The column labels, above them."""
        return [wrap(label, self.side, SMALL, bold=True) for label in self.column_labels]

    @cached_property
    def titles(self) -> list[list[str]]:
        return [[_title(panel, self.side) if panel else "" for panel in row] for row in self.rows]

    @cached_property
    def strips(self) -> list[float]:
        """The height of the titles above each row."""
        return [tallest(row, SMALL) for row in self.titles]

    @cached_property
    def tall(self) -> list[float]:
        """The height of each row's pictures."""
        sizes = [[panel.size(self.side)[1] for panel in row if panel] for row in self.rows]
        return [max(heights, default=self.side) for heights in sizes]

    @property
    def left(self) -> float:
        return widest(self.names, SMALL) + GAP if self.names else 0.0

    @property
    def width(self) -> float:
        return self.left + self.columns * (self.side + GAP)

    @property
    def height(self) -> float:
        return tallest(self.heads, SMALL) + sum(self.strips) + sum(self.tall) + len(self.rows) * GAP

    def draw(self, axes: Axes, looks: Mapping[Shades | None, Look]) -> None:
        """Draw the grid on axes of its size, in the colours of each panel's shades."""
        axes.axis("off")
        lefts = [self.left + column * (self.side + GAP) for column in range(self.columns)]
        top = self.height - tallest(self.heads, SMALL)
        for x, head in zip(lefts, self.heads, strict=False):
            write(axes, x + self.side / 2, top + DESCENT, head, va="baseline", fontweight="bold")
        for number, row in enumerate(self.rows):
            top -= self.strips[number]
            if self.names:
                write(axes, self.left - GAP, top - self.tall[number] / 2, self.names[number], ha="right")
            for x, panel, words in zip(lefts, row, self.titles[number], strict=False):
                if panel:
                    _draw_panel(axes, panel, words, x, top, self.side, looks[panel.shades])
            top -= self.tall[number] + GAP
        axes.set(xlim=(0, self.width), ylim=(0, self.height))


def _draw_panel(axes: Axes, panel: Panel, title: str, left: float, top: float, side: float, look: Look) -> None:
    """Draw a panel with its upper left corner at (left, top) inches, and its title above."""
    shades, scale = look
    wide, high = panel.size(side)
    left += (side - wide) / 2
    image = panel.image[..., 0] if panel.image.shape[2:] == (1,) else panel.image
    # a picture of more pixels than there are dots is thinned out with care: every fourth pixel alone would be noise
    how: dict[str, Any] = {
        "extent": (left, left + wide, top - high, top),
        "aspect": "auto",
        "interpolation": "nearest" if max(image.shape) <= side * DPI else "auto",
    }
    if _is_map(image):
        axes.imshow(image.astype(float), cmap=shades, norm=scale, **how)
    else:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, **how)
    if panel.overlay is not None:
        axes.imshow(panel.overlay.astype(float), cmap=shades.with_extremes(bad="none"), norm=scale, alpha=0.5, **how)
    axes.add_patch(Rectangle((left, top - high), wide, high, fill=False, edgecolor="0.6", linewidth=0.4))
    if panel.box:
        pixels_high, pixels_wide = image.shape[:2]
        x0, x1 = left + np.clip(panel.box[::2], 0, pixels_wide) * wide / pixels_wide
        y0, y1 = top - np.clip(panel.box[1::2], 0, pixels_high) * high / pixels_high
        rim = [withStroke(linewidth=2.6, foreground="black")]  # white with a black rim shows on any picture
        box = Rectangle((x0, y1), x1 - x0, y0 - y1, fill=False, edgecolor="white", linewidth=1.2, path_effects=rim)
        axes.add_patch(box)
    write(axes, left + wide / 2, top + DESCENT, title, va="baseline", color=FLAGS[panel.flag][1])


def _colour_bar(figure: Figure, axes: Axes, shades: ScalarMappable, label: str) -> None:
    figure.colorbar(shades, cax=axes, orientation="horizontal", ticks=MaxNLocator(4), format="%g")
    axes.tick_params(labelsize=SMALL, length=2)
    axes.set_title(plain(label), loc="left", fontsize=SMALL, pad=3)


def _title(panel: Panel, room: float) -> str:
    return wrap(f"{FLAGS[panel.flag][0]} {panel.title}".strip(), room, SMALL)


def _parts(panel: Panel) -> list[str]:
    """Return the words of a panel's title, a flag with the first of them."""
    words = panel.title.split()
    return [f"{FLAGS[panel.flag][0]} {words[0]}", *words[1:]] if words and panel.flag else words


def _is_map(image: np.ndarray) -> bool:
    return image.ndim == 2 and image.dtype.kind == "f"


def _is_box(box: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = box
    return left < right and top < bottom and bool(np.isfinite(box).all())
