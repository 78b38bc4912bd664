"""How many of an image's neighbours share a class with it: in models, and in what they must beat to have learned that.

These are the pixels, an untrained network of the same kind, and chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis import figures
from analysis.features import by_chance, of_pixels, sharing
from analysis.finding import Figure
from analysis.inference.bootstrap import means
from analysis.inference.gains import Comparison, Estimate, Scores, over_resamples, reach
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject

# name, over, gain, from, to
Gain = tuple[str, str, float, float, float]


@dataclass(frozen=True)
class Shares:
    """Whose neighbours are asked about: `each` (n, N) is the share of an image's nearest that have a class in common
    with it, NaN where it has none; a row for each seed.
    """

    name: str
    space: str
    each: np.ndarray
    seeded: bool = True  # False: nothing about it is drawn at random


@dataclass(frozen=True)
class Standing:
    """Models with what they must beat: an untrained network of each (None where none can be made), the pixels, and the
    share by chance (None: no image has a class).
    """

    models: tuple[Shares, ...]
    untrained: tuple[Shares | None, ...]
    pixels: Shares
    chance: float | None
    seeds: str = "seeds"  # what the rows of `each` are over

    @cached_property
    def entries(self) -> list[Shares]:
        """The models, the untrained networks, the pixels."""
        return [*self.models, *(each for each in self.untrained if each), self.pixels]

    @cached_property
    def known(self) -> np.ndarray:
        """The images that have a class, (n,) numbers."""
        return np.flatnonzero(np.isfinite(self.pixels.each[0]))

    @cached_property
    def compared(self) -> Comparison:
        """All of them compared on the images that have a class, in percent: the same resamples for all."""
        scores = []
        for entry in self.entries:
            points = 100 * entry.each[:, self.known]
            values = points.mean(axis=1, keepdims=True)
            scores.append(Scores(values, means(points.T).T[..., None] - values[:, None], entry.seeded))
        return Comparison(scores, over_resamples, np.array([max(1.0, len(self.known) - 1)]))

    @cached_property
    def gains(self) -> list[Gain]:
        """What each model has over the pixels, its untrained network and each model before it, in points, with
        simultaneous 95 % intervals.
        """
        at = {id(entry): number for number, entry in enumerate(self.entries)}
        pairs = [
            (model, other)
            for number, (model, untrained) in enumerate(zip(self.models, self.untrained, strict=True))
            for other in (self.pixels, untrained, *self.models[:number])
            if other
        ]
        found = [self.compared.gain(at[id(model)], at[id(other)]) for model, other in pairs]
        rows = []
        for (model, other), gain in zip(pairs, found, strict=True):
            low, value, high = _interval(gain, len(pairs))
            rows.append((model.name, other.name, value, low, high))
        return rows

    @property
    def over(self) -> str:
        """What intervals are over."""
        several = any(len(model.each) > 1 for model in self.models)
        return f"over {self.seeds} and images" if several else "over images"

    @property
    def rows(self) -> list[tuple[Value | Measured, ...]]:
        """Rows of name, features, share in percent, the ends of its 95 % interval and images; the last is chance."""
        if not self.known.size:
            return [(entry.name, entry.space, None, None, None, 0) for entry in self.entries]
        rows: list[tuple[Value | Measured, ...]] = []
        for number, entry in enumerate(self.entries):
            low, _, high = _interval(self.compared.level(number))
            rows.append((entry.name, entry.space, self._share(entry), low, high, len(self.known)))
        return [*rows, ("by chance", "", self.chance, None, None, len(self.known))]

    @property
    def sentences(self) -> list[str]:
        """What is said of each model."""
        if not self.known.size:
            return [f"{model.name}, {model.space}: no image is known to have a class." for model in self.models]
        return [self._sentence(number) for number in range(len(self.models))]

    @property
    def text(self) -> list[str]:
        """What is said of each model, and of each further one beside the first."""
        text = self.sentences
        if not self.known.size:
            return text
        for name, over, gain, low, high in self.gains:
            if over == self.models[0].name and name != over:
                told = "" if low > 0 or high < 0 else ", not significant"
                text.append(f"{name} over {over}: {gain:+.1f} points [{low:.1f}, {high:.1f}]{told}.")
        text.append(f"In brackets: 95 % intervals {self.over}, simultaneous ones for differences.")
        if any(len(model.each) == 1 for model in self.models):
            text.append(reach({model.name: len(model.each) for model in self.models}))
        return text

    @property
    def headline(self) -> str:
        """What is said of all models in short."""
        if not self.known.size:
            return "no image is known to have a class"
        shares = [f"{self._share(model).mean:.0f} %" for model in self.models]
        if len(shares) == 1:
            return f"{shares[0]} of the neighbours share a class, {self._beaten(0)}"
        said = " and ".join(f"{share} ({model.name})" for share, model in zip(shares, self.models, strict=True))
        apart = [low > 0 or high < 0 for name, over, _, low, high in self.gains if over == self.models[0].name != name]
        return f"{said} of the neighbours share a class{'' if all(apart) else '; the difference is not significant'}"

    def table(self) -> Table:
        """Return the gains as a table."""
        heads = ("model", "over")
        columns = (*map(Column, heads), *(Column(head, digits=1) for head in ("gain, points", "from", "to")))
        rows = tuple(self.gains) if self.known.size else ()
        title = "Neighbours that share a class: what models have over the pixels, an untrained network, each other"
        return Table(f"{title}, with simultaneous 95 % intervals {self.over}", columns, rows)

    def drawn(self, caption: str) -> Figure | None:
        """Draw the shares of the models beside what they must beat; None where no image has a class."""
        if not self.known.size:
            return None
        levels = {id(entry): self.compared.level(number) for number, entry in enumerate(self.entries)}
        kinds = {"model": self.models, "untrained": self.untrained, self.pixels.name: (self.pixels,) * len(self.models)}
        if not any(self.untrained):
            del kinds["untrained"]
        ends = {
            kind: np.array([_interval(levels[id(entry)]) if entry else (np.nan,) * 3 for entry in entries]) / 100
            for kind, entries in kinds.items()
        }
        series = {kind: values[:, 1] for kind, values in ends.items()}
        errors = {kind: values[:, 2] - values[:, 1] for kind, values in ends.items()}
        series["by chance"] = np.full(len(self.models), (self.chance or 0) / 100)
        caption = f"{caption} Lines: 95 % intervals {self.over}."
        labels = [model.name for model in self.models]
        title, ylabel = "Neighbours that share a class", "share a class, %"
        png = figures.bars(labels, series, errors=errors, title=title, caption=caption, ylabel=ylabel, percent=True)
        return Figure(png, caption)

    def _share(self, entry: Shares) -> Measured:
        return Measured.of(100 * entry.each[:, self.known].mean(axis=1))

    def _beaten(self, number: int) -> str:
        """Say of each thing that a model must beat whether it does."""
        model = self.models[number]
        against: dict[str, list[str]] = {}
        for other in filter(None, (self.pixels, self.untrained[number])):
            [(_, _, _, least, most)] = [row for row in self.gains if row[:2] == (model.name, other.name)][:1]
            verdict = "more than" if least > 0 else "less than" if most < 0 else "not significantly different from"
            name = other.name if other is self.pixels else "untrained"
            against.setdefault(verdict, []).append(f"{name} ({self._share(other):,.1f} %)")
        return "; ".join(f"{verdict} {' and '.join(names)}" for verdict, names in against.items())

    def _sentence(self, number: int) -> str:
        model, (low, _, high) = self.models[number], _interval(self.compared.level(number))
        share = f"{self._share(model):,.1f} % [{low:.1f}, {high:.1f}] of the neighbours share a class"
        return f"{model.name}, {model.space}: {share}, {self._beaten(number)}; by chance {self.chance:.1f} %."


def networks(subject: Subject) -> int:
    """Return how many networks are looked at: one a seed and, where it can be made, an untrained one."""
    return len(subject.replicates) + (subject.blank is not None)


def network(subject: Subject, number: int) -> Subject:
    """Return a network by its number; the last is the untrained one, what the first seed's training begins with."""
    seeds = subject.replicates
    return seeds[number] if number < len(seeds) else subject.untrained(subject.seed)


def standing_of(
    subjects: Sequence[Subject],
    spaces: Sequence[str],
    present: np.ndarray,
    nearest: Sequence[Sequence[np.ndarray]],
    in_pixels: np.ndarray,
) -> Standing:
    """Count who shares a class: `present` (N, classes) bool, the nearest (N, k) in each network of a model and in the
    pixels.
    """
    models: list[Shares] = []
    untrained: list[Shares | None] = []
    for subject, space, each in zip(subjects, spaces, nearest, strict=True):
        shares = np.stack([sharing(present, of_network).mean(axis=1) for of_network in each])
        seeds = len(subject.replicates)
        models.append(Shares(subject.name, space, shares[:seeds]))
        others = shares[seeds:]
        untrained.append(Shares(f"{subject.name}, untrained", space, others, False) if len(others) else None)
    pixels = Shares("pixels", of_pixels(subjects[0].images), sharing(present, in_pixels).mean(axis=1)[None], False)
    chance = by_chance(present)
    known = chance[np.isfinite(chance)]
    return Standing(tuple(models), tuple(untrained), pixels, 100 * float(known.mean()) if known.size else None)


def _interval(estimate: Estimate, intervals: int = 1) -> tuple[float, float, float]:
    """Return the lower end, the value and the upper end of what has one column."""
    [value], [margin] = estimate.value.tolist(), estimate.margin(intervals).tolist()
    return value - margin, value, value + margin
