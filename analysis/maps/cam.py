"""Gradient-weighted class activation maps (Grad-CAM): where in the image a network finds the evidence for a class.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.subject import Subject
from trainables.models import Network, made

BATCH = 16  # maps computed at once: all features of so many images are kept for the way back


def cam(model: Network, pixels: Tensor, targets: Tensor, layer: str | None) -> Tensor:
    """Return the maps ReLU(Σ_k α_k A^k), (n, h, w), where α_k is the mean over positions of ∂ logit of the target / ∂
    A^k.

    `pixels` (n, H, W, C) are uint8, `targets` (n,) a class for each. A is the feature `layer`, as it is; None: what
    default_layer() names. Nothing is left behind: no hook, and no gradient on pixels or parameters.
    """
    model.eval()
    name = model.last_activation if layer is None else layer
    with torch.enable_grad():
        x: Any = (pixels.permute(0, 3, 1, 2).float() / 255).requires_grad_()
        for step in model.steps() if layer else model.plain_steps():
            x = step.run(x)
            if step.name == name:
                activations = made(x)
        [gradient] = torch.autograd.grad(x.gather(1, targets[:, None]).sum(), activations)
    with torch.no_grad():
        weights = gradient.sum((2, 3), keepdim=True) / activations[0, 0].numel()
        return (weights * activations).sum(1).relu()


def default_layer(model: Network) -> str:
    """Say which maps are used unless a layer is named: the last convolution's after its activation, as in the paper."""
    steps = list(model.plain_steps())
    at = [step.name for step in steps].index(model.last_activation)
    if steps[at].is_feature:
        return steps[at].name
    convolution = [step.name for step in steps[:at] if step.convolution is not None][-1]
    pools = steps[at + 1].keeps_channels and not steps[at + 1].keeps_places
    return f"{convolution} after its activation{', before pooling' if pools else ''}"


def maps_of(subject: Subject, model: Network, images: np.ndarray, targets: np.ndarray, layer: str | None) -> np.ndarray:
    """Return cam() of some of the subject's images (n,) for a class each, `targets` (n,), on the host: (n, h, w)."""
    wanted = torch.from_numpy(targets).to(subject.device)
    maps = [
        cam(model, subject.pixels(images[at]), wanted[at], layer).cpu().numpy()
        for at in (slice(start, start + BATCH) for start in range(0, len(images), BATCH))
    ]
    return np.concatenate(maps) if maps else np.zeros((0, 1, 1), np.float32)
