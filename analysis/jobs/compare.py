"""Models side by side on the same images: which classes gain, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from analysis import figures
from analysis.features import check_same_images, presence
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.bootstrap import average_precisions
from analysis.inference.class_gains import ClassGains, of_accuracy, of_precision
from analysis.inference.gains import reach
from analysis.inference.mcnemar import mcnemar
from analysis.job import Job, by_model
from analysis.jobs.mistakes import check_labels
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.scoring import score

HARDEST = 3  # classes named
NAMED = 10  # gains named, those furthest from 0
ERROR = 0.05  # in how many comparisons of equal models a class is named at most

# model, both right, only the first right, only the model right, both wrong, p
Test = tuple[str, int, int, int, int, float]


@dataclass(frozen=True)
class Compare(Job):
    """Accuracy per class of two or more models, or average precision (AP) by the first one's rule, and what the others
    gain, beyond what chance makes of seeds and images.

    Means over each model's networks, one a seed. On single-label data with McNemar's exact test of each further model
    against the first where all have one seed.
    """

    name: ClassVar[str] = "compare"
    together: ClassVar[bool] = True
    edition: ClassVar[int] = 3

    def check(self, subject: Subject) -> None:
        """Raise UserError on multi-label data in which no class is known to be present, which has no AP."""
        check_labels(subject)

    def parts(self, subject: Subject) -> int:
        """Return the number of networks, a part each."""
        self.check(subject)
        return len(subject.replicates)

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return the `values` of a network over all images and per class, (1 + classes,) in 0..1, NaN without images.

        And which images are `right` (N,); on multi-label data the values on resamples of the images, `resampled`
        (resamples, 1 + classes) float32.
        """
        network = subject.replicates[part]
        found = score(torch.from_numpy(network.logits), torch.from_numpy(network.labels), subject.ap_rule)
        values = np.array([found.value, *found.per_class], float)
        if not subject.multi_label:
            return {"values": values, "right": network.right}
        again = average_precisions(network.logits.astype(float), network.labels, subject.ap_rule)
        known = np.isfinite(again)
        mean = np.where(known, again, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        return {"values": values, "resampled": np.column_stack([mean, again]).astype(np.float32)}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return the values per class, largest gain first.

        Raises UserError for a single model, or models of different data.
        """
        networks = by_model(computed, [len(subject.replicates) for subject in subjects])
        seen = _seen(subjects, networks)
        text = [f"{seen.about}: {seen.overall} {', '.join(seen.scores)}."]
        tables = {"compare": _table(seen)}
        tests: tuple[Test, ...] = ()
        if not (seen.first.multi_label or seen.gained.over_seeds):
            tests = _tests(seen.names, [arrays[0]["right"] for arrays in networks])
            title = f"McNemar's exact test against {seen.names[0]}, two-sided: {seen.about}"
            tables["mcnemar"] = Table(title, _test_columns(seen.names[0]), tests)
        for number in range(1, len(seen.names)):
            text += [_over_all(seen, number, tests), _gains(seen, number)]
        text += [reach({name: len(of) for name, of in zip(seen.names, seen.values, strict=True)}), _hardest(seen)]
        arrays = {
            "values": seen.means / 100,
            "training_images": np.array(seen.first.training_images),
            "p": seen.gained.p,
        }
        drawn = {"compare": _drawn(seen), "gains": _drawn_gains(seen)}
        return Finding(self.name, f"Side by side: {_in_short(seen)}", tuple(text), tables, drawn, arrays)


@dataclass(frozen=True)
class _Seen:
    """Models on the same images: the values of their networks in percent, (n, 1 + classes) each, first over all; NaN:
    no images. And what the further ones gain.
    """

    first: Subject
    names: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    gained: ClassGains

    @property
    def overall(self) -> str:
        return "mAP" if self.first.multi_label else "accuracy"

    @property
    def metric(self) -> str:
        """What is measured per class."""
        return f"AP ({self.first.ap_rule} rule)" if self.first.multi_label else "accuracy"

    @property
    def heading(self) -> str:
        """The same where a line begins with it."""
        return self.metric[0].upper() + self.metric[1:]

    @property
    def about(self) -> str:
        return f"{' and '.join(self.names)} on {self.first.dataset}, {len(self.first.labels):,} test images"

    @property
    def scores(self) -> list[str]:
        """The values over all, in words."""
        over_all = [Measured.of(values[:, 0]) for values in self.values]
        return [f"{name} {value:,.2f} %" for name, value in zip(self.names, over_all, strict=True)]

    @cached_property
    def means(self) -> np.ndarray:
        """The means over seeds, (models, 1 + classes)."""
        return np.stack([values.mean(axis=0) for values in self.values])

    @property
    def gains(self) -> np.ndarray:
        """What the further models gain over the first, in points, (models − 1, 1 + classes)."""
        return self.means[1:] - self.means[0]

    @property
    def order(self) -> list[int]:
        """The classes by the second model's gain, the largest first; those without images come last."""
        return np.argsort(-self.gains[0, 1:], kind="stable").tolist()

    @property
    def classes(self) -> int:
        """How many classes have images."""
        return int(np.isfinite(self.gains[0, 1:]).sum())

    @property
    def over(self) -> str:
        """What intervals are over."""
        return "over seeds and images" if self.gained.over_seeds else "over images"


def _seen(subjects: Sequence[Subject], computed: Sequence[Sequence[Arrays]]) -> _Seen:
    first, names = subjects[0], tuple(subject.name for subject in subjects)
    if len(subjects) < 2 or len(set(names)) < len(names):
        raise UserError(f"compare has the models {', '.join(names)}, but needs at least two, of different names")
    check_same_images(subjects)
    values, images = (
        tuple(np.stack([arrays[key] for arrays in networks]) for networks in computed)
        for key in ("values", "resampled" if first.multi_label else "right")
    )
    if first.multi_label:
        gained = of_precision(values, images, presence(first).sum(axis=0))
    else:
        gained = of_accuracy(images, first.labels, len(first.class_names))
    return _Seen(first, names, tuple(100 * each for each in values), gained)


def _table(seen: _Seen) -> Table:
    """Return the table: a row for all, then the classes by their gain."""
    first, gained, tests = seen.first, seen.gained, seen.gained.tests
    together = np.stack([seen.gains[:, :1], gained.over_all.margin(len(seen.gains))[:, None]])
    apart = np.stack([seen.gains[:, 1:], np.stack([gain.margin(tests) for gain in gained.per_class])])
    gains, margins = np.concatenate([together, apart], axis=2)
    p = np.column_stack([np.full(len(gains), np.nan), gained.p])

    def row(name: str, images: int | None, column: int) -> tuple[Value | Measured, ...]:
        found = [Measured.of_finite(values[:, column]) for values in seen.values]
        cells = [each.mean if each and each.n == 1 else each for each in found]
        for gain, margin, chance in zip(gains[:, column], margins[:, column], p[:, column], strict=True):
            numbers = (gain, gain - margin, gain + margin, chance)
            cells += [float(number) if np.isfinite(number) else None for number in numbers]
        return name, images, *cells

    # an image of several classes would count several times
    rows = [row("all", None if first.multi_label else sum(first.training_images), 0)]
    rows += [row(first.class_names[label], first.training_images[label], label + 1) for label in seen.order]
    columns = [Column("class"), Column("training images"), *(Column(name, digits=2) for name in seen.names)]
    for name in seen.names[1:]:
        gain = f"gain of {name}"
        columns += [Column(head, digits=2) for head in (gain, f"{gain}, from", f"{gain}, to")]
        columns.append(Column(f"{gain}, p (Holm)", digits=4))
    title = (
        f"{seen.heading}, % and gain over {seen.names[0]} in points, with simultaneous 95 % intervals {seen.over}: "
        f"{seen.about}"
    )
    return Table(title, tuple(columns), tuple(rows))


def _drawn(seen: _Seen) -> Figure:
    caption = (
        f"{seen.about}: {seen.metric} per class, by the gain of {seen.names[1]} over {seen.names[0]}. In brackets: "
        "training images of the class."
    )
    labels = [f"{seen.first.class_names[label]} ({seen.first.training_images[label]:,})" for label in seen.order]
    series = {name: row[1:][seen.order] / 100 for name, row in zip(seen.names, seen.means, strict=True)}
    spreads = {
        name: values[:, 1:][:, seen.order].std(axis=0, ddof=1) / 100
        for name, values in zip(seen.names, seen.values, strict=True)
        if len(values) > 1
    }
    if spreads:
        caption += " Lines: ± 1 sd over seeds."
    title, ylabel = f"{seen.heading} per class", f"{seen.metric}, %"
    png = figures.bars(labels, series, errors=spreads, title=title, caption=caption, ylabel=ylabel, percent=True)
    return Figure(png, caption)


def _drawn_gains(seen: _Seen) -> Figure:
    """Draw the gains beside what equal classes show by chance."""
    by_chance = max(gain.by_chance() for gain in seen.gained.per_class)
    caption = (
        f"{seen.about}: gain in {seen.metric} over {seen.names[0]} per class. Lines: simultaneous 95 % intervals "
        f"{seen.over}. Gray: what the largest of {seen.classes} equal classes' gains stays within by chance "
        f"(95 %), ±{by_chance:.1f} points."
    )
    labels = [seen.first.class_names[label] for label in seen.order]
    series = {name: row[1:][seen.order] for name, row in zip(seen.names[1:], seen.gains, strict=True)}
    margins = {
        name: gain.margin(seen.gained.tests)[seen.order]
        for name, gain in zip(seen.names[1:], seen.gained.per_class, strict=True)
    }
    png = figures.bars(
        labels, series, errors=margins, band=by_chance, title="Gains per class", caption=caption, ylabel="gain, points"
    )
    return Figure(png, caption)


def _in_short(seen: _Seen) -> str:
    """Return what the last model gains, over all and in how many classes."""
    gain, low, high = _gain(seen, len(seen.names) - 1)
    sure = seen.gained.p[-1] <= ERROR
    better, worse = ((sure & (sign * seen.gains[-1, 1:] > 0)).sum() for sign in (1, -1))
    classes = f"{better} of {seen.classes} classes better, {worse} worse"
    classes = classes if better or worse else "no class significantly different"
    points = f"{gain:+.1f} points of {seen.overall} [{low:.1f}, {high:.1f}]"
    return f"{seen.names[-1]} over {seen.names[0]}: {points}, {classes}"


def _gain(seen: _Seen, number: int) -> tuple[float, float, float]:
    """Return what model `number` gains over all, and the ends of its interval."""
    gain, margin = seen.gains[number - 1, 0], seen.gained.over_all.margin(len(seen.gains))[number - 1]
    return float(gain), float(gain - margin), float(gain + margin)


def _over_all(seen: _Seen, number: int, tests: Sequence[Test]) -> str:
    """Return what model `number` gains over all, in words."""
    gain, low, high = _gain(seen, number)
    which = "simultaneous 95 % interval" if len(seen.gains) > 1 else "95 % interval"
    exact = f", McNemar's exact test: p = {tests[number - 1][-1]:.2g}" if tests else ""
    interval = f"[{low:.2f}, {high:.2f}] ({which} {seen.over})"
    return f"{seen.names[number]} over {seen.names[0]}: {gain:+.2f} points {interval}{exact}."


def _gains(seen: _Seen, number: int) -> str:
    """Return the classes whose gain is more than chance, in words, and what chance comes to."""
    gains, p = seen.gains[number - 1, 1:], seen.gained.p[number - 1]
    named = [label for label in np.argsort(-np.abs(gains), kind="stable").tolist() if p[label] <= ERROR]
    shown = sorted(named[:NAMED], key=lambda label: -gains[label])
    words = ", ".join(f"{seen.first.class_names[label]} {gains[label]:+.1f}" for label in shown)
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    rest = seen.classes - len(named)
    whose = f"{seen.names[number]} over {seen.names[0]} per class"
    rule = f"Holm over {seen.gained.tests:,} tests, 5 %"
    by_chance = seen.gained.per_class[number - 1].by_chance()
    chance = f"the largest of {seen.classes} equal classes' gains stays within ±{by_chance:.1f} by chance (95 %)"
    if not named:
        return f"{whose}: no gain is significant ({rule}); {chance}."
    others = f"; the other {rest:,}: not significant" if rest else ""
    return f"{whose}, in points: {words}{more} ({rule}){others}; {chance}."


def _hardest(seen: _Seen) -> str:
    """Return the classes that are hardest for the last model, in words."""
    names, images, values = seen.first.class_names, seen.first.training_images, seen.means[-1, 1:]
    order = [label for label in np.argsort(values, kind="stable").tolist() if not np.isnan(values[label])][:HARDEST]
    hardest = [f"{names[label]} {values[label]:.1f} % ({images[label]:,} training images)" for label in order]
    usual = f"the median class has {np.median(images):,.0f} training images"
    return f"Lowest for {seen.names[-1]}: {', '.join(hardest)}; {usual}."


def _tests(names: Sequence[str], rights: Sequence[np.ndarray]) -> tuple[Test, ...]:
    """Return McNemar's test of each further model's network against the first's: which images are right (N,)."""
    before, tests = rights[0], []
    for name, after in zip(names[1:], rights[1:], strict=True):
        both, lost, gained, neither = (
            int(cell.sum()) for cell in (before & after, before & ~after, ~before & after, ~before & ~after)
        )
        tests.append((name, both, lost, gained, neither, mcnemar(gained, lost)))
    return tuple(tests)


def _test_columns(first: str) -> tuple[Column, ...]:
    return tuple(
        Column(name)
        for name in ("model", "both right", f"only {first} right", "only the model right", "both wrong", "p")
    )
