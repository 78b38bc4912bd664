"""Models side by side on the same images: which classes gain, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from analysis import figures
from analysis.features import check_same_images
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.jobs.mistakes import check_labels
from analysis.mcnemar import mcnemar
from analysis.report import Column, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.scoring import score

NAMED = 3  # classes in the text, from either end

# model, both right, only the first right, only the model right, both wrong, p
Test = tuple[str, int, int, int, int, float]


@dataclass(frozen=True)
class Compare(Job):
    """Accuracy per class of two or more models, or average precision (AP) by the first one's rule, and what the others
    gain.

    On single-label data with McNemar's exact test of each further model against the first.
    """

    name: ClassVar[str] = "compare"
    together: ClassVar[bool] = True

    def check(self, subject: Subject) -> None:
        """Raise UserError on multi-label data in which no class is known to be present, which has no AP."""
        check_labels(subject)

    def whole(self, subject: Subject) -> Arrays:
        """Return `logits` (N, classes) float32."""
        return {"logits": subject.logits}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return the values per class, largest gain first.

        Raises UserError for a single model, or models of different data.
        """
        seen = _seen(subjects, computed)
        tables = {"compare": _table(seen)}
        text = [f"{seen.about}: {seen.overall} {', '.join(seen.scores)}."]
        text += [_gains(seen, number) for number in range(1, len(seen.names))]
        text.append(_hardest(seen))
        if not seen.first.multi_label:
            tests = _tests(seen.first.labels, seen.names, [arrays["logits"].argmax(1) for arrays in computed])
            title = f"McNemar's exact test against {seen.names[0]}, two-sided: {seen.about}"
            tables["mcnemar"] = Table(title, _test_columns(seen.names[0]), tests)
            text += [f"{name} against {seen.names[0]}, McNemar's exact test: p = {p:.2g}." for name, *_, p in tests]
        arrays = {"values": seen.values / 100, "training_images": np.array(seen.first.training_images)}
        return Finding(self.name, "Models side by side", tuple(text), tables, {"compare": _drawn(seen)}, arrays)


@dataclass(frozen=True)
class _Seen:
    """Models on the same images: their values in percent, (models, 1 + classes), first over all; NaN: no images."""

    first: Subject
    names: tuple[str, ...]
    values: np.ndarray

    @property
    def overall(self) -> str:
        return "mAP" if self.first.multi_label else "accuracy"

    @property
    def metric(self) -> str:
        """What is measured per class."""
        return f"AP ({self.first.ap_rule} rule)" if self.first.multi_label else "accuracy"

    @property
    def about(self) -> str:
        return f"{' and '.join(self.names)} on {self.first.dataset}, {len(self.first.labels):,} test images"

    @property
    def scores(self) -> list[str]:
        """The values over all, in words."""
        return [f"{name} {value:.2f} %" for name, value in zip(self.names, self.values[:, 0], strict=True)]

    @property
    def gains(self) -> np.ndarray:
        """What the further models gain over the first, in points, (models − 1, 1 + classes)."""
        return self.values[1:] - self.values[0]

    @property
    def order(self) -> list[int]:
        """The classes by the second model's gain, the largest first; those without images come last."""
        return np.argsort(-self.gains[0, 1:], kind="stable").tolist()


def _seen(subjects: Sequence[Subject], computed: Sequence[Arrays]) -> _Seen:
    first, names = subjects[0], tuple(subject.name for subject in subjects)
    if len(subjects) < 2 or len(set(names)) < len(names):
        raise UserError(f"compare has the models {', '.join(names)}, but needs at least two, of different names")
    check_same_images(subjects)
    labels = torch.from_numpy(first.labels)
    scores = [score(torch.from_numpy(arrays["logits"]), labels, first.ap_rule) for arrays in computed]
    values = np.array([[100 * each.value, *each.per_class] for each in scores], float)
    values[:, 1:] *= 100
    return _Seen(first, names, values)


def _table(seen: _Seen) -> Table:
    """Return the table: a row for all, then the classes by their gain."""
    first, gains = seen.first, seen.gains

    def row(name: str, images: int | None, column: int) -> tuple[Value, ...]:
        cells = [*seen.values[:, column].tolist(), *gains[:, column].tolist()]
        return name, images, *(None if np.isnan(cell) else cell for cell in cells)

    # an image of several classes would count several times
    rows = [row("all", None if first.multi_label else sum(first.training_images), 0)]
    rows += [row(first.class_names[label], first.training_images[label], label + 1) for label in seen.order]
    columns = [Column("class"), Column("training images"), *(Column(name, digits=2) for name in seen.names)]
    columns += [Column(f"gain of {name}", digits=2) for name in seen.names[1:]]
    title = f"{seen.metric}, % and gain over {seen.names[0]} in points: {seen.about}"
    return Table(title, tuple(columns), tuple(rows))


def _drawn(seen: _Seen) -> Figure:
    caption = (
        f"{seen.about}: {seen.metric} per class, by the gain of {seen.names[1]} over {seen.names[0]}. In brackets: "
        "training images of the class."
    )
    labels = [f"{seen.first.class_names[label]} ({seen.first.training_images[label]:,})" for label in seen.order]
    series = {name: row[1:][seen.order] / 100 for name, row in zip(seen.names, seen.values, strict=True)}
    title, ylabel = f"{seen.metric} per class", f"{seen.metric}, %"
    return Figure(figures.bars(labels, series, title=title, caption=caption, ylabel=ylabel, percent=True), caption)


def _gains(seen: _Seen, number: int) -> str:
    """Return the classes on which model `number` gains most and least, in words."""
    gains = seen.gains[number - 1, 1:]
    order = [label for label in np.argsort(-gains, kind="stable").tolist() if not np.isnan(gains[label])]
    most, least = (
        ", ".join(f"{seen.first.class_names[label]} {gains[label]:+.1f}" for label in part)
        for part in (order[:NAMED], order[-NAMED:])
    )
    return f"{seen.names[number]} over {seen.names[0]}, in points: most {most}; least {least}."


def _hardest(seen: _Seen) -> str:
    """Return the classes that are hardest for the last model, in words."""
    names, images, values = seen.first.class_names, seen.first.training_images, seen.values[-1, 1:]
    order = [label for label in np.argsort(values, kind="stable").tolist() if not np.isnan(values[label])][:NAMED]
    hardest = [f"{names[label]} {values[label]:.1f} % ({images[label]:,} training images)" for label in order]
    usual = f"the median class has {np.median(images):,.0f} training images"
    return f"Hardest for {seen.names[-1]}: {', '.join(hardest)}; {usual}."


def _tests(labels: np.ndarray, names: Sequence[str], predicted: Sequence[np.ndarray]) -> tuple[Test, ...]:
    """Return McNemar's test of each further model against the first."""
    before = predicted[0] == labels
    tests = []
    for name, classes in zip(names[1:], predicted[1:], strict=True):
        after = classes == labels
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
