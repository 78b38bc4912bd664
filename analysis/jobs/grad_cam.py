"""Where in the image a network finds the evidence for a class: gradient-weighted class activation maps (Grad-CAM).

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from analysis import figures
from analysis.figures import Panel
from analysis.finding import Arrays, Figure, Finding
from analysis.inference.seeds import counted, measured, whose
from analysis.job import Job, WrongOption
from analysis.jobs.mistakes import THRESHOLD, false_positives, misclassified, missed
from analysis.maps.cam import default_layer, maps_of
from analysis.maps.deletion import ORDERS, STEPS, WAYS, Deletion, cheap, curves_of
from analysis.maps.pointing import Pointing, figure, headline, own_scale, pointing, sentence, stretched
from analysis.maps.randomised import Randomised, cascade, layers
from analysis.maps.recognised import first_right
from analysis.maps.windows import colour
from analysis.report import Column, Measured, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError, suggest
from trainables.models import Network

COLUMNS = 9  # of a figure, at most

RIGHT = "right"
TRUE, PREDICTED = "wrong, true class", "wrong, predicted class"
FALSE_POSITIVE, MISSED = "false positive", "missed"

Wanted = tuple[str, int, int]  # kind, image, target class
Control = tuple[str, dict[str, Table], dict[str, Figure]]  # what it says, its tables and figures


@dataclass(frozen=True)
class GradCam(Job):
    """Grad-CAM on right and on wrong predictions, from logits, each map on a scale of its own.

    `layer`: any feature of the network with maps, such as `block2` or `layer3` (after the activation) or `conv2`
    (before it); None: see default_layer(). Right: the first `per_class` rightly classified images of each class, target
    the class. Wrong: the `wrong` most confident mistakes, each with the true and with the predicted class as target.
    Multi-label data: present classes with a probability from 0.5 on; false positives and missed classes, as many of
    each, the class itself as target.
    """

    name: ClassVar[str] = "grad_cam"
    edition: ClassVar[int] = 3

    layer: str | None = None
    per_class: int = 1
    wrong: int = 10

    def __post_init__(self) -> None:
        for name, low in (("per_class", 1), ("wrong", 0)):
            if getattr(self, name) < low:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least {low}")

    def check(self, subject: Subject) -> None:
        """Raise UserError where the network has no maps, or none of this name."""
        _, _, features = next(subject.batches(np.arange(1)))
        known = [name for name, values in features.items() if values.ndim == 4]
        if not known:
            raise UserError(f"{subject.name} has no convolutions, so that there are no maps to weight")
        if self.layer is not None and self.layer not in known:
            raise WrongOption(f"{subject.name} has no maps {self.layer!r}{suggest(self.layer, known)}")

    def whole(self, subject: Subject) -> Arrays:
        """Return `maps` (n, h, w) float32, their `kinds`, `images`, `targets` and `predicted` (n,), and the images'
        `probabilities` (n, classes).

        Of the right predictions, which come first, also `other_maps` (right, seeds - 1, h, w) by the networks of the
        other seeds, `randomised` (layers, right, seeds, h, w) as Randomised has them, with the names of the `layers`,
        and `deletion`, Deletion.curves, where that is not too much work.
        """
        wanted = self._wanted(subject)
        images, targets = np.array([entry[1:] for entry in wanted], int).reshape(-1, 2).T
        kinds = np.array([kind for kind, _, _ in wanted], str)
        maps, right = maps_of(subject, subject.model, images, targets, self.layer), kinds == RIGHT
        found = {
            "maps": maps,
            "kinds": kinds,
            "images": images,
            "targets": targets,
            "predicted": subject.predicted[images],
            "probabilities": subject.probabilities[images],
        }
        return found | (self._controls(subject, images[right], targets[right], maps[right]) if right.any() else {})

    def _controls(self, subject: Subject, images: np.ndarray, targets: np.ndarray, maps: np.ndarray) -> Arrays:
        """Return what the maps of right predictions are held against."""

        def of(model: Network) -> np.ndarray:
            return maps_of(subject, model, images, targets, self.layer)

        networks = subject.replicates
        own = [maps, *(of(each.model) for each in subject.others)]
        random = [np.stack([of(model) for _, model in cascade(each)]) for each in networks]
        found = {
            "other_maps": np.stack(own, axis=1)[:, 1:],
            "layers": np.array(list(layers(subject.model)), str),
            "randomised": np.stack(random, axis=2),
        }
        if cheap(subject, len(images)):
            gray, side = colour("gray", subject.images), -(-subject.images.shape[1] // maps.shape[1])
            found["deletion"] = np.empty((len(images), len(networks), len(WAYS), len(ORDERS), STEPS + 1), np.float32)
            for index, (number, label) in enumerate(zip(images.tolist(), targets.tolist(), strict=True)):
                for seed, network in enumerate(networks):
                    found["deletion"][index, seed] = curves_of(network, number, label, own[seed][index], side, gray)
        return found

    def _wanted(self, subject: Subject) -> list[Wanted]:
        labels, probabilities = subject.labels, subject.probabilities
        classes = range(len(subject.class_names))
        if subject.multi_label:
            found = (labels == 1) & (probabilities >= THRESHOLD)
            false, lost = (
                false_positives(labels, probabilities)[: -(-self.wrong // 2)],
                missed(labels, probabilities)[: self.wrong // 2],
            )
            mistakes = [(FALSE_POSITIVE, *pair) for pair in false.tolist()] + [
                (MISSED, *pair) for pair in lost.tolist()
            ]
        else:
            found = (labels == subject.predicted)[:, None] & (labels[:, None] == classes)
            wrong = misclassified(labels, subject.predicted, probabilities)[: self.wrong].tolist()
            targets = ((TRUE, labels), (PREDICTED, subject.predicted))
            mistakes = [(kind, image, int(target[image])) for image in wrong for kind, target in targets]
        right = [
            (RIGHT, image, label)
            for label in classes
            for image in first_right(subject.others, np.flatnonzero(found[:, label]), label, self.per_class).tolist()
        ]
        return right + mistakes

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return figures of right and wrong predictions, the maps' numbers, how many of a kind are all zero, and what
        the maps were held against: other images' masks, random layers, other orders of the pixels.
        """
        [subject], [arrays] = subjects, computed
        height, width = arrays["maps"].shape[1:]
        zero = arrays["maps"].max((1, 2)) == 0
        layer = self.layer or default_layer(subject.model)
        located = _located(subject, arrays) if subject.knows_objects else {}
        text = [
            (
                f"{subject.name} on {subject.dataset}: Grad-CAM of {layer}, from logits; {height}×{width} maps, "
                "stretched over the image."
            ),
            (
                f"{zero.sum()} of {len(zero)} maps are zero everywhere, which means that nothing at this layer speaks "
                "for the class."
            ),
            *self._shortage(subject, arrays["kinds"]),
            whose(subject, "the maps drawn, and those of wrong predictions,"),
        ]
        tables = {
            "grad_cam": _of_images(subject, arrays, layer, located),
            "by_kind": _by_kind(subject, arrays, layer, located),
        }
        about = f"{subject.name} on {subject.dataset}, Grad-CAM of {layer}. "
        drawn = self._figures(subject, arrays, about)
        controls = [partial(_on_objects, located)] if located else []
        seen = (arrays["kinds"] == RIGHT).any()
        for control in [*controls, *((_randomised, _deletion) if seen else ())]:
            words, more_tables, more_drawn = control(subject, arrays, about)
            text, tables, drawn = [*text, words], tables | more_tables, drawn | more_drawn
        title = _random(arrays).headline if seen else "no right prediction to look at"
        if seen and located:
            title = f"{headline(located, RIGHT, 'the mass')}; {title}"
        return Finding(self.name, f"Grad-CAM: {title}", tuple(text), tables, drawn, arrays)

    def _figures(self, subject: Subject, arrays: Arrays, about: str) -> dict[str, Figure]:
        right = arrays["kinds"] == RIGHT
        captions = {
            "right": f"{about}The first test images of each class that are {self._rightly(subject)}, and the map of "
            "that class.",
            "wrong": about + self._wrongly(subject),
        }
        shown = {name: arrays[name] for name in ("maps", "kinds", "images", "targets", "probabilities")}
        return {
            stem: _draw(
                subject,
                {name: values[chosen] for name, values in shown.items()},
                f"Grad-CAM: {stem} predictions",
                captions[stem],
            )
            for stem, chosen in (("right", right), ("wrong", ~right))
            if chosen.any()
        }

    def _shortage(self, subject: Subject, kinds: np.ndarray) -> list[str]:
        """Say where there are fewer images than asked for."""
        right, wrong = (kinds == RIGHT).sum(), np.isin(kinds, (PREDICTED, FALSE_POSITIVE, MISSED)).sum()
        asked = (("right", right, self.per_class * len(subject.class_names)), ("wrong", wrong, self.wrong))
        return [
            f"{count} {kind} predictions were asked for, but there are only {found}."
            for kind, found, count in asked
            if found < count
        ]

    def _rightly(self, subject: Subject) -> str:
        them = f"found (probability from {THRESHOLD} on)" if subject.multi_label else "classified right"
        return them + (f" by the networks of all {len(subject.replicates)} seeds" if subject.others else "")

    def _wrongly(self, subject: Subject) -> str:
        if subject.multi_label:
            return (
                "The most confident false positives (class absent), then the most confidently missed classes, and "
                "the map of that class."
            )
        return (
            "The most confident wrong predictions: the map of the true class, and beside it that of the predicted "
            "class."
        )


def _located(subject: Subject, arrays: Arrays) -> dict[str, Pointing]:
    """Return what the maps of each kind have on the objects of their class; on right predictions those of all seeds."""
    found = {}
    for kind in dict.fromkeys(arrays["kinds"].tolist()):
        chosen = arrays["kinds"] == kind
        masks = subject.objects(arrays["images"][chosen], arrays["targets"][chosen])
        maps = arrays["maps"][chosen][:, None]
        if kind == RIGHT:
            maps = np.concatenate([maps, arrays["other_maps"]], axis=1)
        whole = stretched(maps.reshape(-1, *maps.shape[2:]), *masks.shape[1:])
        found[kind] = pointing(whole.reshape(*maps.shape[:2], *masks.shape[1:]), masks)
    return found


def _on_objects(located: Mapping[str, Pointing], subject: Subject, arrays: Arrays, about: str) -> Control:
    """Show how much of each kind's maps is on the object."""
    number = (arrays["kinds"] == RIGHT).sum()
    caption = f"{about}Share of the maps' mass; right predictions: {counted(subject, number)}."
    drawn = figure(located, subject.name, caption, "% of the mass")
    return sentence(located, "a map's mass", "the images of a kind"), {}, {"objects": drawn}


def _randomised(subject: Subject, arrays: Arrays, about: str) -> Control:
    """Show what is left of the maps of right predictions without what was learned."""
    right, found = arrays["kinds"] == RIGHT, _random(arrays)
    captions = found.captions(subject, about)
    images, classes = arrays["images"][right], arrays["targets"][right]
    names = [f"{subject.class_names[label]}\nimage {image}" for image, label in zip(images, classes, strict=True)]
    drawn = {
        "randomised": Figure(found.curve(captions[0]), captions[0]),
        "randomised-maps": Figure(found.examples(subject.images[images], names, captions[1]), captions[1]),
    }
    return found.sentence(), {"randomised": found.table(subject)}, drawn


def _random(arrays: Arrays) -> Randomised:
    """Return the maps of right predictions while what was learned goes."""
    trained = np.concatenate([arrays["maps"][arrays["kinds"] == RIGHT][:, None], arrays["other_maps"]], axis=1)
    return Randomised(tuple(arrays["layers"].tolist()), np.concatenate([trained[None], arrays["randomised"]]))


def _deletion(subject: Subject, arrays: Arrays, about: str) -> Control:
    """Show whether the probability rests on what the maps of right predictions mark."""
    if "deletion" not in arrays:
        return "Deletion and insertion are left out, as they take longer than to classify all test images.", {}, {}
    found = Deletion(arrays["deletion"])
    over = counted(subject, len(found.curves))
    caption = (
        f"{about}Probability of the class while pixels are hidden, filled with gray (0.5 of white), or shown one after "
        f"the other; {over}. Random patches: as large as a position of the map."
    )
    drawn = found.figure(f"Deletion and insertion: {subject.name}", caption)
    table = found.table(f"{subject.name}: deletion and insertion, {over}")
    return found.sentence(), {"deletion": table}, {"deletion": Figure(drawn, caption)}


def _of_images(subject: Subject, arrays: Arrays, layer: str, located: Mapping[str, Pointing]) -> Table:
    rows = _table_rows(subject, arrays, located)
    return Table(f"Grad-CAM: {subject.name}, {layer}", _columns(subject), rows, folded=True)


def _columns(subject: Subject) -> tuple[Column, ...]:
    true, predicted = (
        ("true classes", "most probable class") if subject.multi_label else ("true class", "predicted class")
    )
    columns = [Column("image"), Column("prediction"), Column(true), Column(predicted), Column("map of")]
    columns += [
        Column("its probability", digits=3),
        Column("maximum of the map", digits=4),
        Column("share of zeros", digits=3),
    ]
    if subject.knows_objects:
        columns += [
            Column("object's share of the image", digits=3),
            Column("mass on the object", digits=3),
            Column("peak on the object"),
        ]
    return tuple(columns)


def _table_rows(
    subject: Subject, arrays: Arrays, located: Mapping[str, Pointing]
) -> tuple[tuple[Value | Measured, ...], ...]:
    of_kind = {
        kind: iter(np.stack([each.area, each.share[:, 0], each.points[:, 0]], axis=1)) for kind, each in located.items()
    }
    rows: list[tuple[Value, ...]] = []
    for number, (image, target) in enumerate(zip(arrays["images"].tolist(), arrays["targets"].tolist(), strict=True)):
        values = arrays["maps"][number]
        row: tuple[Value, ...] = (
            image,
            str(arrays["kinds"][number]),
            _true(subject, image),
            subject.class_names[arrays["predicted"][number]],
            subject.class_names[target],
            float(arrays["probabilities"][number, target]),
            float(values.max()),
            float((values == 0).mean()),
        )
        if located:
            covered, share, peak = next(of_kind[str(arrays["kinds"][number])])
            row += (float(covered), _known(share), None if np.isnan(peak) else ("yes" if peak else "no"))
        rows.append(row)
    return tuple(rows)


def _by_kind(subject: Subject, arrays: Arrays, layer: str, located: Mapping[str, Pointing]) -> Table:
    columns = [Column("prediction, map of"), Column("maps"), Column("all zero"), Column("share all zero", digits=3)]
    if located:
        columns += [
            Column(name, digits=3)
            for name in (
                "object's share of the image",
                "mass on the object",
                "mass on other images' objects",
                "peak on the object (share)",
            )
        ]
    rows = []
    for kind in dict.fromkeys(arrays["kinds"].tolist()):
        chosen = arrays["kinds"] == kind
        zero = arrays["maps"][chosen].max((1, 2)) == 0
        row: tuple[Value | Measured, ...] = (kind, int(chosen.sum()), int(zero.sum()), float(zero.mean()))
        if located:
            of = located[kind]
            area = np.where(np.isfinite(of.share), of.area[:, None], np.nan)
            row += tuple(measured(values) for values in (area, of.share, of.others, of.points))
        rows.append(row)
    note = "" if not located else "; means over the maps that are not all zero, of classes that the image has"
    return Table(f"Grad-CAM per kind of prediction: {subject.name}, {layer}{note}", tuple(columns), tuple(rows))


def _true(subject: Subject, image: int) -> str:
    if subject.multi_label:
        return ", ".join(
            name for name, label in zip(subject.class_names, subject.labels[image], strict=True) if label == 1
        )
    return subject.class_names[subject.labels[image]]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _draw(subject: Subject, arrays: Arrays, title: str, caption: str) -> Figure:
    """Draw each image followed by its maps over the image in gray, each on the scale from 0 to its own maximum."""
    maps, images = arrays["maps"], subject.images[arrays["images"]]
    overlays = own_scale(maps, *images.shape[1:3])
    gray = images.mean(3).round().astype(np.uint8)  # colour is left to the map
    groups: list[list[Panel]] = []
    for number, kind in enumerate(arrays["kinds"].tolist()):
        image, target, peak = int(arrays["images"][number]), arrays["targets"][number], maps[number].max()
        if kind != PREDICTED:  # its image stands there already
            groups.append([Panel(images[number], f"{_true(subject, image)}\nimage {image:,}")])
        words = "" if kind == RIGHT else f"{kind.removeprefix('wrong, ').removesuffix(' class')}\n"
        words += f"{subject.class_names[target]} {arrays['probabilities'][number, target]:.2f}\n"
        groups[-1].append(
            Panel(gray[number], words + (f"max {peak:.2g}" if peak else "all zero"), overlay=overlays[number])
        )
    abreast = COLUMNS // len(groups[0])
    rows = [[panel for group in groups[at : at + abreast] for panel in group] for at in range(0, len(groups), abreast)]
    full = (
        f"{caption} Above each map: its class, that class's probability, and the map's maximum, at which its own scale "
        "ends."
    )
    label = "map, over its maximum"
    png = figures.panels(rows, title=title, caption=full, colormap="inferno", limits=(0, 1), colour_label=label)
    return Figure(png, full)
