"""Points in the plane, coloured by class."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from analysis.figures.colours import dot
from analysis.figures.page import HALF, MARGIN, NARROWEST, as_png, legend, legend_size, page
from analysis.figures.text import LEADING, NOTE, SMALL, plain, tallest, widest, width, wrap, write

SIDE = HALF - 2 * MARGIN  # inches of a plot
ABREAST = 2
MOST_NAMED = 40  # classes whose names fit

Plot = tuple[str, np.ndarray, np.ndarray]  # title, points (N, 2), classes (N,) int


@as_png
def scatter(plots: Sequence[Plot], *, class_names: Sequence[str], title: str, caption: str) -> Figure:
    """Draw scatter plots, two abreast, one per (title, points (N, 2), classes (N,) int), to the same scale along x and
    y.

    The name of each class stands near the median of its points, unless there are more than MOST_NAMED of them. Points
    that are not finite are left out. Raises ValueError where there is nothing to draw, shapes do not match, or a class
    has no name.
    """
    _check(plots, len(class_names))
    heads = [wrap(name, SIDE, NOTE, bold=True) for name, _, _ in plots]
    present = sorted({int(label) for _, _, classes in plots for label in classes})
    wide = min(len(plots), ABREAST) * (SIDE + MARGIN) - MARGIN
    high = SIDE + tallest(heads, NOTE)
    rows = -(-len(plots) // ABREAST)
    named = len(present) <= MOST_NAMED
    names = [class_names[label] for label in present] if named else []
    keys, key_columns = legend_size(names, max(wide, NARROWEST)) if named else (0.0, 0)
    caption += "" if named else f" The {len(present)} classes are too many to be named."
    figure, place = page(max(wide, widest(names, NOTE) + 0.5), keys + rows * (high + MARGIN), title, caption)
    for number, (_, points, classes) in enumerate(plots):
        row, column = divmod(number, ABREAST)
        axes = place(column * (SIDE + MARGIN), keys + (rows - 1 - row) * (high + MARGIN), SIDE, SIDE)
        finite = np.isfinite(points).all(axis=1)
        _draw_points(axes, points[finite].astype(float), classes[finite], class_names if named else None)
        axes.set_title(plain(heads[number]), fontsize=NOTE, fontweight="bold", loc="left", pad=3)
        if named and row == rows - 1 and not column:
            handles = [Line2D([], [], linestyle="", label=plain(class_names[label]), **dot(label)) for label in present]
            legend(axes, handles, key_columns, below=True)
    return figure


def _check(plots: Sequence[Plot], named: int) -> None:
    if not plots:
        raise ValueError("there are no plots to draw, but at least one is needed")
    for name, points, classes in plots:
        if points.ndim != 2 or points.shape[1] != 2 or classes.shape != points.shape[:1]:
            raise ValueError(
                f"plot {name!r} has points {points.shape} and classes {classes.shape}, but must have (N, 2) and (N,)"
            )
        if classes.dtype.kind not in "iu" or not set(classes.tolist()) <= set(range(named)):
            raise ValueError(f"plot {name!r} has classes beyond whole numbers from 0 to {named - 1}, those with a name")


def _draw_points(axes: Axes, points: np.ndarray, classes: np.ndarray, class_names: Sequence[str] | None) -> None:
    """Draw one scatter plot, its range the same along x and y; with `class_names` each class is named."""
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.ones(2))
    middle, reach = (low + high) / 2, 0.54 * (max(high - low) or 1.0)
    size = float(np.clip(4000 / max(1, len(points)), 4, 16))  # square points
    present = [int(label) for label in np.unique(classes)]
    for label in present:
        own = points[classes == label]
        axes.scatter(own[:, 0], own[:, 1], s=size, alpha=0.8, linewidths=0, **dot(label))
    limits = [(centre - reach, centre + reach) for centre in middle]
    axes.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("0.7")
    if present and class_names:
        medians = np.stack([np.median(points[classes == label], axis=0) for label in present])
        _name_classes(axes, [class_names[label] for label in present], medians, middle, reach)


def _name_classes(axes: Axes, names: Sequence[str], medians: np.ndarray, middle: np.ndarray, reach: float) -> None:
    """Write names near these points (N, 2), apart from each other, each with a line to its point."""
    sizes = np.array([[width(name, SMALL, bold=True) + 0.04, SMALL * LEADING / 72] for name in names])
    inches = SIDE / (2 * reach)
    at = apart((medians - middle) * inches, sizes, SIDE / 2) / inches + middle
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for name, median, spot in zip(names, medians, at, strict=True):
        axes.plot([median[0], spot[0]], [median[1], spot[1]], color="black", linewidth=0.6, path_effects=halo)
        write(axes, spot[0], spot[1], name, fontweight="bold", path_effects=halo, zorder=4)


def apart(centres: np.ndarray, sizes: np.ndarray, reach: float) -> np.ndarray:
    """Return the centres (N, 2) of boxes of these sizes, moved up and down until they do not overlap.

    They stay within ± reach as far as they fit.
    """
    room = np.maximum(reach - sizes / 2, 0)
    at = np.clip(centres, -room, room)
    pairs = list(itertools.combinations(np.argsort(-at[:, 1], kind="stable"), 2))  # the upper one first
    for _ in range(200):
        for upper, lower in pairs:
            distance = np.abs(at[upper, 0] - at[lower, 0]), at[upper, 1] - at[lower, 1]
            across, down = (sizes[upper] + sizes[lower]) / 2 - distance
            if across > 0 and down > 0:
                at[upper, 1] += down / 2
                at[lower, 1] -= down / 2
        at = np.clip(at, -room, room)
    return at
