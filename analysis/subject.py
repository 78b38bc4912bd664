"""What every analysis gets: a trained network with the images, labels and names that it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from trainables.augment import as_evaluated
from trainables.checkpoint import Checkpoint
from trainables.config import Training
from trainables.datasets import Box, Dataset, Split
from trainables.devices import prepare
from trainables.errors import UserError, suggest
from trainables.models import Network, build
from trainables.plan import Layer, plan
from trainables.train import evaluation_batch, predict

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Subject:
    """A network in evaluation mode, and the part of a data set that it is examined on.

    `name` is what tables and figures call it. `images` (N, H, W, C) uint8 are as the network gets them: resized, and
    the centre cut out.
    """

    name: str
    model: Network
    layers: tuple[Layer, ...]
    class_names: tuple[str, ...]
    dataset: str
    images: np.ndarray
    labels: np.ndarray  # (N,) int64, or (N, classes) int8: 1 present, 0 absent, -1 unknown
    training_images: tuple[int, ...]  # of each class, that the network was trained on; () where that is not known
    ap_rule: str = "11-point"  # multi-label only: how precision is averaged over recall
    masks: np.ndarray | None = None  # (N, H, W) bool: the object's pixels, where they are known
    boxes: tuple[tuple[Box, ...], ...] | None = None  # of each image, in fractions of it, where its objects are known
    device: torch.device = field(default=torch.device("cpu"))
    seed: int = 0
    others: tuple[Subject, ...] = ()  # the networks that the same trial has of other seeds
    blank: Callable[[], Network] | None = None  # makes a network of the same kind with random weights

    @property
    def replicates(self) -> tuple[Subject, ...]:
        """All networks of the trial, a Subject each, this one first."""
        return (self, *self.others)

    def untrained(self, seed: int) -> Subject:
        """Return a network of the same kind that has learned nothing, its weights drawn from a seed of their own.

        Raises ValueError where it is not known how to build one.
        """
        if self.blank is None:
            raise ValueError(f"how to build an untrained {self.name} is not known")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.blank().to(self.device).eval()
        return replace(self, name=f"{self.name}, untrained", model=model, seed=seed, others=())

    @property
    def multi_label(self) -> bool:
        """Whether an image can have several labels."""
        return self.labels.ndim == 2

    @cached_property
    def logits(self) -> np.ndarray:
        """The logits of all images, (N, classes) float32, in full precision."""
        size = evaluation_batch(self.images.shape[1:3], self.device)
        starts = range(0, len(self.images), size)
        parts = [predict(self.model, self.pixels(slice(start, start + size))) for start in starts]
        return torch.cat(parts).cpu().numpy()

    @cached_property
    def probabilities(self) -> np.ndarray:
        """The classes' probabilities, (N, classes) float32: softmax, or on multi-label data the sigmoid of each."""
        logits = torch.from_numpy(self.logits).double()
        return (logits.sigmoid() if self.multi_label else logits.softmax(1)).float().numpy()

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most probable class of each image, (N,) int64."""
        return self.logits.argmax(1)

    @property
    def right(self) -> np.ndarray:
        """Whether each image's most probable class is its label, (N,) bool; on multi-label data: one of its labels."""
        if self.multi_label:
            return self.labels[np.arange(len(self.labels)), self.predicted] == 1
        return self.predicted == self.labels

    def pixels(self, index: np.ndarray | slice) -> Tensor:
        """Return these images on the device, (n, H, W, C) uint8."""
        return torch.from_numpy(np.ascontiguousarray(self.images[index])).to(self.device)

    def batches(
        self, index: np.ndarray | None = None, size: int = 64
    ) -> Iterator[tuple[np.ndarray, Tensor, dict[str, Tensor]]]:
        """Go through the images (None: all) in batches: their numbers (n,), logits (n, classes) and features by name.

        Logits and features are float32.
        """
        wanted = np.arange(len(self.images)) if index is None else np.asarray(index)
        self.model.eval()
        for start in range(0, len(wanted), size):
            numbers = wanted[start : start + size]
            with torch.inference_mode():
                logits, features = self.model.features(self.pixels(numbers).permute(0, 3, 1, 2))
            yield numbers, logits, features

    @property
    def knows_objects(self) -> bool:
        """Whether it is known where the objects are."""
        return self.masks is not None or self.boxes is not None

    def objects(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return where the objects of a class are in an image, for pairs of image number and class: (n, H, W) bool, of
        boxes the insides.

        All False where an image has none of the class. Raises ValueError where objects are not known.
        """
        if self.masks is not None:
            return self.masks[images]
        if self.boxes is None:
            raise ValueError(f"the objects of {self.dataset} are not known")
        height, width = self.images.shape[1:3]
        y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width  # the pixels' centres
        found = np.zeros((len(images), height, width), bool)
        for at, image, label in zip(found, images, classes, strict=True):
            for box in self.boxes[image]:
                if box.label == label:
                    at |= ((box.top <= y) & (y < box.bottom))[:, None] & (box.left <= x) & (x < box.right)
        return found

    def layer(self, name: str) -> Layer:
        """Return a layer of the plan. Raises UserError, naming those there are, where there is none of this name."""
        known = {layer.name: layer for layer in self.layers}
        if name not in known:
            raise UserError(f"{self.name} has no layer {name!r}{suggest(name, list(known))}")
        return known[name]

    def sees(self, name: str) -> Layer:
        """Return a layer of the plan whose receptive field is asked for.

        Raises UserError as layer() does, and where the network has a step up to there that is not in the plan and may
        carry values from one place to another, so that the plan does not know the receptive field.
        """
        layer, planned = self.layer(name), {layer.name for layer in self.layers}
        for step in self.model.steps():
            if not (step.keeps_places or step.name in planned):
                raise UserError(
                    f"{self.name} has the step {step.name!r}, which is not in the plan: what {name} sees is not known"
                )
            if step.name == name:
                break
        return layer

    @property
    def convolutions(self) -> list[str]:
        """The names of the convolutions, from the input on; those on shortcuts left out."""
        return [layer.name for layer in self.layers if layer.name.rpartition(".")[2].startswith("conv")]


def subject(checkpoint: Checkpoint, data: Dataset, name: str, device: torch.device) -> Subject:
    """Return a finished trial as a Subject, examined on the test images of the data that it was trained on.

    It is the network of the first seed; those of the others come with it. Raises UserError where the data has other
    classes or images of another shape.
    """
    shape = tuple(checkpoint.info["image_shape"])
    if checkpoint.class_names != data.class_names or shape != data.image_shape:
        raise UserError(
            f"{name} was trained on other classes or images than {data.name} has ({shape}, not {data.image_shape})"
        )
    if checkpoint.info["data_digest"] != data.digest:  # the images may have changed sides
        raise UserError(f"{name} was trained on other images than {data.name} has now, or with another split")
    return _subject(checkpoint, data.test, name, data.short_name, _counts(data.train, data.classes), device)


def handed_over(checkpoint: Checkpoint, split: Split, name: str, dataset: str, device: torch.device) -> Subject:
    """Return a finished trial as a Subject, examined on images that came later, in the format of its data.

    How many it was trained on of each class is not known: `training_images` is empty.
    """
    return _subject(checkpoint, split, name, dataset, (), device)


def _subject(
    checkpoint: Checkpoint,
    split: Split,
    name: str,
    dataset: str,
    training_images: tuple[int, ...],
    device: torch.device,
) -> Subject:
    prepare(device)
    trial, recipe, info = checkpoint.trial, checkpoint.trial.training, checkpoint.info
    image_shape, classes = tuple(info["image_shape"]), len(checkpoint.class_names)
    shape = recipe.input_shape(image_shape)
    networks = [model.to(device) for model in checkpoint.models]
    seeds = [entry["seed"] for entry in info["replicates"]]
    first = Subject(
        name=name,
        model=networks[0],
        layers=plan(trial.model, shape, classes),
        class_names=checkpoint.class_names,
        dataset=dataset,
        images=_as_evaluated(split.images, recipe),
        labels=split.labels,
        training_images=training_images,
        ap_rule=recipe.ap_rule,
        masks=None if recipe.resize or recipe.crop else split.masks,
        boxes=_cropped(split.boxes, recipe, image_shape),
        device=device,
        seed=seeds[0],
        blank=partial(build, trial.model, shape, classes, tuple(info["mean"]), tuple(info["sd"])),
    )
    others = zip(networks[1:], seeds[1:], strict=True)
    return replace(first, others=tuple(replace(first, model=model, seed=seed) for model, seed in others))


def _as_evaluated(images: np.ndarray, recipe: Training) -> np.ndarray:
    if not (recipe.resize or recipe.crop):
        return images
    return as_evaluated(torch.from_numpy(images.copy()), recipe).numpy()


def _cropped(
    boxes: tuple[tuple[Box, ...], ...] | None, recipe: Training, image_shape: Shape
) -> tuple[tuple[Box, ...], ...] | None:
    """Return boxes in fractions of what as_evaluated() leaves of the images."""
    if boxes is None or not recipe.crop:
        return boxes
    _, height, width = (0, recipe.resize, recipe.resize) if recipe.resize else image_shape
    top, left = ((side - recipe.crop) // 2 for side in (height, width))

    def moved(box: Box) -> Box:
        x = [(at * width - left) / recipe.crop for at in (box.left, box.right)]  # type: ignore[operator]
        y = [(at * height - top) / recipe.crop for at in (box.top, box.bottom)]  # type: ignore[operator]
        return box._replace(left=x[0], right=x[1], top=y[0], bottom=y[1])

    return tuple(tuple(map(moved, image)) for image in boxes)


def _counts(split: Split, classes: int) -> tuple[int, ...]:
    if split.labels.ndim == 2:
        return tuple((split.labels == 1).sum(axis=0).tolist())
    return tuple(np.bincount(split.labels, minlength=classes).tolist())


def names(classes: Sequence[int] | np.ndarray, class_names: Sequence[str]) -> str:
    """Return class numbers as words."""
    return ", ".join(class_names[number] for number in classes)
