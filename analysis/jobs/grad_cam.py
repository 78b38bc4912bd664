"""Where in the image a network finds the evidence for a class: gradient-weighted class activation maps (Grad-CAM).

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis import figures
from analysis.figures import Panel
from analysis.finding import Arrays, Figure, Finding
from analysis.job import Job, WrongOption
from analysis.jobs.mistakes import THRESHOLD, false_positives, missed, wrongly_labelled
from analysis.pointing import on_object
from analysis.report import Column, Table, Value
from analysis.subject import Subject
from trainables.errors import UserError, suggest
from trainables.models import Network, made

BATCH = 16  # maps computed at once: all features of so many images are kept for the way back
COLUMNS = 8  # of a figure, at most

RIGHT = "right"
TRUE, PREDICTED = "wrong, true class", "wrong, predicted class"
FALSE_POSITIVE, MISSED = "false positive", "missed"

Wanted = tuple[str, int, int]  # kind, image, target class


def cam(model: Network, pixels: Tensor, targets: Tensor, layer: str | None) -> Tensor:
    """Return the maps ReLU(Σ_k α_k A^k), (n, h, w), where α_k is the mean over positions of ∂ logit of the target / ∂
    A^k.

    `pixels` (n, H, W, C) are uint8, `targets` (n,) a class for each. A is the feature `layer`, as it is; None: what
    default_layer() names. Nothing is left behind: no hook, and no gradient on pixels or parameters.
    """
    model.eval()
    name = model.last_activation if layer is None else layer
    with torch.enable_grad():
        x: Any = (pixels.permute(0, 3, 1, 2).float() / 255).requires_grad_()
        for step in model.steps() if layer else model.plain_steps():
            x = step.run(x)
            if step.name == name:
                activations = made(x)
        [gradient] = torch.autograd.grad(x.gather(1, targets[:, None]).sum(), activations)
    with torch.no_grad():
        weights = gradient.sum((2, 3), keepdim=True) / activations[0, 0].numel()
        return (weights * activations).sum(1).relu()


def default_layer(model: Network) -> str:
    """Say which maps are used unless a layer is named: the last convolution's after its activation, as in the paper."""
    steps = list(model.plain_steps())
    at = [step.name for step in steps].index(model.last_activation)
    if steps[at].is_feature:
        return steps[at].name
    convolution = [step.name for step in steps[:at] if step.convolution is not None][-1]
    pools = steps[at + 1].keeps_channels and not steps[at + 1].keeps_places
    return f"{convolution} after its activation{', before pooling' if pools else ''}"


@dataclass(frozen=True)
class GradCam(Job):
    """Grad-CAM on right and on wrong predictions, from logits, on one scale per figure.

    `layer`: any feature of the network with maps, such as `block2` or `layer3` (after the activation) or `conv2`
    (before it); None: see default_layer(). Right: the first `per_class` rightly labelled images of each class, target
    the class. Wrong: the `wrong` most confident mistakes, each with the true and with the predicted class as target.
    Multi-label data: present classes with a probability from 0.5 on; false positives and missed classes, as many of
    each, the class itself as target.
    """

    name: ClassVar[str] = "grad_cam"

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
        """
        wanted = self._wanted(subject)
        images, targets = np.array([entry[1:] for entry in wanted], int).reshape(-1, 2).T
        maps = [
            cam(subject.model, subject.pixels(images[at]), torch.from_numpy(targets[at]).to(subject.device), self.layer)
            .cpu()
            .numpy()
            for at in (slice(start, start + BATCH) for start in range(0, len(wanted), BATCH))
        ]
        return {
            "maps": np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32),
            "kinds": np.array([kind for kind, _, _ in wanted], str),
            "images": images,
            "targets": targets,
            "predicted": subject.predicted[images],
            "probabilities": subject.probabilities[images],
        }

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
            wrong = wrongly_labelled(labels, subject.predicted, probabilities)[: self.wrong].tolist()
            targets = ((TRUE, labels), (PREDICTED, subject.predicted))
            mistakes = [(kind, image, int(target[image])) for image in wrong for kind, target in targets]
        right = [
            (RIGHT, image, label)
            for label in classes
            for image in np.flatnonzero(found[:, label])[: self.per_class].tolist()
        ]
        return right + mistakes

    def finding(self, subjects: Sequence[Subject], computed: Sequence[Arrays]) -> Finding:
        """Return figures of right and wrong predictions, the maps' numbers, and how many of a kind are all zero."""
        [subject], [arrays] = subjects, computed
        height, width = arrays["maps"].shape[1:]
        zero, right = arrays["maps"].max((1, 2)) == 0, arrays["kinds"] == RIGHT
        layer = self.layer or default_layer(subject.model)
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
        ]
        rows = _table_rows(subject, arrays)
        tables = {
            "grad_cam": Table(f"Grad-CAM: {subject.name}, {layer}", _columns(subject), rows),
            "by_kind": _by_kind(subject, arrays, layer),
        }
        about = f"{subject.name} on {subject.dataset}, Grad-CAM of {layer}. "
        captions = {
            "right": about
            + f"The first test images of each class that are {self._rightly(subject)}, and the map of that class.",
            "wrong": about + self._wrongly(subject),
        }
        drawn = {
            stem: _draw(
                subject,
                {name: values[chosen] for name, values in arrays.items()},
                f"Grad-CAM: {stem} predictions",
                captions[stem],
            )
            for stem, chosen in (("right", right), ("wrong", ~right))
            if chosen.any()
        }
        return Finding(self.name, "Grad-CAM", tuple(text), tables, drawn, arrays)

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
        return f"found (probability from {THRESHOLD} on)" if subject.multi_label else "labelled rightly"

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


def stretched(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return maps (n, h, w) brought bilinearly to (n, height, width), corners aligned by pixel edges."""
    return F.interpolate(torch.from_numpy(maps)[:, None], (height, width), mode="bilinear", align_corners=False)[
        :, 0
    ].numpy()


def _located(subject: Subject, arrays: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of each image that the map's class covers, and what on_object() returns; NaN if it has none."""
    masks = subject.objects(arrays["images"], arrays["targets"])
    return masks.mean((1, 2)), *on_object(stretched(arrays["maps"], *masks.shape[1:]), masks)


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


def _table_rows(subject: Subject, arrays: Arrays) -> tuple[tuple[Value, ...], ...]:
    located = list(zip(*_located(subject, arrays), strict=True)) if subject.knows_objects else []
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
            covered, share, peak = located[number]
            row += (float(covered), _known(share), None if np.isnan(peak) else ("yes" if peak else "no"))
        rows.append(row)
    return tuple(rows)


def _by_kind(subject: Subject, arrays: Arrays, layer: str) -> Table:
    columns = [Column("prediction, map of"), Column("maps"), Column("all zero"), Column("share all zero", digits=3)]
    located = _located(subject, arrays) if subject.knows_objects else None
    if located is not None:
        columns += [
            Column(name, digits=3)
            for name in ("object's share of the image", "mass on the object", "peak on the object (share)")
        ]
    rows = []
    for kind in dict.fromkeys(arrays["kinds"].tolist()):
        chosen = arrays["kinds"] == kind
        zero = arrays["maps"][chosen].max((1, 2)) == 0
        row: tuple[Value, ...] = (kind, int(chosen.sum()), int(zero.sum()), float(zero.mean()))
        if located is not None:
            known = chosen & ~np.isnan(located[1])
            row += tuple(float(values[known].mean()) if known.any() else None for values in located)
        rows.append(row)
    note = "" if located is None else "; means over the maps that are not all zero, of classes that the image has"
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
    """Draw each image followed by its maps over the image in gray, on the scale from 0 to the greatest value."""
    maps, images = arrays["maps"], subject.images[arrays["images"]]
    overlays = stretched(maps, *images.shape[1:3])
    gray = images.mean(3).round().astype(np.uint8)  # colour is left to the map
    groups: list[list[Panel]] = []
    for number, kind in enumerate(arrays["kinds"].tolist()):
        image, target, peak = int(arrays["images"][number]), arrays["targets"][number], maps[number].max()
        if kind != PREDICTED:  # its image stands there already
            groups.append([Panel(images[number], f"{_true(subject, image)}\nimage {image:,}")])
        words = "" if kind == RIGHT else f"{kind.removeprefix('wrong, ')}\n"
        words += f"{subject.class_names[target]} {arrays['probabilities'][number, target]:.2f}\n"
        groups[-1].append(
            Panel(gray[number], words + (f"max {peak:.2g}" if peak else "all zero"), overlay=overlays[number])
        )
    abreast = COLUMNS // len(groups[0])
    rows = [[panel for group in groups[at : at + abreast] for panel in group] for at in range(0, len(groups), abreast)]
    full = (
        f"{caption} Above each map: its class, that class's probability, and the map's maximum. One scale for all "
        "maps, from 0."
    )
    scale = (0.0, float(maps.max()) or 1.0)
    png = figures.panels(
        rows, title=title, caption=full, colormap="inferno", limits=scale, colour_label="Grad-CAM (raw)"
    )
    return Figure(png, full)
