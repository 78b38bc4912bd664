"""What a network gets wrong: the images that it misclassifies with most confidence, and what it takes for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from analysis.finding import Arrays, Figure, Finding
from analysis.inference.agreement import Agreement, agreement, agreement_table, drawn_agreement
from analysis.inference.confusion import confusion, confusion_table
from analysis.job import Job
from analysis.report import Column, Measured, Table, Value
from trainables.errors import UserError

if TYPE_CHECKING:  # imports torch, which takes a second: a command that finds all done does without
    from analysis.subject import Subject

COLUMNS = 8  # of the gallery
NAMED = 5  # confusions in the text
THRESHOLD = 0.5  # from this probability on, a multi-label network says that the class is there


def misclassified(labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the numbers of the misclassified images, (n,): the most probable prediction first, equal ones by image
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

    Single-label data: `count` misclassified images, and the confusion matrix. Multi-label data: about `count` false
    positives and as many missed objects, the same number of each class and at least one, and average precision (AP) by
    the trial's own rule. Counts are means over the networks of all seeds, the gallery is the first one's.
    """

    name: ClassVar[str] = "mistakes"
    edition: ClassVar[int] = 3

    count: int = 40

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"count is {self.count}, but must be at least 1")

    def check(self, subject: Subject) -> None:
        """Raise UserError on multi-label data in which no class is known to be present, which has no AP."""
        check_labels(subject)

    def parts(self, subject: Subject) -> int:
        """Return the number of networks, a part each."""
        self.check(subject)
        return len(subject.replicates)

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return a network's `logits` and `probabilities` (N, classes) float32, and `predicted` (N,), the most probable
        classes; of single-label data only the first one's logits and probabilities.
        """
        network = subject.replicates[part]
        if part and not subject.multi_label:
            return {"predicted": network.predicted}
        return {"logits": network.logits, "probabilities": network.probabilities, "predicted": network.predicted}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return gallery, values per class and, on single-label data, the confusion matrix."""
        [subject] = subjects
        return self._multi_label(subject, computed) if subject.multi_label else self._single_label(subject, computed)

    def _single_label(self, subject: Subject, computed: Sequence[Arrays]) -> Finding:
        names, first = subject.class_names, computed[0]
        predicted = np.stack([arrays["predicted"] for arrays in computed])
        counts = np.stack([confusion(subject.labels, each, len(names)) for each in predicted])
        wrong, about = predicted != subject.labels, _about(subject)
        ranked = misclassified(subject.labels, first["predicted"], first["probabilities"])
        shown = ranked[: self.count]
        pairs = _most_common(counts)
        confused = "; ".join(_confusions(counts, pairs, names)) or "none"
        text = [_right(wrong, about), f"The most common confusions: {confused}."]
        found = f"Mistakes: {100 * (1 - wrong.mean()):.1f} % of the test images are right"
        found += "".join(f"; most often {names[true]} is taken for {names[taken]}" for true, taken in pairs[:1])
        title = f"Images of each class (row) taken for each class (column){_means(counts)}: {about}"
        means = counts[0] if len(counts) == 1 else counts.mean(axis=0)
        tables = {"per_class": _accuracies(counts, names, about), "confusion": confusion_table(means, names, title)}
        drawn = {"confusion": _draw_confusion(means, names, f"{about}{_means(counts)}")}
        if len(counts) > 1:
            agreed = {"misclassified": agreement(wrong, subject.labels)}
            same = (wrong.all(axis=0) & (predicted == predicted[0]).all(axis=0)).sum()
            text.append(f"{_in_common(agreed)}, {same:,} of them as the same class.")
            tables["agreement"] = agreement_table(agreed, about)
            drawn["agreement"] = drawn_agreement(agreed, "images", about)
        if len(ranked) < self.count:
            text.append(f"{self.count} images were asked for, but only {len(ranked)} are misclassified.")
        if len(shown):
            drawn["gallery"] = _draw_wrong(subject, shown, first)
        tables["gallery"] = _gallery_table(subject, shown, first, wrong)
        arrays = {**first, "predicted_by_seed": predicted, "confusion": means, "gallery": shown}
        return Finding(self.name, found, tuple(text), tables, drawn, arrays)

    def _multi_label(self, subject: Subject, computed: Sequence[Arrays]) -> Finding:
        import torch

        from trainables.scoring import score

        labels, classes = torch.from_numpy(subject.labels), len(subject.class_names)
        scores = [score(torch.from_numpy(arrays["logits"]), labels, subject.ap_rule) for arrays in computed]
        found = [
            [find(subject.labels, arrays["probabilities"]) for find in (false_positives, missed)] for arrays in computed
        ]
        about, scored = _about(subject), [each.per_class for each in scores]
        text = _precision([each.value for each in scores], found, subject, about)
        per_class = max(1, self.count // classes)
        probabilities = computed[0]["probabilities"]
        shown = [
            np.concatenate([pairs[pairs[:, 1] == label][:per_class] for label in range(classes)]) for pairs in found[0]
        ]
        tables = {
            "per_class": _average_precisions(subject, scored, found, f"{about}, {subject.ap_rule} rule"),
            "gallery": _pairs_table(subject, shown, probabilities),
        }
        drawn = _draw_both(subject, shown, probabilities)
        if len(computed) > 1:
            agreed = _agreed(subject.labels, [arrays["probabilities"] for arrays in computed])
            text.append(f"{_in_common(agreed)}.")
            tables["agreement"] = agreement_table(agreed, about)
            drawn["agreement"] = drawn_agreement(agreed, "mistakes", about)
        if any(len(pairs) < per_class * classes for pairs in shown):
            text.append(f"{per_class} of each class and kind were asked for; where fewer are shown, there are no more.")
        lowest = _lowest(scored, subject.class_names)
        title = f"Mistakes: mAP is {100 * np.mean([each.value for each in scores]):.1f} %, lowest for {lowest}"
        return Finding(self.name, title, tuple(text), tables, drawn, computed[0])


def _lowest(values: Sequence[Sequence[float | None]], class_names: Sequence[str]) -> str:
    """Return the class of the lowest average precision (seeds, classes) and that, in words; unknown ones left out."""
    means = 100 * np.array(values, float).mean(axis=0)
    lowest = int(np.nanargmin(means))
    return f"{class_names[lowest]} ({means[lowest]:.1f} %)"


def _about(subject: Subject) -> str:
    seeds = len(subject.replicates)
    return f"{subject.name} on {subject.dataset}" + (f", {seeds} seeds" if seeds > 1 else "")


def _right(wrong: np.ndarray, about: str) -> str:
    """Return how many images are right, in words; which are wrong (n, N), a row for each seed."""
    images = wrong.shape[1]
    mistaken, accuracy = Measured.of(wrong.sum(axis=1)), Measured.of(100 * (1 - wrong.mean(axis=1)))
    right = Measured(images - mistaken.mean, mistaken.sd, mistaken.n)
    counts = f"{_counted(right)} right, {_counted(mistaken)} wrong"
    return f"{about}, {images:,} test images: {counts} ({accuracy:,.2f} % right)."


def _precision(
    values: Sequence[float], mistakes: Sequence[Sequence[np.ndarray]], subject: Subject, about: str
) -> list[str]:
    """Return mean average precision, and how many classes each seed falsely predicts and misses, in words."""
    false, lost = (Measured.of([len(each[kind]) for each in mistakes]) for kind in (0, 1))
    mean = Measured.of([100 * value for value in values])
    at = f"At a probability of {THRESHOLD}: {_counted(false)} classes falsely predicted, {_counted(lost)} missed."
    return [
        f"{about}, {len(subject.labels):,} test images: mAP {mean:.2f} % ({subject.ap_rule} rule).",
        f"{at} Unknown labels count nowhere.",
    ]


def _in_common(agreed: Mapping[str, Agreement]) -> str:
    """Return which mistakes all seeds make, in words."""
    return "; ".join(f"{kind}: {each}" for kind, each in agreed.items()).capitalize()


def _whose(subject: Subject) -> str:
    """Return whose a gallery is."""
    return f"{subject.name} (seed {subject.seed})" if subject.others else subject.name


def _counted(value: Measured) -> str:
    """Return a count over the seeds in words; of one seed it is a whole number."""
    return f"{value:,.0f}" if value.n == 1 else f"{value:,.1f}"


def _means(counts: np.ndarray) -> str:
    return ", means over the seeds" if len(counts) > 1 else ""


def _over_seeds(values: np.ndarray) -> Measured | int | float:
    """Return a cell for values (n,), one a seed."""
    return Measured.of(values) if len(values) > 1 else values[0].item()


def check_labels(subject: Subject) -> None:
    """Raise UserError for multi-label data in which no class is known to be present, as that leaves nothing to rank."""
    if subject.multi_label and not (subject.labels == 1).any():
        raise UserError(
            f"no image of {subject.dataset} is known to have any of the classes, so that there is no average precision"
        )


def _most_common(counts: np.ndarray) -> list[tuple[int, int]]:
    """Return the (true, predicted) classes of the most common confusions; counts (n, classes, classes)."""
    classes = counts.shape[1]
    wrong = counts.mean(axis=0) * ~np.eye(classes, dtype=bool)
    pairs = [divmod(int(at), classes) for at in np.argsort(-wrong, axis=None, kind="stable")[:NAMED]]
    return [pair for pair in pairs if wrong[pair]]


def _confusions(counts: np.ndarray, pairs: Sequence[tuple[int, int]], class_names: Sequence[str]) -> list[str]:
    """Return confusions in words, such as "cat taken for dog: 113 of 1,000"."""
    return [
        f"{class_names[true]} taken for {class_names[taken]}: {_counted(Measured.of(counts[:, true, taken]))} of "
        f"{counts[0, true].sum():,}"
        for true, taken in pairs
    ]


def _accuracies(counts: np.ndarray, class_names: Sequence[str], about: str) -> Table:
    """Return right and wrong of counts (n, classes, classes)."""

    def row(name: str, images: int, right: np.ndarray) -> tuple[Value | Measured, ...]:
        percent = _over_seeds(100 * right / images) if images else None
        return name, images, _over_seeds(right), _over_seeds(images - right), percent

    diagonals, images = np.diagonal(counts, axis1=1, axis2=2), counts[0].sum(axis=1).tolist()
    rows = [row("all", sum(images), diagonals.sum(axis=1))]
    rows += [row(name, images[label], diagonals[:, label]) for label, name in enumerate(class_names)]
    columns = (Column("class"), Column("images"), *(Column(name, digits=1) for name in ("right", "wrong")))
    title = f"Right and wrong per class: {about}"
    return Table(title, (*columns, Column("accuracy %", digits=2)), tuple(rows))


def _agreed(labels: np.ndarray, probabilities: Sequence[np.ndarray]) -> dict[str, Agreement]:
    """Return how far networks agree in what they falsely predict, and in what they miss, of multi-label data."""
    found = {}
    for kind, mark in (("falsely predicted", 0), ("missed", 1)):
        images, classes = np.nonzero(labels == mark)
        wrong = [(each[images, classes] >= THRESHOLD) == (mark == 0) for each in probabilities]
        found[kind] = agreement(np.stack(wrong), classes)
    return found


def _gallery_table(subject: Subject, shown: np.ndarray, arrays: Arrays, wrong: np.ndarray) -> Table:
    seeds = wrong.sum(axis=0)

    def row(image: int) -> tuple[Value, ...]:
        true, taken, probabilities = subject.labels[image], arrays["predicted"][image], arrays["probabilities"][image]
        return (
            image,
            subject.class_names[true],
            subject.class_names[taken],
            float(probabilities[taken]),
            float(probabilities[true]),
            *([int(seeds[image])] if len(wrong) > 1 else []),
        )

    columns = [Column(name) for name in ("image", "true class", "predicted class")]
    columns += [Column("its probability", digits=3), Column("probability of the true class", digits=3)]
    columns += [Column(f"wrong with, of {len(wrong)} seeds")] if len(wrong) > 1 else []
    rows = tuple(row(image) for image in shown.tolist())
    return Table(f"The most confident mistakes of {_whose(subject)}", tuple(columns), rows, folded=True)


def _draw_confusion(counts: np.ndarray, class_names: Sequence[str], about: str) -> Figure:
    caption = (
        f"{about}: how many test images of each class (row) were taken for each class (column). Colour: share "
        "of the row."
    )
    images = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, images, out=np.full(counts.shape, np.nan), where=images > 0)
    from analysis import figures

    png = figures.matrix(
        shares,
        row_labels=class_names,
        column_labels=class_names,
        title="Confusion matrix",
        caption=caption,
        xlabel="predicted class",
        ylabel="true class",
        percent=True,
        text=[[f"{count:,.0f}" for count in row] for row in counts.tolist()],
    )
    return Figure(png, caption)


def _draw_wrong(subject: Subject, shown: np.ndarray, arrays: Arrays) -> Figure:
    names, taken = subject.class_names, arrays["predicted"]
    titles = [
        f"{names[subject.labels[image]]}\n→ {names[taken[image]]}\n{arrays['probabilities'][image, taken[image]]:.3f}"
        for image in shown
    ]
    caption = (
        f"{_whose(subject)} on {subject.dataset}: the {len(shown)} misclassified test images with the most probable "
        "predictions, most probable first. Above each: true class → predicted class, and the predicted class's "
        "probability."
    )
    return _draw_gallery(subject.images[shown], titles, "The most confident mistakes", caption)


def _draw_both(subject: Subject, shown: Sequence[np.ndarray], probabilities: np.ndarray) -> dict[str, Figure]:
    """Draw the galleries of false positives and of missed objects, those that are not empty."""
    rules = {
        "false_positives": "for each class the test images without it that it is most probable on, from "
        f"{THRESHOLD} on",
        "missed": f"for each class the test images with it that it is least probable on, below {THRESHOLD}",
    }
    drawn = {}
    for (stem, rule), pairs in zip(rules.items(), shown, strict=True):
        if len(pairs):
            titles = [f"{subject.class_names[label]}\n{probabilities[image, label]:.3f}" for image, label in pairs]
            caption = f"{_whose(subject)} on {subject.dataset}: {rule}. Above each: the class and its probability."
            title = f"The most confident mistakes: {stem.replace('_', ' ')}"
            drawn[stem] = _draw_gallery(subject.images[pairs[:, 0]], titles, title, caption)
    return drawn


def _draw_gallery(images: np.ndarray, titles: Sequence[str], title: str, caption: str) -> Figure:
    from analysis import figures

    pictures = [figures.Panel(image, words) for image, words in zip(images, titles, strict=True)]
    return Figure(figures.panels(figures.in_rows(pictures, COLUMNS), title=title, caption=caption), caption)


def _average_precisions(
    subject: Subject,
    values: Sequence[Sequence[float | None]],
    mistakes: Sequence[Sequence[np.ndarray]],
    about: str,
) -> Table:
    """Return what each seed makes per class: its average precision, its false positives and what it misses."""
    classes = len(subject.class_names)
    present, unknown = ((subject.labels == mark).sum(axis=0).tolist() for mark in (1, -1))
    false, lost = (np.stack([np.bincount(each[kind][:, 1], minlength=classes) for each in mistakes]) for kind in (0, 1))
    precision = 100 * np.array(values, float)
    rows = tuple(
        (
            name,
            present[label],
            unknown[label],
            _over_seeds(false[:, label]),
            _over_seeds(lost[:, label]),
            _over_seeds(precision[:, label]) if present[label] else None,
        )
        for label, name in enumerate(subject.class_names)
    )
    columns = (
        *map(Column, ("class", "images with it", "unknown")),
        Column("false positives", digits=1),
        Column("missed", digits=1),
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
    return Table(f"The most confident mistakes of {_whose(subject)}", columns, rows, folded=True)
