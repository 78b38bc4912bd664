"""What a study needs of its data and of pretrained weights once no trial is to run, as MLflow keeps it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sweeps.decisions.outcome import Yardstick
from sweeps.reporting.material import DataSummary
from trainables.datasets import Dataset, Shape
from trainables.files import parsed, unzipped, zipped
from trainables.footprint import Images

FORM, SAMPLES, LABELS = "data.json", "samples", "labels-"  # the names of the files in one
PARTS = ("train", "val", "test")
MOST = 2**40  # of anything that is counted


@dataclass(frozen=True)
class KnownData:
    """A data set, and the weights that trials start from, without their contents."""

    name: str  # as the data set calls itself: where the files hold only a part of it, it says so
    digest: str
    image_shape: Shape
    metric: str
    summary: DataSummary
    labels: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)  # as Yardstick has them
    weights: Mapping[str, str] = field(default_factory=dict)  # digests by name

    @classmethod
    def of(cls, data: Dataset, weights: Mapping[str, bytes]) -> KnownData:
        """Return what is known of a data set, and of weights by name, that were read."""
        splits = zip(PARTS, (data.train, data.val, data.test), strict=True)
        labels = {part: split.labels for part, split in splits} if data.multi_label else {}
        digests = {name: hashlib.sha256(file).hexdigest() for name, file in sorted(weights.items())}
        return cls(data.name, data.digest, data.image_shape, data.metric, DataSummary.of(data), labels, digests)

    @property
    def counts(self) -> dict[str, int]:
        """The number of images, by part."""
        return {part: getattr(self.summary, part) for part in PARTS}

    @property
    def images(self) -> Images:
        """The images, by number and shape."""
        return Images(self.image_shape, len(self.summary.class_names), **self.counts)

    @property
    def yardstick(self) -> Yardstick:
        """What trials on this data are held against; the labels are needed where images have several."""
        train, val = self.summary.train, self.summary.val
        return Yardstick(self.metric, val, self.labels, val / (train + val))

    def contents(self, dataset: str) -> dict[str, str]:
        """Return the digests, by name, of the data set that was asked for by this one, and of the weights."""
        return {dataset: self.digest, **self.weights}

    def joined(self, earlier: KnownData) -> KnownData:
        """Return the same with the weights of earlier commands too."""
        return replace(self, weights=dict(sorted({**earlier.weights, **self.weights}.items())))

    def to_bytes(self) -> bytes:
        """Return it as a file; the same always gives the same bytes."""
        summary, images = self.summary, [image for _, image in self.summary.samples]
        form = {
            "name": self.name,
            "digest": self.digest,
            "image_shape": self.image_shape,
            "metric": self.metric,
            "weights": self.weights,
            "short_name": summary.name,
            "class_names": summary.class_names,
            "images": [self.counts[part] for part in PARTS],
            "several": summary.multi_label,
            "samples": [name for name, _ in summary.samples],
            "sample_shape": images[0].shape if images else None,
        }
        labels = {f"{LABELS}{part}": array.astype(np.int8).tobytes() for part, array in self.labels.items()}
        files = {FORM: json.dumps(form).encode(), SAMPLES: b"".join(image.tobytes() for image in images)}
        return zipped(files | labels)

    @classmethod
    def from_bytes(cls, content: bytes) -> KnownData:
        """Build it again from to_bytes(). Raises ValueError, in one line, where it is damaged."""
        files = unzipped(content)
        form = parsed(files.get(FORM, b""))
        if not isinstance(form, dict):
            raise ValueError(f"{FORM} is {form!r:.40}, but must have entries")
        names, several = _texts(form, "class_names"), form.get("several")
        train, val, test = _three(form, "images")
        if not isinstance(several, bool) or not names or several is not any(map(_is_labels, files)):
            raise ValueError("it must have classes, and labels where images have several")
        samples = _samples(form, files, names)
        summary = DataSummary(_text(form, "short_name"), names, train, val, test, several, samples)
        shapes = zip(PARTS, (train, val, test), strict=True) if several else ()
        labels = {part: _array(files, f"{LABELS}{part}", np.int8, (count, len(names))) for part, count in shapes}
        if any(((array < -1) | (array > 1)).any() for array in labels.values()):
            raise ValueError("labels must be -1, 0 or 1")
        shape, digest = _three(form, "image_shape"), _digest(form.get("digest"))
        return cls(_text(form, "name"), digest, shape, _text(form, "metric"), summary, labels, _weights(form))


def _samples(
    form: Mapping[str, Any], files: Mapping[str, bytes], names: tuple[str, ...]
) -> tuple[tuple[str, np.ndarray], ...]:
    shown = _texts(form, "samples")
    if not shown:
        return ()
    height, width, channels = _three(form, "sample_shape")
    if not set(shown) <= set(names) or channels != _three(form, "image_shape")[0]:
        raise ValueError("samples are of unknown classes, or not of the images' channels")
    images = _array(files, SAMPLES, np.uint8, (len(shown), height, width, channels))
    return tuple(zip(shown, images, strict=True))


def _array(files: Mapping[str, bytes], name: str, kind: type[np.generic], shape: tuple[int, ...]) -> np.ndarray:
    """Return a file as an array. Raises ValueError where it has not as many bytes as the shape says."""
    content = files.get(name, b"")
    try:
        return np.frombuffer(content, kind).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} has {len(content):,} bytes, which are not {shape!r:.80}") from error


def _text(form: Mapping[str, Any], name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r:.40}, but must be a text")
    return value


def _texts(form: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = form.get(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name} is {values!r:.40}, but must be texts")
    return tuple(values)


def _three(form: Mapping[str, Any], name: str) -> tuple[int, int, int]:
    values = form.get(name)
    if not isinstance(values, list) or len(values) != 3 or not all(map(_is_count, values)):
        raise ValueError(f"{name} is {values!r:.40}, but must be three whole numbers above 0")
    first, second, third = values
    return first, second, third


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST


def _is_labels(file: str) -> bool:
    return file.startswith(LABELS)


def _weights(form: Mapping[str, Any]) -> dict[str, str]:
    found = form.get("weights")
    if not isinstance(found, dict):
        raise ValueError(f"weights is {found!r:.40}, but must have entries")
    return {str(name): _digest(value) for name, value in found.items()}


def _digest(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"a digest is {value!r:.40}, but must be of 64 hexadecimal digits")
    return value
