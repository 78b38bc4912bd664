"""Models side by side on the same images: which classes gain, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from analysis import figures
from analysis.finding import Arrays, Figure, Finding
from analysis.jobs.mistakes import check_labels
from analysis.mcnemar import mcnemar
from analysis.report import Cell, Column, Table
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.scoring import score

NAMED = 3  # classes in the text, from either end

Test = tuple[
    str, int, int, int, int, float
]  # model, both right, only the first right, only the model right, both wrong, p


@dataclass(frozen=True)
class Compare:
    """Accuracy per class of two or more models, or average precision (AP) by the first one's rule, and what the others
    gain.

    On single-label data with McNemar's exact test of each further model against the first.
    """

    name: ClassVar[str] = "compare"
    together: ClassVar[bool] = True

    def parts(self, subject: Subject) -> int:
        """Return 1. Raises UserError on multi-label data in which no class is known to be present, which has no AP."""
        check_labels(subject)
        return 1

    def compute(self, subject: Subject, part: int) -> Arrays:  # noqa: ARG002
        """Return `logits` (N, classes) float32."""
        return {"logits": subject.logits}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return the values per class, largest gain first.

        Raises UserError for a single model, or models of different data.
        """
        _check_alike(subjects)
        first, names = subjects[0], [subject.name for subject in subjects]
        scores = [
            score(torch.from_numpy(arrays["logits"]), torch.from_numpy(subject.labels), first.ap_rule)
            for subject, arrays in zip(subjects, computed, strict=True)
        ]
        overall, metric = ("mAP", f"AP ({first.ap_rule} rule)") if first.multi_label else ("accuracy", "accuracy")
        # NaN where a class has no images
        values = np.array([[100 * each.value, *each.per_class] for each in scores], float)
        values[:, 1:] *= 100
        gains = values[1:] - values[0]
        order = np.argsort(-gains[0, 1:], kind="stable")  # NaN comes last
        about = f"{' and '.join(names)} on {first.dataset}, {len(first.labels):,} test images"
        text = [
            (
                f"{about}: {overall} "
                f"{', '.join(f'{name} {value:.2f} %' for name, value in zip(names, values[:, 0], strict=True))}."
            )
        ]
        text += [_told(first, name, names[0], gain[1:]) for name, gain in zip(names[1:], gains, strict=True)]
        text += [_hardest(first, names[-1], values[-1, 1:])]
        tables = {
            "compare": _table(
                first, names, values, gains, order, f"{metric}, % and gain over {names[0]} in points: {about}"
            )
        }
        if not first.multi_label:
            tests = _tests(first.labels, names, [arrays["logits"].argmax(1) for arrays in computed])
            tables["mcnemar"] = Table(
                f"McNemar's exact test against {names[0]}, two-sided: {about}", _test_columns(names[0]), tests
            )
            text += [f"{name} against {names[0]}, McNemar's exact test: p = {p:.2g}." for name, _, _, _, _, p in tests]
        caption = (
            f"{about}: {metric} per class, by the gain of {names[1]} over {names[0]}. In brackets: training "
            "images of the class."
        )
        labels = [f"{first.class_names[label]} ({first.training_images[label]:,})" for label in order]
        series = {name: row[1:][order] / 100 for name, row in zip(names, values, strict=True)}
        png = figures.bars(
            labels, series, title=f"{metric} per class", caption=caption, ylabel=f"{metric}, %", percent=True
        )
        arrays = {"values": values / 100, "training_images": np.array(first.training_images)}
        return Finding(self.name, "Models side by side", tuple(text), tables, {"compare": Figure(png, caption)}, arrays)


def _check_alike(subjects: Sequence[Subject]) -> None:
    first, names = subjects[0], [subject.name for subject in subjects]
    if len(subjects) < 2 or len(set(names)) < len(names):
        raise UserError(f"compare has the models {', '.join(names)}, but needs at least two, of different names")
    for other in subjects[1:]:
        if other.dataset != first.dataset or other.class_names != first.class_names:
            raise UserError(
                f"{first.name} ({first.dataset}) and {other.name} ({other.dataset}) must be of the same data set and "
                "classes"
            )
        if not np.array_equal(other.labels, first.labels):
            raise UserError(f"{first.name} and {other.name} must be examined on the same images of {first.dataset}")


def _table(
    first: Subject, names: Sequence[str], values: np.ndarray, gains: np.ndarray, order: np.ndarray, title: str
) -> Table:
    """Return the table: a row for all, then the classes in this order.

    `values` and `gains` are (models, 1 + classes).
    """

    def row(name: str, images: int | None, column: int) -> tuple[Cell, ...]:
        cells = [*values[:, column].tolist(), *gains[:, column].tolist()]
        return name, images, *(None if np.isnan(cell) else cell for cell in cells)

    total = (
        None if first.multi_label else sum(first.training_images)
    )  # an image of several classes would count several times
    rows = [row("all", total, 0)]
    rows += [row(first.class_names[label], first.training_images[label], label + 1) for label in order.tolist()]
    columns = [Column("class"), Column("training images"), *(Column(name, digits=2) for name in names)]
    columns += [Column(f"gain of {name}", digits=2) for name in names[1:]]
    return Table(title, tuple(columns), tuple(rows))


def _told(first: Subject, name: str, over: str, gains: np.ndarray) -> str:
    """Return the classes that gain most and least, in words; gains (classes,) in points."""
    order = [label for label in np.argsort(-gains, kind="stable").tolist() if not np.isnan(gains[label])]
    most, least = (
        [f"{first.class_names[label]} {gains[label]:+.1f}" for label in part]
        for part in (order[:NAMED], order[-NAMED:])
    )
    return f"{name} over {over}, in points: most {', '.join(most)}; least {', '.join(least)}."


def _hardest(first: Subject, name: str, values: np.ndarray) -> str:
    order = [label for label in np.argsort(values, kind="stable").tolist() if not np.isnan(values[label])][:NAMED]
    told = [
        f"{first.class_names[label]} {values[label]:.1f} % ({first.training_images[label]:,} training images)"
        for label in order
    ]
    usual = np.median(first.training_images)
    return f"Hardest for {name}: {', '.join(told)}; the median class has {usual:,.0f} training images."


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
