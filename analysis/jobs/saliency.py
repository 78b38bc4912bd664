"""Which pixels count for a class, and in which direction: the input times its gradient.

Shrikumar et al., "Not just a black box: learning important features through propagating activation differences",
arXiv:1605.01713 (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.figures import Panel, in_rows, panels
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.maps.pointing import hits, on_object
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError
from trainables.models import Network

BATCH = 16  # maps computed at once
IMAGES_IN_A_ROW = 4  # of the figure, each beside its map


def input_times_gradient(model: Network, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return x · ∂ logit of the target / ∂ x, summed over the channels, (n, H, W) float32.

    `pixels` (n, H, W, C) are uint8, `targets` (n,) a class for each; x are the pixels scaled to 0..1. No gradient is
    left on the parameters.
    """
    model.eval()
    with torch.enable_grad():
        x = (pixels.permute(0, 3, 1, 2).float() / 255).requires_grad_()
        [gradient] = torch.autograd.grad(model(x).gather(1, targets[:, None]).sum(), x)
    return (x * gradient).detach().sum(1)


@dataclass(frozen=True)
class Saliency(Job):
    """Input × gradient of the first `per_class` images of each class that are classified right, the class as target.

    On multi-label data: whose most probable class it is, and one of their labels.
    """

    name: ClassVar[str] = "saliency"
    edition: ClassVar[int] = 2

    per_class: int = 2

    def __post_init__(self) -> None:
        if type(self.per_class) is not int or self.per_class < 1:
            raise UserError(f"per_class is {self.per_class!r}, but must be a whole number of at least 1")

    def check(self, subject: Subject) -> None:
        """Raise UserError where no image is classified right."""
        if not subject.right.any():
            raise UserError(
                f"{subject.name} classifies no image correctly ({subject.dataset}): there is nothing to draw"
            )

    def whole(self, subject: Subject) -> Arrays:
        """Return `maps` (n, H, W) float32 of `images` (n,) for their `targets` (n,)."""
        right, classes = subject.right, range(len(subject.class_names))
        chosen = [np.flatnonzero(right & (subject.predicted == label))[: self.per_class] for label in classes]
        images = np.concatenate(chosen)
        targets = subject.predicted[images]
        wanted = torch.from_numpy(targets).to(subject.device)
        maps = [
            input_times_gradient(subject.model, subject.pixels(images[at]), wanted[at])
            for at in (slice(start, start + BATCH) for start in range(0, len(images), BATCH))
        ]
        return {"maps": torch.cat(maps).cpu().numpy(), "images": images, "targets": targets}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the maps beside their images; where it is known where the objects are, say how much lies on them."""
        [subject], [arrays] = subjects, computed
        rule = (
            f"{subject.name} on {subject.dataset}: of each class the first test images that are classified right, "
            f"{self.per_class} at most. "
        )
        text = [f"{rule}{len(arrays['maps'])} maps of the pixels times the gradient of the class's logit."]
        tables = {"saliency": _table(subject, arrays)}
        if subject.knows_objects:
            text.append(_where(subject, arrays))
        caption = (
            f"{rule}Beside each: pixels × gradient of the class's logit; red speaks for the class, blue against it."
        )
        return Finding(
            self.name,
            f"Saliency: {_in_short(arrays['maps'])}",
            tuple(text),
            tables,
            {"saliency": Figure(_draw(subject, arrays, caption), caption)},
            arrays,
        )


def _table(subject: Subject, arrays: Arrays) -> Table:
    """Return for each map what speaks for the class and against it: the sums of its positive and negative values."""
    columns = (Column("image"), Column("class"), Column("for it", digits=2), Column("against it", digits=2))
    maps = arrays["maps"].astype(np.float64)
    rows: list[tuple[Value, ...]] = [
        (image, subject.class_names[label], float(values.clip(min=0).sum()), float(values.clip(max=0).sum()))
        for image, label, values in zip(arrays["images"].tolist(), arrays["targets"].tolist(), maps, strict=True)
    ]
    title = f"{subject.name}: pixels × gradient, summed, in units of the logit"
    return Table(title, columns, tuple(rows), folded=True)


def _in_short(maps: np.ndarray) -> str:
    more = int((maps.sum(axis=(1, 2), dtype=np.float64) > 0).sum())
    return f"in {more} of {len(maps)} images the pixels speak more for their class than against it"


def _where(subject: Subject, arrays: Arrays) -> str:
    masks = subject.objects(arrays["images"], arrays["targets"])
    share, points = on_object(np.abs(arrays["maps"]), masks)
    measured, area = Measured.of(100 * share), 100 * masks.mean()
    if measured is None:
        return "No map is on an image whose objects are known."
    return (
        f"Of the maps' absolute values {measured.mean:.1f} % are on the object, which covers {area:.1f} % of the "
        f"image; the largest is there in {hits(points)} images."
    )


def _draw(subject: Subject, arrays: Arrays, caption: str) -> bytes:
    pairs: list[Panel | None] = []
    for image, label, values in zip(arrays["images"], arrays["targets"], arrays["maps"], strict=True):
        pairs += [Panel(subject.images[image], subject.class_names[label]), Panel(values, f"image {image}")]
    return panels(
        in_rows(pairs, 2 * IMAGES_IN_A_ROW),
        title=f"Pixels × gradient: {subject.name}",
        caption=caption,
        colormap="RdBu_r",
        colour_label="pixel × gradient",
    )
