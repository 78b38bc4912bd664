"""Images side by side, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis import figures
from analysis.figures import Panel, in_rows
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job
from analysis.subject import Subject, names
from trainables.errors import UserError

COLUMNS = 8  # of a sheet without classes


def sheet(images: np.ndarray, title: str, caption: str) -> bytes:
    """Return a PNG of images (n, H, W, C) uint8 in their order, eight in a row."""
    return figures.panels(in_rows([Panel(image) for image in images], COLUMNS), title=title, caption=caption)


@dataclass(frozen=True)
class ContactSheet(Job):
    """A row of random images of each class, the same for the same `seed`."""

    name: ClassVar[str] = "contact_sheet"

    per_class: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("per_class", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least {low}")

    def whole(self, subject: Subject) -> Arrays:
        """Return the images drawn, `images` (n,) numbers, and the class that each was drawn for, `classes` (n,)."""
        labels = subject.labels
        drawn = []
        for label in range(len(subject.class_names)):  # a generator each: what a class gets is its own affair
            members = np.flatnonzero(labels[:, label] == 1 if subject.multi_label else labels == label)
            drawn.append(np.random.default_rng((self.seed, label)).permutation(members)[: self.per_class])
        return {
            "images": np.concatenate(drawn),
            "classes": np.repeat(np.arange(len(drawn)), [len(images) for images in drawn]),
        }

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return the sheet."""
        [subject], [arrays] = subjects, computed
        rows: list[list[Panel | None]] = []
        for label in range(len(subject.class_names)):
            images = arrays["images"][arrays["classes"] == label]
            rows.append([Panel(subject.images[image]) for image in images] + [None] * (self.per_class - len(images)))
        caption = (
            f"{subject.dataset}, as {subject.name} gets it: {self.per_class} random test images of each class "
            f"(seed {self.seed})."
        )
        if subject.multi_label:
            caption += " An image with several classes may come in several rows."
        text = [caption]
        if scarce := [label for label, row in enumerate(rows) if None in row]:
            text.append(
                f"Fewer than {self.per_class} test images, all of which are shown: "
                f"{names(scarce, subject.class_names)}."
            )
        png = figures.panels(
            rows,
            title=f"Images of {subject.dataset}",
            caption=caption,
            row_labels=subject.class_names,
            panel_inches=0.7,
        )
        title = f"Images: {self.per_class} of each of the {len(subject.class_names)} classes of {subject.dataset}"
        drawn = {"contact_sheet": Figure(png, caption)}
        return Finding(self.name, title, tuple(text), figures=drawn, arrays=arrays)
