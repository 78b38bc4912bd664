"""A network's feature spaces: features of all test images, nearest neighbours in them, and what neighbours share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.job import WrongOption
from analysis.subject import Subject
from trainables.errors import UserError, suggest

LARGEST = 2**29  # bytes of float32 features held at a time: 5,000 maps of 512×7×7, or 10,000 vectors of 13,421
BLOCK = 1024  # rows whose distances are held at a time
GRAIN = 2.0**40  # steps of a distance of 1
PIXELS = 16  # the side that images are reduced to where their pixels are the features


@dataclass(frozen=True)
class FeatureSpace:
    """The space of a feature: its layer and shape; maps (channels, height, width) are flattened."""

    layer: str
    shape: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        flattened = f", {'×'.join(map(str, self.shape))} flattened" if len(self.shape) > 1 else ""
        return f"{self.layer} ({self.dimensions:,}-d{flattened})"


def feature_space(subject: Subject, layer: str | None, images: int = 1) -> FeatureSpace:
    """Return the space of a feature (None: the last before the logits).

    Raises UserError where the network has no such feature, or those of so many images would take more than LARGEST
    bytes.
    """
    _, _, known = next(subject.batches(np.arange(1)))
    name = list(known)[-1] if layer is None else layer
    if name not in known:
        raise WrongOption(f"{subject.name} has no feature {name!r}{suggest(name, list(known))}")
    space = FeatureSpace(name, tuple(known[name].shape[1:]))
    if (size := 4 * images * space.dimensions) > LARGEST:
        raise UserError(
            f"{space} of {images:,} images takes {size / 2**20:,.0f} MiB, but must take at most {LARGEST // 2**20} MiB"
        )
    return space


def features(subject: Subject, layer: str | None, index: np.ndarray | None = None) -> Tensor:
    """Return a feature (None: the last before the logits) of images (None: all), (n, dimensions) float32 on the device.

    Maps are flattened. Raises UserError as feature_space() does.
    """
    images = len(subject.images) if index is None else len(index)
    space = feature_space(subject, layer, images)
    vectors = torch.empty(images, space.dimensions, device=subject.device)
    start = 0
    for numbers, _, batch in subject.batches(index):
        vectors[start : start + len(numbers)] = batch[space.layer].flatten(1)
        start += len(numbers)
    return vectors


def pixels(images: np.ndarray, side: int) -> Tensor:
    """Return images (N, H, W, C) uint8 as vectors of their pixels, (N, d) float64, larger ones first reduced to `side`.

    That is the space that a network's features are to be better than. Reduced, it is the better for it: on CIFAR-10,
    26.8 % of the eight nearest at 16×16 share the class, at 32×32 25.8 %.
    """
    height, width = images.shape[1:3]
    size = (min(height, side), min(width, side))
    reduced = []
    for start in range(0, len(images), BLOCK):  # all at once, as floats, may take GiB
        block = torch.from_numpy(np.ascontiguousarray(images[start : start + BLOCK])).permute(0, 3, 1, 2)
        reduced.append(F.adaptive_avg_pool2d(block.float(), size).flatten(1))
    return torch.cat(reduced).double()


def nearest(vectors: Tensor, count: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` nearest other rows of each row of `vectors` (N, d): numbers int32 and distances float32, both
    (N, count).

    The nearest comes first; equal distances go by number. There are N − 1 columns where that is less than `count`.
    "cosine" is 1 − the cosine of the angle, 1 to a vector of zeros; "euclidean" is the distance. Sums are in float64.
    Distances that differ by less than 2⁻⁴⁰, Euclidean ones squared and over the greatest length squared, are equal:
    equal rows tie, in whichever order they were summed.
    """
    total, count = len(vectors), min(count, len(vectors) - 1)
    lengths = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    unit = lengths if metric == "cosine" else lengths.max().expand(total)
    unit = torch.where(unit > 0, unit, 1.0)[:, None]
    blocks = torch.arange(total, device=vectors.device).split(BLOCK)
    numbers, distances = [], []
    for rows in blocks:
        steps = torch.cat(
            [_steps(vectors[rows] / unit[rows], vectors[columns] / unit[columns], metric) for columns in blocks], 1
        )
        # distance and number in one integer: the smallest are the nearest, and no two are equal
        keys = steps * total + torch.arange(total, device=vectors.device)
        keys.scatter_(1, rows[:, None], torch.iinfo(torch.int64).max)
        best = keys.topk(count, largest=False).values
        numbers.append((best % total).int())
        distances.append((best // total).double() / GRAIN)
    distance = torch.cat(distances)
    if metric == "euclidean":
        distance = distance.sqrt() * unit[0]
    return torch.cat(numbers).cpu().numpy(), distance.float().cpu().numpy()


def _steps(a: Tensor, b: Tensor, metric: str) -> Tensor:
    """Return distances of rows no longer than 1, for "euclidean" squared, in whole steps: (len(a), len(b)) int64."""
    products = a @ b.T
    distances = 1 - products if metric == "cosine" else a.square().sum(1)[:, None] + b.square().sum(1) - 2 * products
    return (distances.clamp(min=0) * GRAIN).round().long()


def presence(subject: Subject) -> np.ndarray:
    """Return which classes each image has, (N, classes) bool; an unknown label counts as absent."""
    if subject.multi_label:
        return subject.labels == 1
    return subject.labels[:, None] == np.arange(len(subject.class_names))


def main_class(subject: Subject) -> np.ndarray:
    """Return a class of each image, (N,) int64: its label; on multi-label data the rarest one, −1 for none."""
    present = presence(subject)
    rarity = np.where(present, present.sum(axis=0), len(present) + 1)
    return np.where(present.any(axis=1), rarity.argmin(axis=1), -1)


def sharing(present: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """Return whether each neighbour shares a class with its query: 1 or 0, NaN where the query has none.

    `present` (N, classes) bool, `neighbours` (N, k) → (N, k) float64.
    """
    shared = (present[:, None] & present[neighbours]).any(axis=2)
    return np.where(present.any(axis=1, keepdims=True), shared, np.nan)


def by_chance(present: np.ndarray) -> np.ndarray:
    """Return the share of all other images that share a class with each image, (N,) float64, NaN where it has none."""
    marks = torch.from_numpy(present).float()
    shared = torch.cat([(rows @ marks.T > 0).sum(1) for rows in marks.split(BLOCK)]).numpy()
    return np.where(shared > 0, shared - 1, np.nan) / max(1, len(present) - 1)  # each shares with itself


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return overlap@k of two lists of neighbours (N, k): the share of k that both have, in 0..1, mean over images."""
    return float((a[:, :, None] == b[:, None, :]).any(axis=2).mean())


def nearest_of_pixels(subject: Subject, count: int, metric: str, index: np.ndarray | None = None) -> np.ndarray:
    """Return the nearest others of images (None: all) by their pixels, (n, count) numbers as nearest() gives them."""
    images = subject.images if index is None else subject.images[index]
    return nearest(pixels(images, PIXELS).float().to(subject.device), count, metric)[0]


def of_pixels(images: np.ndarray) -> str:
    """Return what space nearest_of_pixels() is in, in words."""
    _, height, width, channels = images.shape
    size = f"{min(height, PIXELS)}×{min(width, PIXELS)}"
    return f"{size}×{channels}" + (", reduced" if max(height, width) > PIXELS else "")


def check_same_images(subjects: Sequence[Subject]) -> None:
    """Raise UserError where models are to be set side by side that were not examined on the same images."""
    first = subjects[0]
    for other in subjects[1:]:
        alike = (other.dataset, other.class_names) == (first.dataset, first.class_names)
        if not alike or not np.array_equal(other.labels, first.labels):
            raise UserError(
                f"{first.name} is examined on {first.dataset}, {other.name} on {other.dataset}, but must be on the "
                "same images of the same classes"
            )
