"""A network's features in the plane: t-SNE. Van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis import figures
from analysis.features import (
    check_same_images,
    feature_space,
    features,
    main_class,
    nearest,
    overlap,
    presence,
    sharing,
)
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.jobs.neighbours import mean_percent
from analysis.report import Column, Table
from analysis.subject import Subject
from trainables.errors import UserError

COUNTED = 10  # neighbours that the numbers beside the picture are about, as in Kobak and Berens 2019
SIDE = 32  # pixels; larger images are reduced to it before the layout that all start from is made of them


@dataclass(frozen=True)
class TSNE(Job):
    """t-SNE of the features of one model, or of several side by side: of the same test images, from the same initial
    layout.

    `layer` is a feature of every model (None: the last before the logits). `images` are taken in turn from the classes,
    each one's first ones. `seed` jitters the initial layout; the result is the same to the bit for the same seed.
    """

    name: ClassVar[str] = "tsne"
    together: ClassVar[bool] = True

    layer: str | None = None
    images: int = 2000
    perplexity: float = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise UserError(f"seed is {self.seed!r}, but must be a whole number from 0 to 2³² − 1")
        if type(self.images) is not int or self.images < 7:
            raise UserError(f"images is {self.images!r}, but must be a whole number from 7 on")
        self._check_perplexity(self.images)

    def check(self, subject: Subject) -> None:
        """Raise UserError where there is no such layer, or there are too few images for the perplexity."""
        shown = len(self._shown(subject))
        self._check_perplexity(shown)
        feature_space(subject, self.layer, shown)

    def whole(self, subject: Subject) -> Arrays:
        """Return `start` and `embedding` (n, 2), and the nearest of each image by `features` and in the `picture`.

        These are (n, 10), numbers from 0 to n − 1.
        """
        shown = self._shown(subject)
        vectors = features(subject, self.layer, shown)
        start = initial_layout(subject.images[shown], self.seed)
        embedding = embed(vectors, start, self.perplexity, self.seed)
        in_features, _ = nearest(vectors, COUNTED, "euclidean")
        in_picture, _ = nearest(torch.from_numpy(embedding), COUNTED, "euclidean")
        return {"start": start, "embedding": embedding, "features": in_features, "picture": in_picture}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the embeddings side by side; say how many neighbours share a class, and are those of the features."""
        check_same_images(subjects)
        first, shown = subjects[0], self._shown(subjects[0])
        classes = main_class(first)[shown]
        caption = self._caption(subjects, computed)
        text = [caption, _READING]
        if len(shown) < self.images:
            text.append(f"{self.images:,} images were asked for, but only {len(shown):,} have a class.")
        plots = [
            (subject.name, arrays["embedding"], classes) for subject, arrays in zip(subjects, computed, strict=True)
        ]
        png = figures.scatter(plots, class_names=first.class_names, title="t-SNE of the features", caption=caption)
        arrays: Arrays = {
            "models": np.array([subject.name for subject in subjects]),
            "images": shown,
            "classes": classes,
        }
        for number, each in enumerate(computed, start=1):
            arrays |= {f"{key}_{number}": value for key, value in each.items()}
        tables = {"tsne": self._table(subjects, computed, presence(first)[shown])}
        return Finding(self.name, "t-SNE", tuple(text), tables, {"tsne": Figure(png, caption)}, arrays)

    def _check_perplexity(self, images: int) -> None:
        if not 2 <= self.perplexity < images / 3:
            raise UserError(
                f"perplexity is {self.perplexity!r}, but must be at least 2 and less than a third of the images, "
                f"which are {images:,}"
            )

    def _shown(self, subject: Subject) -> np.ndarray:
        return balanced(main_class(subject), self.images)

    def _caption(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> str:
        first, starts = subjects[0], [arrays["start"] for arrays in computed]
        spaces = "; ".join(f"{subject.name}: {feature_space(subject, self.layer)}" for subject in subjects)
        colour = "the rarest of an image's classes" if first.multi_label else "class"
        pixels = "pixels"
        if len(starts) > 1:
            same = all(np.array_equal(start, starts[0]) for start in starts)
            pixels += ", the same for all models" if same else " as each model gets them"
        return (
            f"{first.dataset}: {len(starts[0]):,} test images, taken in turn from the classes, the first ones of each. "
            f"Features: {spaces}. t-SNE with perplexity {self.perplexity:g}, seed {self.seed}, Euclidean distances, "
            f"from the first two principal components of the {pixels}. Colour: {colour}."
        )

    def _table(self, subjects: Sequence[Subject], computed: Sequence[Arrays], present: np.ndarray) -> Table:
        rows = tuple(
            (
                subject.name,
                str(feature_space(subject, self.layer)),
                mean_percent(sharing(present, arrays["features"])),
                mean_percent(sharing(present, arrays["picture"])),
                100 * overlap(arrays["features"], arrays["picture"]),
                len(present),
            )
            for subject, arrays in zip(subjects, computed, strict=True)
        )
        heads = ("of its class, in feature space %", "of its class, in the picture %", "the same ones in both %")
        columns = (Column("model"), Column("features"), *(Column(head, digits=1) for head in heads), Column("n"))
        count = computed[0]["picture"].shape[1]
        return Table(
            f"The {count} nearest neighbours of an image, among the images shown: mean over n images", columns, rows
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

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    height, width = pixels.shape[2:]
    small = F.adaptive_avg_pool2d(pixels, (min(height, SIDE), min(width, SIDE)))
    return initialization.pca(small.flatten(1).double().numpy(), random_state=seed)


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
