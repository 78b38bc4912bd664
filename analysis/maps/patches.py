"""Maps of changed images: what is not in a patch of its own is the unchanged image's."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.maps.rectangles import Cut, Frame


class Base(NamedTuple):
    """An unchanged image's map as a table of its places, (places, channels), row by row, with what pads it."""

    table: Tensor
    width: int
    padding: tuple[int, int]  # above and to the left

    @classmethod
    def of(cls, maps: Tensor, padding: tuple[int, int] = (0, 0), padded_with: float = 0) -> Base:
        """Return the table of a map (1, C, H, W), padded on all sides, by (rows, columns)."""
        rows, columns = padding
        padded = F.pad(maps, (columns, columns, rows, rows), value=padded_with) if any(padding) else maps
        return cls(padded.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]), padded.shape[3], padding)

    def places(self, frame: Frame) -> Tensor:
        """Return where the places of a frame are in the table, (n, h, w) int32."""
        rows, columns = (numbers(cut, self.table.device) + edge for cut, edge in zip(frame, self.padding, strict=True))
        return rows[:, :, None] * self.width + columns[:, None]

    def part(self, frame: Frame) -> Tensor:
        """Return the map in a frame, (n, C, h, w), channels last."""
        return _taken(self.table, self.places(frame))


class Patch(NamedTuple):
    """Of each image the values of a map in a frame, (n, C, h, w); elsewhere it is the unchanged image's."""

    values: Tensor
    frame: Frame

    def part(self, base: Base, frame: Frame) -> Tensor:
        """Return the map in another frame, (n, C, h, w), channels last; `base` is the unchanged image's."""
        if frame.same(self.frame):
            return self.values
        rows, columns = (
            numbers(Cut(cut.start - own.start, cut.size), self.values.device)
            for cut, own in zip(frame, self.frame, strict=True)
        )
        count, channels, height, width = self.values.shape
        image = torch.arange(count, dtype=torch.int32, device=self.values.device)[:, None]
        inside = (_within(rows, height)[:, :, None]) & _within(columns, width)[:, None]
        own = ((image * height + rows) * width + len(base.table))[:, :, None] + columns[:, None]
        both = torch.cat([base.table, self.values.permute(0, 2, 3, 1).reshape(-1, channels)])
        return _taken(both, torch.where(inside, own, base.places(frame)))

    def whole(self, maps: Tensor) -> Tensor:
        """Return the whole map, (n, C, H, W); `maps` (1, C, H, W) is the unchanged image's."""
        return self.part(Base.of(maps), Frame.whole(self.frame.images, *maps.shape[2:]))


def numbers(cut: Cut, device: torch.device) -> Tensor:
    """Return the numbers of a cut's places, (n, size) int32."""
    start = torch.from_numpy(cut.start).to(device, torch.int32)
    return start[:, None] + torch.arange(cut.size, dtype=torch.int32, device=device)


def _taken(table: Tensor, places: Tensor) -> Tensor:
    return table.index_select(0, places.flatten()).view(*places.shape, -1).permute(0, 3, 1, 2)


def _within(numbers: Tensor, size: int) -> Tensor:
    return (numbers >= 0) & (numbers < size)
