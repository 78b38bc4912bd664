"""Arrays in, PNG files out: the one place that draws.

Figures are made object by object, without pyplot, so that nothing global changes and no display is needed. The same input gives the
same bytes. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by all common kinds of colour vision;
markers and line styles say the same in gray.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from trainables.files import write_whole

DPI = 150

# Yellow comes last, being weak on white. Seven markers for eight colours: a pair of both comes again only after 56 curves.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "<")
LINES = ("-", "-.", ":")  # dashed is kept for curves that stopped early
UNMATCHED = {"color": "0.35", "marker": "o"}


@dataclass(frozen=True)
class Curve:
    """One trial's metric, (replicates, epochs) with epoch 1 first. NaN is a gap. `censored`: it was stopped early."""

    label: str
    values: np.ndarray
    censored: bool = False

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(f"curve {self.label!r} has the shape {self.values.shape}, but must have (replicates, epochs), both at least 1")


def curves(
    path: Path,
    curves: Sequence[Curve],
    *,
    title: str,
    ylabel: str,
    percent: bool = False,
    caption: str | None = None,
    reference: Sequence[tuple[str, int, float]] = (),
) -> None:
    """Draw curves against the epoch on one axis: means over replicates, in bands of ± 1 sd where there are two or more.

    An epoch at which any replicate has no finite value is a gap: a mean over the rest would flatter. `percent` draws fractions times
    100, those of `reference` too, whose points (label, epoch, value) are open markers like those of the curve with that label.
    """
    _save(path, _curves_figure(curves, title, ylabel, 100 if percent else 1, caption, reference))


def _curves_figure(
    curves: Sequence[Curve], title: str, ylabel: str, scale: float, caption: str | None, reference: Sequence[tuple[str, int, float]]
) -> Figure:
    if not curves:
        raise ValueError("there are no curves to draw, but at least one is needed")
    handles = len(curves) + bool(reference)
    rim = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches
    figure = Figure(figsize=(8, max(4.5, 1.5 + 0.22 * handles)), dpi=DPI, layout=rim)
    axes = figure.add_subplot()
    styles = {curve.label: _style(number) for number, curve in enumerate(curves)}
    lines = [_draw_curve(axes, curve, scale, _style(number)) for number, curve in enumerate(curves)]
    for label, epoch, value in reference:
        axes.plot([epoch], [scale * value], **_open(styles.get(label, UNMATCHED)))
    if reference:
        lines.append(Line2D([], [], label="published best", **_open(UNMATCHED)))
    _epoch_axis(axes, max([curve.values.shape[1] for curve in curves] + [epoch for _, epoch, _ in reference]))
    axes.set_ylabel(_plain(ylabel))
    axes.legend(handles=lines, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False, fontsize=9, handlelength=3.5)
    _describe(figure, title, caption)
    return figure


def _draw_curve(axes: Axes, curve: Curve, scale: float, style: dict[str, Any]) -> Line2D:
    """Draw one curve and its band; return the line, which carries the legend's words."""
    values = scale * np.where(np.isfinite(curve.values), curve.values, np.nan)
    replicates, last = values.shape
    epochs, mean = np.arange(1, last + 1), values.mean(axis=0)
    label = _plain(f"{curve.label} (stopped early)" if curve.censored else curve.label)
    look = style | ({"linestyle": "--"} if curve.censored else {})
    every = max(1, last // 15)
    [line] = axes.plot(epochs, mean, **look, label=textwrap.fill(label, 30), linewidth=1.6, markersize=4.5, markevery=every)
    if replicates > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
    if curve.censored:
        axes.plot([last], [mean[-1]], color=style["color"], marker="X", markersize=10, markeredgecolor="white", zorder=3)
    return line


def _style(number: int) -> dict[str, Any]:
    color, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    return {"color": color, "marker": marker, "linestyle": LINES[number // len(COLOURS) % len(LINES)]}


def _open(style: dict[str, Any]) -> dict[str, Any]:
    """Return a curve's style as that of a lone marker, larger and unfilled: points that coincide stay visible."""
    return style | {"linestyle": "none", "markerfacecolor": "none", "markersize": 10, "markeredgewidth": 1.6, "zorder": 4}


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
    figure.suptitle(textwrap.fill(_plain(title), 65), x=0.01, ha="left", fontsize=12, fontweight="bold")
    if caption:
        figure.supxlabel(textwrap.fill(_plain(caption), 125), x=0.01, ha="left", fontsize=8, color="0.3")


def _plain(text: str) -> str:
    """Return text that is drawn as it stands: a dollar starts no formula."""
    return text.replace("$", r"\$")


def _save(path: Path, figure: Figure) -> None:
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})  # the version of matplotlib is no part of the figure
    write_whole(path, png.getvalue())
