"""Occlusion sensitivity: the class's probability while a window hides a part of the image, as a map over the window's
position.

Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. Everything is computed in float32,
and of each map only what a window can change, where that is less work (analysis/maps/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analysis.figures import Panel, Shades, panels
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.seeds import measured, said, whose
from analysis.job import Job, WrongOption
from analysis.maps.deletion import Deletion
from analysis.maps.occluded import Occluded, examine, occluded
from analysis.maps.pointing import Pointing, figure, headline, hits, pointing, sentence
from analysis.maps.recognised import first_right, of_class, right_images
from analysis.maps.windows import FILLS, Grid
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError, suggest

WINDOWS = (3, 5, 7, 9)  # pixels, of images of about 32
NAMED = {
    "gray": "gray (0.5 of white, before normalisation)",
    "mean": "the test images' mean colour",
    "black": "black",
}
ROWS = 10  # of a figure: more are not readable on a page
SIDE = 0.7  # inches of a map, so that so many rows fit on a page
LEAST = 0.05  # drop at which a row's scale ends at least, so that next to none is not drawn as if it were much
DROPS = Shades("magma_r", (0, 1), f"drop in probability, relative to the row's largest (at least {LEAST:g})")
READING = (
    "Red to yellow: the probability of the row's class by the position of the window's centre; the number is the "
    "lowest. Pale to dark: its drop from that without a window, 0 where it rises; the number is the largest. p: the "
    "probability without a window."
)


@dataclass(frozen=True)
class Occlusion(Job):
    """Hide square windows of the first `per_class` test images of each class that are classified right.

    On multi-label data: images that have the class, with a sigmoid probability of at least 0.5 for it. `windows` are
    odd, in pixels, centred on every `stride`-th pixel along both axes and clipped at the border. None: 3, 5, 7, 9 and
    1, and on images with more than 64 pixels a side in proportion, for about 32 positions a side. `fill` is what the
    window shows: "gray" (0.5 of white), "mean" (the mean colour of the test images) or "black".
    """

    name: ClassVar[str] = "occlusion"
    edition: ClassVar[int] = 3

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
        """Return what examine() does of class number `part`, with the numbers of the images in the data set, `image`
        (n,), and their `class` (n,).
        """
        chosen = first_right(subject.replicates, of_class(subject, part), part, self.per_class)
        found = examine(subject, part, chosen, self._grid(subject), self.fill)
        return {"image": chosen, "class": np.full(len(chosen), part)} | found

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Draw the maps, ten images a figure, sum them up, and say what they were held against: other images' masks
        where objects are known, other fills, other orders of the pixels.

        There are no figures and tables where no image is classified right.
        """
        (subject,) = subjects
        arrays = {key: np.concatenate([part[key] for part in computed]) for key in computed[0]}
        grid, missing = self._grid(subject), self._missing(subject, arrays["class"])
        if not len(arrays["image"]):
            return Finding(self.name, "Occlusion: no image is classified right", (missing,))
        seen, deletion = occluded(subject, arrays, grid, self.fill), Deletion(arrays["deletion"])
        text = [self._rule(subject, grid), whose(subject, "the maps and the table of images"), _by_window(seen)]
        tables = {"occlusion-windows": _window_table(seen), "occlusion-images": _image_table(subject, arrays, grid)}
        figures, title = self._figures(subject, arrays, grid), _by_size(seen)
        if seen.masks is not None:
            located = {
                f"{window}×{window}": pointing(seen.drops[:, :, at], seen.masks)
                for at, window in enumerate(grid.windows)
            }
            title = headline(located, list(located)[grid.middle], "the drop")
            text.append(sentence(located, "the drop at windows centred", f"the {len(seen.images)} images"))
            tables["occlusion-object"] = _object_table(seen, located)
            caption = (
                f"{subject.name} on {subject.dataset}, occlusion: share of the probability's drop, {seen.counted}."
            )
            figures["occlusion-object"] = figure(located, subject.name, caption, "% of the drop")
            arrays |= _object_arrays(list(located.values()))
        text += [seen.fills.sentence(), deletion.sentence(), missing]
        tables["occlusion-fills"] = seen.fills.table(f"{subject.name}: other fills, {seen.counted}")
        tables["occlusion-deletion"] = deletion.table(f"{subject.name}: deletion and insertion, {seen.counted}")
        figures["occlusion-fills"] = _fill_figure(seen)
        figures["occlusion-deletion"] = _deletion_figure(seen, deletion, NAMED[self.fill])
        where = {"windows": np.array(grid.windows), "rows": grid.rows, "columns": grid.columns}
        text = [line for line in text if line]
        return Finding(self.name, f"Occlusion: {title}", tuple(text), tables, figures, arrays | where)

    def _grid(self, subject: Subject) -> Grid:
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
        return Grid(windows, rows, columns, stride)

    def _rule(self, subject: Subject, grid: Grid) -> str:
        """Say what was hidden, where, and of which images."""
        return (
            f"{subject.name} on {subject.dataset}, test images: of each class the first {self.per_class} in the order "
            f"of the data set {right_images(subject)}. A square window, filled with {NAMED[self.fill]}, is centred on "
            f"{grid.places()} and clipped at the border."
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

    def _figures(self, subject: Subject, arrays: Arrays, grid: Grid) -> dict[str, Figure]:
        count = len(arrays["image"])
        pages = [range(start, min(start + ROWS, count)) for start in range(0, count, ROWS)]
        largest = max(grid.windows)
        caption = f"{self._rule(subject, grid)} {READING} Box: the {largest}×{largest} window with the largest drop."
        figures = {}
        for number, page in enumerate(pages, start=1):
            part = f" ({number} of {len(pages)})" if len(pages) > 1 else ""
            png = panels(
                [_panels(subject, arrays, grid, index) for index in page],
                title=f"Occlusion: {subject.name}{part}",
                caption=caption,
                row_labels=[
                    f"{subject.class_names[arrays['class'][index]]}\nimage {arrays['image'][index]}" for index in page
                ],
                column_labels=_heads([f"{window}×{window}" for window in grid.windows]),
                colormap="autumn",
                limits=(0, 1),
                colour_label="probability of the class",
                panel_inches=SIDE,
            )
            figures[f"occlusion-{number}"] = Figure(png, caption + part)
        return figures


def _fill_figure(seen: Occluded) -> Figure:
    """Draw the first network's maps of the first image of each class with each fill."""
    [window] = seen.fills.grid.windows
    chosen = np.unique(seen.classes, return_index=True)[1][:ROWS]
    caption = (
        f"{seen.subject.name} on {seen.subject.dataset}, occlusion with {window}×{window} windows of three fills at "
        f"{seen.fills.grid.places()}. {READING} Seed {seen.subject.seed}."
    )
    rows = []
    for index in chosen:
        p = float(seen.unoccluded[index, 0])
        image = Panel(seen.subject.images[seen.images[index]], f"p = {p:.3f}")
        rows.append([image, *_both(p, seen.fills.maps[index, 0])])
    png = panels(
        rows,
        title=f"Does it depend on the fill? {seen.subject.name}",
        caption=caption,
        row_labels=[f"{seen.subject.class_names[seen.classes[index]]}\nimage {seen.images[index]}" for index in chosen],
        column_labels=_heads(FILLS),
        colormap="autumn",
        limits=(0, 1),
        colour_label="probability of the class",
        panel_inches=SIDE,
    )
    return Figure(png, caption)


def _deletion_figure(seen: Occluded, deletion: Deletion, fill: str) -> Figure:
    [window] = seen.fills.grid.windows
    caption = (
        f"{seen.subject.name} on {seen.subject.dataset}: probability of the class while pixels are hidden, filled with "
        f"{fill}, or shown one after the other; {seen.counted}. The map's order: the drop with {window}×{window} "
        f"windows at {seen.fills.grid.places()}, largest first; random patches: of {window}×{window} pixels."
    )
    return Figure(deletion.figure(f"Deletion and insertion: {seen.subject.name}", caption), caption)


def _panels(subject: Subject, arrays: Arrays, grid: Grid, index: int) -> list[Panel]:
    """Return an image with a window drawn on it, then its maps."""
    maps, largest = arrays["maps"][index], int(np.argmax(grid.windows))
    row, column = np.unravel_index(maps[largest].argmin(), maps[largest].shape)
    reach, x, y = grid.windows[largest] // 2, grid.columns[column], grid.rows[row]
    box = (float(x - reach), float(y - reach), float(x + reach + 1), float(y + reach + 1))
    p = float(arrays["unoccluded"][index])
    return [Panel(subject.images[arrays["image"][index]], f"p = {p:.3f}", box), *_both(p, maps)]


def _both(p: float, maps: np.ndarray) -> list[Panel]:
    """Return maps (n, rows, columns) of a probability that is `p` without a window, then the drops, on a scale of their
    own.
    """
    drops = np.maximum(p - maps, 0)
    end = max(float(drops.max()), LEAST)
    lowest = [Panel(values, f"{values.min():.3f}") for values in maps]
    return [*lowest, *(Panel(values / end, f"{values.max():.3f}", shades=DROPS) for values in drops)]


def _heads(maps: Sequence[str]) -> list[str]:
    """Return the columns' labels, of maps called by these names."""
    return ["image", *(f"p, {name}" for name in maps), *(f"drop, {name}" for name in maps)]


def _image_table(subject: Subject, arrays: Arrays, grid: Grid) -> Table:
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
    return Table(title, tuple(columns), tuple(rows), folded=True)


def _window_table(seen: Occluded) -> Table:
    columns = (
        Column("window"),
        Column("lowest p", digits=3),
        Column("mean p", digits=3),
        Column("lost, % of positions", digits=1),
    )
    rows = tuple(
        (
            f"{window}×{window}",
            measured(seen.maps[:, :, at].min(axis=(2, 3))),
            measured(seen.maps[:, :, at].mean(axis=(2, 3), dtype=np.float64)),
            measured(100 * seen.changed[:, :, at].mean(axis=(2, 3))),
        )
        for at, window in enumerate(seen.grid.windows)
    )
    return Table(f"{seen.subject.name}: by size of the window, {seen.counted}", columns, rows)


def _by_size(seen: Occluded) -> str:
    """Say in short how often windows change the prediction, the largest and the smallest."""
    lost = {window: 100 * seen.changed[:, :, at].mean() for at, window in enumerate(seen.grid.windows)}
    large, small = max(lost), min(lost)
    beside = f", a {small}×{small} one at {lost[small]:.0f} %" if small < large else ""
    return f"a {large}×{large} window changes the prediction at {lost[large]:.0f} % of its positions{beside}"


def _by_window(seen: Occluded) -> str:
    """Say what hiding costs, by window."""
    costs = [
        f"{said(seen.maps[:, :, at].mean(axis=(2, 3), dtype=np.float64), 3)} with {window}×{window} (lost at "
        f"{said(100 * seen.changed[:, :, at].mean(axis=(2, 3)), 1)} % of positions)"
        for at, window in enumerate(seen.grid.windows)
    ]
    where = f", windows at {seen.grid.places()}" if seen.subject.others else ""
    return (
        f"Mean probability of the class over {len(seen.images)} images{where}: {said(seen.unoccluded, 3)} without a "
        f"window; {', '.join(costs)}."
    )


def _object_arrays(located: Sequence[Pointing]) -> Arrays:
    """Return `object_area` (n,), the object's share of the positions, and of each Pointing `drop_on_object`,
    `drop_on_other_objects` and `drop_points_at_object` (n, seeds, windows).
    """
    return {
        "object_area": located[0].area,
        "drop_on_object": np.stack([each.share for each in located], axis=2),
        "drop_on_other_objects": np.stack([each.others for each in located], axis=2),
        "drop_points_at_object": np.stack([each.points for each in located], axis=2),
    }


def _object_table(seen: Occluded, located: Mapping[str, Pointing]) -> Table:
    """Return drop on the object, per class and over all, beside that under other images' masks."""
    columns = [Column("class"), Column("images", show=False), Column("object's area %", digits=1)]
    for window in located:
        columns += [
            Column(f"{window} drop on it %", digits=1),
            Column(f"{window} on other images' %", digits=1, show=False),
            Column(f"{window} largest on it"),
        ]
    groups = {name: seen.classes == number for number, name in enumerate(seen.subject.class_names)}
    area = 100 * next(iter(located.values())).area
    rows = []
    for name, members in (groups | {"all": np.ones(len(seen.classes), bool)}).items():
        row: list[Value | Measured] = [name, int(members.sum())]
        row.append(float(area[members].mean()) if members.any() else None)
        for each in located.values():
            row += [measured(100 * each.share[members]), measured(100 * each.others[members])]
            row.append(hits(each.points[members]))
        rows.append(tuple(row))
    title = (
        f"{seen.subject.name}: object or surroundings? Share of the probability's drop at windows centred on the "
        f"object, and maps whose largest drop is there; {seen.counted}"
    )
    return Table(title, tuple(columns), tuple(rows))
