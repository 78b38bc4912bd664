"""Is a choice of filters worth more than others of its size? The choice among all, or many, sets of as many filters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.filters.naming import Filters
from analysis.inference.chance import LEVEL

SEED = 0


def other_sets(filters: Filters, sizes: Mapping[str, int], count: int) -> list[Filters]:
    """Return `count` other sets with as many filters of each layer, of layers with so many, drawn at random.

    No two are the same, and they are always the same ones. Where there are no more, it is all there are.
    """
    if how_many(filters, sizes) - 1 <= count:
        return [each for each in _all(filters, sizes) if each != filters]
    rng = np.random.default_rng(SEED)
    found: dict[tuple, Filters] = {}
    while len(found) < count:
        drawn = {
            layer: tuple(sorted(rng.choice(sizes[layer], len(numbers), replace=False).tolist()))
            for layer, numbers in filters.items()
        }
        if drawn != filters:
            found.setdefault(tuple(drawn.values()), drawn)
    return list(found.values())


def how_many(filters: Filters, sizes: Mapping[str, int]) -> int:
    """Return how many sets there are with as many filters of each layer, this one among them."""
    return math.prod(math.comb(sizes[layer], len(numbers)) for layer, numbers in filters.items())


def _all(filters: Filters, sizes: Mapping[str, int]) -> Iterator[Filters]:
    choices = [itertools.combinations(range(sizes[layer]), len(numbers)) for layer, numbers in filters.items()]
    for each in itertools.product(*choices):
        yield dict(zip(filters, each, strict=True))


def stratified(classes: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers, ascending, of `count` images drawn at random, of each class as many as is its share.

    `classes` (N,); all of them where there are no more. Always the same ones.
    """
    total = len(classes)
    if count >= total:
        return np.arange(total)
    order = np.lexsort((np.random.default_rng(SEED).random(total), classes))
    return np.sort(order[(2 * np.arange(count) + 1) * total // (2 * count)])


@dataclass(frozen=True)
class AmongSets:
    """What is lost without the asked-for set of filters, and without each of the others, in points, (sets,)."""

    own: float
    others: np.ndarray
    complete: bool  # whether these are all others that there are

    @property
    def as_bad(self) -> int:
        """How many of the others lose at least as much."""
        return int((self.others >= self.own - 1e-9).sum())  # equal ones are sums of the same numbers of images

    @property
    def p(self) -> float:
        """The probability that one drawn at random among all these sets loses at least as much."""
        return (1 + self.as_bad) / (1 + len(self.others))

    @property
    def which(self) -> str:
        """Which the others are, in words."""
        number = len(self.others)
        return f"all {number:,} other sets" if self.complete else f"{number:,} other sets, drawn at random,"

    @property
    def headline(self) -> str:
        """Whether the asked-for set costs more than the others, in short; nothing where there are none."""
        if not len(self.others):
            return ""
        return f"{'more than' if self.p <= LEVEL else 'not significantly more than'} other sets of the same size cost"

    @property
    def sentence(self) -> str:
        """Where the asked-for set lies among the others."""
        if not len(self.others):
            return "There is no other set of as many filters of the same layers to set this one against."
        low, middle, high = np.percentile(self.others, (5, 50, 95))
        verdict = (
            "these filters matter more than others"
            if self.p <= LEVEL
            else "nothing shows that these filters matter more than any others"
        )
        return (
            f"Against {self.which} of as many filters of the same layers: they lose {middle:.2f} points (median; 90 % "
            f"of them {low:.2f} to {high:.2f}), this one {self.own:.2f}; {100 * self.as_bad / len(self.others):.3g} % "
            f"of them lose at least as much, p = {self.p:.2g}: {verdict}."
        )
