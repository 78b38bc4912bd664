"""Ablation: what the network still knows with some of its filters switched off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from analysis.features import main_class, presence
from analysis.figures import Panel, bars, matrix, panels, strips
from analysis.filters.naming import FilterChoice, Filters, chosen, filter_count, written
from analysis.filters.random_sets import AmongSets, how_many, other_sets, stratified
from analysis.filters.switching import fills, in_sets, one_at_a_time, together
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.chance import LEVEL
from analysis.inference.confusion import confusion
from analysis.inference.flips import Flips, grown, per_class
from analysis.inference.holm import holm
from analysis.inference.lost import over_seeds, over_seeds_and_images
from analysis.job import Job
from analysis.jobs.mistakes import check_labels
from analysis.report import Column, Measured, Table
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.metrics import average_precisions, mean_average_precision
from trainables.plan import flops
from trainables.scoring import score

FILLS = ("zero", "mean")
FILTERS_PER_PART = 16  # one at a time
SETS_PER_PART = 25
SET_FLOPS = 2.4e12  # that all other sets may take together: 25 seconds of one AVX512 core
FEWEST, MOST = 200, 2000  # images that other sets are tried on
DRAWN = 64  # filters in one figure of bars
GALLERY, COLUMNS = 24, 8
GROWTH = ("true", "predicted", "images before", "images after", "growth")

Task = tuple[str, int, int]  # what a part does: with which networks, filters or sets, from … to before …


@dataclass(frozen=True)
class Ablation(Job):
    """The test set again with some filters switched off: `filters` as in analysis.filters.naming, all at once.

    A filter is off where its map enters the next layer, after batch norm, activation and pooling: the map is 0 there
    (`fill` "zero"), or the mean of what enters there over the test images and positions ("mean"). Zeroing its weights
    would leave bias and batch norm's shift. A step that mixes channels is a next layer too, squeeze and excite for one.
    Of a residual block's second convolution that is the map, after batch norm,
    which is added to the shortcut: the shortcut stays. `each_of` names a layer whose filters are all tried one at a
    time as well.

    The accuracy lost is that of the networks of all seeds; what changes image by image is of the first seed's. There it
    is set against what `sets` other sets of as many filters of the same layers lose (0: none), on a part of the images
    where all would take long.
    """

    name: ClassVar[str] = "ablation"
    edition: ClassVar[int] = 3

    filters: FilterChoice | None = None
    fill: str = "zero"
    each_of: str | None = None
    sets: int = 200

    def __post_init__(self) -> None:
        if self.filters is not None:
            object.__setattr__(self, "filters", written(self.filters))
        if self.fill not in FILLS:
            raise UserError(f"fill is {self.fill!r}, but must be {' or '.join(map(repr, FILLS))}")
        if type(self.sets) is not int or not 0 <= self.sets <= 10_000:
            raise UserError(f"sets is {self.sets!r}, but must be a whole number from 0 to 10000")

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no such filter or layer, for `each_of` on multi-label data, and on such
        data in which no class is known to be present.
        """
        chosen(self.filters, subject)
        check_labels(subject)
        if self.each_of is None:
            return
        if subject.multi_label:
            raise UserError(
                f"each_of counts changed predictions, but images of {subject.dataset} can have several labels"
            )
        filter_count(subject, self.each_of)

    def parts(self, subject: Subject) -> int:
        """Check the subject and return the parts: all filters at once, of each seed's network; those of `each_of` by
        the 16; the sets by the 25.
        """
        self.check(subject)
        return len(self._tasks(subject))

    @torch.inference_mode()
    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return the logits `before` and `after`; or the classes predicted before, and with `each` filter off; or the
        `scores` of the intact network, then of the asked-for set, then of each other set.
        """
        what, start, end = self._tasks(subject)[part]
        filters = chosen(self.filters, subject)
        if what == "networks":
            network = subject.replicates[start]
            before, after = together(network, filters, fills(network, list(filters), self.fill))
            return {"before": before, "after": after}
        if what == "filters":
            layer = str(self.each_of)
            values = fills(subject, [layer], self.fill)[layer]
            before, each = one_at_a_time(subject, layer, range(start, end), values)
            return {"before": before, "each": each}
        sets, index = self._sets(subject, filters)[start:end], self._images(subject, filters)
        logits = in_sets(subject, sets, fills(subject, list(filters), self.fill), index)
        labels = torch.from_numpy(subject.labels[index])
        return {"scores": np.array([score(torch.from_numpy(each), labels, subject.ap_rule).value for each in logits])}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Compare right and wrong, class by class, and draw the images and confusions that changed."""
        [subject] = subjects
        done: dict[str, list[Arrays]] = {"networks": [], "filters": [], "sets": []}
        for (what, _, _), arrays in zip(self._tasks(subject), computed, strict=True):
            done[what].append(arrays)
        filters = chosen(self.filters, subject)
        off, number = f"{written(filters)} at {self._fill_in_words}", sum(map(len, filters.values()))
        seed = f" (seed {subject.seed})" if subject.others else ""
        source = f"{subject.name}{seed} on {subject.dataset}, off: {off}"
        title = f"Ablation: without {number} filter{'s' * (number > 1)}"
        empty = Finding(self.name, title, (f"Off: {off}.",), arrays={"labels": subject.labels})
        found = [
            (_several_labels if subject.multi_label else _one_label)(subject, done["networks"][0], source, seed),
            _over_seeds(subject, done["networks"], f"{subject.name} on {subject.dataset}, off: {off}"),
        ]
        if done["sets"]:
            found.append(self._against_sets(subject, done["sets"], source))
        if done["filters"]:
            found.append(self._each(subject, done["filters"], seed))
        return _joined(empty, found)

    @property
    def _fill_in_words(self) -> str:
        return "0" if self.fill == "zero" else "their mean over the test set"

    def _tasks(self, subject: Subject) -> list[Task]:
        """Return what each part does."""
        filters = chosen(self.filters, subject)
        tasks = [("networks", number, number + 1) for number in range(len(subject.replicates))]
        if self.each_of is not None:
            tasks += _cut("filters", filter_count(subject, self.each_of), FILTERS_PER_PART)
        if self.sets:
            tasks += _cut("sets", len(self._sets(subject, filters)), SETS_PER_PART)
        return tasks

    def _sets(self, subject: Subject, filters: Filters) -> list[Filters]:
        """Return no filters at all, the asked-for set, and the other sets."""
        sizes = {layer: filter_count(subject, layer) for layer in filters}
        return [{}, filters, *other_sets(filters, sizes, self.sets)]

    def _images(self, subject: Subject, filters: Filters) -> np.ndarray:
        """Return the images that sets are tried on: the more, the less is computed behind the first of their layers."""
        names = [layer.name for layer in subject.layers]
        behind = subject.layers[min(map(names.index, filters)) + 1 :]
        images = int(SET_FLOPS / (self.sets * max(1, flops(behind))))
        index = stratified(main_class(subject), min(max(round(images, -2), FEWEST), MOST))
        # of few labels all could be left out, and nothing could be scored
        return index if presence(subject)[index].any() else np.arange(len(subject.images))

    def _against_sets(self, subject: Subject, parts: Sequence[Arrays], source: str) -> Finding:
        """Say where among the other sets the asked-for one lies."""
        filters = chosen(self.filters, subject)
        intact, own, *others = (100 * np.concatenate([part["scores"] for part in parts])).tolist()
        sizes = {layer: filter_count(subject, layer) for layer in filters}
        complete = len(others) == how_many(filters, sizes) - 1
        among = AmongSets(intact - own, intact - np.array(others), complete)
        index = self._images(subject, filters)
        on = f"{len(index):,} of the {len(subject.images):,} test images, of each class its share"
        if len(index) == len(subject.images):
            on = f"all {len(index):,} test images"
        text = f"{among.sentence} Tried on {on}."
        if not others:
            return _part((text,))
        caption = (
            f"{source}. A point is another set of as many filters of each of these layers: what the network loses "
            f"without it. The black line is their median. {text}"
        )
        png = strips(
            {f"{len(others):,} other sets": among.others},
            title=f"{subject.name}: these filters and others",
            caption=caption,
            xlabel=f"{_metric(subject)} lost, points",
            marks={"the filters asked for": among.own},
        )
        arrays = {"sets_lost": among.others, "sets_own": np.array(among.own), "sets_images": index}
        return _part((text,), figures={"ablation-sets": Figure(png, caption)}, arrays=arrays, title=among.headline)

    def _each(self, subject: Subject, parts: Sequence[Arrays], seed: str) -> Finding:
        """Say what each filter alone changes."""
        before, each = parts[0]["before"], np.concatenate([part["each"] for part in parts], axis=1)
        flips = [Flips.between(subject.labels, before, after) for after in each.T]
        adjusted = holm(np.array([flip.p for flip in flips]))
        filters = f"filters of {self.each_of} one at a time at {self._fill_in_words}"
        source = f"{subject.name}{seed} on {subject.dataset}, {filters}"
        heads = ("filter off", "right→wrong", "wrong→right", "difference")
        columns = (*map(Column, heads), Column("right after, %", digits=2), Column("McNemar's p"), Column("p (Holm)"))
        rows = tuple(
            (f"{self.each_of}:{n}", f.lost, f.gained, f.gained - f.lost, 100 * f.right_after / f.total, f.p, float(p))
            for n, (f, p) in enumerate(zip(flips, adjusted, strict=True))
        )
        worse = sum(f.lost > f.gained and p <= LEVEL for f, p in zip(flips, adjusted, strict=True))
        better = sum(f.gained > f.lost and p <= LEVEL for f, p in zip(flips, adjusted, strict=True))
        text = (
            f"One at a time, {worse} of the {len(flips)} filters of {self.each_of} cost accuracy by more than chance, "
            f"{better} gain some (McNemar's exact test, Holm over {len(flips)} filters)."
        )
        figure = _most_lost(flips, f"{source}. {text[:-1]}", f"{subject.name}: which filters of {self.each_of} matter")
        arrays = {"each_before": before, "each": each}
        tables = {"ablation-each": Table(source, columns, rows, folded=True)}
        return _part((text,), tables, {"ablation-each": figure}, arrays)


def _cut(what: str, count: int, size: int) -> list[Task]:
    return [(what, start, min(start + size, count)) for start in range(0, count, size)]


def _part(
    text: tuple[str, ...],
    tables: Mapping[str, Table] | None = None,
    figures: Mapping[str, Figure] | None = None,
    arrays: Arrays | None = None,
    title: str = "",
) -> Finding:
    """Return a part of the finding; its title goes on with that of what is before."""
    return Finding(Ablation.name, title, text, tables or {}, figures or {}, arrays or {})


def _joined(first: Finding, parts: Sequence[Finding]) -> Finding:
    """Return the finding with what the parts say below what it says itself."""
    joined = first
    for part in parts:
        joined = replace(
            joined,
            title=", ".join(filter(None, (joined.title, part.title))),
            text=(*joined.text, *part.text),
            tables={**joined.tables, **part.tables},
            figures={**joined.figures, **part.figures},
            arrays={**joined.arrays, **part.arrays},
        )
    return joined


def _one_label(subject: Subject, logits: Arrays, source: str, seed: str) -> Finding:
    """Compare what one network is right about before and after, image by image; `seed` says which it is, if there are
    several.
    """
    before, after = logits["before"].argmax(1), logits["after"].argmax(1)
    flips = Flips.between(subject.labels, before, after)
    changed = grown(subject.labels, before, after, subject.class_names)
    text = [f"{flips.in_words[:-1]}{seed}."]
    if changed:
        named = ", ".join(f"{true} → {taken} (+{more})" for true, taken, _, _, more in changed[:5])
        text.append(f"Confusions that grew most{seed}: {named}.")
    tables = {
        "ablation": flips.table(source),
        "ablation-classes": per_class(subject.labels, before, after, subject.class_names, source),
        "ablation-confusions": Table(
            f"{source}: the confusions that grew most", tuple(map(Column, GROWTH)), tuple(changed), folded=True
        ),
    }
    figures = {"ablation-matrix": _confusion(subject, after, source)}
    if flips.lost:
        figures["ablation-lost"] = _gallery(subject, logits, source)
    return _part(tuple(text), tables, figures, logits)


def _several_labels(subject: Subject, logits: Arrays, source: str, _: str) -> Finding:
    """Return each class's average precision before and after: with several labels no image is just right or wrong."""
    before, after = (
        average_precisions(logits[when].astype(float), subject.labels, subject.ap_rule) for when in ("before", "after")
    )
    pairs = [*zip(before, after, strict=True), (mean_average_precision(before), mean_average_precision(after))]
    names = (*subject.class_names, "mean")
    rows = tuple((name, *_percentages(*pair)) for name, pair in zip(names, pairs, strict=True))
    heads = ("before, %", "after, %", "change, points")
    title = f"{source}: average precision ({subject.ap_rule})"
    table = Table(title, (Column("class"), *(Column(head, digits=2) for head in heads)), rows)
    return _part((), {"ablation-classes": table}, arrays=logits)


def _over_seeds(subject: Subject, networks: Sequence[Arrays], source: str) -> Finding:
    """Return what the networks of all seeds score before and after, and what they lose with an interval."""
    labels = torch.from_numpy(subject.labels)
    before, after = (
        np.array([100 * score(torch.from_numpy(arrays[when]), labels, subject.ap_rule).value for arrays in networks])
        for when in ("before", "after")
    )
    lost, over = over_seeds(before - after), "seeds"
    if not subject.multi_label:
        lost, over = over_seeds_and_images(_lost_images(subject.labels, networks)), "seeds and images"
        over = over if subject.others else "images; another seed's network may differ by more"
    seeds = [network.seed for network in subject.replicates]
    text = f"{_metric(subject)} of {len(seeds)} seed{'s' * (len(seeds) > 1)}: {Measured.of(before):.2f} % before, "
    text += f"{Measured.of(after):.2f} % after: {lost:.2f} points lost"
    text += f" (95 % interval over {over})." if lost.low is not None else "."
    columns = (Column("seed"), *(Column(head, digits=2) for head in ("before, %", "after, %", "lost, points")))
    rows: list[tuple] = [(str(seed), *cells) for seed, *cells in zip(seeds, before, after, before - after, strict=True)]
    rows.append(("all", *map(Measured.of, (before, after, before - after))))
    tables = {"ablation-seeds": Table(f"{source}: {_metric(subject)}", columns, tuple(rows))} if subject.others else {}
    metric = "mAP" if subject.multi_label else "accuracy"
    return _part((text,), tables, title=f"{lost:.1f} points of {metric} are lost")


def _lost_images(labels: np.ndarray, networks: Sequence[Arrays]) -> np.ndarray:
    """Return of each network and image 100 where it was right before alone, −100 where it is right after alone."""
    right = [[arrays[when].argmax(1) == labels for when in ("before", "after")] for arrays in networks]
    return 100.0 * np.stack([before.astype(int) - after for before, after in right])


def _metric(subject: Subject) -> str:
    return "mAP" if subject.multi_label else "Accuracy"


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


def _percentages(before: float | None, after: float | None) -> tuple[float | None, float | None, float | None]:
    """Return both as percentages, and the change in points."""
    if before is None or after is None:
        return None, None, None
    return 100 * before, 100 * after, 100 * (after - before)
