"""A page laid out by hand, in inches: the title above, the caption below, axes between; and the PNG that it becomes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.figures.text import DPI, NOTE, SMALL, TITLE, height, plain, tallest, widest, wrap

MARGIN, GAP = 0.12, 0.06
FULL, HALF = 7.3, 3.6  # inches of a page as wide as the text of an A4 page, and of one of two side by side
WIDEST = FULL - 2 * MARGIN  # of what is drawn, where words allow it
MOST_LINES = 3  # of a tick label
NARROWEST = HALF - 2 * MARGIN  # no page is narrower, so that title and caption have room

P = ParamSpec("P")
Place = Callable[[float, float, float, float], Axes]  # left, bottom, width and height of axes → the axes


def as_png(draw: Callable[P, Figure]) -> Callable[P, bytes]:
    """Let a function that composes a figure return the bytes of a PNG file.

    The figure itself is within reach: the function is kept as `__wrapped__`.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        png = io.BytesIO()
        # the version of matplotlib is no part of the figure
        FigureCanvasAgg(draw(*args, **kwargs)).print_png(png, metadata={"Software": None})
        return png.getvalue()

    return drawn


def svg(call: functools.partial[bytes]) -> bytes:
    """Return the figure of such a function's call as an SVG file, in which words are outlines and need no font."""
    drawing = io.StringIO()
    # Matplotlib takes these from nowhere else; the salt makes the same figure the same bytes
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "figure"}):
        figure = call.func.__wrapped__(*call.args, **call.keywords)  # type: ignore[attr-defined]
        FigureCanvasSVG(figure).print_svg(drawing, metadata={"Date": None, "Creator": None})
    return drawing.getvalue().encode()


def page(room_wide: float, room_high: float, title: str, caption: str) -> tuple[Figure, Place]:
    """Return a figure with the title above and the caption below this much room, and what makes axes there.

    All are inches; the places of axes are counted from the lower left corner of the room.
    """
    inner = max(room_wide, NARROWEST)
    title, caption = wrap(title, inner, TITLE, bold=True), wrap(caption, inner, NOTE)
    foot = MARGIN + (height(caption, NOTE) + MARGIN if caption else 0)
    page_width, page_height = inner + 2 * MARGIN, foot + room_high + MARGIN + height(title, TITLE) + MARGIN
    figure = Figure(figsize=(page_width, page_height), dpi=DPI)
    left = MARGIN / page_width
    figure.text(left, 1 - MARGIN / page_height, plain(title), ha="left", va="top", fontsize=TITLE, fontweight="bold")
    figure.text(left, MARGIN / page_height, plain(caption), ha="left", va="bottom", fontsize=NOTE, color="0.3")

    def place(left: float, bottom: float, wide: float, high: float) -> Axes:
        corner = ((MARGIN + left) / page_width, (foot + bottom) / page_height)
        return figure.add_axes((*corner, wide / page_width, high / page_height))

    return figure, place


def legend_size(names: Iterable[str], room: float) -> tuple[float, int]:
    """Return the height in inches of a legend that is `room` inches wide, and its columns."""
    number = len(list(names))
    columns = min(number, max(1, int(room / (widest(names, NOTE) + 0.5))))
    return 0.165 * -(-number // columns) + MARGIN, columns


def legend(axes: Axes, handles: Sequence[Any], columns: int, below: bool = False) -> None:
    """Draw a legend above or below the axes, flush left."""
    look = {"frameon": False, "fontsize": NOTE, "borderaxespad": 0.3, "borderpad": 0, "handlelength": 1.8}
    corner, anchor = ("upper left", (0, 0)) if below else ("lower left", (0, 1))
    spacing = {"ncols": columns, "labelspacing": 0.4, "columnspacing": 1.2}
    axes.legend(handles=handles, loc=corner, bbox_to_anchor=anchor, **spacing, **look)


def in_lines(labels: Sequence[str], room: float) -> list[str]:
    """Return tick labels in lines that fit into `room` inches each; as they are where a word does not fit, or they
    would be too many lines.
    """
    broken = [wrap(label, room - GAP, SMALL) for label in labels]
    whole = all(line.split() == label.split() for line, label in zip(broken, labels, strict=True))
    return broken if whole and max(len(label.splitlines()) for label in broken) <= MOST_LINES else list(labels)


def slant(labels: Sequence[str], room: float) -> tuple[bool, float, float]:
    """Return whether tick labels must slant to fit into `room` inches each, and how far they then reach, in inches.

    That is away from the axis, and sideways.
    """
    longest = widest(labels, SMALL)
    if longest <= room - GAP:
        return False, tallest(labels, SMALL) + GAP, 0
    return True, longest * 0.71 + 0.15, longest * 0.71 + GAP


def tick_words(slanted: bool, side: str) -> dict[str, Any]:
    """Return the look of tick labels; slanting ones end (`side` "right") or begin ("left") at their ticks."""
    return {"fontsize": SMALL} | ({"rotation": 45, "ha": side, "rotation_mode": "anchor"} if slanted else {})


def check_labels(what: str, labels: Sequence[str], number: int) -> None:
    """Raise ValueError where there are not `number` labels."""
    if len(labels) != number:
        raise ValueError(f"there are {len(labels)} {what}, but must be {number}")


def name_rows(axes: Axes, names: Sequence[str], below: str, size: float = SMALL) -> None:
    """Write the rows' names on the left, the first at the top, and what is measured below."""
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), list(map(plain, names)), fontsize=size)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel(plain(below), fontsize=NOTE)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
