"""Image files to arrays: (height, width, channels) uint8, on all cores."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """What images are brought to."""

    height: int
    width: int
    gray: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (height, width, channels)."""
        return self.height, self.width, 1 if self.gray else 3


def read(paths: Sequence[Path], form: Format, pixels: Callable[[Path, Format], np.ndarray]) -> np.ndarray:
    """Return these images (N, height, width, channels), each read by `pixels`: `cropped` or `warped`."""
    images = np.empty((len(paths), *form.shape), np.uint8)
    for position, image in enumerate(in_threads(lambda path: pixels(path, form), paths)):
        images[position] = image
    return images


def in_threads(function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """Map over files in order, on all cores: Pillow releases the interpreter lock while it decodes.

    Raises UserError for the first file that `function` cannot read, naming it.
    """

    def named(path: Path) -> T:
        try:
            return function(path)
        except UnidentifiedImageError as error:
            raise UserError(f"{path} is not an image that Pillow can read; repair or remove it") from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:  # as decoders fail
            raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); repair or remove it") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(named, paths)


def header(path: Path) -> tuple[int, int, bool]:
    """Return height and width in pixels, and whether the image is gray."""
    with Image.open(path) as image:
        _check_depth(image)
        return image.height, image.width, image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def cropped(path: Path, form: Format) -> np.ndarray:
    """Return the image's pixels. Where its size is another, it is resized until it just covers the format, and the centre is cut out."""
    image = _converted(path, form)
    if image.size != (form.width, form.height):
        scale = max(form.width / image.width, form.height / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - form.width) // 2, (image.height - form.height) // 2
        image = image.crop((left, top, left + form.width, top + form.height))
    return np.asarray(image).reshape(form.shape)


def warped(path: Path, form: Format) -> np.ndarray:
    """Return the whole image's pixels, resized to the format without regard to its aspect ratio."""
    image = _converted(path, form).resize((form.width, form.height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(form.shape)


def _converted(path: Path, form: Format) -> Image.Image:
    """Return the image in 8 bits: gray or RGB, without transparency."""
    mode = "L" if form.gray else "RGB"
    with Image.open(path) as image:
        _check_depth(image)
        if image.mode.startswith("I;16"):
            return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
        if image.mode == "P":  # a palette with transparency cannot go to RGB at once
            return image.convert("RGBA").convert(mode)
        return image.convert(mode)


def _check_depth(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16")
