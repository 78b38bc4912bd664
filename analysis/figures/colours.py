"""What tells things apart, in colour and in gray, and the scale from numbers to colours.

Colours of few things are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by all common kinds of
colour vision; markers, line styles and hatches say the same in gray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

# Yellow comes last, being weak on white. Seven markers, so that a pair of one and a colour comes again only after 56,
# or 70.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#F0E442")
# Of classes, of which there are ten in many data sets. Found by a search for the greatest least distance of any two, in
# OKLab, as seen with normal colour vision and without one kind of cones, all darker than white by 1.9:1 at least. The
# least is 0.15 (of Okabe and Ito's eight 0.08): tests/analysis/figures/test_colours.py measures it.
CLASSES = (
    "#f54204", "#0800b8", "#25d2b4", "#51005e", "#ffa622", "#05719c", "#95343a", "#9e1fff", "#012800", "#a18ff0",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
LINES = ("-", "-.", ":")  # dashed is kept for curves that stopped early
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo")


def dot(number: int) -> dict[str, Any]:
    """Return the look of a point of class `number`."""
    return {"color": CLASSES[number % len(CLASSES)], "marker": MARKERS[number % len(MARKERS)]}


def line(number: int) -> dict[str, Any]:
    """Return the look of curve `number`."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": colour, "marker": marker, "linestyle": LINES[number // len(COLOURS) % len(LINES)]}


def fill(number: int) -> dict[str, Any]:
    """Return the look of a bar of series `number`."""
    look = {"facecolor": COLOURS[number % len(COLOURS)], "hatch": HATCHES[number % len(HATCHES)]}
    return look | {"edgecolor": "black", "linewidth": 0.5, "hatch_linewidth": 0.5}


def finite(values: np.ndarray) -> np.ndarray:
    """Return values with NaN for all that is not finite."""
    return np.where(np.isfinite(values), values, np.nan)


def scale(maps: Sequence[np.ndarray], limits: tuple[float, float] | None, symmetric: bool = False) -> Normalize:
    """Return the scale between the limits, else that of the maps' finite values; its ends differ, whatever they are.

    `symmetric`: about 0. Raises ValueError where the limits do not rise.
    """
    if limits is not None:
        if not (np.isfinite(limits).all() and limits[0] < limits[1]):
            raise ValueError(f"the limits {limits} are not two numbers, the lower one first")
        return Normalize(*limits)
    known = [values[np.isfinite(values)] for values in maps]
    low = min((float(values.min()) for values in known if values.size), default=0.0)
    high = max((float(values.max()) for values in known if values.size), default=0.0)
    if symmetric:
        high = max(high, -low)
        low = -high
    if low == high:
        low, high = low - (abs(low) or 1), high + (abs(high) or 1)
    return Normalize(low, high)
