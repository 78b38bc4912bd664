"""Points in groups, each group with a look of its own, and a line of steps over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import colours
from analysis.figures.page import GAP, as_png, legend, legend_size, page
from analysis.figures.text import NOTE, SMALL, height, plain, wrap

WIDE, HIGH, LEFT = 4.9, 2.1, 0.65  # inches of the plot, and of the room at its left

Steps = tuple[str, np.ndarray]  # its name, and where it goes (M, 2)


@as_png
def points(
    groups: Mapping[str, np.ndarray],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    steps: Steps | None = None,
    log: bool = False,
    caption: str = "",
) -> Figure:
    """Draw groups of points (N, 2), the first one filled, the others open; `steps` hold each height up to the next.

    `log`: the axis along x is logarithmic. Points that are not finite are left out. Raises ValueError where there is
    nothing to draw.
    """
    if not any(len(each) for each in groups.values()):
        raise ValueError("there are no points to draw, but at least one is needed")
    names = [*groups, *([steps[0]] if steps else [])]
    keys, columns = legend_size(names, WIDE)
    side, below = wrap(ylabel, HIGH, NOTE), wrap(xlabel, WIDE, NOTE)
    foot = 0.25 + height(below, NOTE)
    figure, place = page(LEFT + WIDE, foot + HIGH + keys, title, caption)
    axes = place(LEFT, foot, WIDE, HIGH)
    handles = [_draw(axes, name, each, number) for number, (name, each) in enumerate(groups.items())]
    if steps:
        name, corners = steps
        handles += axes.step(*corners.T, where="post", color="0.2", linewidth=1.2, label=plain(name), zorder=1)
    if log:
        axes.set_xscale("log")
    axes.set_xlabel(plain(below), fontsize=NOTE)
    axes.set_ylabel(plain(side), fontsize=NOTE)
    axes.tick_params(labelsize=SMALL, which="both")
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    rim = place(LEFT, foot + HIGH + GAP, WIDE, 0)
    rim.axis("off")
    legend(rim, handles, columns)
    return figure


def _draw(axes: Axes, name: str, points: np.ndarray, number: int) -> Line2D:
    look = colours.dot(number)
    face = look["color"] if number == 0 else "none"
    known = points[np.isfinite(points).all(axis=1)] if len(points) else np.empty((0, 2))
    how: dict[str, Any] = {"linestyle": "none", "markersize": 4.5, "markerfacecolor": face, "markeredgewidth": 1.0}
    [drawn] = axes.plot(*known.T, label=plain(name), **how, **look)
    return drawn
