"""How values are written in labels and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMED = 6  # in a list, before the rest are counted


def label(value: Any) -> str:
    """Return a value as tables and labels have it: `16-32-64`, `none`, `yes`; of a path, the file's name."""
    if isinstance(value, tuple | list):
        return "-".join(map(label, value))
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(value).rpartition("/")[2]


def brief(value: Any) -> str:
    """Return a value in short: a number that was drawn has many digits."""
    return f"{value:.3g}" if isinstance(value, float) else label(value)


def counted(number: int, noun: str) -> str:
    """Return how many there are of something: `1 seed`, `3 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"


def points(share: float) -> str:
    """Return a difference of fractions in points, with its sign."""
    return f"{100 * share:+z.1f}".replace("-", "−")


def interval(value: float, low: float | None, high: float | None) -> str:
    """Return a difference of fractions in points, with its interval where that is known: `+1.2 [−0.1, +2.5]`."""
    if low is None or high is None:
        return points(value)
    return f"{points(value)} [{points(low)}, {points(high)}]"


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words, of many the first few."""
    shown = [*names[:NAMED], f"{len(names) - NAMED} more"] if len(names) > NAMED + 1 else [*names]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
