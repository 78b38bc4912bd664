"""A network's features in the plane: t-SNE. Van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis import figures
from analysis.features import (
    check_same_images,
    feature_space,
    features,
    main_class,
    nearest,
    nearest_of_pixels,
    overlap,
    pixels,
    presence,
    sharing,
)
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.standing import Shares, Standing, network, networks, standing_of
from analysis.job import Job, by_model
from analysis.report import Column, Measured, Table
from analysis.subject import Subject
from trainables.errors import UserError

COUNTED = 10  # neighbours that the numbers beside the picture are about, as in Kobak and Berens 2019
MOST_REPEATS = 20
SEEDS = 2**32  # that there are
SIDE = 32  # pixels; larger images are reduced to it before the layout that all start from is made of them


@dataclass(frozen=True)
class TSNE(Job):
    """t-SNE of the features of one model, or of several side by side: of the same test images, from the same initial
    layout.

    `layer` is a feature of every model (None: the last before the logits). `images` are taken in turn from the classes,
    each one's first ones. `seed` jitters the initial layout; the result is the same to the bit for the same seed. The
    picture is of the first network's features; `repeats` t-SNE of these, with seeds from `seed` on, tell how much of it
    is that seed's, and one of an untrained network how much is the layout's and the images'. What neighbours share in
    feature space is counted in all networks.
    """

    name: ClassVar[str] = "tsne"
    together: ClassVar[bool] = True
    edition: ClassVar[int] = 3

    layer: str | None = None
    images: int = 2000
    perplexity: float = 30
    seed: int = 0
    repeats: int = 3

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < SEEDS:
            raise UserError(f"seed is {self.seed!r}, but must be a whole number from 0 to 2³² − 1")
        if type(self.images) is not int or self.images < 7:
            raise UserError(f"images is {self.images!r}, but must be a whole number from 7 on")
        if type(self.repeats) is not int or not 1 <= self.repeats <= MOST_REPEATS:
            raise UserError(f"repeats is {self.repeats!r}, but must be a whole number from 1 to {MOST_REPEATS}")
        self._check_perplexity(self.images)

    def check(self, subject: Subject) -> None:
        """Raise UserError where there is no such layer, or there are too few images for the perplexity."""
        shown = len(self._shown(subject))
        self._check_perplexity(shown)
        feature_space(subject, self.layer, shown)

    def parts(self, subject: Subject) -> int:
        """Return the number of parts: `repeats` of the first network, then the other networks, a part each."""
        self.check(subject)
        return self.repeats + networks(subject) - 1

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return the nearest of each image by `features` (n, 10), numbers from 0 to n − 1.

        Of the first network and the untrained one also `start` and `embedding` (n, 2), and the nearest in the
        `picture`.
        """
        shown, repeat = self._shown(subject), min(part, self.repeats - 1)
        number = part - repeat
        vectors = features(network(subject, number), self.layer, shown)
        in_features, _ = nearest(vectors, COUNTED, "euclidean")
        if 0 < number < len(subject.replicates):
            return {"features": in_features}
        seed = (self.seed + repeat * (number == 0)) % SEEDS
        start = initial_layout(subject.images[shown], seed)
        embedding = embed(vectors, start, self.perplexity, seed)
        in_picture, _ = nearest(torch.from_numpy(embedding), COUNTED, "euclidean")
        return {"start": start, "embedding": embedding, "features": in_features, "picture": in_picture}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the embeddings side by side; say how many neighbours share a class, and are those of the features."""
        check_same_images(subjects)
        first, shown = subjects[0], self._shown(subjects[0])
        found = by_model(computed, [self.repeats + networks(subject) - 1 for subject in subjects])
        seen = [
            _seen(subject, str(feature_space(subject, self.layer)), arrays, self.repeats)
            for subject, arrays in zip(subjects, found, strict=True)
        ]
        caption = self._caption(seen)
        text = [caption, _READING]
        if len(shown) < self.images:
            text.append(f"{self.images:,} images were asked for, but only {len(shown):,} have a class.")
        classes, present = main_class(first)[shown], presence(first)[shown]
        in_features = standing_of(
            subjects,
            [each.space for each in seen],
            present,
            [each.networks for each in seen],
            nearest_of_pixels(first, COUNTED, "euclidean", shown),
        )
        in_pictures = _in_pictures(seen, present, in_features.chance)
        text += [*in_features.text, *_of_pictures(seen, in_pictures)]
        tables = {
            "tsne": _table(seen, in_features, in_pictures),
            "tsne_gain": in_features.table(),
        }
        drawn = self._draw(seen, classes, caption, in_features, in_pictures)
        arrays: Arrays = {"models": np.array([each.subject.name for each in seen]), "images": shown, "classes": classes}
        for number, each in enumerate(seen, start=1):
            arrays |= {f"{key}_{number}": value for key, value in each.pictures[0].items()}
        return Finding(self.name, f"t-SNE: in the picture {in_pictures.headline}", tuple(text), tables, drawn, arrays)

    def _check_perplexity(self, images: int) -> None:
        if not 2 <= self.perplexity < images / 3:
            raise UserError(
                f"perplexity is {self.perplexity!r}, but must be at least 2 and less than a third of the images, "
                f"which are {images:,}"
            )

    def _shown(self, subject: Subject) -> np.ndarray:
        return balanced(main_class(subject), self.images)

    def _caption(self, seen: Sequence[_Seen]) -> str:
        first, starts = seen[0].subject, [each.pictures[0]["start"] for each in seen]
        spaces = "; ".join(f"{each.subject.name}: {each.space}" for each in seen)
        colour = "the rarest of an image's classes" if first.multi_label else "class"
        pixels = "pixels"
        if len(starts) > 1:
            same = all(np.array_equal(start, starts[0]) for start in starts)
            pixels += ", the same for all models" if same else " as each model gets them"
        networks = "The network is the first seed's. " if any(each.subject.others for each in seen) else ""
        return (
            f"{first.dataset}: {len(starts[0]):,} test images, taken in turn from the classes, the first ones of each. "
            f"Features: {spaces}. {networks}t-SNE with perplexity {self.perplexity:g}, seed {self.seed}, Euclidean "
            f"distances, from the first two principal components of the {pixels}. Colour and mark: {colour}."
        )

    def _draw(
        self, seen: Sequence[_Seen], classes: np.ndarray, caption: str, in_features: Standing, in_pictures: Standing
    ) -> dict[str, Figure]:
        names = seen[0].subject.class_names
        plots = [(each.subject.name, each.pictures[0]["embedding"], classes) for each in seen]
        png = figures.scatter(plots, class_names=names, title="t-SNE of the features", caption=caption)
        drawn = {"tsne": Figure(png, caption)}
        if begun := [(each, each.untrained) for each in seen if each.untrained]:
            plots = [(f"{each.subject.name}, untrained", of["embedding"], classes) for each, of in begun]
            caption = "The same images, by networks of the same kind that have learned nothing; all else is the same."
            png = figures.scatter(plots, class_names=names, title="t-SNE without training", caption=caption)
            drawn["tsne_untrained"] = Figure(png, caption)
        images = f"{seen[0].subject.dataset}, {len(classes):,} test images"
        for stem, standing, where in (
            ("features_share", in_features, "in feature space"),
            ("picture_share", in_pictures, "in the picture; the pixels' layout is what it starts from"),
        ):
            if figure := standing.drawn(f"{images}: of an image's {seen[0].count} nearest, {where}."):
                drawn[stem] = figure
        return drawn


@dataclass(frozen=True)
class _Seen:
    """A model's features in the plane: the nearest by features in each network, untrained last where there is one; what
    each t-SNE of the first made; and that of the untrained one.
    """

    subject: Subject
    space: str
    networks: list[np.ndarray]
    pictures: list[Arrays]
    untrained: Arrays | None

    @property
    def count(self) -> int:
        """How many of an image's nearest are looked at."""
        return self.networks[0].shape[1]

    @property
    def kept(self) -> Measured:
        """How many of an image's nearest in the picture are those by features, in percent, over t-SNE seeds."""
        return Measured.of([100 * overlap(each["features"], each["picture"]) for each in self.pictures])

    @property
    def repeated(self) -> float | None:
        """How many two t-SNE of the same features have in common, in percent; None where there is one."""
        pairs = itertools.combinations([each["picture"] for each in self.pictures], 2)
        found = [100 * overlap(*pair) for pair in pairs]
        return float(np.mean(found)) if found else None


def _seen(subject: Subject, space: str, parts: Sequence[Arrays], repeats: int) -> _Seen:
    untrained = parts[-1] if networks(subject) > len(subject.replicates) else None
    by_features = [arrays["features"] for arrays in (parts[0], *parts[repeats:])]
    return _Seen(subject, space, by_features, list(parts[:repeats]), untrained)


def _in_pictures(seen: Sequence[_Seen], present: np.ndarray, chance: float | None) -> Standing:
    """Count who shares a class in the pictures, beside the layout that they start from."""

    def shares(name: str, pictures: Sequence[np.ndarray], seeded: bool) -> Shares:
        each = np.stack([sharing(present, found).mean(axis=1) for found in pictures])
        return Shares(name, f"picture, {len(pictures)} t-SNE seed{'s' * (len(pictures) > 1)}", each, seeded)

    start, _ = nearest(torch.from_numpy(seen[0].pictures[0]["start"]), COUNTED, "euclidean")
    models = [shares(each.subject.name, [of["picture"] for of in each.pictures], True) for each in seen]
    untrained = [
        shares(f"{each.subject.name}, untrained", [each.untrained["picture"]], False) if each.untrained else None
        for each in seen
    ]
    initial = shares("the pixels' layout", [start], False)
    return Standing(tuple(models), tuple(untrained), initial, chance, "t-SNE seeds")


def _of_pictures(seen: Sequence[_Seen], standing: Standing) -> list[str]:
    """Return what neighbours in the pictures share, and how far they are those of the features, in words."""
    text = standing.sentences
    for each in seen:
        whose = f"{each.subject.name}: of an image's {each.count} nearest in the picture, {each.kept:,.1f} %"
        again = "" if each.repeated is None else f"; two t-SNE seeds have {each.repeated:.1f} % in common"
        text.append(f"{whose} are those by features{again}.")
    return text


def _table(seen: Sequence[_Seen], in_features: Standing, in_pictures: Standing) -> Table:
    """Return shares by features and in the picture, a row for each model and what it must beat."""
    columns = (
        Column("model"),
        Column("features"),
        Column("of its class, in feature space %", digits=1),
        Column("in feature space, from", digits=1),
        Column("in feature space, to", digits=1),
        Column("n"),
        Column("of its class, in the picture %", digits=1),
        Column("in the picture, from", digits=1),
        Column("in the picture, to", digits=1),
        Column("the same ones in both %", digits=1),
        Column("in two pictures %", digits=1),
    )
    both = [(each.kept, each.repeated) for each in seen] + [(None, None)] * (len(in_features.rows) - len(seen))
    rows = zip(in_features.rows, in_pictures.rows, both, strict=True)
    title = f"The {seen[0].count} nearest neighbours of an image, among the images shown: mean over n images"
    return Table(
        f"{title}, with 95 % intervals {in_features.over}, in the picture {in_pictures.over}",
        columns,
        tuple((*by_features, *in_picture[2:5], *common) for by_features, in_picture, common in rows),
    )


_READING = (
    "Read from a t-SNE picture which images are neighbours, and no more: sizes of clusters and distances between them "
    "mean little. The table says how far its neighbours are those of the feature space."
)


def balanced(classes: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of `count` images in rising order: the first of each class, then the second of each, …

    `classes` (N,) is −1 for images without a class, which are left out. There are fewer where fewer have one.
    """
    order = np.argsort(classes, kind="stable")
    in_order = classes[order]
    turn = np.arange(len(order)) - np.searchsorted(in_order, in_order)  # of an image among those of its class
    taken = order[np.lexsort((in_order, turn))]
    return np.sort(taken[classes[taken] >= 0][:count])


def initial_layout(images: np.ndarray, seed: int) -> np.ndarray:
    """Return the layout that t-SNE starts from, (n, 2) float64: the first two principal components of the pixels,
    scaled to an sd of 1e-4.

    t-SNE keeps much of the arrangement that it starts from (Kobak and Linderman, Nature Biotechnology 2021). This one
    depends on no model, so that in pictures of several models a class lies in about the same place, and differences are
    the models'. From random numbers classes would lie anywhere; from the features of each model, turned and mirrored.
    """
    from openTSNE import initialization  # brings scikit-learn: slow to import, and needed by this job alone

    return initialization.pca(pixels(images, SIDE).numpy(), random_state=seed)


def embed(vectors: Tensor, start: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Return the t-SNE of vectors (n, d), Euclidean, from the layout `start` (n, 2): (n, 2) float64, the same to the
    bit each time.

    The neighbours are exact ones. One thread: with more, sums are taken in the order in which threads end. The
    perplexity must be less than n / 3. Policar et al., "openTSNE", Journal of Statistical Software 2024.
    """
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    index = PrecomputedNeighbors(*nearest(vectors, int(3 * perplexity), "euclidean"))
    affinities = PerplexityBasedNN(knn_index=index, perplexity=perplexity, n_jobs=1)
    return np.asarray(openTSNE.TSNE(n_jobs=1, random_state=seed).fit(affinities=affinities, initialization=start))
