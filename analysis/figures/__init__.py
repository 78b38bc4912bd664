"""Arrays in, PNG bytes out: the one place that draws.

Figures are made object by object, without pyplot, so that nothing global changes and no display is needed. The same
input gives the same bytes. Text is drawn as it stands. Colours are those of Okabe and Ito
(https://jfly.uni-koeln.de/color/), told apart by all common kinds of colour vision; markers, line styles and hatches
say the same in gray.
"""

from __future__ import annotations

import functools
import io
import itertools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

DPI = 150

# Yellow comes last, being weak on white. Seven markers for eight colours: a pair of both comes again only after 56
# curves.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
LINES = ("-", "-.", ":")  # dashed is kept for curves that stopped early
UNMATCHED = {"color": "0.35", "marker": "o"}
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")

DIVERGING = ("RdBu_r", "coolwarm")  # white or pale in the middle, which must be 0
MISSING = "0.75"  # light gray, but no shade of either
FLAGS = {None: ("", "black"), "right": ("✓", COLOURS[0]), "wrong": ("✗", COLOURS[1])}

# Pages other than curves are laid out by hand, in inches: font sizes in points, widths measured, heights by the line.
SMALL, NOTE, TITLE = 7, 8, 12
LEADING = 1.3
DESCENT = 0.032  # inches below the line a small text stands on, so that "cat" stands as high as "ship"
MARGIN, GAP = 0.12, 0.06
NARROWEST = 4.5  # no page is narrower, so that title and caption have room

P = ParamSpec("P")


def _as_png(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Let a function that composes a figure return the bytes of a PNG file.

    The figure itself is in reach as `__wrapped__`.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        png = io.BytesIO()
        # the version of matplotlib is no part of the figure
        FigureCanvasAgg(draw(*args, **kwargs)).print_png(png, metadata={"Software": None})
        return png.getvalue()

    return drawn


@dataclass(frozen=True)
class Curve:
    """One trial's metric, (replicates, epochs) with epoch 1 first. NaN is a gap. `censored`: it was stopped early."""

    label: str
    values: np.ndarray
    censored: bool = False

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(
                f"curve {self.label!r} has the shape {self.values.shape}, but must have (replicates, epochs), both "
                "at least 1"
            )


@dataclass(frozen=True)
class Panel:
    """A picture of a grid: (H, W, 3) uint8 in colour; (H, W, 1) or (H, W) uint8 in gray; (H, W) float in the grid's
    colours, NaN in gray.

    `title` stands above it, `flag` ("right" or "wrong") marks that in words and colour. `box`: left, top, right, bottom
    in pixels, edges counted from the upper left corner; what lies outside the picture is cut off. `overlay`: a float
    map (h, w) stretched over the picture, half transparent, see-through where it is NaN.
    """

    image: np.ndarray
    title: str = ""
    box: tuple[float, float, float, float] | None = None
    overlay: np.ndarray | None = None
    flag: str | None = None

    def __post_init__(self) -> None:
        shape, kind = self.image.shape, self.image.dtype
        a_picture = kind == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))
        if not self.image.size or not (a_picture or _is_map(self.image)):
            raise ValueError(
                f"panel {self.title!r}: the image is {shape} {kind}, but must be (H, W, 3), (H, W, 1), (H, W) uint8 "
                "or (H, W) float"
            )
        if self.overlay is not None and not (self.overlay.size and _is_map(self.overlay)):
            raise ValueError(
                f"panel {self.title!r}: the overlay is {self.overlay.shape} {self.overlay.dtype}, but must be (h, w) "
                "float"
            )
        if self.box is not None and not (
            self.box[0] < self.box[2] and self.box[1] < self.box[3] and np.isfinite(self.box).all()
        ):
            raise ValueError(f"panel {self.title!r}: the box {self.box} is not left < right, top < bottom")
        if self.flag not in FLAGS:
            raise ValueError(f'panel {self.title!r}: the flag is {self.flag!r}, but must be "right", "wrong" or None')


@_as_png
def curves(
    curves: Sequence[Curve],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
    caption: str | None = None,
    reference: Sequence[tuple[str, int, float]] = (),
) -> Figure:
    """Draw curves against the epoch on one axis: means over replicates, in bands of ± 1 sd where there are two or more.

    An epoch at which any replicate has no finite value is a gap: a mean over the rest would flatter. `percent` draws
    fractions times 100, those of `reference` too, whose points (label, epoch, value) are open markers like those of the
    curve with that label.
    """
    if not curves:
        raise ValueError("there are no curves to draw, but at least one is needed")
    scale = 100 if percent else 1
    handles = len(curves) + bool(reference)
    rim = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(8, max(4.5, 1.5 + 0.22 * handles)), dpi=DPI, layout=rim)
    axes = figure.add_subplot()
    styles = {curve.label: _style(number) for number, curve in enumerate(curves)}
    lines = [_draw_curve(axes, curve, scale, _style(number)) for number, curve in enumerate(curves)]
    for label, epoch, value in reference:
        axes.plot([epoch], [scale * value], **_open(styles.get(label, UNMATCHED)))
    if reference:
        lines.append(Line2D([], [], label="published best", **_open(UNMATCHED)))
    _epoch_axis(axes, max([curve.values.shape[1] for curve in curves] + [epoch for _, epoch, _ in reference]))
    axes.set_ylabel(_plain(ylabel))
    axes.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    _describe(figure, title, caption)
    return figure


@_as_png
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
    """Draw a grid of pictures, pixel by pixel, each within a square of `panel_inches`. None, and what a short row
    lacks, is a gap.

    All float images and overlays share one scale: `limits`, else from the least to the greatest finite value, symmetric
    about 0 for the colormaps "RdBu_r" and "coolwarm". `colour_label` (what it measures, units) draws its colour bar.
    Raises ValueError where there is nothing to draw, or labels do not match rows and columns.
    """
    columns = max(map(len, rows), default=0)
    shown = [panel for row in rows for panel in row if panel]
    if not shown or not all(rows):
        raise ValueError(
            "there are no panels to draw, but at least one in all and a place for one in each row is needed"
        )
    if row_labels:
        _check_labels("row labels", row_labels, len(rows))
    if column_labels:
        _check_labels("column labels", column_labels, columns)
    maps = [image for panel in shown for image in (panel.image, panel.overlay) if image is not None and _is_map(image)]
    if colour_label is not None and not maps:
        raise ValueError(
            f"the colour bar {colour_label!r} has nothing to measure: no panel has a float image or an overlay"
        )
    colours = mpl.colormaps[colormap].with_extremes(bad=MISSING)
    norm = _scale(maps, limits, symmetric=colormap in DIVERGING)

    names = [_wrap(label, 1.4, SMALL) for label in row_labels]
    heads = [_wrap(label, panel_inches, SMALL, bold=True) for label in column_labels]
    titles = [[_panel_title(panel, panel_inches) for panel in row] for row in rows]
    left = _widest(names, SMALL) + GAP if names else 0.0
    head = _tallest(heads, SMALL)
    strips = [_tallest(row, SMALL) for row in titles]
    tall = [
        max((_picture_size(panel, panel_inches)[1] for panel in row if panel), default=panel_inches) for row in rows
    ]
    width, height = left + columns * (panel_inches + GAP), head + sum(strips) + sum(tall) + len(rows) * GAP
    bar_label = _wrap(colour_label or "", NARROWEST - left, SMALL)
    bar = 0.45 + _height(bar_label, SMALL) if bar_label else 0.0

    figure, place = _page(width, bar + height, title, caption)
    axes = place(0, bar, width, height)
    axes.axis("off")
    lefts = [left + column * (panel_inches + GAP) for column in range(columns)]
    for x, label in zip(lefts, heads, strict=False):
        _write(axes, x + panel_inches / 2, height - head + DESCENT, label, va="baseline", fontweight="bold")
    top = height - head
    for number, row in enumerate(rows):
        top -= strips[number]
        if names:
            _write(axes, left - GAP, top - tall[number] / 2, names[number], ha="right")
        for x, panel, words in zip(lefts, row, titles[number], strict=False):
            if panel:
                _draw_panel(axes, panel, words, x, top, panel_inches, colours, norm)
        top -= tall[number] + GAP
    axes.set(xlim=(0, width), ylim=(0, height))
    if bar_label:
        scale = place(left, 0.2, 2.5, 0.1)
        figure.colorbar(
            ScalarMappable(norm, colours), cax=scale, orientation="horizontal", ticks=MaxNLocator(4), format="%g"
        )
        scale.tick_params(labelsize=SMALL, length=2)
        scale.set_title(_plain(bar_label), loc="left", fontsize=SMALL, pad=3)
    return figure


@_as_png
def matrix(
    values: np.ndarray,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str,
    caption: str,
    xlabel: str,
    ylabel: str,
    percent: bool = False,
    text: Sequence[Sequence[str]] | None = None,
    emphasise_rows: bool = False,
) -> Figure:
    """Draw (rows, columns) values as a heat map with a number in each cell: as it is, or `text` of the same shape in
    its place.

    `percent` writes fractions times 100. A cell without a finite value is gray and empty. `emphasise_rows` sets the
    largest cell of each row in bold. Raises ValueError where shapes do not match.
    """
    if values.ndim != 2 or not values.size:
        raise ValueError(f"the matrix has the shape {values.shape}, but must have (rows, columns), both at least 1")
    rows, columns = values.shape
    _check_labels("row labels", row_labels, rows)
    _check_labels("column labels", column_labels, columns)
    if text is not None and [len(line) for line in text] != [columns] * rows:
        raise ValueError(
            f"the text has rows of {[len(line) for line in text]} cells, but the matrix has the shape {values.shape}"
        )
    known = (100 if percent else 1) * _finite(values)
    words = _numbers(known, percent) if text is None else text

    flat = [word for line in words for word in line]
    # each side is long enough for its label, too
    wide = max(0.34, _widest(flat, SMALL, bold=True) + 0.1, _width(xlabel, NOTE) / columns)
    tall = max(0.3, _tallest(flat, SMALL) + 0.08, _width(ylabel, NOTE) / rows)
    left = _widest(row_labels, SMALL) + 0.35
    slanted, head, overhang = _slant(column_labels, wide)
    figure, place = _page(left + columns * wide + max(0, overhang - wide / 2), rows * tall + head + 0.3, title, caption)
    axes = place(left, 0, columns * wide, rows * tall)
    norm = _scale([known, np.zeros((1, 1))], None)
    colours = mpl.colormaps["Blues"].with_extremes(bad="0.88")
    axes.pcolormesh(np.ma.masked_invalid(known), cmap=colours, norm=norm, edgecolors="white", linewidth=0.6)
    axes.invert_yaxis()
    for row, column in zip(*np.nonzero(np.isfinite(known)), strict=True):
        dark = np.dot(colours(norm(known[row, column]))[:3], (0.299, 0.587, 0.114)) < 0.55
        bold = emphasise_rows and np.nanmin(known[row]) < known[row, column] == np.nanmax(known[row])
        look = {"color": "white" if dark else "black", "fontweight": "bold" if bold else "normal"}
        _write(axes, column + 0.5, row + 0.5, words[row][column], **look)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(
        np.arange(columns) + 0.5, [_plain(label) for label in column_labels], **_tick_words(slanted, "left")
    )
    axes.set_yticks(np.arange(rows) + 0.5, [_plain(label) for label in row_labels], fontsize=SMALL)
    axes.tick_params(length=0, pad=2)
    axes.set_xlabel(_plain(xlabel), fontsize=NOTE)
    axes.set_ylabel(_plain(ylabel), fontsize=NOTE)
    axes.spines[:].set_visible(False)
    return figure


@_as_png
def bars(
    labels: Sequence[str],
    series: Mapping[str, np.ndarray],
    *,
    title: str,
    caption: str,
    ylabel: str,
    errors: Mapping[str, np.ndarray] | None = None,
    percent: bool = False,
    sort: bool = False,
) -> Figure:
    """Draw a group of bars per label, one bar of it per series: name → (labels,) values, NaN for none.

    `errors` are half the lengths of error bars, for any of the series. `percent` draws fractions times 100. `sort` puts
    the labels in the order of the first series, the largest first. Raises ValueError where lengths or names do not
    match.
    """
    errors = errors or {}
    if not labels or not series:
        raise ValueError("there are no bars to draw, but at least one label and one series are needed")
    if not set(errors) <= set(series):
        raise ValueError(f"there are errors of {sorted(set(errors) - set(series))}, but no such series")
    for name, values in (*series.items(), *errors.items()):
        if values.shape != (len(labels),):
            raise ValueError(f"series {name!r} has the shape {values.shape}, but there are {len(labels)} labels")
    if any((values < 0).any() for values in errors.values()):
        raise ValueError("an error is below 0")
    scale = 100 if percent else 1
    order = np.argsort(-_finite(next(iter(series.values()))), kind="stable") if sort else np.arange(len(labels))
    names = [labels[index] for index in order]

    width = min(max(NARROWEST, len(labels) * (0.15 * len(series) + 0.12)), 14)
    slanted, foot, overhang = _slant(names, width / len(labels))
    side = _wrap(ylabel, 3, NOTE)
    left = max(0.65 + _height(side, NOTE), overhang)
    handles = [Patch(label=_plain(name), **_fill(number)) for number, name in enumerate(series)]
    keys, key_columns = _legend_size(series, width) if len(series) > 1 else (0.0, 1)
    figure, place = _page(left + max(width, _widest(series, NOTE) + 0.5), foot + 3 + keys, title, caption)
    axes = place(left, foot, width, 3)
    at, each = np.arange(len(labels)), 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        x = at + (number - (len(series) - 1) / 2) * each
        axes.bar(x, scale * _finite(values[order]), each, **_fill(number))
        if name in errors:
            cap = min(3, 15 * each * width / len(labels))
            axes.errorbar(
                x,
                scale * _finite(values[order]),
                scale * _finite(errors[name][order]),
                fmt="none",
                ecolor="0.3",
                elinewidth=1,
                capsize=cap,
            )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_xticks(at, [_plain(name) for name in names], **_tick_words(slanted, "right"))
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(_plain(side), fontsize=NOTE)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    if len(series) > 1:
        _legend(axes, handles, key_columns)
    return figure


@_as_png
def scatter(
    plots: Sequence[tuple[str, np.ndarray, np.ndarray]],
    *,
    class_names: Sequence[str],
    title: str,
    caption: str,
) -> Figure:
    """Draw scatter plots side by side, one per (title, points (N, 2), classes (N,) int), to the same scale along x and
    y.

    The name of each class stands near the median of its points. Points that are not finite are left out. Raises
    ValueError where there is nothing to draw, shapes do not match, or a class has no name.
    """
    if not plots:
        raise ValueError("there are no plots to draw, but at least one is needed")
    for name, points, classes in plots:
        if points.ndim != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
            raise ValueError(
                f"plot {name!r} has points {points.shape} and classes {classes.shape}, but must have (N, 2) and (N,)"
            )
        if classes.dtype.kind not in "iu" or not set(classes.tolist()) <= set(range(len(class_names))):
            raise ValueError(
                f"plot {name!r} has classes beyond whole numbers from 0 to {len(class_names) - 1}, those with a name"
            )
    side = 3.4
    heads = [_wrap(name, side, NOTE, bold=True) for name, _, _ in plots]
    present = sorted({int(label) for _, _, classes in plots for label in classes})
    width = len(plots) * (side + MARGIN)
    names = [class_names[label] for label in present]
    keys, key_columns = _legend_size(names, max(width, NARROWEST))
    figure, place = _page(max(width, _widest(names, NOTE) + 0.5), keys + side + _tallest(heads, NOTE), title, caption)
    for number, (_, points, classes) in enumerate(plots):
        axes = place(number * (side + MARGIN), keys, side, side)
        finite = np.isfinite(points).all(axis=1)
        _draw_points(axes, points[finite].astype(float), classes[finite], class_names, side)
        axes.set_title(_plain(heads[number]), fontsize=NOTE, fontweight="bold", loc="left", pad=3)
        if not number:
            handles = [
                Line2D([], [], linestyle="", label=_plain(class_names[label]), **_dot(label)) for label in present
            ]
            _legend(axes, handles, key_columns, below=True)
    return figure


def _draw_panel(
    axes: Axes, panel: Panel, title: str, left: float, top: float, side: float, colours: Colormap, norm: Normalize
) -> None:
    """Draw a panel with its upper left corner at (left, top) inches, and its title above."""
    width, height = _picture_size(panel, side)
    left += (side - width) / 2
    extent = (left, left + width, top - height, top)
    image = panel.image[..., 0] if panel.image.shape[2:] == (1,) else panel.image
    # a picture of more pixels than there are dots is thinned out with care: every fourth pixel alone would be noise
    how: dict[str, Any] = {
        "extent": extent,
        "aspect": "auto",
        "interpolation": "nearest" if max(image.shape) <= side * DPI else "auto",
    }
    if _is_map(image):
        axes.imshow(image.astype(float), cmap=colours, norm=norm, **how)
    else:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, **how)
    if panel.overlay is not None:
        axes.imshow(panel.overlay.astype(float), cmap=colours.with_extremes(bad="none"), norm=norm, alpha=0.5, **how)
    axes.add_patch(Rectangle((left, top - height), width, height, fill=False, edgecolor="0.6", linewidth=0.4))
    if panel.box:
        pixels_high, pixels_wide = image.shape[:2]
        x0, x1 = left + np.clip(panel.box[::2], 0, pixels_wide) * width / pixels_wide
        y0, y1 = top - np.clip(panel.box[1::2], 0, pixels_high) * height / pixels_high
        rim = [withStroke(linewidth=2.6, foreground="black")]  # white with a black rim shows on any picture
        axes.add_patch(
            Rectangle((x0, y1), x1 - x0, y0 - y1, fill=False, edgecolor="white", linewidth=1.2, path_effects=rim)
        )
    _write(axes, left + width / 2, top + DESCENT, title, va="baseline", color=FLAGS[panel.flag][1])


def _draw_points(axes: Axes, points: np.ndarray, classes: np.ndarray, class_names: Sequence[str], side: float) -> None:
    """Draw one scatter plot in a square of `side` inches, its range the same along x and y."""
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.ones(2))
    middle, reach = (low + high) / 2, 0.54 * (max(high - low) or 1.0)
    size = float(np.clip(4000 / max(1, len(points)), 4, 16))  # square points
    present = [int(label) for label in np.unique(classes)]
    for label in present:
        axes.scatter(
            points[classes == label, 0], points[classes == label, 1], s=size, alpha=0.6, linewidths=0, **_dot(label)
        )
    axes.set(
        xlim=(middle[0] - reach, middle[0] + reach),
        ylim=(middle[1] - reach, middle[1] + reach),
        xticks=[],
        yticks=[],
        aspect="equal",
    )
    axes.spines[:].set_color("0.7")
    if not present:
        return
    medians = np.stack([np.median(points[classes == label], axis=0) for label in present])
    sizes = np.array([[_width(class_names[label], SMALL, bold=True) + 0.04, SMALL * LEADING / 72] for label in present])
    inches = side / (2 * reach)
    at = _apart((medians - middle) * inches, sizes, side / 2) / inches + middle
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for label, median, spot in zip(present, medians, at, strict=True):
        axes.plot([median[0], spot[0]], [median[1], spot[1]], color="black", linewidth=0.6, path_effects=halo)
        _write(axes, spot[0], spot[1], class_names[label], fontweight="bold", path_effects=halo, zorder=4)


def _apart(centres: np.ndarray, sizes: np.ndarray, reach: float) -> np.ndarray:
    """Return the centres (N, 2) of boxes of these sizes moved up and down until they do not overlap, within ± reach as far as they fit."""
    room = np.maximum(reach - sizes / 2, 0)
    at = np.clip(centres, -room, room)
    pairs = list(itertools.combinations(np.argsort(-at[:, 1], kind="stable"), 2))  # the upper one first
    for _ in range(200):
        for upper, lower in pairs:
            across, down = (sizes[upper] + sizes[lower]) / 2 - (
                np.abs(at[upper, 0] - at[lower, 0]),
                at[upper, 1] - at[lower, 1],
            )
            if across > 0 and down > 0:
                at[upper, 1] += down / 2
                at[lower, 1] -= down / 2
        at = np.clip(at, -room, room)
    return at


def _scale(maps: Sequence[np.ndarray], limits: tuple[float, float] | None, symmetric: bool = False) -> Normalize:
    """Return the scale of limits, else that of the maps' finite values; it has a length, whatever they are."""
    if limits is not None:
        if not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise ValueError(f"the limits {limits} are not two numbers, the lower one first")
        return Normalize(*limits)
    finite = [values[np.isfinite(values)] for values in maps]
    low = min((float(values.min()) for values in finite if values.size), default=0.0)
    high = max((float(values.max()) for values in finite if values.size), default=0.0)
    if symmetric:
        high = max(high, -low)
        low = -high
    if low == high:
        low, high = low - (abs(low) or 1), high + (abs(high) or 1)
    return Normalize(low, high)


def _finite(values: np.ndarray) -> np.ndarray:
    """Return values with NaN for all that is not finite."""
    return np.where(np.isfinite(values), values, np.nan)


def _is_map(image: np.ndarray) -> bool:
    return image.ndim == 2 and image.dtype.kind == "f"


def _picture_size(panel: Panel, side: float) -> tuple[float, float]:
    """Return width and height in inches of a picture that just fits into a square."""
    height, width = panel.image.shape[:2]
    return side * width / max(height, width), side * height / max(height, width)


def _panel_title(panel: Panel | None, width: float) -> str:
    return _wrap(f"{FLAGS[panel.flag][0]} {panel.title}".strip(), width, SMALL) if panel else ""


def _numbers(values: np.ndarray, percent: bool) -> list[list[str]]:
    """Return values in words: whole ones without decimals, percentages with one, others with three digits."""
    whole = not percent and bool((values == values.round())[np.isfinite(values)].all())
    style = ",.0f" if whole else ".1f" if percent else ".3g"
    return [[f"{value:{style}}" if np.isfinite(value) else "" for value in row] for row in values.tolist()]


def _check_labels(what: str, labels: Sequence[str], number: int) -> None:
    if len(labels) != number:
        raise ValueError(f"there are {len(labels)} {what}, but must be {number}")


def _page(
    width: float, height: float, title: str, caption: str
) -> tuple[Figure, Callable[[float, float, float, float], Axes]]:
    """Return a figure with the title above and the caption below `width` × `height` inches, and what makes axes there.

    That takes left, bottom, width and height in inches from the lower left corner of the free space.
    """
    inner = max(width, NARROWEST)
    title, caption = _wrap(title, inner, TITLE, bold=True), _wrap(caption, inner, NOTE)
    foot = MARGIN + (_height(caption, NOTE) + MARGIN if caption else 0)
    page_width, page_height = inner + 2 * MARGIN, foot + height + MARGIN + _height(title, TITLE) + MARGIN
    figure = Figure(figsize=(page_width, page_height), dpi=DPI)
    left = MARGIN / page_width
    figure.text(left, 1 - MARGIN / page_height, _plain(title), ha="left", va="top", fontsize=TITLE, fontweight="bold")
    figure.text(left, MARGIN / page_height, _plain(caption), ha="left", va="bottom", fontsize=NOTE, color="0.3")

    def place(left: float, bottom: float, width: float, height: float) -> Axes:
        corner = ((MARGIN + left) / page_width, (foot + bottom) / page_height)
        return figure.add_axes((*corner, width / page_width, height / page_height))

    return figure, place


def _legend_size(names: Iterable[str], width: float) -> tuple[float, int]:
    """Return the height in inches of a legend of this width, and its columns."""
    number = len(list(names))
    columns = min(number, max(1, int(width / (_widest(names, NOTE) + 0.5))))
    return 0.165 * -(-number // columns) + MARGIN, columns


def _legend(axes: Axes, handles: Sequence[Any], columns: int, below: bool = False) -> None:
    look = {
        "frameon": False,
        "fontsize": NOTE,
        "borderaxespad": 0.3,
        "borderpad": 0,
        "handlelength": 1.8,
        "columnspacing": 1.2,
    }
    corner, anchor = ("upper left", (0, 0)) if below else ("lower left", (0, 1))
    axes.legend(handles=handles, loc=corner, bbox_to_anchor=anchor, ncols=columns, labelspacing=0.4, **look)


def _slant(labels: Sequence[str], room: float) -> tuple[bool, float, float]:
    """Return whether tick labels must slant to fit into `room` inches each, and how far they then reach away from the axis and sideways."""
    widest = _widest(labels, SMALL)
    if widest <= room - GAP:
        return False, _tallest(labels, SMALL) + GAP, 0
    return True, widest * 0.71 + 0.15, widest * 0.71 + GAP


def _tick_words(slanted: bool, side: str) -> dict[str, Any]:
    return {"fontsize": SMALL} | ({"rotation": 45, "ha": side, "rotation_mode": "anchor"} if slanted else {})


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": SMALL, "linespacing": 1.1}
    axes.text(x, y, _plain(text), **(style | look))


def _dot(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _fill(number: int) -> dict[str, Any]:
    look = {"facecolor": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)]}
    return look | {"edgecolor": "black", "linewidth": 0.5, "hatch_linewidth": 0.5}


def _wrap(text: str, width: float, size: float, bold: bool = False) -> str:
    """Return text in lines no wider than `width` inches.

    Its own line ends stay; a word too long for a line is broken.
    """
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and _width(f"{line} {word}", size, bold) > width:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            while len(line) > 1 and _width(line, size, bold) > width:
                cut = next((end for end in range(len(line) - 1, 1, -1) if _width(line[:end], size, bold) <= width), 1)
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    return "\n".join(lines)


@functools.lru_cache(maxsize=10_000)
def _width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of drawn text in inches, that of its longest line."""
    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return (
        max(
            (_RULER.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.splitlines()),
            default=0.0,
        )
        / DPI
    )


_RULER = RendererAgg(1, 1, DPI)


def _height(text: str, size: float) -> float:
    """Return inches enough for the lines of a text."""
    return len(text.splitlines()) * LEADING * size / 72


def _widest(texts: Iterable[str], size: float, bold: bool = False) -> float:
    return max((_width(text, size, bold) for text in texts), default=0.0)


def _tallest(texts: Iterable[str], size: float) -> float:
    return max((_height(text, size) for text in texts), default=0.0)


def _draw_curve(axes: Axes, curve: Curve, scale: float, style: dict[str, Any]) -> Line2D:
    """Draw one curve and its band; return the line, which carries the legend's words."""
    values = scale * _finite(curve.values)
    replicates, last = values.shape
    epochs, mean = np.arange(1, last + 1), values.mean(axis=0)
    label = f"{curve.label} (stopped early)" if curve.censored else curve.label
    look = style | ({"linestyle": "--"} if curve.censored else {})
    every = max(1, last // 15)
    [line] = axes.plot(
        epochs, mean, **look, label=_plain(textwrap.fill(label, 30)), linewidth=1.6, markersize=4.5, markevery=every
    )
    if replicates > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
    if curve.censored:
        axes.plot(
            [last], [mean[-1]], color=style["color"], marker="X", markersize=10, markeredgecolor="white", zorder=3
        )
    return line


def _style(number: int) -> dict[str, Any]:
    color, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": color, "marker": marker, "linestyle": LINES[number // len(COLOURS) % len(LINES)]}


def _open(style: dict[str, Any]) -> dict[str, Any]:
    """Return a curve's style as that of a lone marker, larger and unfilled: points that coincide stay visible."""
    return style | {
        "linestyle": "none",
        "markerfacecolor": "none",
        "markersize": 10,
        "markeredgewidth": 1.6,
        "zorder": 4,
    }


def _epoch_axis(axes: Axes, last: int) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, last + 0.5)
    if last <= 20:
        axes.set_xticks(range(1, last + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _describe(figure: Figure, title: str, caption: str | None) -> None:
    figure.suptitle(_plain(textwrap.fill(title, 65)), x=0.01, ha="left", fontsize=12, fontweight="bold")
    if caption:
        figure.supxlabel(_plain(textwrap.fill(caption, 125)), x=0.01, ha="left", fontsize=8, color="0.3")


def _plain(text: str) -> str:
    """Return text that is drawn as it stands: a dollar starts no formula."""
    return text.replace("$", r"\$")
