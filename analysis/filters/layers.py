"""What may be said of a layer's filters, over the networks of all seeds: how many are beyond each null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.filters.claims import Claims, Untrained
from analysis.report import Column, Measured, Table

HEADS = ("more than chance, %", "than colour too, %", "than untrained filters too, %")


@dataclass(frozen=True)
class LayerClaims:
    """The first filters of a layer with `total` of them, judged in each trained and each untrained network."""

    layer: str
    total: int
    trained: tuple[Claims, ...]
    untrained: tuple[Claims, ...]

    @property
    def filters(self) -> int:
        """How many were judged in each network."""
        return len(self.trained[0].counts)

    @property
    def reached(self) -> Untrained | None:
        """What untrained filters reach; None where none were looked at."""
        if not self.untrained:
            return None
        largest = np.max([claims.counts.max(axis=0) for claims in self.untrained], axis=0)
        return Untrained(largest, f"{len(self.untrained) * self.filters:,} untrained filters")

    @property
    def what(self) -> str:
        """Which filters these are, in words."""
        first = "" if self.filters == self.total else f"the first {self.filters:,} of "
        return f"{self.layer}, {first}{self.total:,} filters"

    def largest_counts(self, networks: Sequence[Claims]) -> np.ndarray:
        """Return the count of each filter's largest class, in all these networks, (filters,)."""
        return np.concatenate([claims.counts.max(axis=1) for claims in networks])

    def largest(self, networks: Sequence[Claims]) -> Measured:
        """The count of a filter's largest class, its mean over the filters."""
        return Measured.of([claims.counts.max(axis=1).mean() for claims in networks])

    def beyond(self) -> list[Measured | None]:
        """How many of the filters are beyond what each of HEADS says, in percent; None: not looked at."""
        return _beyond(self.trained, self.reached)

    def untrained_beyond(self) -> list[Measured | None]:
        """The same of untrained filters, which are not set against themselves."""
        return _beyond(self.untrained, None)

    @property
    def sentence(self) -> str:
        """What the layer's filters are beyond."""
        chance, colour, untrained = self.beyond()
        said = f"{self.what}: the largest class has {self.largest(self.trained):.1f} images on average"
        if self.untrained:
            said += f" (untrained {self.largest(self.untrained):.1f})"
        said += f"; {chance:.0f} % of them beat chance, {colour:.0f} % colour too"
        return f"{said}, {untrained:.0f} % the untrained filters too." if untrained else f"{said}."


def headline(layers: Sequence[LayerClaims]) -> str:
    """Say in short how many filters of each layer prefer a class beyond all nulls that were looked at."""
    beyond = [[share for share in each.beyond() if share][-1].mean for each in layers]
    shares = ", ".join(f"{share:.0f} % of {each.layer}" for share, each in zip(beyond, layers, strict=True))
    nulls = "chance, colour and untrained networks" if layers[0].untrained else "chance and colour"
    return f"beyond {nulls}, {shares} prefer a class"


def layers_table(layers: Sequence[LayerClaims], title: str) -> Table:
    """Return a row for each layer of the trained networks, and one of the untrained where there are any."""
    rows: list[tuple] = []
    for each in layers:
        rows.append((each.layer, "trained", each.filters, each.largest(each.trained), *each.beyond()))
        if each.untrained:
            largest = each.largest(each.untrained)
            rows.append((each.layer, "untrained", each.filters, largest, *each.untrained_beyond()))
    columns = (Column("layer"), Column("networks"), Column("filters"), Column("largest class, images", digits=1))
    return Table(title, (*columns, *(Column(head, digits=0) for head in HEADS)), tuple(rows))


def _beyond(networks: Sequence[Claims], reached: Untrained | None) -> list[Measured | None]:
    """Return the shares of filters that are beyond each null and those before it, in percent."""
    steps = [np.stack([claims.beats_chance for claims in networks])]
    steps.append(steps[-1] & [claims.beats_colour for claims in networks])
    if reached is not None:
        steps.append(steps[-1] & [claims.beats_untrained(reached.largest) for claims in networks])
    shares: list[Measured | None] = [Measured.of(100 * step.mean(axis=1)) for step in steps]
    return shares + [None] * (len(HEADS) - len(shares))
