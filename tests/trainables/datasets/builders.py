"""Small data of every layout, and the ways in which reading it is refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.datasets import Dataset, Shape, Split, labelled, load
from trainables.errors import UserError


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def refusal(name: str, data_dir: Path, **options: float) -> str:
    """Return the one line with which loading is refused."""
    with pytest.raises(UserError) as caught:
        load(name, data_dir, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(a: Dataset, b: Dataset) -> bool:
    pairs = [(getattr(a, part), getattr(b, part)) for part in ("train", "val", "test")]
    return all(np.array_equal(x.images, y.images) and np.array_equal(x.labels, y.labels) for x, y in pairs)


def write_image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def write_classes(root: Path, count: int, classes: tuple[str, ...] = ("cat", "dog"), **options) -> str:
    for label, name in enumerate(classes):
        for n in range(count):
            write_image(root / name / f"{n:03}.png", seed=1000 * label + n, **options)
    return f"folder:{root}"


def scored(
    name: str,
    shape: Shape = (3, 8, 8),
    classes: tuple[str, ...] = ("bird", "cat", "dog"),
    multi_label: bool = False,
) -> Split:
    return labelled(name, Path("nowhere"), classes, shape, multi_label)


def scoring_refusal(name: str, **options) -> str:
    """Return the one line with which scoring is refused."""
    with pytest.raises(UserError) as caught:
        scored(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message
