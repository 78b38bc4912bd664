"""What the network gets to see of whole batches, on the device, as uint8 pixels, channels last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.config import Training

RESIZE_CHUNK = 256  # images at once


def resized(images: Tensor, recipe: Training) -> Tensor:
    """Bring images (N, H, W, C) to the recipe's square, bilinear and antialiased. Done once, before training."""
    if recipe.resize is None or images.shape[1:3] == (recipe.resize, recipe.resize):
        return images
    return torch.cat([resized_at_once(chunk, recipe) for chunk in images.split(RESIZE_CHUNK)]).contiguous()


def resized_at_once(images: Tensor, recipe: Training) -> Tensor:
    """The same for few images, and for any number of them in a program that is exported."""
    if recipe.resize is None or images.shape[1:3] == (recipe.resize, recipe.resize):
        return images
    from torchvision.transforms.v2.functional import resize  # slow to import, and seldom needed

    size = [recipe.resize, recipe.resize]
    return resize(images.permute(0, 3, 1, 2), size, antialias=True).permute(0, 2, 3, 1)


def as_evaluated(images: Tensor, recipe: Training) -> Tensor:
    """Return images (N, H, W, C) as the network gets them in evaluation: resized, and the centre cut out."""
    return centred(resized(images, recipe), recipe)


def centred(images: Tensor, recipe: Training) -> Tensor:
    """Return the centres of resized images (N, H, W, C) that a recipe crops; else the images."""
    if recipe.crop is None:
        return images
    top, left = ((side - recipe.crop) // 2 for side in images.shape[1:3])
    return images[:, top : top + recipe.crop, left : left + recipe.crop].contiguous()


def augmented(images: Tensor, recipe: Training) -> Tensor:
    """Return resized images (N, H, W, C) as the network gets them in training: randomly cropped and flipped."""
    if recipe.crop or recipe.crop_padding:
        height, width = (recipe.crop or side for side in images.shape[1:3])
        images = crop(images, height, width, recipe.crop_padding)
    return flip(images) if recipe.flip else images


def flip(images: Tensor) -> Tensor:
    """Mirror each image (N, H, W, C) left to right with probability 1/2."""
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(2), images)


def crop(images: Tensor, height: int, width: int, padding: int) -> Tensor:
    """Cut a random `height` × `width` part out of each image (N, H, W, C), padded by `padding` zeros on each side."""
    count = len(images)
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    top, left = (
        torch.randint(0, side - size + 1, (count, 1), device=images.device)
        for side, size in zip(padded.shape[1:3], (height, width), strict=True)
    )
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    image = torch.arange(count, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]]
