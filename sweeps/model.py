"""A finished model to be used from Python: it predicts on images of one's own, and is asked what it has learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from analysis.finding import Finding
from analysis.jobs import make
from analysis.subject import handed_over
from trainables import datasets
from trainables.augment import as_evaluated
from trainables.checkpoint import Checkpoint
from trainables.datasets import Split
from trainables.devices import prepare
from trainables.errors import UserError, suggest
from trainables.models import Network
from trainables.train import predict

SHOWN = 3  # classes of an image, in text
OWN = "your own images"  # what figures call the data


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model makes of images: `probabilities` (images, classes) float32; on multi-label data each on its own."""

    class_names: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def names(self) -> list[str]:
        """The most probable class of each image."""
        return [self.class_names[number] for number in self.probabilities.argmax(axis=1)]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __repr__(self) -> str:
        return "\n".join(map(self._line, self.probabilities))

    def _line(self, image: np.ndarray) -> str:
        first = np.argsort(-image, kind="stable")[:SHOWN]
        return ", ".join(f"{self.class_names[number]} {100 * image[number]:.1f} %" for number in first)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, that of the first of the checkpoint's seeds."""

    name: str
    run_id: str
    checkpoint: Checkpoint
    device: torch.device

    @classmethod
    def of(cls, name: str, run_id: str, checkpoint: Checkpoint, seed: int | None = None) -> Model:
        """Return a finished trial's model, on the GPU where there is one, with that `seed` first.

        Raises UserError for a seed that it was not trained with.
        """
        seeds = [entry["seed"] for entry in checkpoint.info["replicates"]]
        if seed is not None and seed not in seeds:
            raise UserError(f"{name} was not trained with seed {seed!r}, but with {', '.join(map(str, seeds))}")
        order = sorted(range(len(seeds)), key=lambda at: seeds[at] != seed) if seed is not None else range(len(seeds))
        info = checkpoint.info | {"replicates": [checkpoint.info["replicates"][at] for at in order]}
        ordered = replace(checkpoint, models=tuple(checkpoint.models[at] for at in order), info=info)
        return cls(name, run_id, ordered, torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.checkpoint.class_names

    @property
    def network(self) -> Network:
        """The network itself, a torch module in evaluation mode: uint8 pixels (N, C, H, W) in, logits out."""
        return self.checkpoint.models[0]

    @property
    def seed(self) -> int:
        """The seed that it was trained with."""
        return int(self.checkpoint.info["replicates"][0]["seed"])

    def __repr__(self) -> str:
        _, height, width = self.checkpoint.info["image_shape"]
        return f"{self.name}: {len(self.class_names)} classes, images of {height}×{width}, seed {self.seed}"

    def predict(self, images: Any) -> Prediction:
        """Return what the model makes of images: a file, a PIL image, an array or a tensor of one or many, or a list.

        Pixels are uint8, or floats in 0..1, channels last; other sizes are brought to that of the training images as
        those were. Raises UserError, in one line, for what is no image.
        """
        prepare(self.device)
        recipe = self.checkpoint.trial.training
        pixels = as_evaluated(torch.from_numpy(self._pixels(images)), recipe)
        logits = predict(self.network.to(self.device), pixels).double()
        found = logits.sigmoid() if self.checkpoint.info["multi_label"] else logits.softmax(1)
        return Prediction(self.class_names, found.float().cpu().numpy())

    def analyse(self, job: str, images: Any, labels: Any, **options: Any) -> Finding:
        """Return what an analysis of this name finds on images, given as to predict(), and their labels.

        A label is a class's name or number; on multi-label data a list of these, of each image. Raises UserError for an
        unknown analysis or option, and for labels that do not fit.
        """
        [asked] = make({job: options})
        pixels = self._pixels(images)
        split = Split(pixels, self._labels(labels, len(pixels)))
        subject = handed_over(self.checkpoint, split, self.name, OWN, self.device)
        computed = [asked.compute(subject, part) for part in range(asked.parts(subject))]
        return asked.finding([subject], computed)

    def _pixels(self, images: Any) -> np.ndarray:
        info = self.checkpoint.info
        return datasets.handed_over(images, self.checkpoint.trial.dataset, tuple(info["image_shape"]))

    def _labels(self, labels: Any, images: int) -> np.ndarray:
        given = [labels] if isinstance(labels, str | int) else list(labels)
        if len(given) != images:
            raise UserError(f"there are {len(given)} labels, but {images} images")
        if not self.checkpoint.info["multi_label"]:
            return np.array([self._number(each) for each in given], np.int64)
        several = np.zeros((images, len(self.class_names)), np.int8)
        for row, shown in zip(several, given, strict=True):
            row[[self._number(each) for each in ([shown] if isinstance(shown, str | int) else shown)]] = 1
        return several

    def _number(self, label: Any) -> int:
        classes = len(self.class_names)
        if isinstance(label, str):
            if label not in self.class_names:
                raise UserError(f"{self.name} knows no class {label!r}{suggest(label, self.class_names)}")
            return self.class_names.index(label)
        try:
            number = range(classes)[int(label)] if int(label) == label and label >= 0 else -1
        except (TypeError, ValueError, IndexError):
            number = -1
        if number < 0:
            raise UserError(
                f"a label is {label!r:.40}, but must be a class's name, or its number from 0 to {classes - 1}"
            )
        return number
