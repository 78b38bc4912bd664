"""What is kept of a replicate image by image: which it gets right, or on data with several labels its logits.

So that two trials can be compared on the same images (sweeps/decisions/inference.py). About 2.5 kB of JSON a replicate
on CIFAR-10's 15,000 images for validation and test.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST_HALF = 65504.0  # the largest finite number in half precision


@dataclass(frozen=True)
class Right:
    """Which of `images` images are right, one bit each."""

    packed: bytes
    images: int

    def __post_init__(self) -> None:
        if len(self.packed) != math.ceil(self.images / 8):
            raise ValueError(f"{len(self.packed)} bytes cannot say which of {self.images} images are right")

    @classmethod
    def of(cls, right: np.ndarray) -> Right:
        """Pack (N,) bool."""
        return cls(np.packbits(right).tobytes(), len(right))

    def unpacked(self) -> np.ndarray:
        """Return which images are right, (N,) bool."""
        return np.unpackbits(np.frombuffer(self.packed, np.uint8), count=self.images).astype(bool)


@dataclass(frozen=True)
class Logits:
    """The logits of `images` images in half precision, row by row, the lower byte of each first."""

    packed: bytes
    images: int

    def __post_init__(self) -> None:
        if self.images < 1 or len(self.packed) % (2 * self.images):
            raise ValueError(f"{len(self.packed)} bytes cannot be the logits of {self.images} images")

    @classmethod
    def of(cls, logits: np.ndarray) -> Logits:
        """Pack (N, classes); what half precision cannot hold becomes the largest number that it can."""
        halves = np.clip(logits, -LARGEST_HALF, LARGEST_HALF).astype("<f2")
        return cls(halves.tobytes(), len(logits))

    def unpacked(self) -> np.ndarray:
        """Return the logits, (N, classes) float32."""
        return np.frombuffer(self.packed, "<f2").reshape(self.images, -1).astype(np.float32)


Seen = Right | Logits
KINDS: dict[str, type[Right] | type[Logits]] = {"right": Right, "logits": Logits}


@dataclass(frozen=True)
class Marks:
    """What a replicate made of the validation and the test images at the end of an epoch.

    `fit` is its score on the training images, seen as in evaluation; it is taken of the chosen epoch alone, once all
    epochs have run. What Record.train_score has is taken as the weights move, with dropout and augmentation.
    """

    epoch: int  # from 1
    val: Seen
    test: Seen
    fit: float | None = None  # 0..1

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"epoch": self.epoch, "val": _form(self.val), "test": _form(self.test), "fit": self.fit}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Marks:
        """Build marks from to_dict()'s form. Raises ValueError, TypeError or KeyError where they are of another."""
        if type(form["epoch"]) is not int or form["epoch"] < 1:
            raise ValueError(f"marks are of epoch {form['epoch']!r:.40}")
        fit = form.get("fit")
        if fit is not None and not (type(fit) in (int, float) and math.isfinite(fit)):
            raise ValueError(f"the score on the training images is {fit!r:.40}")
        return cls(form["epoch"], _seen(form["val"]), _seen(form["test"]), fit)


def _form(seen: Seen) -> dict[str, Any]:
    [kind] = [name for name, kind in KINDS.items() if isinstance(seen, kind)]
    return {kind: base64.b64encode(seen.packed).decode(), "images": seen.images}


def _seen(form: Mapping[str, Any]) -> Seen:
    images = form["images"]
    [(kind, text)] = [(kind, form[name]) for name, kind in KINDS.items() if name in form]
    if type(images) is not int or images < 0:
        raise ValueError(f"marks are of {images!r:.40} images")
    return kind(base64.b64decode(text, validate=True), images)
