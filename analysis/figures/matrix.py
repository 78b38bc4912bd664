"""Matrices as heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from analysis.figures import colours
from analysis.figures.page import WIDEST, as_png, check_labels, page, slant, tick_words
from analysis.figures.text import NOTE, SMALL, plain, tallest, widest, width, write

Words = Sequence[Sequence[str]]

MOST_WRITTEN = 4000  # cells in which numbers can be read
LONGEST = WIDEST - 0.5  # inches of the longer side, where there are more


@as_png
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
    text: Words | None = None,
    emphasise_rows: bool = False,
) -> Figure:
    """Draw (rows, columns) values as a heat map with a number in each cell: as it is, or `text` of the same shape.

    `percent` writes fractions times 100. A cell without a finite value is gray and empty. `emphasise_rows` sets the
    largest cell of each row in bold. Of more than MOST_WRITTEN cells only the colours are drawn, whose scale the
    caption tells. Raises ValueError where shapes do not match.
    """
    _check(values, row_labels, column_labels, text)
    rows, columns = values.shape
    if values.size > MOST_WRITTEN:
        return _colours_alone(values, title, caption, xlabel, ylabel, percent)
    known = (100 if percent else 1) * colours.finite(values)
    words = _numbers(known, percent) if text is None else text
    flat = [word for line in words for word in line]
    # each side is long enough for its label, too
    wide = max(0.26, widest(flat, SMALL, bold=True) + 0.06, width(xlabel, NOTE) / columns)
    tall = max(0.22, tallest(flat, SMALL) + 0.06, width(ylabel, NOTE) / rows)
    left = widest(row_labels, SMALL) + 0.35
    slanted, head, overhang = slant(column_labels, wide)
    figure, place = page(left + columns * wide + max(0, overhang - wide / 2), rows * tall + head + 0.3, title, caption)
    axes = place(left, 0, columns * wide, rows * tall)
    _draw_cells(axes, known, words, emphasise_rows)
    _name_cells(axes, row_labels, column_labels, slanted)
    _name_sides(axes, xlabel, ylabel)
    return figure


def _colours_alone(values: np.ndarray, title: str, caption: str, xlabel: str, ylabel: str, percent: bool) -> Figure:
    known = (100 if percent else 1) * colours.finite(values)
    rows, columns = known.shape
    side = LONGEST / max(rows, columns)
    scale = _scale(known)
    shown = f"{rows:,} × {columns:,} cells: white is {scale.vmin:.3g}, the darkest blue {scale.vmax:.3g}"
    figure, place = page(columns * side + 0.5, rows * side + 0.4, title, f"{caption} {shown}{' %' if percent else ''}.")
    axes = place(0.35, 0, columns * side, rows * side)
    _colour_cells(axes, known, scale, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.xaxis.set_label_position("top")
    _name_sides(axes, xlabel, ylabel)
    return figure


def _name_sides(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(plain(xlabel), fontsize=NOTE)
    axes.set_ylabel(plain(ylabel), fontsize=NOTE)


def _scale(known: np.ndarray) -> Normalize:
    """Return a scale of colour that has 0."""
    return colours.scale([known, np.zeros((1, 1))], None)


def _colour_cells(axes: Axes, known: np.ndarray, scale: Normalize, gap: float) -> mpl.colors.Colormap:
    """Colour the cells, the first row at the top, with `gap` points of white between them; return the colours."""
    shades = mpl.colormaps["Blues"].with_extremes(bad="0.88")
    edges: dict[str, Any] = {"edgecolors": "white", "linewidth": gap} if gap else {}
    axes.pcolormesh(np.ma.masked_invalid(known), cmap=shades, norm=scale, **edges)
    axes.invert_yaxis()
    return shades


def _check(values: np.ndarray, row_labels: Sequence[str], column_labels: Sequence[str], text: Words | None) -> None:
    if values.ndim != 2 or not values.size:
        raise ValueError(f"the matrix has the shape {values.shape}, but must have (rows, columns), both at least 1")
    rows, columns = values.shape
    check_labels("row labels", row_labels, rows)
    check_labels("column labels", column_labels, columns)
    if text is not None and [len(line) for line in text] != [columns] * rows:
        raise ValueError(
            f"the text has rows of {[len(line) for line in text]} cells, but the matrix has the shape {values.shape}"
        )


def _draw_cells(axes: Axes, known: np.ndarray, words: Words, emphasise_rows: bool) -> None:
    """Colour the cells, and write in those that are known, dark on light or light on dark."""
    scale = _scale(known)
    shades = _colour_cells(axes, known, scale, 0.6)
    for row, column in zip(*np.nonzero(np.isfinite(known)), strict=True):
        dark = np.dot(shades(scale(known[row, column]))[:3], (0.299, 0.587, 0.114)) < 0.55
        bold = emphasise_rows and np.nanmin(known[row]) < known[row, column] == np.nanmax(known[row])
        look = {"color": "white" if dark else "black", "fontweight": "bold" if bold else "normal"}
        write(axes, column + 0.5, row + 0.5, words[row][column], **look)


def _name_cells(axes: Axes, row_labels: Sequence[str], column_labels: Sequence[str], slanted: bool) -> None:
    """Write the rows' labels on the left and the columns' above."""
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    columns, rows = np.arange(len(column_labels)) + 0.5, np.arange(len(row_labels)) + 0.5
    axes.set_xticks(columns, list(map(plain, column_labels)), **tick_words(slanted, "left"))
    axes.set_yticks(rows, list(map(plain, row_labels)), fontsize=SMALL)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)


def _numbers(values: np.ndarray, percent: bool) -> list[list[str]]:
    """Return values in words: whole ones without decimals, percentages with one, others with three digits."""
    whole = not percent and bool((values == values.round())[np.isfinite(values)].all())
    style = ",.0f" if whole else ".1f" if percent else ".3g"
    return [[f"{value:{style}}" if np.isfinite(value) else "" for value in row] for row in values.tolist()]
