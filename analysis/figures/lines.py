"""Lines over anything but epochs: shares of an image, layers of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import colours
from analysis.figures.page import GAP, NARROWEST, WIDEST, as_png, legend, legend_size, page, slant, tick_words
from analysis.figures.text import NOTE, SMALL, height, plain, tallest, widest, wrap

LEAST, HIGH, BETWEEN = 1.8, 2.2, 0.3  # inches of a plot: its least width, its height, and between two

Plot = tuple[str, Mapping[str, np.ndarray]]  # title; name → values (replicates, x)


@as_png
def lines(
    plots: Sequence[Plot], x: Sequence[float] | Sequence[str], *, title: str, caption: str, xlabel: str, ylabel: str
) -> Figure:
    """Draw plots side by side on one scale, in each a line per name: the mean of values (replicates, x), in a band of ±
    1 sd where there are two or more.

    `x` are numbers, or words for ticks at equal distances. A place at which any replicate has no finite value is a gap.
    Every plot has the same names. Raises ValueError where there is nothing to draw, or shapes or names do not match.
    """
    _check(plots, len(x))
    words, names = [each for each in x if isinstance(each, str)], list(plots[0][1])
    side = wrap(ylabel, HIGH, NOTE)
    left = 0.4 + height(side, NOTE)
    page_wide = NARROWEST if len(plots) == 1 else WIDEST
    wide = max((page_wide - left) / len(plots) - BETWEEN, LEAST, 0.3 * len(words))
    slanted, foot, overhang = slant(words, wide / len(x)) if words else (False, 0.2, 0.0)
    below, left = wrap(xlabel, wide, NOTE), max(left, overhang)
    room = max(left + len(plots) * (wide + BETWEEN), left + widest(names, NOTE) + 0.5)
    heads = [wrap(head, wide, NOTE, bold=True) for head, _ in plots]
    foot += height(below, NOTE) + 2 * GAP
    above = foot + HIGH + tallest(heads, NOTE) + GAP
    keys, key_columns = legend_size(names, room - left)
    figure, place = page(room, above + keys, title, caption)
    limits = _limits([values for _, of in plots for values in of.values()])
    for number, (head, (_, of)) in enumerate(zip(heads, plots, strict=True)):
        axes = place(left + number * (wide + BETWEEN), foot, wide, HIGH)
        _draw(axes, of, list(range(len(x))) if words else list(map(float, x)))
        if words:
            axes.set_xticks(range(len(x)), list(map(plain, words)), **tick_words(slanted, "right"))
        axes.tick_params(labelleft=not number)
        axes.set_ylim(*limits)
        axes.set_title(plain(head), fontsize=NOTE, fontweight="bold", loc="left", pad=3)
        axes.set_xlabel(plain(below), fontsize=NOTE)
        axes.set_ylabel("" if number else plain(side), fontsize=NOTE)
    rim = place(left, above, room - left, 0)
    rim.axis("off")
    legend(rim, [Line2D([], [], label=plain(name), **_look(at)) for at, name in enumerate(names)], key_columns)
    return figure


def _check(plots: Sequence[Plot], places: int) -> None:
    if not plots or not plots[0][1] or not places:
        raise ValueError("there are no lines to draw, but at least one plot, one line and one place are needed")
    for title, of in plots:
        if list(of) != list(plots[0][1]):
            raise ValueError(f"plot {title!r} has the lines {list(of)}, but must have {list(plots[0][1])}")
        for name, values in of.items():
            if values.ndim != 2 or not len(values) or values.shape[1] != places:
                raise ValueError(f"line {name!r} has the shape {values.shape}, but must have (replicates, {places})")


def _draw(axes: Axes, of: Mapping[str, np.ndarray], x: Sequence[float]) -> None:
    for number, values in enumerate(map(colours.finite, of.values())):
        mean = values.mean(axis=0)
        axes.plot(x, mean, **_look(number), markevery=max(1, len(x) // 10))
        if len(values) > 1:
            sd = values.std(axis=0, ddof=1)
            axes.fill_between(x, mean - sd, mean + sd, color=colours.line(number)["color"], alpha=0.15, linewidth=0)
    axes.tick_params(labelsize=SMALL)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _look(number: int) -> dict[str, Any]:
    return colours.line(number) | {"linewidth": 1.4, "markersize": 4}


def _limits(series: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the ends of an axis on which all lines and bands fit; 0 is one of them where all is on one side of it."""
    edges = [0.0]
    for values in map(colours.finite, series):
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else 0.0
        known = np.concatenate([mean - sd, mean + sd])
        edges += known[np.isfinite(known)].tolist()
    low, high = min(edges), max(edges)
    if low == high:
        high = 1.0
    rim = 0.04 * (high - low)
    return low - rim * (low < 0), high + rim
