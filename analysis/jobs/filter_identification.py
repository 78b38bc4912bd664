"""Filter identification: which images make a filter respond most, their classes, and what the filter sees in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.features import presence
from analysis.figures import Panel, matrix, panels
from analysis.filters import FilterChoice, Filters, chosen, labels, written
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job, WrongOption
from analysis.report import Column, Table, Value
from analysis.subject import Subject, names
from trainables.errors import UserError, suggest
from trainables.plan import Layer

NORMS = ("sum", "norm")
STAGES = ("before", "after")
PADDING = 128  # mid-gray, around a patch that the image's border cuts


@dataclass(frozen=True)
class FilterIdentification(Job):
    """The images with the highest responses of each filter, counted by class, and the patches at which the filters
    look.

    `filters` as in analysis.filters. A filter's response to an image is its map summed over positions (`norm` "sum") or
    the map's Frobenius norm ("norm"), `stage` "before" or "after" the activation; in a residual block without what the
    shortcut adds. The chosen filters of a layer together ("ALL") respond with the sum of theirs. `top` images are
    counted, `patches` of them drawn for each filter; of filter `shown` (None: the first), `maps` images are drawn with
    their response maps.
    """

    name: ClassVar[str] = "filters"

    filters: FilterChoice | None = None
    norm: str = "sum"
    stage: str = "before"
    top: int = 100
    patches: int = 5
    shown: str | None = None
    maps: int = 10

    def __post_init__(self) -> None:
        if self.filters is not None:
            object.__setattr__(self, "filters", written(self.filters))
        for option, allowed in (("norm", NORMS), ("stage", STAGES)):
            if getattr(self, option) not in allowed:
                raise UserError(f"{option} is {getattr(self, option)!r}, but must be {' or '.join(map(repr, allowed))}")
        for option, most in (("top", 1_000_000), ("patches", 20), ("maps", 20)):
            value = getattr(self, option)
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(f"{option} is {value!r}, but must be a whole number from 1 to {most}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no such filter, or it is not known what the filter sees."""
        filters = chosen(self.filters, subject)
        self._shown(filters)
        _fields(subject, filters)

    def whole(self, subject: Subject) -> Arrays:
        """Return of each image and filter the response, the map's largest value and its flat position, (N, filters).

        Beside these `responses`, `peaks` and `positions` the `maps` of the filter shown, (n, h, w).
        """
        filters = chosen(self.filters, subject)
        batches: list[tuple[np.ndarray, ...]] = []
        for _, _, features in subject.batches():
            maps = [self._maps(subject, features, layer, numbers) for layer, numbers in filters.items()]
            reduced = zip(*map(self._reduced, maps), strict=True)
            batches.append(tuple(torch.cat(parts, 1).cpu().numpy() for parts in reduced))
        responses, peaks, positions = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        label = self._shown(filters)
        layer, _, number = label.partition(":")
        best = highest(responses[:, labels(filters).index(label)], self.maps)
        [shown] = [
            self._maps(subject, features, layer, (int(number),)) for _, _, features in subject.batches(best, len(best))
        ]
        return {"responses": responses, "peaks": peaks, "positions": positions, "maps": shown[:, 0].cpu().numpy()}

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Count the images of the highest responses by class, and draw them."""
        [subject], [arrays] = subjects, computed
        filters = chosen(self.filters, subject)
        rows, responses, alive = _rows(filters, arrays)
        top = [highest(column, self.top) for column in responses.T]
        counts = np.stack([presence(subject)[images].sum(axis=0) for images in top])
        figures = {
            "filters-classes": self._draw_counts(subject, rows, counts),
            "filters-patches": self._draw_patches(subject, filters, arrays),
            "filters-maps": self._draw_maps(subject, filters, arrays),
        }
        table = self._table(subject, rows, counts, (responses > 0).sum(axis=0), alive)
        kept = {"filters": np.array(rows), "top": np.stack(top), "counts": counts, "alive": alive} | arrays
        return Finding(
            self.name,
            "Filter identification",
            tuple(self._notes(subject, rows, alive)),
            {"filters": table},
            figures,
            kept,
        )

    @property
    def response(self) -> str:
        """What a response is, in words."""
        how = (
            "the sum of the filter's map over positions"
            if self.norm == "sum"
            else "the Frobenius norm of the filter's map"
        )
        return f"Response: {how}, {self.stage} the activation"

    def _maps(self, subject: Subject, features: Mapping[str, Tensor], layer: str, numbers: tuple[int, ...]) -> Tensor:
        maps = features[layer][:, list(numbers)]
        return maps if self.stage == "before" else subject.model.activation(maps)

    def _reduced(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reduce maps (n, filters, h, w) to responses, largest values and their flat positions, (n, filters) each."""
        flat = maps.flatten(2)
        peaks, positions = flat.max(2)
        return flat.sum(2) if self.norm == "sum" else flat.norm(dim=2), peaks, positions

    def _shown(self, filters: Filters) -> str:
        known = labels(filters)
        if self.shown is None:
            return known[0]
        if self.shown not in known:
            raise WrongOption(
                f"shown is {self.shown!r}, but must be one of the chosen filters{suggest(self.shown, known)}"
            )
        return self.shown

    def _notes(self, subject: Subject, rows: list[str], alive: np.ndarray) -> list[str]:
        count = len(subject.images)
        response = f"{self.response}; in a row ALL the sum over the layer's chosen filters."
        notes = [f"{response} Equal responses go by image number."]
        if count < self.top:
            notes.append(f"There are only {count:,} images: all are counted, instead of the {self.top:,} asked for.")
        if subject.multi_label:
            notes.append("An image counts once for each of its labels, so that a row adds up to labels, not to images.")
        notes += [
            f"{row} is nearly dead: its map has a positive place in only {responds:,} of {count:,} images, so that "
            "its row says little."
            for row, responds in zip(rows, alive.tolist(), strict=True)
            if responds < min(self.top, count / 10)
        ]
        return notes

    def _table(
        self, subject: Subject, rows: list[str], counts: np.ndarray, positive: np.ndarray, alive: np.ndarray
    ) -> Table:
        most = [names(np.flatnonzero((row == row.max()) & (row > 0)), subject.class_names) or "none" for row in counts]
        numbers = zip(counts.sum(axis=1).tolist(), positive.tolist(), alive.tolist(), strict=True)
        body: list[tuple[Value, ...]] = [
            (row, *own, largest, *three)
            for row, own, largest, three in zip(rows, counts.tolist(), most, numbers, strict=True)
        ]
        heads = ("filter", *subject.class_names, "largest", "total", "responses > 0", "maps with a value > 0")
        images = f"{min(self.top, len(subject.images)):,} images with the highest response"
        return Table(f"{subject.name}: {_counted(subject)} of the {images}", tuple(map(Column, heads)), tuple(body))

    def _draw_counts(self, subject: Subject, rows: list[str], counts: np.ndarray) -> Figure:
        caption = (
            f"{_source(subject)}. The {_counted(subject)} of the {min(self.top, len(subject.images)):,} images to "
            f"which each filter responds most; the largest number of a row in bold. {self.response}; ALL: summed over "
            "the layer's chosen filters."
        )
        png = matrix(
            counts,
            row_labels=rows,
            column_labels=subject.class_names,
            title=f"{subject.name}: what the filters respond to",
            caption=caption,
            xlabel="class",
            ylabel="filter",
            emphasise_rows=True,
        )
        return Figure(png, caption)

    def _draw_patches(self, subject: Subject, filters: Filters, arrays: Arrays) -> Figure:
        rows = []
        for column, label in enumerate(labels(filters)):
            layer, positions = subject.sees(label.partition(":")[0]), arrays["positions"][:, column]
            best = highest(arrays["responses"][:, column], self.patches)
            rows.append(
                [_panel(subject, image, _patch(subject.images[image], layer, positions[image])) for image in best]
            )
        caption = (
            f"{_source(subject)}. For each filter the images of the highest responses, from left to right, and of each "
            "the receptive field of the place at which the filter's map is largest, gray beyond the border; the whole "
            f"image where the field is larger. {self.response}. Receptive fields: {_fields(subject, filters)}. Above "
            "each patch: class, image number."
        )
        ranks = [f"{rank}." for rank in range(1, len(rows[0]) + 1)]
        title = f"{subject.name}: what the filters see"
        png = panels(rows, title=title, caption=caption, row_labels=labels(filters), column_labels=ranks)
        return Figure(png, caption)

    def _draw_maps(self, subject: Subject, filters: Filters, arrays: Arrays) -> Figure:
        label = self._shown(filters)
        best = highest(arrays["responses"][:, labels(filters).index(label)], self.maps)
        images = [_panel(subject, image, subject.images[image]) for image in best]
        high, wide = arrays["maps"].shape[1:]
        caption = (
            f"{_source(subject)}, filter {label}. The {len(best)} images of the highest response, from left to right, "
            f"and the filter's {high}×{wide} maps, {self.stage} the activation, on one scale. {self.response}. Above "
            "each image: class, image number."
        )
        png = panels(
            [images, [Panel(response) for response in arrays["maps"]]],
            title=f"{subject.name}: where filter {label} responds",
            caption=caption,
            row_labels=("image", "response map"),
            column_labels=[f"{rank}." for rank in range(1, len(best) + 1)],
            colormap="RdBu_r" if self.stage == "before" else "viridis",
            colour_label=f"{label}, {self.stage} the activation",
        )
        return Figure(png, caption)


def _panel(subject: Subject, image: int, pixels: np.ndarray) -> Panel:
    present = np.flatnonzero(presence(subject)[image])
    return Panel(pixels, f"{names(present, subject.class_names)} {image}".strip())


def _fields(subject: Subject, filters: Filters) -> str:
    sides = {name: subject.sees(name).receptive_field for name in filters}
    return ", ".join(f"{name} {side}×{side}" for name, side in sides.items())


def _counted(subject: Subject) -> str:
    return "labels" if subject.multi_label else "classes"


def highest(responses: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the (at most) `count` images of the highest responses (N,), the highest first.

    Ties go by image number.
    """
    return np.argsort(-responses, kind="stable")[:count]


def _patch(image: np.ndarray, layer: Layer, position: int) -> np.ndarray:
    """Return the receptive field in `image` (H, W, C) of the unit at a flat position of the layer's map.

    Gray beyond the border; the whole image where the field is larger.
    """
    side = layer.receptive_field
    if side > min(image.shape[:2]):
        return image
    top, left = (round(layer.start + at * layer.jump - (side - 1) / 2) for at in divmod(int(position), layer.shape[2]))
    padded = np.pad(image, ((side, side), (side, side), (0, 0)), constant_values=PADDING)
    return padded[side + top : 2 * side + top, side + left : 2 * side + left]


def _rows(filters: Filters, arrays: Arrays) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the table's rows, the filters of each layer, then ALL of them; their responses, (N, rows); and of how many
    images each one's map has a value > 0.
    """
    rows, responses, alive = [], [], []
    start = 0
    for layer, numbers in filters.items():
        columns = slice(start, start := start + len(numbers))
        own, positive = arrays["responses"][:, columns], arrays["peaks"][:, columns] > 0
        rows += [*labels({layer: numbers}), f"{layer}:ALL"]
        responses += [*own.T, own.sum(axis=1, dtype=np.float64)]
        alive += [*positive.sum(axis=0), positive.any(axis=1).sum()]
    return rows, np.stack(responses, axis=1), np.array(alive)


def _source(subject: Subject) -> str:
    return f"{subject.name}, test images of {subject.dataset}"
