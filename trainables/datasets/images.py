"""Image files to arrays: (height, width, channels) uint8, on all cores.

Files may come from anywhere: only common formats are opened (among Pillow's others is one that starts Ghostscript), and
none with more pixels than Pillow warns of. Pixels are taken as they are stored: an orientation in EXIF data is not
applied, nor is it by torchvision's ImageFolder.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.errors import UserError

T = TypeVar("T")

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # by Pillow's names
AHEAD = 2**26  # bytes of images that are decoded before they are asked for
TOGETHER = 64  # files that a thread takes up at once: handing over one costs as much as opening a small image
MOST_PIXELS = 2**28 // 3  # 1 GiB in RGBA, from where on Pillow warns of a decompression bomb

# Here, as filters belong to the process, not to a thread; caught in in_threads.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Format:
    """What images are brought to."""

    height: int
    width: int
    gray: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 1 if self.gray else 3


def read(paths: Sequence[Path], form: Format, pixels: Callable[[Path, Format], np.ndarray]) -> np.ndarray:
    """Return these images (N, height, width, channels), each read by `pixels`: `cropped` or `warped`.

    Raises UserError as `in_threads` does, and where they do not fit into memory.
    """
    try:
        images = np.empty((len(paths), *form.shape), np.uint8)
    except MemoryError as error:
        raise UserError(
            f"{len(paths):,} images of {form.height}×{form.width} pixels do not fit into memory; give fewer or smaller "
            f"ones ({paths[0]} is the first)"
        ) from error
    for position, image in enumerate(each(paths, form, pixels)):
        images[position] = image
    return images


def each(paths: Sequence[Path], form: Format, pixels: Callable[[Path, Format], np.ndarray]) -> Iterator[np.ndarray]:
    """Go through these images as read() returns them, with few of them in memory at once."""
    at_once = max(4 * (os.cpu_count() or 1), AHEAD // math.prod(form.shape))
    for start in range(0, len(paths), at_once):
        yield from in_threads(lambda path: pixels(path, form), paths[start : start + at_once])


def in_threads(function: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    """Map over files in order, on all cores: Pillow releases the interpreter lock while it decodes.

    Raises UserError for the first file that `function` cannot read, naming it.
    """

    def named(path: Path) -> T:
        try:
            return function(path)
        except UnidentifiedImageError as error:
            raise UserError(
                f"{path} is not an image that we read ({', '.join(FORMATS)}); repair or remove it"
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UserError(f"{path} has more than {MOST_PIXELS:,} pixels; make it smaller, or remove it") from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:  # as decoders fail
            raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); repair or remove it") from error

    threads = os.cpu_count() or 1
    some = max(1, min(TOGETHER, len(paths) // (4 * threads)))
    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(lambda start: [*map(named, paths[start : start + some])], range(0, len(paths), some)):
            yield from done


def header(path: Path) -> tuple[int, int, bool]:
    """Return height and width in pixels, and whether the image is gray."""
    with Image.open(path, formats=FORMATS) as image:
        _check_depth(image)
        return image.height, image.width, image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def cropped(path: Path, form: Format) -> np.ndarray:
    """Return the image's pixels; one of another size is resized to just cover the format, and its centre cut out."""
    with Image.open(path, formats=FORMATS) as image:
        return cropped_image(image, form)


def cropped_image(image: Image.Image, form: Format) -> np.ndarray:
    """Return what cropped() does, of an image that is open."""
    image = _converted(image, form)
    if image.size != (form.width, form.height):
        scale = max(form.width / image.width, form.height / image.height)
        width, height = round(image.width * scale), round(image.height * scale)
        if width * height > MOST_PIXELS:
            raise ValueError(
                f"to cover {form.width}×{form.height} pixels, its {image.width}×{image.height} would become "
                f"{width}×{height}"
            )
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (image.width - form.width) // 2, (image.height - form.height) // 2
        image = image.crop((left, top, left + form.width, top + form.height))
    return np.asarray(image).reshape(form.shape)


def warped(path: Path, form: Format) -> np.ndarray:
    """Return the whole image's pixels, resized to the format without regard to its aspect ratio."""
    with Image.open(path, formats=FORMATS) as image:
        return warped_image(image, form)


def warped_image(image: Image.Image, form: Format) -> np.ndarray:
    """Return what warped() does, of an image that is open."""
    image = _converted(image, form).resize((form.width, form.height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(form.shape)


def _converted(image: Image.Image, form: Format) -> Image.Image:
    """Return the image in 8 bits: gray or RGB, without transparency."""
    mode = "L" if form.gray else "RGB"
    _check_depth(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode == "P":  # a palette with transparency cannot go to RGB at once
        return image.convert("RGBA").convert(mode)
    return image.convert(mode)


def _check_depth(image: Image.Image) -> None:
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; save it with 8 or 16")
