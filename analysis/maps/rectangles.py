"""Which places of a map a change reaches, and what it takes to compute these anew: arithmetic of intervals.

An interval of rows and one of columns are a rectangle. There is one for each of n changed images, which are computed
side by side, so that what is computed has one shape for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Cut(NamedTuple):
    """Of each image `size` places of one axis, from `start` (n,) on; some may lie in the padding of a map."""

    start: np.ndarray
    size: int


class Interval(NamedTuple):
    """Of each image the `first` and the `last` place of one axis that a change may reach, (n,) each.

    Where it reaches none, `last` is the smaller one.
    """

    first: np.ndarray
    last: np.ndarray

    def joined(self, other: Interval) -> Interval:
        """Return what holds both."""
        return Interval(np.minimum(self.first, other.first), np.maximum(self.last, other.last))

    def cut(self, places: int) -> Cut:
        """Return cuts that hold these, as long as the longest, and lie on an axis of so many places."""
        size = max(1, int((self.last - self.first).max()) + 1)
        return Cut(np.minimum(self.first, places - size), size)


class Reach(NamedTuple):
    """What a place sees along one axis of the map before: `span` places from its number × `stride` - `padding` on."""

    span: int = 1
    stride: int = 1
    padding: int = 0

    def reached(self, changed: Interval, places: int) -> Interval:
        """Return which of `places` places see a change."""
        first = -((self.span - 1 - self.padding - changed.first) // self.stride)
        last = (changed.last + self.padding) // self.stride
        return Interval(np.clip(first, 0, places - 1), np.clip(last, 0, places - 1))

    def seen(self, cut: Cut) -> Cut:
        """Return what the places of a cut see."""
        return Cut(cut.start * self.stride - self.padding, (cut.size - 1) * self.stride + self.span)


class Frame(NamedTuple):
    """Of each image a rectangle of a map, all of one shape."""

    rows: Cut
    columns: Cut

    @classmethod
    def whole(cls, count: int, height: int, width: int) -> Frame:
        """Return those of `count` images that hold the whole map."""
        start = np.zeros(count, np.int64)
        return cls(Cut(start, height), Cut(start, width))

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.rows.start)

    @property
    def places(self) -> int:
        """The number of places of one rectangle."""
        return self.rows.size * self.columns.size

    def same(self, other: Frame) -> bool:
        """Tell whether these are the same rectangles."""
        return all(a.size == b.size and np.array_equal(a.start, b.start) for a, b in zip(self, other, strict=True))


class Rectangle(NamedTuple):
    """Of each image the rows and columns of a map that a change may reach."""

    rows: Interval
    columns: Interval

    def joined(self, other: Rectangle) -> Rectangle:
        """Return what holds both."""
        return Rectangle(self.rows.joined(other.rows), self.columns.joined(other.columns))

    def frame(self, height: int, width: int) -> Frame:
        """Return rectangles of one shape that hold these and lie on a map of `height` × `width` places."""
        return Frame(self.rows.cut(height), self.columns.cut(width))


class Field(NamedTuple):
    """The receptive field of a place, in the map before."""

    rows: Reach = Reach()
    columns: Reach = Reach()

    def reached(self, changed: Rectangle, height: int, width: int) -> Rectangle:
        """Return which of `height` × `width` places see a change."""
        return Rectangle(self.rows.reached(changed.rows, height), self.columns.reached(changed.columns, width))

    def seen(self, frame: Frame) -> Frame:
        """Return what the places of a frame see."""
        return Frame(self.rows.seen(frame.rows), self.columns.seen(frame.columns))
