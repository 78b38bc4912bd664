"""Differences against one of them, each a point with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.figures import colours
from analysis.figures.page import GAP, as_png, name_rows, page
from analysis.figures.text import NOTE, SMALL, height, plain, widest, wrap

PLOT, ROW, LABELS = 3.9, 0.27, 2.0  # inches: the plot's width, a row's height, the room for labels at most


@dataclass(frozen=True)
class Effect:
    """A difference with the ends of its interval, None where that is not known, and the number of its look.

    `note` stands at its right.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    number: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"effect {self.label!r}: the interval has one end, but must have both or none")


@as_png
def forest(effects: Sequence[Effect], *, title: str, xlabel: str, caption: str = "") -> Figure:
    """Draw effects below each other, the first one at the top, in one look each, and a line at 0.

    Raises ValueError where there is nothing to draw.
    """
    if not effects:
        raise ValueError("there are no effects to draw, but at least one is needed")
    names = [wrap(effect.label, LABELS, NOTE) for effect in effects]
    left, right = widest(names, NOTE) + 2 * GAP, widest([effect.note for effect in effects], SMALL) + 2 * GAP
    row = max(ROW, max(height(name, NOTE) for name in names) + GAP)
    below = wrap(xlabel, PLOT, NOTE)
    foot = 0.25 + height(below, NOTE)
    figure, place = page(left + PLOT + right, foot + row * len(effects), title, caption)
    axes = place(left, foot, PLOT, row * len(effects))
    axes.axvline(0, color="0.5", linewidth=0.8)
    for at, effect in enumerate(effects):
        look = colours.dot(effect.number)
        if effect.low is not None and effect.high is not None:
            axes.plot([effect.low, effect.high], [at, at], color=look["color"], linewidth=1.8, solid_capstyle="butt")
        axes.plot([effect.value], [at], linestyle="none", markersize=6, **look)
        axes.annotate(
            plain(effect.note), (1, at), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=SMALL, color="0.3",
        )  # fmt: skip
    name_rows(axes, names, below, NOTE)
    return figure
