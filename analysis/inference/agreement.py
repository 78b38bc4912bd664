"""Do networks of several seeds make the same mistakes?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.finding import Figure
from analysis.report import Column, Table


@dataclass(frozen=True)
class Agreement:
    """How many items are wrong with 0, 1, … n networks, (n + 1,): `found`, and `by_chance`, were each network's
    mistakes to fall at random on the items of a group.

    `most` is what the last of those stays below by chance in 95 % of cases.
    """

    found: np.ndarray
    by_chance: np.ndarray
    most: float

    def __str__(self) -> str:
        chance = f"by chance {self.by_chance[-1]:,.0f}, at most {self.most:,.0f} (95 %)"
        return f"{self.found[-1]:,} with all {len(self.found) - 1} seeds ({chance})"


def agreement(wrong: np.ndarray, groups: np.ndarray) -> Agreement:
    """Return how far networks agree in what is wrong, (n, items) bool; `groups` (items,) are numbers from 0 on.

    A group is what has mistakes of its own number, such as a class: what is hard in all networks as a class is no
    agreement on its images.
    """
    networks, sizes = len(wrong), np.bincount(groups)
    rates = np.stack([np.bincount(groups, each, len(sizes)) for each in wrong]) / np.maximum(sizes, 1)
    chances = np.zeros((networks + 1, len(sizes)))  # that so many networks are wrong with an item of each group
    chances[0] = 1
    for rate in rates:
        chances[1:] = chances[1:] * (1 - rate) + chances[:-1] * rate
        chances[0] *= 1 - rate
    every = chances[-1]
    spread = np.sqrt((sizes * every * (1 - every)).sum())
    found = np.bincount(wrong.sum(axis=0), minlength=networks + 1)
    return Agreement(found, chances @ sizes, float(every @ sizes + 1.645 * spread))


def agreement_table(agreed: Mapping[str, Agreement], about: str) -> Table:
    """Return how many mistakes how many seeds make, beside what chance makes of them, by kind of mistake."""
    [first, *_] = agreed.values()
    rows = []
    for seeds in range(len(first.found)):
        cells = [(int(each.found[seeds]), float(each.by_chance[seeds])) for each in agreed.values()]
        rows.append((seeds, *itertools.chain(*cells)))
    heads = [(Column(kind), Column("by chance", digits=1)) for kind in agreed]
    return Table(
        f"Mistakes by how many seeds make them, and were each seed's to fall at random on a class's images: {about}",
        (Column("seeds"), *itertools.chain(*heads)),
        tuple(rows),
    )


def drawn_agreement(agreed: Mapping[str, Agreement], what: str, about: str) -> Figure:
    """Draw how many mistakes how many seeds make, leaving out those that none makes."""
    caption = (
        f"{about}: mistakes by how many of the seeds make them. By chance: were each seed's to fall at random on a "
        "class's images."
    )
    series: dict[str, np.ndarray] = {}
    for kind, each in agreed.items():
        series |= {kind: each.found[1:].astype(float), f"{kind}, by chance": each.by_chance[1:]}
    [first, *_] = agreed.values()
    labels = [str(seeds) for seeds in range(1, len(first.found))]
    from analysis import figures  # imports Matplotlib, which takes a while

    png = figures.bars(labels, series, title="The same mistakes with every seed?", caption=caption, ylabel=what)
    return Figure(png, caption)
