"""The points of a space that a search has drawn, and those that are left to it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from sweeps.decisions.space import Space

Point = Mapping[str, Any]  # as Space.draw() returns it


class Points:
    """The points drawn so far; none is taken out again. `allowed` tells which may be drawn; None: all."""

    def __init__(
        self, space: Space, drawn: Iterable[Point] = (), allowed: Callable[[Point], bool] | None = None
    ) -> None:
        self.space, self.allowed = space, allowed
        self._drawn: set[frozenset[tuple[str, Any]]] = set()
        for values in drawn:
            self.add(values)

    @cached_property
    def size(self) -> int | None:
        """The number of points of the space, None where a real number is drawn."""
        return self.space.size

    def add(self, values: Point) -> None:
        """Take a point as drawn."""
        self._drawn.add(self._flat(values))

    def are_left(self) -> bool:
        """Tell whether the space has more points than were drawn."""
        return self.size is None or len(self._drawn) < self.size

    def free(self, values: Point) -> bool:
        """Tell whether a point was not drawn, and may be."""
        return self._flat(values) not in self._drawn and (self.allowed is None or self.allowed(values))

    def next(self) -> dict[str, Any] | None:
        """Return the first free point, in order; None where there is none. Only of a space without real numbers.

        What it has passed once it does not look at again.
        """
        while self._here is not None and not self.free(self._here):
            self._here = next(self._in_order, None)
        return self._here

    @cached_property
    def _in_order(self) -> Iterator[dict[str, Any]]:
        return self.space.points()

    @cached_property
    def _here(self) -> dict[str, Any] | None:
        return next(self._in_order, None)

    def _flat(self, values: Point) -> frozenset[tuple[str, Any]]:
        return frozenset(self.space.flat(values).items())
