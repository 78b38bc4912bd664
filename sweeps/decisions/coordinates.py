"""The points of a search space as rows of numbers, so that points that are alike lie close together. Pure.

A single draw from numbers is its place in the range, 0..1; a Choice of numbers counts as their order. Of any other
Choice each value has a column, so that two different ones are 1 apart. What not every point draws has a column more,
which says whether it was drawn; where it was not, its value is in the middle. So two points that lack a draw agree in
it, and one that has it is at a distance from one that lacks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sweeps.decisions.dimensions import Choice, Dimension, Each, When, Whole
from sweeps.decisions.space import Space

ABSENT = 0.5  # of the range: the place of a number that was not drawn


class Coordinates:
    """Turns points of a space into rows.

    `draws` says of each column to which single draw it belongs, counted from 0.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.singles = list(_singles(space))
        widths = [_width(dimension) + conditional for _, dimension, conditional in self.singles]
        self.draws = np.repeat(np.arange(len(widths)), widths)

    def rows(self, points: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the points' rows, [point, column]."""
        return np.array([self._row(values) for values in points]).reshape(len(points), len(self.draws))

    def _row(self, values: Mapping[str, Any]) -> list[float]:
        drawn, row = self.space.flat(values), []
        for name, dimension, conditional in self.singles:
            row += _place(dimension, drawn[name]) if name in drawn else _nowhere(dimension)
            row += [float(name in drawn)] if conditional else []
        return row


def _singles(space: Space) -> Iterator[tuple[str, Dimension, bool]]:
    """Go through all single draws that any point makes: the name, from what, and whether some points lack it."""
    for path, form in space.fields.items():
        inner = form.of if isinstance(form, When) else form
        if not isinstance(inner, Each):
            yield path, inner, isinstance(form, When)
            continue
        counted = space.fields[inner.count]
        assert isinstance(counted, Whole | Choice)  # noqa: S101 (the space has seen to it)
        counts = counted.values
        for at in range(max(counts) - inner.fewer):
            yield f"{path}[{at}]", inner.of, isinstance(form, When) or at >= min(counts) - inner.fewer


def _ordered(choice: Choice) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in choice.values)


def _width(dimension: Dimension) -> int:
    return dimension.size if isinstance(dimension, Choice) and not _ordered(dimension) else 1


def _place(dimension: Dimension, value: Any) -> list[float]:
    if not isinstance(dimension, Choice):
        return [dimension.share(value)]
    if _ordered(dimension):
        return [sorted(dimension.values).index(value) / max(1, dimension.size - 1)]
    return [0.5**0.5 * (value == other) for other in dimension.values]


def _nowhere(dimension: Dimension) -> list[float]:
    return [ABSENT] if _width(dimension) == 1 else [0.0] * _width(dimension)
