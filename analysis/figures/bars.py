"""Bars in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.figures import colours
from analysis.figures.page import NARROWEST, WIDEST, as_png, in_lines, legend, legend_size, page, slant, tick_words
from analysis.figures.text import LEADING, NOTE, SMALL, height, plain, widest, wrap

HIGH = 2.2  # inches of the axes
MOST = 14.0  # inches: as wide as it gets, with however many labels

Series = Mapping[str, np.ndarray]  # name → (labels,)


@as_png
def bars(
    labels: Sequence[str],
    series: Series,
    *,
    title: str,
    caption: str,
    ylabel: str,
    errors: Series | None = None,
    band: float | None = None,
    percent: bool = False,
    sort: bool = False,
) -> Figure:
    """Draw a group of bars per label, one bar of it per series: name → (labels,) values, NaN for none.

    `errors` are half the lengths of error bars, for any of the series. `band` is how far what chance makes reaches from
    0, to either side. `percent` draws fractions times 100. `sort` puts the labels in the order of the first series, the
    largest first. Raises ValueError where lengths or names do not match.
    """
    errors = errors or {}
    _check(labels, series, errors)
    scale = 100 if percent else 1
    order = np.argsort(-colours.finite(next(iter(series.values()))), kind="stable") if sort else np.arange(len(labels))
    heights, spreads = ({name: scale * colours.finite(of[name][order]) for name in of} for of in (series, errors))
    side = wrap(ylabel, HIGH, NOTE)
    left = 0.45 + height(side, NOTE)
    wide = _width(len(labels), len(series), left)
    names = in_lines([labels[index] for index in order], wide / len(labels))
    slanted, foot, overhang = slant(names, wide / len(labels))
    left = max(left, overhang)
    keys, key_columns = legend_size(series, wide) if len(series) > 1 else (0.0, 1)
    figure, place = page(left + max(wide, widest(series, NOTE) + 0.5), foot + HIGH + keys, title, caption)
    axes = place(left, foot, wide, HIGH)
    _draw_groups(axes, heights, spreads, wide / len(labels))
    if band is not None:
        axes.axhspan(-scale * band, scale * band, color="0.85", zorder=0)
    _name_groups(axes, names, slanted)
    axes.set_ylabel(plain(side), fontsize=NOTE)
    if len(series) > 1:
        legend(axes, [Patch(label=plain(name), **colours.fill(at)) for at, name in enumerate(series)], key_columns)
    return figure


def _width(labels: int, series: int, left: float) -> float:
    """Return the inches of the axes: those of half a page, else of a whole one, else what so many labels need."""
    if labels * (0.1 * series + 0.06) <= NARROWEST - left:
        return NARROWEST - left
    return max(WIDEST - left, min(MOST, labels * SMALL * LEADING / 72))


def _check(labels: Sequence[str], series: Series, errors: Series) -> None:
    if not labels or not series:
        raise ValueError("there are no bars to draw, but at least one label and one series are needed")
    if not set(errors) <= set(series):
        raise ValueError(f"there are errors of {sorted(set(errors) - set(series))}, but no such series")
    for name, values in (*series.items(), *errors.items()):
        if values.shape != (len(labels),):
            raise ValueError(f"series {name!r} has the shape {values.shape}, but there are {len(labels)} labels")
    if any((values < 0).any() for values in errors.values()):
        raise ValueError("an error is below 0")


def _draw_groups(axes: Axes, heights: Series, spreads: Series, inches: float) -> None:
    """Draw a group of bars at 0, 1, …, each group `inches` wide with the gap beside it."""
    each = 0.8 / len(heights)
    for number, (name, values) in enumerate(heights.items()):
        x = np.arange(len(values)) + (number - (len(heights) - 1) / 2) * each
        axes.bar(x, values, each, **colours.fill(number))
        if name in spreads:
            cap = min(3, 15 * each * inches)
            axes.errorbar(x, values, spreads[name], fmt="none", ecolor="0.3", elinewidth=1, capsize=cap)
    axes.axhline(0, color="black", linewidth=0.8)


def _name_groups(axes: Axes, names: Sequence[str], slanted: bool) -> None:
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xticks(np.arange(len(names)), list(map(plain, names)), **tick_words(slanted, "right"))
    axes.tick_params(axis="y", labelsize=SMALL)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
