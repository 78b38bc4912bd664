"""Ablation: what the network still knows with some of its filters switched off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.chain import Link, chain, run, switched_off
from analysis.confusion import confusion
from analysis.figures import Panel, bars, matrix, panels
from analysis.filters import FilterChoice, Filters, chosen, filter_count, written
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.mcnemar import mcnemar
from analysis.report import Column, Table
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.metrics import average_precisions, mean_average_precision
from trainables.models import made

FILLS = ("zero", "mean")
BATCH = 64
FILTERS_PER_PART = 16  # one at a time
DRAWN = 64  # filters in one figure of bars
GALLERY, COLUMNS = 24, 8
CONFUSIONS = 10
GROWTH = ("true", "predicted", "images before", "images after", "growth")


@dataclass(frozen=True)
class Ablation(Job):
    """The test set again with some filters switched off: `filters` as in analysis.filters, all at once.

    A filter is off where its map enters the next layer, after batch norm, activation and pooling: the map is 0 there
    (`fill` "zero"), or the mean of what enters there over the test images and positions ("mean"). Zeroing its weights
    would leave bias and batch norm's shift. A step that mixes channels is a next layer too, squeeze and excite for one.
    Of a residual block's second convolution that is the map, after batch norm,
    which is added to the shortcut: the shortcut stays. `each_of` names a layer whose filters are all tried one at a
    time as well.
    """

    name: ClassVar[str] = "ablation"

    filters: FilterChoice | None = None
    fill: str = "zero"
    each_of: str | None = None

    def __post_init__(self) -> None:
        if self.filters is not None:
            object.__setattr__(self, "filters", written(self.filters))
        if self.fill not in FILLS:
            raise UserError(f"fill is {self.fill!r}, but must be {' or '.join(map(repr, FILLS))}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no such filter or layer, and for `each_of` on multi-label data."""
        chosen(self.filters, subject)
        if self.each_of is None:
            return
        if subject.multi_label:
            raise UserError(
                f"each_of counts changed predictions, but images of {subject.dataset} can have several labels"
            )
        filter_count(subject, self.each_of)

    def parts(self, subject: Subject) -> int:
        """Check the subject and return the parts: all filters at once, then those of `each_of` by the 16."""
        self.check(subject)
        if self.each_of is None:
            return 1
        return 1 + -(-filter_count(subject, self.each_of) // FILTERS_PER_PART)

    @torch.inference_mode()
    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return the logits before and after; from part 1 on the classes predicted before, and with each filter off."""
        links = chain(subject.model)
        if part and self.each_of is not None:
            fills = self._fills(subject, links, [self.each_of])[self.each_of]
            numbers = range((part - 1) * FILTERS_PER_PART, min(part * FILTERS_PER_PART, len(fills)))
            return _one_at_a_time(subject, links, self.each_of, numbers, fills)
        filters = chosen(self.filters, subject)
        return _together(subject, links, filters, self._fills(subject, links, list(filters)))

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Compare right and wrong, class by class, and draw the images and confusions that changed."""
        [subject] = subjects
        together, *single = computed
        off = f"{written(chosen(self.filters, subject))} at {self._fill_in_words}"
        source = f"{subject.name} on {subject.dataset}, off: {off}"
        title = "Ablation"
        if subject.multi_label:
            return _multi_label(Finding(self.name, title, (f"Off: {off}.",), arrays=together), subject, source)
        before, after = together["before"].argmax(1), together["after"].argmax(1)
        flips = Flips.between(subject.labels, before, after)
        grown = _grown(subject, before, after)
        text = [f"Off: {off}. {flips.in_words}"]
        if grown:
            text.append(
                "Confusions that grew most: "
                + ", ".join(f"{true} → {taken} (+{more})" for true, taken, _, _, more in grown[:5])
                + "."
            )
        tables = {"ablation": flips.table(source), "ablation-classes": _per_class(subject, before, after, source)}
        tables["ablation-confusions"] = Table(
            f"{source}: the confusions that grew most", tuple(map(Column, GROWTH)), tuple(grown)
        )
        figures = {"ablation-matrix": _confusion(subject, after, source)}
        if flips.lost:
            figures["ablation-lost"] = _gallery(subject, together, source)
        arrays = {"labels": subject.labels} | together
        if single:
            arrays |= {
                "each_before": single[0]["before"],
                "each": np.concatenate([part["each"] for part in single], axis=1),
            }
            tables["ablation-each"], figures["ablation-each"] = self._each(
                subject, arrays["each_before"], arrays["each"]
            )
        return Finding(self.name, title, tuple(text), tables, figures, arrays)

    @property
    def _fill_in_words(self) -> str:
        return "0" if self.fill == "zero" else "their mean over the test set"

    def _fills(self, subject: Subject, links: Mapping[str, Link], layers: Sequence[str]) -> dict[str, Tensor]:
        """Return the fill value of each channel of the layers, (channels,)."""
        total = {
            layer: torch.zeros(filter_count(subject, layer), dtype=torch.float64, device=subject.device)
            for layer in layers
        }
        if self.fill == "mean":
            needed = list(links.items())[: 1 + max(map(list(links).index, layers))]
            for x in _pixels(subject):
                for layer, link in needed:
                    x = link(x)
                    if layer in total:
                        total[layer] += made(x).double().mean((2, 3)).sum(0)
        return {layer: (sums / len(subject.images)).float() for layer, sums in total.items()}

    def _each(self, subject: Subject, before: np.ndarray, each: np.ndarray) -> tuple[Table, Figure]:
        """Return the table and figure of what each filter alone changes.

        `before` (N,) are the predicted classes, `each` (N, filters) those with one filter off.
        """
        flips = [Flips.between(subject.labels, before, after) for after in each.T]
        filters = f"filters of {self.each_of} one at a time at {self._fill_in_words}"
        source = f"{subject.name} on {subject.dataset}, {filters}"
        heads = ("filter off", "right→wrong", "wrong→right", "difference")
        columns = (*map(Column, heads), Column("right after, %", digits=2), Column("McNemar's p"))
        rows = tuple(
            (f"{self.each_of}:{n}", f.lost, f.gained, f.gained - f.lost, 100 * f.right_after / f.total, f.p)
            for n, f in enumerate(flips)
        )
        table = Table(f"{source}; p of each filter alone, not corrected for their number", columns, rows)
        return table, _most_lost(flips, source, f"{subject.name}: which filters of {self.each_of} matter")


@dataclass(frozen=True)
class Flips:
    """How many of `total` images are right or wrong, before and after."""

    total: int
    kept: int  # right before and after
    lost: int  # right → wrong
    gained: int  # wrong → right

    @classmethod
    def between(cls, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Flips:
        """Count for the classes predicted (N,) before and after, against labels (N,)."""
        was, remains = before == labels, after == labels
        return cls(len(labels), *(int(cell.sum()) for cell in (was & remains, was & ~remains, ~was & remains)))

    @property
    def right_before(self) -> int:
        """Images right before."""
        return self.kept + self.lost

    @property
    def right_after(self) -> int:
        """Images right after."""
        return self.kept + self.gained

    @property
    def p(self) -> float:
        """McNemar's p."""
        return mcnemar(self.lost, self.gained)

    @property
    def in_words(self) -> str:
        """Return accuracies and test as a sentence."""
        before, after = (100 * right / self.total for right in (self.right_before, self.right_after))
        return (
            f"Right before: {before:.2f} % of {self.total:,} test images, after: {after:.2f} %; {self.lost:,} lost "
            f"against {self.gained:,} gained, McNemar's exact test p = {self.p:.2g}."
        )

    def table(self, source: str) -> Table:
        """Return the four cells of the contingency, and their total."""
        rows = (
            ("right before and after", self.kept),
            ("wrong before and after", self.total - self.kept - self.lost - self.gained),
            ("right before, wrong after", self.lost),
            ("wrong before, right after", self.gained),
            ("total", self.total),
        )
        return Table(source, (Column(""), Column("images")), rows)


def _most_lost(flips: Sequence[Flips], source: str, title: str) -> Figure:
    """Draw what each filter alone changes, those that lose most images first."""
    order = sorted(range(len(flips)), key=lambda number: -flips[number].lost)[:DRAWN]
    cut = "" if len(order) == len(flips) else f" The {DRAWN} of {len(flips)} filters that lose most."
    caption = (
        f"{source}. With all filters on {flips[0].right_before:,} of {flips[0].total:,} images are right. "
        f"Filters by images lost.{cut}"
    )
    counts = {
        "right→wrong": np.array([flips[number].lost for number in order], dtype=float),
        "wrong→right": np.array([flips[number].gained for number in order], dtype=float),
    }
    labels = [str(number) for number in order]
    return Figure(bars(labels, counts, title=title, caption=caption, ylabel="test images"), caption)


def _pixels(subject: Subject) -> Iterator[Tensor]:
    for start in range(0, len(subject.images), BATCH):
        yield subject.pixels(slice(start, start + BATCH)).permute(0, 3, 1, 2)


def _together(subject: Subject, links: Mapping[str, Link], filters: Filters, fills: Mapping[str, Tensor]) -> Arrays:
    """Return the logits (N, classes) before, and after the filters are switched off, computed in the same batches."""
    before, after = [], []
    for pixels in _pixels(subject):
        before.append(run(links.values(), pixels))
        x: Any = pixels
        for layer, link in links.items():
            x = link(x)
            if layer in filters:
                x = switched_off(x, filters[layer], fills[layer])
                channels = list(filters[layer])
                left = (made(x)[:, channels] - fills[layer][channels, None, None]).abs().max().item()
                if left != 0:
                    raise RuntimeError(
                        f"filters of {layer} are switched off, but still {left} away from their fill value"
                    )
        after.append(x)
    return {"before": torch.cat(before).cpu().numpy(), "after": torch.cat(after).cpu().numpy()}


def _one_at_a_time(
    subject: Subject, links: Mapping[str, Link], layer: str, numbers: Sequence[int], fills: Tensor
) -> Arrays:
    """Return the classes predicted before (N,), and with each of these filters off (N, numbers).

    Only what follows the layer is computed again.
    """
    at = list(links).index(layer) + 1
    head, tail = list(links.values())[:at], list(links.values())[at:]
    before, each = [], []
    for pixels in _pixels(subject):
        x = run(head, pixels)
        before.append(run(tail, x).argmax(1))
        each.append(torch.stack([run(tail, switched_off(x, (number,), fills)).argmax(1) for number in numbers], 1))
    return {"before": torch.cat(before).cpu().numpy(), "each": torch.cat(each).cpu().numpy()}


def _per_class(subject: Subject, before: np.ndarray, after: np.ndarray, source: str) -> Table:
    everything = np.ones(len(subject.labels), dtype=bool)
    groups = {name: subject.labels == number for number, name in enumerate(subject.class_names)} | {"total": everything}
    rows = []
    for name, members in groups.items():
        flips = Flips.between(subject.labels[members], before[members], after[members])
        difference = flips.gained - flips.lost
        change = 100 * difference / flips.total if flips.total else None
        rows.append((name, flips.right_before, flips.lost, flips.gained, flips.right_after, difference, change))
    heads = ("class", "right before", "right→wrong", "wrong→right", "right after", "difference")
    return Table(source, (*map(Column, heads), Column("change, points", digits=2)), tuple(rows))


def _grown(subject: Subject, before: np.ndarray, after: np.ndarray) -> list[tuple[str, str, int, int, int]]:
    """Return the confusions that grew most, by growth: true and predicted class, images before and after, growth."""
    was, is_now = (confusion(subject.labels, predicted, len(subject.class_names)) for predicted in (before, after))
    growth = is_now - was
    np.fill_diagonal(growth, 0)
    order = np.argsort(-growth, axis=None, kind="stable")[:CONFUSIONS]
    cells = [divmod(int(cell), len(growth)) for cell in order if growth.flat[cell] > 0]
    names = subject.class_names
    return [
        (names[true], names[taken], int(was[true, taken]), int(is_now[true, taken]), int(growth[true, taken]))
        for true, taken in cells
    ]


def _confusion(subject: Subject, after: np.ndarray, source: str) -> Figure:
    caption = f"{source}. All {len(after):,} test images: true class against the class predicted after the ablation."
    png = matrix(
        confusion(subject.labels, after, len(subject.class_names)),
        row_labels=subject.class_names,
        column_labels=subject.class_names,
        title=f"{subject.name}: predictions after the ablation",
        caption=caption,
        xlabel="predicted",
        ylabel="true",
    )
    return Figure(png, caption)


def _gallery(subject: Subject, logits: Arrays, source: str) -> Figure:
    """Draw the images lost that lose most probability of their class."""
    before, after = (torch.from_numpy(logits[when]).double().softmax(1).numpy() for when in ("before", "after"))
    images = np.arange(len(subject.labels))
    fall = before[images, subject.labels] - after[images, subject.labels]
    lost = np.flatnonzero((before.argmax(1) == subject.labels) & (after.argmax(1) != subject.labels))
    shown = lost[np.argsort(-fall[lost], kind="stable")][:GALLERY]
    names = subject.class_names
    pictures = []
    for image in shown.tolist():
        first, second = int(before[image].argmax()), int(after[image].argmax())
        words = (
            f"true: {names[subject.labels[image]]}\n{names[first]} {before[image, first]:.2f} →\n{names[second]} "
            f"{after[image, second]:.2f}"
        )
        pictures.append(Panel(subject.images[image], words, flag="wrong"))
    caption = (
        f"{source}. {len(shown)} of the {len(lost):,} test images that went from right to wrong: those whose true "
        "class lost most probability, the largest loss first. Above each image: its class, and the predicted class "
        "with its probability before → after."
    )
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    return Figure(panels(rows, title=f"{subject.name}: right before, wrong after", caption=caption), caption)


def _multi_label(empty: Finding, subject: Subject, source: str) -> Finding:
    """Return each class's average precision before and after: with several labels no image is just right or wrong."""
    before, after = (
        average_precisions(empty.arrays[when].astype(float), subject.labels, subject.ap_rule)
        for when in ("before", "after")
    )
    pairs = [*zip(before, after, strict=True), (mean_average_precision(before), mean_average_precision(after))]
    names = (*subject.class_names, "mean")
    rows = tuple((name, *_percentages(*pair)) for name, pair in zip(names, pairs, strict=True))
    heads = ("before, %", "after, %", "change, points")
    title = f"{source}: average precision ({subject.ap_rule})"
    table = Table(title, (Column("class"), *(Column(head, digits=2) for head in heads)), rows)
    return replace(empty, tables={"ablation-classes": table}, arrays={"labels": subject.labels} | dict(empty.arrays))


def _percentages(before: float | None, after: float | None) -> tuple[float | None, float | None, float | None]:
    """Return both as percentages, and the change in points."""
    if before is None or after is None:
        return None, None, None
    return 100 * before, 100 * after, 100 * (after - before)
