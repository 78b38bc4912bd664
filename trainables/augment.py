"""Augmentation of whole batches on the device, on uint8 pixels, channels last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def flip(images: Tensor) -> Tensor:
    """Mirror each image (N, H, W, C) left to right with probability 1/2."""
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(2), images)


def crop(images: Tensor, padding: int) -> Tensor:
    """Shift each image (N, H, W, C) by up to `padding` pixels each way; what comes in from outside is 0."""
    count, height, width, _ = images.shape
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    top, left = torch.randint(0, 2 * padding + 1, (2, count, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    image = torch.arange(count, device=images.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]]
