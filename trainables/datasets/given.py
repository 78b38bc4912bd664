"""Images that a user hands over, one or many: files, PIL images, arrays and tensors, to pixels in a model's format."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.datasets import images
from trainables.datasets.images import Format
from trainables.errors import UserError

WANTED = (
    "an image file, a PIL image, or an array or tensor of uint8 or of floats in 0..1, (height, width, channels) or "
    "several of these, or a list of them"
)
CHANNELS = (1, 3, 4)
Fit = Callable[[Image.Image, Format], np.ndarray]


def given(what: Any, form: Format, *, warped: bool = False) -> np.ndarray:
    """Return the images as (N, height, width, channels) uint8.

    Those of another size are resized to cover the format, and the centre is cut out; with `warped` they are resized as
    a whole. Gray becomes RGB, and RGB gray, as the format has it; transparency is dropped. Raises UserError, in one
    line, for what is no image, and for none.
    """
    several = what if isinstance(what, list | tuple) else [what]
    fit: Fit = images.warped_image if warped else images.cropped_image
    found = [_pixels(each, form, fit) for each in several]
    pixels = np.concatenate(found) if found else np.empty((0, *form.shape), np.uint8)
    if not len(pixels):
        raise UserError(f"there are no images, but wanted is {WANTED}")
    return pixels


def _pixels(what: Any, form: Format, fit: Fit) -> np.ndarray:
    if isinstance(what, str | os.PathLike):
        return _read(Path(what).expanduser(), form, fit)
    if isinstance(what, Image.Image):
        return _fitted(what, form, fit)[None]
    array = _array(what)
    if array.shape[1:] == form.shape:
        return array
    pictures = (Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each) for each in array)
    return np.stack([_fitted(each, form, fit) for each in pictures]) if len(array) else array.reshape(0, *form.shape)


def _read(path: Path, form: Format, fit: Fit) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'not there'}, but wanted is {WANTED}")

    def pixels(file: Path) -> np.ndarray:
        with Image.open(file, formats=images.FORMATS) as image:
            return fit(image, form)

    [found] = images.in_threads(pixels, [path])
    return found[None]


def _fitted(image: Image.Image, form: Format, fit: Fit) -> np.ndarray:
    try:
        return fit(image, form)
    except (OSError, ValueError, Image.DecompressionBombError) as error:  # of a file that is read only now
        size = f"{image.width}×{image.height} pixels"
        raise UserError(f"an image of {size} cannot be used ({' '.join(str(error).split())})") from error


def _array(what: Any) -> np.ndarray:
    """Return the pixels of an array or a tensor, (N, H, W, C) uint8."""
    from torch import Tensor  # whoever has a model has it loaded

    kind = "a tensor" if isinstance(what, Tensor) else "an array"
    if isinstance(what, Tensor):
        what = what.detach().cpu()
        what = (what.float() if what.is_floating_point() else what).numpy()
    if not isinstance(what, np.ndarray):
        raise UserError(f"{what!r:.60} is a {type(what).__name__}, but wanted is {WANTED}")
    came = f"{kind} of shape {what.shape} and type {what.dtype}"
    array = what[..., None] if what.ndim == 2 else what
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[-1] not in CHANNELS or 0 in array.shape[1:]:
        raise UserError(f"{came} is no image, but wanted is {WANTED}; channels, 1, 3 or 4, come last")
    return np.ascontiguousarray(_bytes(array, came))


def _bytes(array: np.ndarray, came: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{came} is no image, but wanted is {WANTED}")
    if array.size and not (array.min() >= 0 and array.max() <= 1):  # also where one is NaN
        raise UserError(f"{came} reaches from {array.min():g} to {array.max():g}, but wanted is {WANTED}")
    return np.rint(array * 255).astype(np.uint8)
