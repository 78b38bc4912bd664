"""What may be said of a filter: is the class it responds to most beyond chance, colour and an untrained network?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.filters.colour import means, mixed, rankings
from analysis.filters.responses import among_highest
from analysis.inference.chance import LEVEL, most, p_values, tails
from analysis.inference.holm import holm
from analysis.inference.mcnemar import mcnemar
from analysis.report import Column, Table

MIX = "its own mix of mean colours"
MOSTLY = 0.5  # of a response's variance


class Claims(NamedTuple):
    """Of each row, a filter or some together: what its highest images have in common, and what colour alone gives."""

    counts: np.ndarray  # (rows, classes) int64: images of each class among its highest
    leading: np.ndarray  # (rows,) int64: the class that is most above chance
    p: np.ndarray  # (rows,): that chance gives this to any class; not corrected for the number of rows
    colour: np.ndarray  # (rows,) int64: images of that class among the highest by colour alone, the most of any ranking
    ranking: np.ndarray  # (rows,) int64: which ranking that is; after the last of them: MIX
    colour_p: np.ndarray  # (rows,): McNemar's p of the row against the ranking that comes closest to it
    explained: np.ndarray  # (rows,) 0..1: how much of the response a mix of mean colours explains

    @property
    def own(self) -> np.ndarray:
        """How many images of its leading class each row has, (rows,)."""
        return self.counts[np.arange(len(self.counts)), self.leading]

    @property
    def adjusted(self) -> np.ndarray:
        """Holm's p against chance over all rows, (rows,)."""
        return holm(self.p)

    @property
    def colour_adjusted(self) -> np.ndarray:
        """Holm's p against colour over all rows, (rows,)."""
        return holm(self.colour_p)

    @property
    def beats_chance(self) -> np.ndarray:
        """Whether each row has more of its leading class than chance, (rows,) bool."""
        return self.adjusted <= LEVEL

    @property
    def beats_colour(self) -> np.ndarray:
        """Whether each row has more of its leading class than colour alone, however it is mixed, (rows,) bool."""
        return (self.own > self.colour) & (self.colour_adjusted <= LEVEL)

    def beats_untrained(self, largest: np.ndarray) -> np.ndarray:
        """Whether each row has more of its leading class than any untrained filter, (rows,) bool.

        `largest` (rows, classes) or (classes,) is the most images of each class that any of those has.
        """
        return self.own > np.broadcast_to(largest, self.counts.shape)[np.arange(len(self.counts)), self.leading]


class Nulls:
    """What the images alone give, the network left out: against it all networks on the same images are judged."""

    def __init__(self, images: np.ndarray, present: np.ndarray, top: int) -> None:
        """Take images (N, H, W, C) uint8, which classes each has, (N, classes) bool, and how many highest count."""
        self.present, self.top = present, min(top, len(images))
        self._tails = tails(present.sum(axis=0), len(images), self.top)
        self._channels = means(images)
        ranked = rankings(self._channels)
        self.rankings = tuple(ranked)
        self._among = among_highest(np.stack(list(ranked.values()), axis=1), self.top)

    @property
    def chance(self) -> np.ndarray:
        """The most images of each class that chance reaches, (classes,)."""
        return most(self._tails)

    @property
    def colour(self) -> np.ndarray:
        """How many of the highest images by each ranking have each class, (rankings, classes) int64."""
        return self._counts_of(self._among)

    def counts(self, responses: np.ndarray) -> np.ndarray:
        """Return how many of the highest images of rows with these responses, (N, rows), have each class."""
        return self._counts_of(among_highest(responses, self.top))

    def judge(self, responses: np.ndarray) -> Claims:
        """Return what may be said of rows with these responses, (N, rows)."""
        among = among_highest(responses, self.top)
        counts = self._counts_of(among)
        leading, p = p_values(counts, self._tails)
        fitted, explained = mixed(responses, self._channels)
        of_class = self.present[:, leading]
        rivals = [*self._among.T[:, :, None], among_highest(fitted, self.top)]
        theirs = np.stack([(of_class & rival).sum(axis=0) for rival in rivals])
        closest = np.max([_mcnemar(of_class & among, of_class & rival) for rival in rivals], axis=0)
        return Claims(counts, leading, p, theirs.max(axis=0), theirs.argmax(axis=0), closest, explained)

    def _counts_of(self, among: np.ndarray) -> np.ndarray:
        return np.stack([self.present[row].sum(axis=0) for row in among.T])


def _mcnemar(own: np.ndarray, rival: np.ndarray) -> np.ndarray:
    """Return McNemar's p of each row: which images of a class only one of both has, (N, rows) bool each."""
    only = (own & ~rival).sum(axis=0), (~own & rival).sum(axis=0)
    return np.array([_test(*pair) for pair in zip(*(side.tolist() for side in only), strict=True)])


_test = lru_cache(10_000)(mcnemar)  # many rows have the same counts


@dataclass(frozen=True)
class Untrained:
    """The most images of each class that any of so many untrained rows has, (classes,), and what they are."""

    largest: np.ndarray
    what: str  # "96 untrained filters"


def sentence(
    row: str, claims: Claims, at: int, nulls: Nulls, class_names: Sequence[str], untrained: Untrained | None
) -> str:
    """Return what may be said of row number `at`: what its class count beats, and what not."""
    leading, count, colour = int(claims.leading[at]), int(claims.own[at]), int(claims.colour[at])
    chance = int(nulls.chance[leading])
    said = f"{row}: {class_names[leading]} {count} of {nulls.top:,}"
    if not claims.beats_chance[at]:
        return f"{said}, {_not_more(count, chance)} chance ({chance})."
    by = (*nulls.rankings, MIX)[claims.ranking[at]]
    if not claims.beats_colour[at]:
        ending = "."
        if claims.explained[at] >= MOSTLY:
            ending = f": it answers to colour, which explains {100 * claims.explained[at]:.0f} % of its response."
        return f"{said}, more than chance ({chance}), but {_not_more(count, colour)} {by} alone ({colour}){ending}"
    beaten = f"{said}, more than chance ({chance})"
    best = f"colour alone ({colour}, {by})"
    if untrained is None:
        return f"{beaten} and {best}."
    theirs = int(untrained.largest[leading])
    if not claims.beats_untrained(untrained.largest)[at]:
        return f"{beaten} and {best}, but no more than the most of {untrained.what} ({theirs})."
    return f"{beaten}, {best} and the most of {untrained.what} ({theirs})."


def claims_table(
    rows: Sequence[str],
    claims: Claims,
    nulls: Nulls,
    class_names: Sequence[str],
    untrained: Sequence[Untrained | None],
    title: str,
) -> Table:
    """Return of each row the class that is most above chance, what it is set against, and what it is beyond."""
    body = []
    for at, (row, reached) in enumerate(zip(rows, untrained, strict=True)):
        leading = int(claims.leading[at])
        explained = 100 * float(claims.explained[at]) if np.isfinite(claims.explained[at]) else None
        beyond = {"chance": claims.beats_chance[at], "colour": claims.beats_colour[at]}
        if reached:
            beyond["untrained"] = claims.beats_untrained(reached.largest)[at]
        named = [name for name, is_so in beyond.items() if is_so]
        cells = (class_names[leading], int(claims.own[at]), int(nulls.chance[leading]), float(claims.adjusted[at]))
        colour = (int(claims.colour[at]), (*nulls.rankings, MIX)[claims.ranking[at]], float(claims.colour_adjusted[at]))
        last = (explained, int(reached.largest[leading]) if reached else None, ", ".join(named) or "nothing")
        body.append((row, *cells, *colour, *last))
    heads = [*map(Column, ("filter", "class", "images", "chance, most")), Column("p (Holm)")]
    heads += [Column("colour alone"), Column("by"), Column("p against it (Holm)")]
    heads += [Column("explained by colour, %", digits=0), Column("untrained, most"), Column("more than")]
    return Table(title, tuple(heads), tuple(body), folded=True)


def _not_more(own: int, other: int) -> str:
    """Say that a count does not beat another: it is no larger, or not by enough."""
    return "no more than" if own <= other else "not clearly more than"
