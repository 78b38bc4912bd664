"""Which test images a network finds alike: those nearest to each other in the space of its features."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis import figures
from analysis.features import (
    FeatureSpace,
    check_same_images,
    feature_space,
    features,
    main_class,
    nearest,
    nearest_of_pixels,
    overlap,
    presence,
    sharing,
)
from analysis.figures import Panel
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.standing import Standing, network, networks, standing_of
from analysis.job import Job, WrongOption, by_model
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject, names
from trainables.errors import UserError

METRICS = ("cosine", "euclidean")
CHOSEN = 3  # queries, where none are given
MOST = 20  # neighbours drawn in a row


@dataclass(frozen=True)
class Neighbours(Job):
    """The nearest test images of some query images, in the feature space of one model or several side by side.

    `queries` are image numbers (None: the first test image of each of the first three classes). `layer` is a feature of
    every model (None: the last before the logits). Each query gets the `count` nearest of all other test images. How
    many of all neighbours share a class is counted in all networks of a model, and beside them in the pixels and in an
    untrained network.
    """

    name: ClassVar[str] = "neighbours"
    together: ClassVar[bool] = True
    edition: ClassVar[int] = 3

    queries: tuple[int, ...] | None = None
    layer: str | None = None
    metric: str = METRICS[0]
    count: int = 8

    def __post_init__(self) -> None:
        if self.queries is not None:
            object.__setattr__(self, "queries", tuple(self.queries))
            if not self.queries:
                raise UserError("queries is empty, but must have at least one image number")
        if self.metric not in METRICS:
            raise UserError(f"metric is {self.metric!r}, but must be {' or '.join(map(repr, METRICS))}")
        if type(self.count) is not int or not 1 <= self.count <= MOST:
            raise UserError(f"count is {self.count!r}, but must be a whole number from 1 to {MOST}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where there is no such layer or query, or the features are too large to hold."""
        images = len(subject.images)
        if images < 2:
            raise UserError(f"{subject.dataset} has {images} test images, but a neighbour takes 2")
        feature_space(subject, self.layer, images)
        self._queries(subject)

    def parts(self, subject: Subject) -> int:
        """Return the number of networks, a part each: one a seed, and one that is untrained, where it can be made."""
        self.check(subject)
        return networks(subject)

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return a network's nearest others of each image: `neighbours`, int32 numbers, and `distances` float32, both
        (N, count).
        """
        neighbours, distances = nearest(features(network(subject, part), self.layer), self.count, self.metric)
        return {"neighbours": neighbours, "distances": distances}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the queries' neighbours as each model's first network has them; count, over all images and networks,
        which share a class, and which two models both have.
        """
        check_same_images(subjects)
        first, queries, present = subjects[0], self._queries(subjects[0]), presence(subjects[0])
        found = by_model(computed, list(map(networks, subjects)))
        seen = [
            _Seen(subject, feature_space(subject, self.layer), sharing(present, arrays[0]["neighbours"]), **arrays[0])
            for subject, arrays in zip(subjects, found, strict=True)
        ]
        nearest_each = [[arrays["neighbours"] for arrays in each] for each in found]
        in_pixels = nearest_of_pixels(first, self.count, self.metric)
        standing = standing_of(subjects, [str(each.space) for each in seen], present, nearest_each, in_pixels)
        images, count = seen[0].neighbours.shape
        rule = (
            f"{first.dataset}: the {count} nearest of all {images:,} test images by {self.metric} distance, the "
            "query itself left out."
        )
        text = [f"{rule} {_rule(first, self.queries)}.", *standing.text, _of_shown(seen, queries)]
        if count < self.count:
            text.append(f"{self.count} neighbours were asked for, but there are only {count} other images.")
        tables = {
            "neighbours": _table(seen, queries),
            "neighbours_share": _shares(standing, seen, queries),
            "neighbours_gain": standing.table(),
            "neighbours_overlap": _overlaps(subjects, nearest_each, in_pixels),
        }
        drawn = {"neighbours": self._draw(seen, queries)}
        if shares := standing.drawn(f"{rule} Means over all images as queries."):
            drawn["neighbours_share"] = shares
        arrays: Arrays = {"models": np.array([each.subject.name for each in seen]), "queries": queries}
        for number, each in enumerate(found, start=1):
            arrays |= {f"{key}_{number}": value for key, value in each[0].items()}
        return Finding(self.name, f"Nearest neighbours: {standing.headline}", tuple(text), tables, drawn, arrays)

    def _queries(self, subject: Subject) -> np.ndarray:
        """Return the numbers of the query images, (n,).

        Raises UserError where one is not an image's or comes twice, or no image has a class.
        """
        if self.queries is None:
            chosen = chosen_queries(main_class(subject))
            if not chosen.size:
                raise UserError(
                    f"no image of {subject.dataset} is known to have a class, so that queries must be given"
                )
            return chosen
        queries, images = list(self.queries), len(subject.images)
        for query in queries:
            if type(query) is not int or not 0 <= query < images:
                raise WrongOption(
                    f"query {query!r} is not a test image of {subject.dataset}, whose numbers are 0 to {images - 1}"
                )
            if queries.count(query) > 1:
                raise UserError(f"query {query} comes twice, but must come once")
        return np.array(queries)

    def _draw(self, seen: Sequence[_Seen], queries: np.ndarray) -> Figure:
        """Draw for each query a row per model."""
        first, (images, count) = seen[0].subject, seen[0].neighbours.shape
        spaces = "; ".join(f"{each.subject.name}: {each.space}" for each in seen)
        caption = (
            f"{first.dataset}, test images: each query and its {count} nearest of all {images:,}, the query itself "
            f"left out, by {self.metric} distance of the features ({spaces}). {_rule(first, self.queries)}. Above each "
            "neighbour: its class, whether it shares one with the query (✓) or not (✗), and its distance; equal "
            "distances go by image number."
        )
        png = figures.panels(
            [_row(each, query) for query in queries.tolist() for each in seen],
            title="Nearest neighbours in feature space",
            caption=caption,
            row_labels=[f"{each.subject.name}\nimage {query}" for query in queries.tolist() for each in seen],
            column_labels=["query", *(str(rank) for rank in range(1, count + 1))],
            panel_inches=0.9,
        )
        return Figure(png, caption)


@dataclass(frozen=True)
class _Seen:
    """The images as a model sees them: each one's nearest others, and whether these share a class with it: 1, 0, NaN.

    Arrays are (N, count).
    """

    subject: Subject
    space: FeatureSpace
    shared: np.ndarray
    neighbours: np.ndarray
    distances: np.ndarray


def chosen_queries(classes: np.ndarray) -> np.ndarray:
    """Return the first image of each of the first three classes (N,) that have one, in the order of the classes."""
    present, first = np.unique(classes, return_index=True)
    return first[present >= 0][:CHOSEN]


def _rule(subject: Subject, queries: tuple[int, ...] | None) -> str:
    if queries is not None:
        return "Queries: as asked for"
    classes = main_class(subject)
    shown = names(classes[chosen_queries(classes)], subject.class_names)
    of_several = "; one with several classes stands for its rarest" if subject.multi_label else ""
    return f"Queries: the first test image of each of the classes {shown}{of_several}"


def _of_shown(seen: Sequence[_Seen], queries: np.ndarray) -> str:
    shares = [(each.subject.name, mean_percent(each.shared[queries])) for each in seen]
    words = ", ".join(f"{name} {'unknown' if share is None else f'{share:.1f} %'}" for name, share in shares)
    return f"Of the neighbours shown, those of each model's first seed: {words}."


def _row(seen: _Seen, query: int) -> list[Panel | None]:
    """Return the panels of a query and its neighbours, each called by its classes."""
    subject = seen.subject
    flags = [None if np.isnan(share) else "right" if share else "wrong" for share in seen.shared[query]]
    others = zip(seen.neighbours[query].tolist(), seen.distances[query].tolist(), flags, strict=True)
    return [
        Panel(subject.images[query], _classes(subject, query)),
        *(
            Panel(subject.images[image], f"{_classes(subject, image)}\n{distance:.3g}", flag=flag)
            for image, distance, flag in others
        ),
    ]


def _classes(subject: Subject, image: int) -> str:
    return names(np.flatnonzero(presence(subject)[image]), subject.class_names) or "no class"


def _table(seen: Sequence[_Seen], queries: np.ndarray) -> Table:
    def rows(each: _Seen, query: int) -> list[tuple[Value, ...]]:
        subject, classes = each.subject, _classes(each.subject, query)
        shared = [None if np.isnan(share) else "yes" if share else "no" for share in each.shared[query]]
        others = zip(each.neighbours[query].tolist(), each.distances[query].tolist(), shared, strict=True)
        return [
            (subject.name, query, classes, rank, image, _classes(subject, image), distance, said)
            for rank, (image, distance, said) in enumerate(others, start=1)
        ]

    heads = ("model", "query", "query's class", "rank", "neighbour", "neighbour's class")
    columns = (*map(Column, heads), Column("distance", digits=4), Column("shares a class"))
    body = [row for query in queries.tolist() for each in seen for row in rows(each, query)]
    return Table("Nearest neighbours of the queries", columns, tuple(body), folded=True)


def _shares(standing: Standing, seen: Sequence[_Seen], queries: np.ndarray) -> Table:
    of_shown = [mean_percent(each.shared[queries]) for each in seen]
    shown: list[Value] = [*of_shown, *[None] * (len(standing.rows) - len(seen))]
    rows = tuple((*row, share) for row, share in zip(standing.rows, shown, strict=True))
    columns = (
        Column("model"),
        Column("features"),
        Column("all images %", digits=1),
        Column("from", digits=1),
        Column("to", digits=1),
        Column("n"),
        Column("queries shown %", digits=1),
    )
    count = seen[0].neighbours.shape[1]
    return Table(
        f"Share of the {count} nearest that share a class with the query (precision@{count}), mean over n queries, "
        f"with 95 % intervals {standing.over}",
        columns,
        rows,
    )


def _overlaps(subjects: Sequence[Subject], nearest_each: Sequence[Sequence[np.ndarray]], pixels: np.ndarray) -> Table:
    """Return what two models, a model and the pixels, and two seeds of a model have in common.

    A seed of one model is set beside the same number of seed of the other.
    """
    images, count = pixels.shape
    seeds = [each[: len(subject.replicates)] for subject, each in zip(subjects, nearest_each, strict=True)]
    pairs = [
        (a.name, b.name, list(zip(of_a, of_b, strict=False)))
        for (a, of_a), (b, of_b) in itertools.combinations(zip(subjects, seeds, strict=True), 2)
    ]
    for subject, each in zip(subjects, seeds, strict=True):
        pairs.append((subject.name, "pixels", [(own, pixels) for own in each]))
        if len(each) > 1:
            pairs.append((subject.name, "its other seeds", list(itertools.pairwise(each))))
    rows = tuple(
        (
            name,
            other,
            Measured.of([100 * overlap(*pair) for pair in both]),
            100 * count / (images - 1),
            images,
        )
        for name, other, both in pairs
    )
    columns = (
        Column("model"),
        Column("and"),
        Column(f"overlap@{count} %", digits=1),
        Column("by chance %", digits=1),
        Column("n"),
    )
    return Table(f"Share of an image's {count} nearest that two have in common, mean over n images", columns, rows)


def mean_percent(shared: np.ndarray) -> float | None:
    """Return 100 × the mean of what is known; None where nothing is."""
    known = shared[np.isfinite(shared)]
    return 100 * float(known.mean()) if known.size else None
