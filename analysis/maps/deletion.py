"""Deletion and insertion: does a map find the pixels that the class's probability rests on?

The pixels are hidden, or shown, in the order that the map gives, the most important first; with the right ones gone the
probability falls fast, and with them alone it rises fast. Petsiuk et al., "RISE: randomized input sampling for
explanation of black-box models", BMVC 2018, with both curves between the image and one colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from analysis.figures import lines
from analysis.inference.holm import holm
from analysis.inference.permutation import LIKELY, paired
from analysis.inference.seeds import measured, said
from analysis.maps.pointing import stretched
from analysis.maps.recognised import recognised
from analysis.report import Column, Table
from analysis.subject import Subject
from trainables.train import evaluation_batch

ORDERS = ("the map's order", "random patches", "rings from the centre outwards")
WAYS = ("deletion", "insertion")
STEPS = 20
MOMENT = 2**23  # pixels that go through a network in no time


def ranks(scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Return each pixel's place in the order from the highest score to the lowest, from 0: (H, W) int, like `scores`.

    Equal scores go by `ties` (H, W), the higher first, and then row by row.
    """
    order = np.lexsort((-ties.ravel(), -scores.ravel()))
    places = np.empty(order.size, np.int64)
    places[order] = np.arange(order.size)
    return places.reshape(scores.shape)


def patches(height: int, width: int, side: int, seed: int) -> np.ndarray:
    """Return random scores (height, width), the same for the pixels of each square patch of `side` pixels.

    A map's order removes neighbours together, which harms a network less than holes all over the image do: pixels
    drawn one by one would be no match for it.
    """
    of = np.random.default_rng(seed).random((-(-height // side), -(-width // side)))
    return of.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]


def outwards(height: int, width: int) -> np.ndarray:
    """Return scores (height, width) that fall with the distance from the centre."""
    y, x = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    return -(y[:, None] ** 2 + x**2)


def orders(scores: np.ndarray, patch: int, seed: int) -> np.ndarray:
    """Return the orders in which pixels go, (ORDERS, H, W) int: ranks() of a map's scores, of patches, and outwards."""
    height, width = scores.shape
    ties = patches(height, width, 1, seed)
    rivals = (patches(height, width, patch, seed), outwards(height, width))
    return np.stack([ranks(each, ties) for each in (scores, *rivals)])


def probabilities(subject: Subject, number: int, label: int, order: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return a class's probability in an image of which the pixels go one way or the other: (2, n, STEPS + 1)
    float32, deletion and insertion.

    `order` (n, H, W) are ranks(); `shown` (channels,) in 0..1 is the colour of what is hidden.
    """
    image = subject.pixels(np.array([number]))[0].float() / 255
    fill = torch.from_numpy(shown).to(image.device)
    counts = torch.from_numpy(np.rint(np.linspace(0, order[0].size, STEPS + 1))).to(image.device)
    first = torch.from_numpy(order).to(image.device)[:, None] < counts[:, None, None]
    hidden = torch.stack([first, ~first]).flatten(0, 2)
    subject.model.eval()
    with torch.inference_mode():
        logits = [
            subject.model(torch.where(chunk[..., None], fill, image).permute(0, 3, 1, 2))
            for chunk in hidden.split(evaluation_batch(image.shape[:2], image.device))
        ]
    return recognised(subject, torch.cat(logits), label)[0].reshape(2, len(order), STEPS + 1)


def curves_of(
    subject: Subject, number: int, label: int, values: np.ndarray, patch: int, shown: np.ndarray
) -> np.ndarray:
    """Return probabilities() in the order of a map, its `values` (h, w) stretched over the image, and in those that it
    is held against: (2, ORDERS, STEPS + 1).
    """
    order = orders(stretched(values[None], *subject.images.shape[1:3])[0], patch, number)
    return probabilities(subject, number, label, order, shown)


def cheap(subject: Subject, images: int) -> bool:
    """Say whether the curves of so many images take no longer than to classify all test images, or no time."""
    pixels = subject.images[0, ..., 0].size
    return images * len(WAYS) * len(ORDERS) * (STEPS + 1) * pixels <= max(len(subject.images) * pixels, MOMENT)


def areas(curves: np.ndarray) -> np.ndarray:
    """Return the area under curves (…, STEPS + 1) over the share of pixels, from 0 to 1: float64."""
    return np.asarray(np.trapezoid(curves.astype(np.float64), dx=1 / STEPS, axis=-1))


@dataclass(frozen=True)
class Deletion:
    """What probabilities() returns of many images by the networks of several seeds: `curves` (images, seeds, 2, ORDERS,
    STEPS + 1).
    """

    curves: np.ndarray

    @property
    def areas(self) -> np.ndarray:
        """The areas under the curves, (images, seeds, 2, ORDERS)."""
        return areas(self.curves)

    def sentence(self) -> str:
        """Say what the map's order does to the class's probability, and whether it beats the others."""
        found, verdicts = self.areas, self._verdicts()
        ways = []
        for way, gone in enumerate(("hidden", "shown")):
            own, *rivals = (said(found[:, :, way, order]) for order in range(len(ORDERS)))
            others = zip(rivals, ORDERS[1:], verdicts[way], strict=True)
            beside = ", ".join(f"{area} in {order} ({verdict})" for area, order, verdict in others)
            ways.append(f"while pixels are {gone}, {own} in {ORDERS[0]}, {beside}")
        return (
            "Does the probability rest on what the map marks? The area under its curve over the share of pixels is, "
            f"{'; '.join(ways)}."
        )

    def table(self, title: str) -> Table:
        """Return the areas by order."""
        found = self.areas
        rows = tuple(
            (order, *(measured(found[:, :, way, number]) for way in range(len(WAYS))))
            for number, order in enumerate(ORDERS)
        )
        columns = (Column("pixels go in"), *(Column(f"{way}, area under the curve", digits=3) for way in WAYS))
        return Table(title, columns, rows)

    def figure(self, title: str, caption: str) -> bytes:
        """Draw the curves, means over the images; in bands of ± 1 sd over the seeds where there are several."""
        means = self.curves.mean(axis=0, dtype=np.float64)  # seeds, ways, orders, steps
        plots = [
            (f"{way}: share {gone}", {order: means[:, at, number] for number, order in enumerate(ORDERS)})
            for at, (way, gone) in enumerate(zip(WAYS, ("hidden", "shown"), strict=True))
        ]
        shares = np.linspace(0, 1, STEPS + 1).tolist()
        return lines(
            plots, shares, title=title, caption=caption, xlabel="share of the pixels", ylabel="probability of the class"
        )

    def _verdicts(self) -> list[list[str]]:
        """Say of each way and rival order whether the map's beats it, by the images; Holm's adjustment counts all."""
        mean = self.areas.mean(axis=1)  # over the seeds
        gains = (mean[..., :1] - mean[..., 1:]) * np.array([-1, 1])[:, None]  # a small area is good in deletion
        tests = [paired(each) for each in gains.reshape(len(gains), -1).T]
        adjusted = holm(np.array([np.nan if p is None else p for p in tests]))
        words = [_verdict(float(gain), p) for gain, p in zip(gains.mean(axis=0).ravel(), adjusted, strict=True)]
        return [words[: len(words) // 2], words[len(words) // 2 :]]


def _verdict(gain: float, p: float) -> str:
    if np.isnan(p):
        return "of a single image"
    if p > LIKELY:
        return f"no significant difference, p = {p:.2g}"
    return f"{'the map beats it' if gain > 0 else 'it beats the map'}, p = {p:.2g}"
