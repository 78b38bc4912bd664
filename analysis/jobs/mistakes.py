"""What a network gets wrong: the images that it mislabels with most confidence, and what it takes for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from analysis import figures
from analysis.confusion import confusion, confusion_table
from analysis.figures import Panel, in_rows
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.report import Column, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.scoring import score

COLUMNS = 8  # of the gallery
NAMED = 5  # confusions in the text
THRESHOLD = 0.5  # from this probability on, a multi-label network says that the class is there


def wrongly_labelled(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the numbers of the wrongly labelled images, (n,): the most probable prediction first, equal ones by image
    number.

    `labels` (N,) and `predicted` (N,) are class numbers, `probabilities` is (N, classes).
    """
    wrong = np.flatnonzero(labels != predicted)
    return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]


def false_positives(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the (image, class) that are absent and predicted, (n, 2): the most probable first, equal ones by image
    number.

    `labels` (N, classes) are 1, 0 or -1 (unknown: no mistake), `probabilities` (N, classes).
    """
    pairs = np.argwhere((labels == 0) & (probabilities >= THRESHOLD))
    return pairs[np.argsort(-probabilities[*pairs.T], kind="stable")]


def missed(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the (image, class) that are present and not predicted, (n, 2): the least probable first.

    Otherwise as false_positives().
    """
    pairs = np.argwhere((labels == 1) & (probabilities < THRESHOLD))
    return pairs[np.argsort(probabilities[*pairs.T], kind="stable")]


@dataclass(frozen=True)
class Mistakes(Job):
    """A gallery of the most confident mistakes, and how often each class is mistaken.

    Single-label data: `count` wrongly labelled images, and the confusion matrix. Multi-label data: about `count` false
    positives and as many missed objects, the same number of each class and at least one, and average precision (AP) by
    the trial's own rule.
    """

    name: ClassVar[str] = "mistakes"

    count: int = 40

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"count is {self.count}, but must be at least 1")

    def check(self, subject: Subject) -> None:
        """Raise UserError on multi-label data in which no class is known to be present, which has no AP."""
        check_labels(subject)

    def whole(self, subject: Subject) -> Arrays:
        """Return `logits` and `probabilities` (N, classes) float32, and `predicted` (N,), the most probable classes."""
        return {"logits": subject.logits, "probabilities": subject.probabilities, "predicted": subject.predicted}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return gallery, values per class and, on single-label data, the confusion matrix."""
        [subject], [arrays] = subjects, computed
        return self._multi_label(subject, arrays) if subject.multi_label else self._single_label(subject, arrays)

    def _single_label(self, subject: Subject, arrays: Arrays) -> Finding:
        counts = confusion(subject.labels, arrays["predicted"], len(subject.class_names))
        wrong = wrongly_labelled(subject.labels, arrays["predicted"], arrays["probabilities"])
        images, about = len(subject.labels), f"{subject.name} on {subject.dataset}"
        text = [
            (
                f"{about}, {images:,} test images: {images - len(wrong):,} right, {len(wrong):,} wrong "
                f"({1 - len(wrong) / images:.2%} right)."
            ),
            f"The most common confusions: {'; '.join(_confusions(counts, subject.class_names)) or 'none'}.",
        ]
        if len(wrong) < self.count:
            text.append(f"{self.count} images were asked for, but only {len(wrong)} are wrongly labelled.")
        shown = wrong[: self.count]
        drawn = {"confusion": _draw_confusion(counts, subject.class_names, about)}
        if len(shown):
            drawn["gallery"] = _draw_wrong(subject, shown, arrays)
        tables = {
            "per_class": _accuracies(counts, subject.class_names, about),
            "confusion": confusion_table(
                counts, subject.class_names, f"Images of each class (row) taken for each class (column): {about}"
            ),
            "gallery": _gallery_table(subject, shown, arrays),
        }
        return Finding(
            self.name, "Mistakes", tuple(text), tables, drawn, {**arrays, "confusion": counts, "gallery": shown}
        )

    def _multi_label(self, subject: Subject, arrays: Arrays) -> Finding:
        scores = score(torch.from_numpy(arrays["logits"]), torch.from_numpy(subject.labels), subject.ap_rule)
        probabilities = arrays["probabilities"]
        mistakes = [find(subject.labels, probabilities) for find in (false_positives, missed)]
        about, (false, lost) = f"{subject.name} on {subject.dataset}", (len(pairs) for pairs in mistakes)
        at = f"At a probability of {THRESHOLD}: {false:,} classes falsely predicted, {lost:,} missed."
        text = [
            f"{about}, {len(subject.labels):,} test images: mAP {scores.value:.2%} ({subject.ap_rule} rule).",
            f"{at} Unknown labels count nowhere.",
        ]
        classes = len(subject.class_names)
        per_class = max(1, self.count // classes)
        shown = [
            np.concatenate([pairs[pairs[:, 1] == label][:per_class] for label in range(classes)]) for pairs in mistakes
        ]
        if any(len(pairs) < per_class * classes for pairs in shown):
            text.append(f"{per_class} of each class and kind were asked for; where fewer are shown, there are no more.")
        tables = {
            "per_class": _average_precisions(subject, scores.per_class, mistakes, f"{about}, {subject.ap_rule} rule"),
            "gallery": _pairs_table(subject, shown, probabilities),
        }
        captions = {
            "false_positives": "for each class the test images without it that it is most probable on, from "
            f"{THRESHOLD} on",
            "missed": f"for each class the test images with it that it is least probable on, below {THRESHOLD}",
        }
        drawn = {
            stem: _draw_pairs(
                subject, pairs, probabilities, f"The most confident mistakes: {stem.replace('_', ' ')}", captions[stem]
            )
            for stem, pairs in zip(captions, shown, strict=True)
            if len(pairs)
        }
        return Finding(self.name, "Mistakes", tuple(text), tables, drawn, arrays)


def check_labels(subject: Subject) -> None:
    """Raise UserError for multi-label data in which no class is known to be present, as that leaves nothing to rank."""
    if subject.multi_label and not (subject.labels == 1).any():
        raise UserError(
            f"no image of {subject.dataset} is known to have any of the classes, so that there is no average precision"
        )


def _confusions(counts: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Return the most common confusions in words, such as "cat taken for dog: 113 of 1,000"."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    pairs = [divmod(int(at), len(counts)) for at in np.argsort(-wrong, axis=None, kind="stable")[:NAMED]]
    return [
        f"{class_names[true]} taken for {class_names[taken]}: {wrong[true, taken]:,} of {counts[true].sum():,}"
        for true, taken in pairs
        if wrong[true, taken]
    ]


def _accuracies(counts: np.ndarray, class_names: Sequence[str], about: str) -> Table:
    def row(name: str, images: int, right: int) -> tuple[Value, ...]:
        return name, images, right, images - right, 100 * right / images if images else None

    rows = [row("all", int(counts.sum()), int(counts.trace()))]
    rows += [row(name, int(counts[label].sum()), int(counts[label, label])) for label, name in enumerate(class_names)]
    columns = (Column("class"), Column("images"), Column("right"), Column("wrong"), Column("accuracy %", digits=2))
    return Table(f"Right and wrong per class: {about}", columns, tuple(rows))


def _gallery_table(subject: Subject, shown: np.ndarray, arrays: Arrays) -> Table:
    def row(image: int) -> tuple[Value, ...]:
        true, taken, probabilities = subject.labels[image], arrays["predicted"][image], arrays["probabilities"][image]
        return (
            image,
            subject.class_names[true],
            subject.class_names[taken],
            float(probabilities[taken]),
            float(probabilities[true]),
        )

    columns = (
        Column("image"),
        Column("true class"),
        Column("predicted class"),
        Column("its probability", digits=3),
        Column("probability of the true class", digits=3),
    )
    return Table(
        f"The most confident mistakes of {subject.name}", columns, tuple(row(image) for image in shown.tolist())
    )


def _draw_confusion(counts: np.ndarray, class_names: Sequence[str], about: str) -> Figure:
    caption = (
        f"{about}: how many test images of each class (row) were taken for each class (column). Colour: share "
        "of the row."
    )
    images = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, images, out=np.full(counts.shape, np.nan), where=images > 0)
    png = figures.matrix(
        shares,
        row_labels=class_names,
        column_labels=class_names,
        title="Confusion matrix",
        caption=caption,
        xlabel="predicted class",
        ylabel="true class",
        percent=True,
        text=[[f"{count:,}" for count in row] for row in counts.tolist()],
    )
    return Figure(png, caption)


def _draw_wrong(subject: Subject, shown: np.ndarray, arrays: Arrays) -> Figure:
    names, taken = subject.class_names, arrays["predicted"]
    titles = [
        f"{names[subject.labels[image]]}\n→ {names[taken[image]]}\n{arrays['probabilities'][image, taken[image]]:.3f}"
        for image in shown
    ]
    caption = (
        f"{subject.name} on {subject.dataset}: the {len(shown)} wrongly labelled test images with the most probable "
        "predictions, most probable first. Above each: true class → predicted class, and the predicted class's "
        "probability."
    )
    return _draw_gallery(subject.images[shown], titles, "The most confident mistakes", caption)


def _draw_pairs(subject: Subject, pairs: np.ndarray, probabilities: np.ndarray, title: str, rule: str) -> Figure:
    titles = [f"{subject.class_names[label]}\n{probabilities[image, label]:.3f}" for image, label in pairs]
    caption = f"{subject.name} on {subject.dataset}: {rule}. Above each: the class and its probability."
    return _draw_gallery(subject.images[pairs[:, 0]], titles, title, caption)


def _draw_gallery(images: np.ndarray, titles: Sequence[str], title: str, caption: str) -> Figure:
    pictures = [Panel(image, words) for image, words in zip(images, titles, strict=True)]
    return Figure(figures.panels(in_rows(pictures, COLUMNS), title=title, caption=caption), caption)


def _average_precisions(
    subject: Subject, values: Sequence[float | None], mistakes: Sequence[np.ndarray], about: str
) -> Table:
    classes = len(subject.class_names)
    present, unknown = ((subject.labels == mark).sum(axis=0).tolist() for mark in (1, -1))
    false, lost = (np.bincount(pairs[:, 1], minlength=classes).tolist() for pairs in mistakes)
    rows = tuple(
        (
            name,
            present[label],
            unknown[label],
            false[label],
            lost[label],
            None if (value := values[label]) is None else 100 * value,
        )
        for label, name in enumerate(subject.class_names)
    )
    columns = (
        Column("class"),
        Column("images with it"),
        Column("unknown"),
        Column("false positives"),
        Column("missed"),
        Column("AP %", digits=2),
    )
    return Table(f"Average precision and mistakes per class: {about}", columns, rows)


def _pairs_table(subject: Subject, shown: Sequence[np.ndarray], probabilities: np.ndarray) -> Table:
    rows = tuple(
        (image, subject.class_names[label], kind, float(probabilities[image, label]))
        for kind, pairs in zip(("false positive", "missed"), shown, strict=True)
        for image, label in pairs.tolist()
    )
    columns = (Column("image"), Column("class"), Column("mistake"), Column("probability", digits=3))
    return Table(f"The most confident mistakes of {subject.name}", columns, rows)
