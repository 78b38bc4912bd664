"""Whether an occlusion map depends on the colour that its windows show: the same places again with other fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.inference.likeness import correlations
from analysis.inference.seeds import known_mean, measured, said
from analysis.maps.pointing import Pointing, pointing, verdicts
from analysis.maps.windows import FILLS, Grid
from analysis.report import Column, Measured, Table, Value


@dataclass(frozen=True)
class Fills:
    """Maps by the networks of several seeds with each of FILLS: `maps` (images, seeds, FILLS, rows, columns) of the
    class's probability, with windows of one size. `asked` is the fill that all else is shown with.

    `unoccluded` (images, seeds) is the probability without a window, `masks` (images, rows, columns) where windows are
    centred on the object, where that is known.
    """

    maps: np.ndarray
    asked: str
    grid: Grid
    unoccluded: np.ndarray
    masks: np.ndarray | None = None

    @property
    def others(self) -> list[str]:
        """The fills that were not asked for."""
        return [fill for fill in FILLS if fill != self.asked]

    def likeness(self, fill: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the correlation over the places of each map with that of the asked-for fill, (images, seeds), and its
        mean with those of the other images. NaN where a map is the same everywhere.
        """
        own, apart = [], []
        for seed in range(self.maps.shape[1]):
            all_pairs = correlations(self._of(self.asked)[:, seed], self._of(fill)[:, seed])
            own.append(np.diagonal(all_pairs))
            apart.append(known_mean(np.where(np.eye(len(all_pairs), dtype=bool), np.nan, all_pairs), axis=1))
        return np.stack(own, axis=1), np.stack(apart, axis=1)

    def same_place(self, fill: str) -> np.ndarray:
        """Return 1 where the largest drop is at the same place with both fills, else 0, (images, seeds); NaN where a
        map is the same everywhere.

        Places are the same where the centre of each window lies in the other.
        """
        reach = self.grid.windows[0] // 2 // self.grid.stride
        places = [_lowest(self._of(each)) for each in (self.asked, fill)]
        near = (np.abs(places[0] - places[1]) <= reach).all(axis=0)
        return np.where(self._flat(self.asked) | self._flat(fill), np.nan, near)

    def on_objects(self) -> dict[str, Pointing]:
        """Return what each fill's drops have on the objects; nothing where those are not known."""
        if self.masks is None:
            return {}
        drops = np.maximum(self.unoccluded[:, :, None, None, None].astype(np.float64) - self.maps, 0)
        return {fill: pointing(drops[:, :, number], self.masks) for number, fill in enumerate(FILLS)}

    def sentence(self) -> str:
        """Say whether the answer depends on the fill."""
        [window] = self.grid.windows
        agree = []
        for fill in self.others:
            own, apart = self.likeness(fill)
            agree.append(
                f"with {fill} the maps' correlation over the places is {said(own)} (with other images' maps "
                f"{said(apart)}), and the largest drop is at the same place in {_count(self.same_place(fill))}"
            )
        same = np.stack([self.same_place(fill) for fill in self.others])
        found = self.on_objects()
        said_of = zip(found, found.values(), verdicts([each.test for each in found.values()]), strict=True)
        objects = [f"{fill} {said(100 * each.share, 1)} %, {verdict}" for fill, each, verdict in said_of]
        return (
            f"Does it depend on the fill? {window}×{window} windows at {self.grid.places()}, against {self.asked}: "
            f"{'; '.join(agree)}. With all three fills it is there in {_count(same.min(axis=0))}."
            + (f" Of the drop on the object: {'; '.join(objects)}." if objects else "")
        )

    def table(self, title: str) -> Table:
        """Return the fills' numbers: means over images, ± sd (n) over seeds."""
        columns = [
            Column("fill"),
            Column("mean p", digits=3),
            Column(f"correlation with {self.asked}'s", digits=3),
            Column("with other images' maps", digits=3),
            Column("largest drop at the same place, %", digits=1),
        ]
        found = self.on_objects()
        if found:
            columns += [Column("drop on the object, %", digits=1), Column("on other images' objects, %", digits=1)]
        rows = []
        for fill in FILLS:
            row: list[Value | Measured] = [fill, measured(self._of(fill).mean(axis=(2, 3), dtype=np.float64))]
            if fill == self.asked:
                row += [None, None, None]
            else:
                row += [*map(measured, self.likeness(fill)), measured(100 * self.same_place(fill))]
            if found:
                row += [measured(100 * found[fill].share), measured(100 * found[fill].others)]
            rows.append(tuple(row))
        return Table(title, tuple(columns), tuple(rows))

    def _of(self, fill: str) -> np.ndarray:
        return self.maps[:, :, FILLS.index(fill)]

    def _flat(self, fill: str) -> np.ndarray:
        return np.ptp(self._of(fill), axis=(2, 3)) == 0


def _lowest(maps: np.ndarray) -> np.ndarray:
    """Return row and column of the lowest value of maps (…, rows, columns): (2, …)."""
    return np.stack(np.unravel_index(maps.reshape(*maps.shape[:-2], -1).argmin(axis=-1), maps.shape[-2:]))


def _count(same: np.ndarray) -> str:
    known = same[np.isfinite(same)]
    return f"{int(known.sum())} of {len(known)} maps"
