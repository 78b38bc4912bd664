"""Curves over epochs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures import colours
from analysis.figures.page import as_png
from analysis.figures.text import DPI, NOTE, TITLE, plain

UNMATCHED = {"color": "0.35", "marker": "o"}

Point = tuple[str, int, float]  # label, epoch, value


@dataclass(frozen=True)
class Curve:
    """One trial's metric, (replicates, epochs) with epoch 1 first. NaN is a gap. `censored`: it was stopped early."""

    label: str
    values: np.ndarray
    censored: bool = False

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(
                f"curve {self.label!r} has the shape {self.values.shape}, but must have (replicates, epochs), both "
                "at least 1"
            )


@as_png
def curves(
    curves: Sequence[Curve],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
    caption: str | None = None,
    reference: Sequence[Point] = (),
) -> Figure:
    """Draw curves against the epoch on one axis: means over replicates, in bands of ± 1 sd where there are two or more.

    An epoch at which any replicate has no finite value is a gap: a mean over the rest would flatter. `percent` draws
    fractions times 100, those of `reference` too, whose points (label, epoch, value) are open markers like those of the
    curve with that label.
    """
    if not curves:
        raise ValueError("there are no curves to draw, but at least one is needed")
    scale = 100 if percent else 1
    handles = len(curves) + bool(reference)
    rim = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(8, max(4.5, 1.5 + 0.22 * handles)), dpi=DPI, layout=rim)
    axes = figure.add_subplot()
    styles = {curve.label: colours.line(number) for number, curve in enumerate(curves)}
    lines = [_draw_curve(axes, curve, scale, colours.line(number)) for number, curve in enumerate(curves)]
    for label, epoch, value in reference:
        axes.plot([epoch], [scale * value], **_open(styles.get(label, UNMATCHED)))
    if reference:
        lines.append(Line2D([], [], label="published best", **_open(UNMATCHED)))
    _epoch_axis(axes, max([curve.values.shape[1] for curve in curves] + [epoch for _, epoch, _ in reference]))
    axes.set_ylabel(plain(ylabel))
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    axes.legend(handles=lines, frameon=False, fontsize=9, handlelength=3.5, **beside)
    _describe(figure, title, caption)
    return figure


def _draw_curve(axes: Axes, curve: Curve, scale: float, style: dict[str, Any]) -> Line2D:
    """Draw one curve and its band; return the line, which carries the legend's words."""
    values = scale * colours.finite(curve.values)
    replicates, last = values.shape
    epochs, mean = np.arange(1, last + 1), values.mean(axis=0)
    label = f"{curve.label} (stopped early)" if curve.censored else curve.label
    look = style | ({"linestyle": "--"} if curve.censored else {})
    look |= {"linewidth": 1.6, "markersize": 4.5, "markevery": max(1, last // 15)}
    [line] = axes.plot(epochs, mean, label=plain(textwrap.fill(label, 30)), **look)
    if replicates > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
    if curve.censored:
        end = {"color": style["color"], "marker": "X", "markersize": 10, "markeredgecolor": "white"}
        axes.plot([last], [mean[-1]], zorder=3, **end)
    return line


def _open(style: dict[str, Any]) -> dict[str, Any]:
    """Return a curve's style as that of a lone marker, larger and unfilled: points that coincide stay visible."""
    unfilled = {"linestyle": "none", "markerfacecolor": "none", "markersize": 10, "markeredgewidth": 1.6, "zorder": 4}
    return style | unfilled


def _epoch_axis(axes: Axes, last: int) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, last + 0.5)
    if last <= 20:
        axes.set_xticks(range(1, last + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _describe(figure: Figure, title: str, caption: str | None) -> None:
    figure.suptitle(plain(textwrap.fill(title, 65)), x=0.01, ha="left", fontsize=TITLE, fontweight="bold")
    if caption:
        figure.supxlabel(plain(textwrap.fill(caption, 125)), x=0.01, ha="left", fontsize=NOTE, color="0.3")
