"""Parallel coordinates: an axis for each thing that varies, a line for each that has it so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from analysis.figures import colours
from analysis.figures.page import as_png, page
from analysis.figures.text import NOTE, SMALL, plain, wrap

BETWEEN, HIGH, SHADES = 0.85, 2.3, "viridis_r"  # inches between axes, and of an axis; the better the darker
APART = 0.11  # of an axis between two of its labels at least
STEEP = 20  # numbers whose greatest is so many times the least are on a logarithmic scale


@dataclass(frozen=True)
class Coordinate:
    """An axis: its name, and the value of each line; None where a line has none."""

    name: str
    values: Sequence[float | int | str | None]

    @property
    def places(self) -> np.ndarray:
        """Where the values are, 0 to 1 from below, (N,); NaN where there is none."""
        ends = self._scale()
        return np.array([math.nan if each is None else ends[each] for each in self.values], dtype=float)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where the axis is labelled, and how."""
        some: list[tuple[float, str]] = []
        for value, place in self._scale().items():
            last = place == 1.0
            if last and some and place - some[-1][0] < APART:
                some.pop()
            if last or not some or place - some[-1][0] >= APART:
                some.append((place, _label(value)))
        return some

    def _scale(self) -> dict[float | int | str, float]:
        """Return the place of each value that there is, in order: numbers by their size, words at equal distances."""
        known = {each for each in self.values if each is not None}
        if any(isinstance(each, str) for each in known):
            words = sorted(map(str, known))
            return {each: at / max(1, len(words) - 1) for at, each in enumerate(words)}
        numbers = sorted(float(each) for each in known)
        low, high = (numbers[0], numbers[-1]) if numbers else (0.0, 0.0)
        steep = low > 0 and high / low > STEEP
        size = math.log if steep else float
        span = size(high) - size(low) if high > low else 1.0
        return {each: (size(each) - size(low)) / span for each in numbers}


@as_png
def parallel(
    axes: Sequence[Coordinate], scores: np.ndarray, *, title: str, colour_label: str, caption: str = ""
) -> Figure:
    """Draw a line for each of `scores` (N,) over the axes, the higher the darker and on top.

    A line has a gap where it has no value. Raises ValueError where there is nothing to draw, or numbers do not match.
    """
    if not axes or not len(scores):
        raise ValueError("there is nothing to draw, but at least one axis and one line are needed")
    for each in axes:
        if len(each.values) != len(scores):
            raise ValueError(f"axis {each.name!r} has {len(each.values)} values, but there are {len(scores)} lines")
    wide = BETWEEN * len(axes)
    figure, place = page(wide + 1.0, HIGH + 0.4, title, caption)
    plot = place(0.2, 0.15, wide, HIGH)
    places = np.stack([each.places for each in axes])
    scale, shades = colours.scale([scores], None), mpl.colormaps[SHADES]
    for at in np.argsort(scores, kind="stable"):
        plot.plot(range(len(axes)), places[:, at], color=shades(scale(scores[at])), linewidth=0.9, alpha=0.8)
    for at, each in enumerate(axes):
        plot.axvline(at, color="0.6", linewidth=0.8, zorder=0)
        for height, words in each.ticks:
            look: dict[str, Any] = {"fontsize": SMALL - 1, "va": "center", "ha": "left"}
            halo = {"facecolor": "white", "alpha": 0.75, "pad": 0.4, "edgecolor": "none"}
            plot.text(at + 0.03, height, plain(wrap(words, BETWEEN - 0.1, SMALL - 1)), bbox=halo, zorder=4, **look)
        name = plain(wrap(each.name, BETWEEN - 0.08, SMALL))
        plot.text(at, 1.07, name, fontsize=SMALL, fontweight="bold", ha="left", va="bottom")
    plot.set(xlim=(-0.05, len(axes) - 0.1), ylim=(-0.06, 1.06), xticks=[], yticks=[])
    plot.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, shades), cax=place(wide + 0.3, 0.3, 0.1, HIGH - 0.3))
    bar.ax.tick_params(labelsize=SMALL)
    bar.ax.set_title(plain(wrap(colour_label, 0.7, NOTE)), fontsize=SMALL, loc="left")
    return figure


def _label(value: float | int | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
