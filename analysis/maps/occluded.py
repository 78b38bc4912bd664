"""A class's probability behind windows, by the networks of all seeds, and what its maps are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.finding import Arrays
from analysis.inference.seeds import counted
from analysis.maps.deletion import ORDERS, STEPS, WAYS, curves_of
from analysis.maps.fills import Fills
from analysis.maps.recognised import recognised
from analysis.maps.windows import FILLS, Grid, colour, occluded_logits
from analysis.subject import Subject

THIN = 2  # what is compared between fills and between seeds is at every other place only, along both axes


def examine(subject: Subject, label: int, images: np.ndarray, grid: Grid, fill: str) -> Arrays:
    """Return what the networks of all seeds say of a class in some images (n,) behind windows.

    Of the first network `unoccluded` (n,) probability without a window, `maps` (n, windows, rows, columns) probability
    by the window's centre, and `changed` of that shape: whether the prediction is no longer the class. Of the others
    the same at every THIN-th place, `other_unoccluded`, `other_maps` and `other_changed` (n, seeds - 1, …). Of all
    `fills` (n, seeds, 2, rows, columns), maps at those places with the window of middle size and the other two fills,
    and `deletion`, Deletion.curves.
    """
    networks, thin = subject.replicates, grid.thinned(THIN)
    seeds = (len(images), len(networks))
    others = _room((len(images), len(networks) - 1), thin)
    found = {
        **_room((len(images),), grid),
        **{f"other_{name}": values for name, values in others.items()},
        "fills": np.empty((*seeds, len(FILLS) - 1, *thin.shape[1:]), np.float32),
        "deletion": np.empty((*seeds, len(WAYS), len(ORDERS), STEPS + 1), np.float32),
    }
    colours = {each: colour(each, subject.images) for each in FILLS}
    for index, number in enumerate(images):
        for seed, network in enumerate(networks):
            seen = _look(network, number, label, thin if seed else grid, colours[fill])
            for name, values in seen.items():
                if seed:
                    found[f"other_{name}"][index, seed - 1] = values
                else:
                    found[name][index] = values
            drops = (seen["unoccluded"] - seen["maps"])[grid.middle]
            thinned = drops if seed else drops[::THIN, ::THIN]
            controls = _controls(network, number, label, grid, thinned, fill, colours)
            found["fills"][index, seed], found["deletion"][index, seed] = controls
    return found


def _room(shape: tuple[int, ...], grid: Grid) -> Arrays:
    return {
        "unoccluded": np.empty(shape, np.float32),
        "maps": np.empty((*shape, *grid.shape), np.float32),
        "changed": np.empty((*shape, *grid.shape), bool),
    }


def _look(network: Subject, number: int, label: int, grid: Grid, shown: np.ndarray) -> Arrays:
    """Return what one network says of one image."""
    probability, kept = recognised(network, occluded_logits(network, number, grid, shown), label)
    maps, changed = probability[1:].reshape(grid.shape), ~kept[1:].reshape(grid.shape)
    return {"unoccluded": probability[0], "maps": maps, "changed": changed}


def _controls(
    network: Subject,
    number: int,
    label: int,
    grid: Grid,
    drops: np.ndarray,
    fill: str,
    colours: Mapping[str, np.ndarray],
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the maps with the other fills, and what deletion and insertion in the order of `drops` make of the image.

    Drops are (rows, columns), at every THIN-th place.
    """
    control = grid.thinned(THIN, grid.middle)
    [window] = control.windows
    others = [_look(network, number, label, control, colours[each])["maps"][0] for each in FILLS if each != fill]
    return others, curves_of(network, number, label, drops, window, colours[fill])


@dataclass(frozen=True)
class Occluded:
    """What examine() returns, of the images of all classes: of all networks at the same places.

    `unoccluded` (n, seeds), `maps` and `changed` (n, seeds, windows, rows, columns) of `grid`: with one seed it is that
    of the maps, with several a thinner one. `masks` (n, rows, columns): whether a window there is centred on the
    object, None where that is not known.
    """

    subject: Subject
    images: np.ndarray
    classes: np.ndarray
    grid: Grid
    unoccluded: np.ndarray
    maps: np.ndarray
    changed: np.ndarray
    masks: np.ndarray | None
    fills: Fills

    @property
    def drops(self) -> np.ndarray:
        """How much of the probability a window takes away, of the shape of `maps`: float64, not below 0."""
        return np.maximum(self.unoccluded[:, :, None, None, None].astype(np.float64) - self.maps, 0)

    @property
    def counted(self) -> str:
        """Say what the numbers of a table are means over."""
        where = f" at {self.grid.places()}" if self.subject.others else ""
        return counted(self.subject, len(self.images), where)


def occluded(subject: Subject, arrays: Arrays, grid: Grid, fill: str) -> Occluded:
    """Return what examine() found on `grid` with `fill`; `arrays` has the `image` (n,) and `class` (n,), too."""
    step = THIN if len(subject.others) else 1
    same = grid.thinned(step)
    unoccluded, maps, changed = (
        np.concatenate([own[:, None], arrays[f"other_{name}"]], axis=1) if len(subject.others) else own[:, None]
        for name, own in (
            ("unoccluded", arrays["unoccluded"]),
            ("maps", arrays["maps"][..., ::step, ::step]),
            ("changed", arrays["changed"][..., ::step, ::step]),
        )
    )
    objects = subject.objects(arrays["image"], arrays["class"]) if subject.knows_objects else None
    masks, control_masks = (
        None if objects is None else objects[:, each.rows][:, :, each.columns] for each in (same, grid.thinned(THIN))
    )
    own = maps[:, :, grid.middle, :: THIN // step, :: THIN // step]
    others = iter(np.moveaxis(arrays["fills"], 2, 0))
    by_fill = np.stack([own if each == fill else next(others) for each in FILLS], axis=2)
    fills = Fills(by_fill, fill, grid.thinned(THIN, grid.middle), unoccluded, control_masks)
    return Occluded(subject, arrays["image"], arrays["class"], same, unoccluded, maps, changed, masks, fills)
