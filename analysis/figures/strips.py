"""Many values of a kind along a line: how they are spread, and where a few that are marked lie among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import colours
from analysis.figures.page import MARGIN, WIDEST, as_png, legend, legend_size, name_rows, page
from analysis.figures.text import NOTE, SMALL, height, plain, widest, wrap

LEAST, ROW = 3.0, 0.5  # inches: of the axis, at least, and of a row's height
GOLDEN = (5**0.5 - 1) / 2  # its multiples, less their whole part, lie evenly between 0 and 1 however many there are
DASHES = ("-", "--", ":", "-.")


@as_png
def strips(
    rows: Mapping[str, np.ndarray], *, title: str, caption: str, xlabel: str, marks: Mapping[str, float] | None = None
) -> Figure:
    """Draw for each name → values (n,) a row of points with a line at the median, and for each of `marks`, name →
    value, a line across all rows.

    Points are moved up and down in their row to be seen apart. What is not finite is left out. Raises ValueError where
    there is no row.
    """
    if not rows:
        raise ValueError("there are no strips to draw, but at least one is needed")
    marks = marks or {}
    left = widest(rows, SMALL) + 0.12
    wide = max(LEAST, WIDEST - left - MARGIN)
    below = wrap(xlabel, wide, NOTE)
    foot, high = 0.3 + height(below, NOTE), ROW * len(rows)
    keys, columns = legend_size(marks, wide) if marks else (0.0, 1)
    figure, place = page(left + max(wide + MARGIN, widest(marks, NOTE) + 0.5), foot + high + keys, title, caption)
    axes = place(left, foot, wide, high)
    for number, values in enumerate(rows.values()):
        _draw_row(axes, number, np.sort(values[np.isfinite(values)]))
    looks = {name: _look(number) for number, name in enumerate(marks)}
    for name, value in marks.items():
        axes.axvline(value, **looks[name])
    name_rows(axes, list(rows), below)
    if marks:
        legend(axes, [Line2D([], [], label=plain(name), **look) for name, look in looks.items()], columns)
    return figure


def _draw_row(axes: Axes, number: int, values: np.ndarray) -> None:
    """Draw ascending values at height `number`."""
    away = 0.6 * ((np.arange(1, len(values) + 1) * GOLDEN) % 1 - 0.5)
    size = float(np.clip(3000 / max(1, len(values)), 5, 14))  # square points
    axes.scatter(values, number + away, s=size, color=colours.COLOURS[0], alpha=0.5, linewidths=0)
    if len(values):
        axes.plot([np.median(values)] * 2, [number - 0.4, number + 0.4], color="black", linewidth=1.6)


def _look(number: int) -> dict[str, Any]:
    """Return the look of mark `number`."""
    return {"color": colours.COLOURS[1 + number % 4], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.4}
