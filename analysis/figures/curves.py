"""Curves over epochs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis.figures import colours
from analysis.figures.page import as_png
from analysis.figures.text import DPI, NOTE, TITLE, plain

PAIR = ("-", "--")
SHADES, LEVELS = "Greys", 60  # of how many others are where, and into how many heights an epoch is divided
PALEST, DARKEST = 0.08, 0.55  # of the shades: one trial is seen, and lines stand out on the most
UNMATCHED = {"color": "0.35", "marker": "o"}

Point = tuple[str, int, float]  # label, epoch, value


@dataclass(frozen=True)
class Curve:
    """One trial's metric, (replicates, epochs) with epoch 1 first. NaN is a gap. `censored`: it was stopped early.

    `beside` is a second metric of the trial, of the same shape. `number` is that of its look, so that it has the same
    in several figures; None: its place among the curves.
    """

    label: str
    values: np.ndarray
    censored: bool = False
    beside: np.ndarray | None = None
    number: int | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size:
            raise ValueError(
                f"curve {self.label!r} has the shape {self.values.shape}, but must have (replicates, epochs), both "
                "at least 1"
            )
        if self.beside is not None and self.beside.shape != self.values.shape:
            raise ValueError(
                f"curve {self.label!r} has the shape {self.values.shape}, but beside it is one of {self.beside.shape}"
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
    pair: tuple[str, str] | None = None,
    head: str = "",
    others: np.ndarray | None = None,
    size: tuple[float, float] = (6.2, 3.2),
) -> Figure:
    """Draw curves against the epoch on one axis: means over replicates, in bands of ± 1 sd where there are two or more.

    An epoch at which any replicate has no finite value is a gap: a mean over the rest would flatter. `percent` draws
    fractions times 100, those of `reference` too, whose points (label, epoch, value) are open markers like those of the
    curve with that label. With `pair`, the names of the two metrics, the curves are solid, and what is `beside` them is
    dashed. `head` says what the labels are values of. `others`, (trials, epochs), are means of further trials or NaN:
    shaded by how many are where. `size` are inches, by which two stand side by side on paper; the legend may add some.
    """
    if not curves:
        raise ValueError("there are no curves to draw, but at least one is needed")
    scale = 100 if percent else 1
    looks = [colours.line(place if curve.number is None else curve.number) for place, curve in enumerate(curves)]
    looks = [look | {"linestyle": "-"} for look in looks] if pair else looks
    high = max(size[1], 1.2 + 0.2 * (len(curves) + bool(reference) + 2 * bool(pair)))  # room for the legend
    figure = Figure(figsize=(size[0], high), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    axes = figure.add_subplot()
    shaded = _draw_density(axes, None if others is None else scale * others)
    lines = [_draw_curve(axes, curve, scale, look, pair) for curve, look in zip(curves, looks, strict=True)]
    lines += _draw_points(axes, reference, scale, {c.label: look for c, look in zip(curves, looks, strict=True)})
    lines += _told_apart(pair) if pair else []
    _epoch_axis(axes, max([curve.values.shape[1] for curve in curves] + [epoch for _, epoch, _ in reference]))
    axes.set_ylabel(plain(ylabel))
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    words = {"fontsize": 9, "title": plain(textwrap.fill(head, 24)) or None, "title_fontsize": 9, "alignment": "left"}
    axes.legend(handles=[*lines, *shaded], frameon=False, handlelength=3, **words, **beside)
    _describe(figure, title, caption)
    return figure


def _draw_curve(
    axes: Axes, curve: Curve, scale: float, style: dict[str, Any], pair: tuple[str, str] | None = None
) -> Line2D:
    """Draw one curve and its band; return the line, which carries the legend's words."""
    values = scale * colours.finite(curve.values)
    replicates, last = values.shape
    epochs, mean = np.arange(1, last + 1), values.mean(axis=0)
    label = f"{curve.label} (stopped early)" if curve.censored else curve.label
    look = style | ({"linestyle": "--"} if curve.censored and not pair else {})
    look |= {"linewidth": 1.6, "markersize": 4.5, "markevery": max(1, last // 15)}
    [line] = axes.plot(epochs, mean, label=plain(textwrap.fill(label, 24)), **look)
    if replicates > 1:
        sd = values.std(axis=0, ddof=1)
        axes.fill_between(epochs, mean - sd, mean + sd, color=style["color"], alpha=0.15, linewidth=0)
    if pair and curve.beside is not None:
        other = scale * colours.finite(curve.beside).mean(axis=0)
        axes.plot(epochs, other, color=style["color"], linestyle="--", linewidth=1.2)
    if curve.censored:
        end = {"color": style["color"], "marker": "X", "markersize": 10, "markeredgecolor": "white"}
        axes.plot([last], [mean[-1]], zorder=3, **end)
    return line


def _told_apart(pair: tuple[str, str]) -> list[Line2D]:
    """Return what the legend says of the two metrics of a curve."""
    return [Line2D([], [], color="0.2", label=plain(name), linestyle=how) for name, how in zip(pair, PAIR, strict=True)]


def _draw_density(axes: Axes, values: np.ndarray | None) -> list[Patch]:
    """Shade how many of these trials are at which height after each epoch; return what the legend has of it.

    The darkest is where most are, and the scale is of square roots, as a single one is to be seen beside hundreds.
    """
    if values is None or not np.isfinite(values).any():
        return []
    epochs, known = np.arange(values.shape[1]) + 0.5, np.isfinite(values)
    edges = np.histogram_bin_edges(values[known], LEVELS)
    counts = np.stack([np.histogram(values[known[:, at], at], edges)[0] for at in range(values.shape[1])], axis=1)
    shades = PALEST + (DARKEST - PALEST) * np.sqrt(counts / counts.max())
    seen = np.ma.masked_where(counts == 0, shades)
    axes.pcolormesh([*epochs, epochs[-1] + 1], edges, seen, cmap=SHADES, vmin=0, vmax=1, zorder=0, rasterized=True)
    return [Patch(color=str(1 - (PALEST + DARKEST) / 2), label=f"{len(values):,} others: the darker, the more")]


def _draw_points(
    axes: Axes, points: Sequence[Point], scale: float, looks: Mapping[str, dict[str, Any]]
) -> list[Line2D]:
    """Draw published points; return what the legend has of them."""
    for label, epoch, value in points:
        axes.plot([epoch], [scale * value], **_open(looks.get(label, UNMATCHED)))
    return [Line2D([], [], label="published best", **_open(UNMATCHED))] if points else []


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
    figure.suptitle(plain(textwrap.fill(title, 52)), x=0.01, ha="left", fontsize=TITLE, fontweight="bold")
    if caption:
        figure.supxlabel(plain(textwrap.fill(caption, 96)), x=0.01, ha="left", fontsize=NOTE, color="0.3")
