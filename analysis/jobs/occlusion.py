"""Occlusion sensitivity: the class's probability while a window hides a part of the image, as a map over the window's
position.

Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Everything is computed in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from analysis.figures import Panel, panels
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job, WrongOption
from analysis.pointing import hits, on_object, verdict
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError, suggest
from trainables.train import evaluation_batch, predict

FILLS = ("gray", "mean", "black")
WINDOWS = (3, 5, 7, 9)  # pixels, of images of about 32
ROWS = 10  # of a figure: more are not readable on a page
SCAN = 64  # images of a class, classified at once in the search for right ones


@dataclass(frozen=True)
class Occlusion(Job):
    """Hide square windows of the first `per_class` test images of each class that are classified right.

    On multi-label data: images that have the class, with a sigmoid probability of at least 0.5 for it. `windows` are
    odd, in pixels, centred on every `stride`-th pixel along both axes and clipped at the border. None: 3, 5, 7, 9 and
    1, and on images with more than 64 pixels a side in proportion, for about 32 positions a side. `fill` is what the
    window shows: "gray" (0.5 of white), "mean" (the mean colour of the test images) or "black".
    """

    name: ClassVar[str] = "occlusion"

    windows: tuple[int, ...] | None = None
    per_class: int = 2
    fill: str = "gray"
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.windows is not None and not self.windows:
            raise UserError("occlusion needs at least one window")
        for window in self.windows or ():
            if window < 1 or window % 2 == 0:
                raise UserError(f"occlusion window {window} has no pixel in its middle: windows are odd, at least 1")
        if len(set(self.windows or ())) != len(self.windows or ()):
            raise UserError(f"occlusion windows {self.windows} name a window twice")
        if self.stride is not None and self.stride < 1:
            raise UserError(f"occlusion stride is {self.stride}, but must be at least 1")
        if self.per_class < 1:
            raise UserError(f"occlusion per_class is {self.per_class}, but must be at least 1")
        if self.fill not in FILLS:
            raise UserError(f"occlusion knows no fill {self.fill!r}{suggest(self.fill, FILLS)}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where a window or the stride is larger than the images."""
        self._grid(subject)

    def parts(self, subject: Subject) -> int:
        """Check the subject and return the number of classes: each is a part."""
        self.check(subject)
        return len(subject.class_names)

    def compute(self, subject: Subject, part: int) -> Arrays:
        """Return the maps of class number `part`.

        `image` (n,) numbers in the data set, `class` (n,), `unoccluded` (n,) probability without a window, `maps` (n,
        windows, rows, columns) probability by the window's centre, `changed` of that shape: whether the prediction is
        no longer the class.
        """
        grid, colour = self._grid(subject), self._colour(subject)
        chosen = _first_right(subject, part, self.per_class)
        shape = (len(chosen), len(grid.windows), len(grid.rows), len(grid.columns))
        unoccluded, maps, changed = (
            np.empty(len(chosen), np.float32),
            np.empty(shape, np.float32),
            np.empty(shape, bool),
        )
        for index, number in enumerate(chosen):
            logits = _occluded_logits(subject, number, grid, colour)
            probability, kept = _probability(subject, logits, part)
            unoccluded[index], maps[index] = probability[0], probability[1:].reshape(shape[1:])
            changed[index] = ~kept[1:].reshape(shape[1:])
        return {
            "image": chosen,
            "class": np.full(len(chosen), part),
            "unoccluded": unoccluded,
            "maps": maps,
            "changed": changed,
        }

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the maps, ten images a figure, and sum them up; where objects are known, by the drop on them, too.

        There are no figures and tables where no image is classified right.
        """
        (subject,) = subjects
        arrays = {key: np.concatenate([part[key] for part in computed]) for key in computed[0]}
        grid = self._grid(subject)
        missing = self._missing(subject, arrays["class"])
        title = "Occlusion sensitivity"
        if not len(arrays["image"]):
            return Finding(self.name, title, (missing,))
        text, tables = [_by_window(arrays, grid)], {"occlusion-windows": _window_table(subject, arrays, grid)}
        tables["occlusion-images"] = _image_table(subject, arrays, grid)
        if subject.knows_objects:
            located = _located(subject.objects(arrays["image"], arrays["class"]), arrays, grid)
            tables["occlusion-object"] = _object_table(subject, arrays, grid, located)
            text.append(_object_or_surroundings(located, grid))
            arrays |= located
        where = {"windows": np.array(grid.windows), "rows": grid.rows, "columns": grid.columns}
        words = tuple(line for line in (self._rule(subject, grid), *text, missing) if line)
        return Finding(self.name, title, words, tables, self._figures(subject, arrays, grid), arrays | where)

    def _grid(self, subject: Subject) -> _Grid:
        sides = subject.images.shape[1:3]
        scale = min(sides) // 32 if min(sides) > 64 else 1
        windows = self.windows or tuple(window * scale | 1 for window in WINDOWS)  # | 1: the next odd number
        if max(windows) > min(sides):
            raise WrongOption(
                f"occlusion window {max(windows)} is larger than the images of {subject.dataset}, {sides[0]}×{sides[1]}"
            )
        stride = self.stride or scale
        if stride > min(sides):
            raise WrongOption(
                f"occlusion stride {stride} is larger than the images of {subject.dataset}, {sides[0]}×{sides[1]}"
            )
        rows, columns = (np.arange((stride - 1) // 2, side, stride) for side in sides)
        return _Grid(windows, rows, columns, stride)

    def _colour(self, subject: Subject) -> np.ndarray:
        """Return what the window shows, (channels,) in 0..1."""
        channels = subject.images.shape[3]
        if self.fill == "mean":
            return (subject.images.mean(axis=(0, 1, 2)) / 255).astype(np.float32)
        return np.full(channels, {"gray": 0.5, "black": 0.0}[self.fill], np.float32)

    def _rule(self, subject: Subject, grid: _Grid) -> str:
        """Say what was hidden, where, and of which images."""
        right = (
            "that have it with a probability of at least 0.5" if subject.multi_label else "that are classified right"
        )
        fill = {
            "gray": "gray (0.5 of white, before normalisation)",
            "mean": "the test images' mean colour",
            "black": "black",
        }[self.fill]
        where = "every pixel" if grid.stride == 1 else f"one pixel in {grid.stride} along both axes"
        return (
            f"{subject.name} on {subject.dataset}, test images: of each class the first {self.per_class} in the order "
            f"of the data set {right}. A square window, filled with {fill}, is centred on {where} and clipped at the "
            "border."
        )

    def _missing(self, subject: Subject, classes: np.ndarray) -> str:
        """Say of which classes there were fewer images than asked for; nothing where there were enough."""
        counts = np.bincount(classes, minlength=len(subject.class_names)).tolist()
        pairs = zip(subject.class_names, counts, strict=True)
        fewer = ", ".join(f"{name} ({count})" for name, count in pairs if count < self.per_class)
        return (
            f"Of some classes there are fewer such images than the {self.per_class} asked for: {fewer}."
            if fewer
            else ""
        )

    def _figures(self, subject: Subject, arrays: Arrays, grid: _Grid) -> dict[str, Figure]:
        count = len(arrays["image"])
        pages = [range(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]
        largest = max(grid.windows)
        caption = (
            f"{self._rule(subject, grid)} Maps: probability of the row's class by the position of the window's centre, "
            f"and its lowest; p: without a window. Box: the {largest}×{largest} window where it hurts most."
        )
        figures = {}
        for number, page in enumerate(pages, start=1):
            part = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
            png = panels(
                [_panels(subject, arrays, grid, index) for index in page],
                title=f"Occlusion sensitivity of {subject.name}{part}",
                caption=caption,
                row_labels=[
                    f"{subject.class_names[arrays['class'][index]]}\nimage {arrays['image'][index]}" for index in page
                ],
                column_labels=["image", *(f"{window}×{window}" for window in grid.windows)],
                colormap="autumn",
                limits=(0, 1),
                colour_label="probability of the class",
            )
            figures[f"occlusion-{number}"] = Figure(png, caption + part)
        return figures


@dataclass(frozen=True)
class _Grid:
    """Which windows are put where: their sizes, and the rows and columns of their centres."""

    windows: tuple[int, ...]
    rows: np.ndarray
    columns: np.ndarray
    stride: int


def _first_right(subject: Subject, label: int, count: int) -> np.ndarray:
    """Return the numbers of the first `count` images of a class that are classified right; fewer where there are not
    so many.
    """
    candidates = np.flatnonzero(subject.labels[:, label] == 1 if subject.multi_label else subject.labels == label)
    right: list[int] = []
    for start in range(0, len(candidates), SCAN):
        if len(right) >= count:
            break
        numbers = candidates[start : start + SCAN]
        _, kept = _probability(subject, predict(subject.model, subject.pixels(numbers)), label)
        right += numbers[kept].tolist()
    return np.array(right[:count], np.int64)


def _probability(subject: Subject, logits: Tensor, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a class's probability, (n,) float32, and whether it is predicted, (n,) bool, of logits (n, classes)."""
    if subject.multi_label:
        probability = logits[:, label].double().sigmoid()
        kept = probability >= 0.5
    else:
        probability = logits.double().softmax(1)[:, label]
        kept = logits.argmax(1) == label
    return probability.float().cpu().numpy(), kept.cpu().numpy()


def _occluded_logits(subject: Subject, number: int, grid: _Grid, colour: np.ndarray) -> Tensor:
    """Return the logits of an image without a window, then with each at each place: (1 + windows × rows × columns,
    classes).

    The pixels lie channels last, and convolutions and pooling keep it so: on the CPU that is three times as fast as
    channels first.
    """
    image = subject.pixels(np.array([number]))[0].float() / 255
    fill = torch.from_numpy(colour).to(image.device)
    height, width = (torch.arange(side, device=image.device) for side in image.shape[:2])
    subject.model.eval()
    logits = []
    with torch.inference_mode():
        for row, column, reach in _places(grid, evaluation_batch(image.shape[:2], image.device), image.device):
            hidden = ((height - row).abs() <= reach)[:, :, None] & ((width - column).abs() <= reach)[:, None, :]
            occluded = torch.where(hidden[..., None], fill, image)
            logits.append(subject.model(occluded.permute(0, 3, 1, 2)))
    return torch.cat(logits)


def _places(grid: _Grid, size: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """Yield the windows in chunks of `size`: row and column of their centres, and how far they reach from there, (n, 1)
    each.

    The first hides nothing: it reaches less than 0.
    """
    reaches = torch.tensor(grid.windows, device=device) // 2
    rows, columns = (torch.from_numpy(centres).to(device) for centres in (grid.rows, grid.columns))
    places = torch.cartesian_prod(reaches, rows, columns)
    for chunk in torch.cat([places.new_tensor([[-1, 0, 0]]), places]).split(size):
        reach, row, column = chunk.split(1, dim=1)
        yield row, column, reach


def _panels(subject: Subject, arrays: Arrays, grid: _Grid, index: int) -> list[Panel]:
    """Return an image with a window drawn on it, then its maps."""
    maps, largest = arrays["maps"][index], int(np.argmax(grid.windows))
    row, column = np.unravel_index(maps[largest].argmin(), maps[largest].shape)
    reach, x, y = grid.windows[largest] // 2, grid.columns[column], grid.rows[row]
    box = (float(x - reach), float(y - reach), float(x + reach + 1), float(y + reach + 1))
    image = Panel(subject.images[arrays["image"][index]], f"p = {arrays['unoccluded'][index]:.3f}", box)
    return [image, *(Panel(values, f"lowest {values.min():.3f}") for values in maps)]


def _image_table(subject: Subject, arrays: Arrays, grid: _Grid) -> Table:
    columns = [Column("image"), Column("class"), Column("p without", digits=3)]
    for window in grid.windows:
        columns += [Column(f"{window}×{window} lowest", digits=3), Column(f"{window}×{window} mean", digits=3)]
        columns.append(Column(f"{window}×{window} lost %", digits=1, show=False))
    rows: list[tuple[Value, ...]] = []
    for index, number in enumerate(arrays["image"].tolist()):
        row: list[Value] = [number, subject.class_names[arrays["class"][index]], float(arrays["unoccluded"][index])]
        for values, changed in zip(arrays["maps"][index], arrays["changed"][index], strict=True):
            row += [float(values.min()), float(values.mean(dtype=np.float64)), 100 * float(changed.mean())]
        rows.append(tuple(row))
    title = f"{subject.name}: the class's probability without a window, and lowest and mean over the places of each"
    return Table(title, tuple(columns), tuple(rows))


def _window_table(subject: Subject, arrays: Arrays, grid: _Grid) -> Table:
    columns = (
        Column("window"),
        Column("lowest p", digits=3),
        Column("mean p", digits=3),
        Column("lost, % of positions", digits=1),
    )
    maps, changed = arrays["maps"].astype(np.float64), arrays["changed"]
    rows = [
        (
            f"{window}×{window}",
            Measured.of_finite(maps[:, at].min(axis=(1, 2))),
            Measured.of_finite(maps[:, at].mean(axis=(1, 2))),
            Measured.of_finite(100 * changed[:, at].mean(axis=(1, 2))),
        )
        for at, window in enumerate(grid.windows)
    ]
    return Table(
        f"{subject.name}: by size of the window, mean ± standard deviation (n) over the images", columns, tuple(rows)
    )


def _by_window(arrays: Arrays, grid: _Grid) -> str:
    """Say what hiding costs, by window."""
    means = arrays["maps"].mean(axis=(0, 2, 3), dtype=np.float64)
    lost = arrays["changed"].mean(axis=(0, 2, 3))
    costs = [
        f"{p:.3f} with {w}×{w} (lost at {100 * f:.1f} % of positions)"
        for w, p, f in zip(grid.windows, means, lost, strict=True)
    ]
    return (
        f"Mean probability of the class over {len(arrays['image'])} images: "
        f"{arrays['unoccluded'].mean(dtype=np.float64):.3f} without a window; {', '.join(costs)}."
    )


def _located(masks: np.ndarray, arrays: Arrays, grid: _Grid) -> Arrays:
    """Return how much of the drop falls on the object, `masks` (n, H, W), by where the window's centre is.

    `object_area` (n,): the object's share of the positions, which is what chance gives. `drop_on_object` and
    `drop_points_at_object` (n, windows): what on_object() returns for the positive drops.
    """
    inside = masks[:, grid.rows][:, :, grid.columns]
    drops = np.maximum(arrays["unoccluded"][:, None, None, None].astype(np.float64) - arrays["maps"], 0)
    windows = drops.shape[1]
    share, hit = on_object(drops.reshape(-1, *drops.shape[2:]), np.repeat(inside, windows, axis=0))
    return {
        "object_area": inside.mean(axis=(1, 2)),
        "drop_on_object": share.reshape(-1, windows),
        "drop_points_at_object": hit.reshape(-1, windows),
    }


def _object_table(subject: Subject, arrays: Arrays, grid: _Grid, located: Arrays) -> Table:
    """Return drop on the object, per class and over all, beside the object's area."""
    columns = [Column("class"), Column("object's area %", digits=1)]
    for window in grid.windows:
        columns += [Column(f"{window}×{window} drop on it %", digits=1), Column(f"{window}×{window} largest on it")]
    groups = {name: arrays["class"] == number for number, name in enumerate(subject.class_names)}
    rows = []
    for name, members in (groups | {"all": np.ones(len(arrays["class"]), bool)}).items():
        row: list[Value | Measured] = [name, Measured.of_finite(100 * located["object_area"][members])]
        for at in range(len(grid.windows)):
            row.append(Measured.of_finite(100 * located["drop_on_object"][members, at]))
            row.append(hits(located["drop_points_at_object"][members, at]))
        rows.append(tuple(row))
    title = (
        f"{subject.name}: object or surroundings? Share of the probability's drop at windows centred on the object (by "
        "chance: its area), and images whose largest drop is there"
    )
    return Table(title, tuple(columns), tuple(rows))


def _object_or_surroundings(located: Arrays, grid: _Grid) -> str:
    """Answer the question, for each window."""
    shares = []
    for at, window in enumerate(grid.windows):
        share, points = located["drop_on_object"][:, at], located["drop_points_at_object"][:, at]
        known = np.isfinite(share)
        if not known.any():
            shares.append(f"with {window}×{window} no drop in any image")
            continue
        shares.append(
            f"with {window}×{window} {100 * share[known].mean():.1f} % of the drop "
            f"({verdict(share[known] - located['object_area'][known])}) and the largest in {hits(points)} images"
        )
    area = 100 * located["object_area"].mean()
    return (
        f"Object or surroundings? The objects cover {area:.1f} % of the positions, which is their share by chance. "
        f"Windows centred on them make {'; '.join(shares)}. More or less than chance: by over two standard errors of "
        "the mean."
    )
