"""A finished model as a program that knows nothing of studies asks it: images in, probabilities by class name out.

A logged model of MLflow names this module as its loader and has a copy of this package beside the weights, so that it
loads wherever torch is installed, and nothing of it is unpickled.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.augment import as_evaluated, centred, resized_at_once
from trainables.checkpoint import Checkpoint, load
from trainables.devices import prepare
from trainables.errors import UserError
from trainables.train import predict

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Served:
    """A checkpoint's network of its first seed, which is the one that analyses ask."""

    checkpoint: Checkpoint
    device: torch.device

    def predict(self, images: np.ndarray, params: Any = None) -> pd.DataFrame:  # noqa: ARG002
        """Return the classes' probabilities, a column each, of images (N, H, W, C) uint8: softmax, or where an image
        can have several labels the sigmoid of each. MLflow passes `params`; there are none.

        Raises UserError where these are no such images.
        """
        import pandas as pd

        channels, height, width = self.checkpoint.info["image_shape"]
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (height, width, channels):
            raise UserError(
                f"images are {images.dtype} {images.shape}, but must be uint8 (N, {height}, {width}, {channels})"
            )
        prepare(self.device)
        names = list(self.checkpoint.class_names)
        if not len(images):
            return pd.DataFrame(columns=names, dtype=np.float64)
        pixels = as_evaluated(torch.from_numpy(images.copy()), self.checkpoint.trial.training)
        logits = predict(self.checkpoint.models[0].to(self.device), pixels).cpu().double()
        return pd.DataFrame(probabilities(logits, self.checkpoint).numpy(), columns=names)


class Program(nn.Module):
    """The same as one module: images (N, H, W, C) uint8 in, the classes' probabilities (N, classes) out."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self.checkpoint, self.network = checkpoint, checkpoint.models[0]

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities of any number of images."""
        recipe = self.checkpoint.trial.training
        pixels = centred(resized_at_once(images, recipe), recipe)
        return probabilities(self.network(pixels.permute(0, 3, 1, 2)), self.checkpoint)


def probabilities(logits: Tensor, checkpoint: Checkpoint) -> Tensor:
    """Return the classes' probabilities of logits (N, classes): softmax, or of several labels the sigmoid of each."""
    return logits.sigmoid() if checkpoint.info["multi_label"] else logits.softmax(1)


def exported(checkpoint: Checkpoint) -> bytes:
    """Return the program as `torch.export` writes it: a graph and its weights, which torch runs without this package.

    That loads torch's compiler: it takes two seconds.
    """
    channels, height, width = checkpoint.info["image_shape"]
    example = torch.zeros(2, height, width, channels, dtype=torch.uint8)  # a batch of one would be taken for fixed
    program = Program(checkpoint).eval()
    batch = torch.export.Dim("batch")
    file = io.BytesIO()
    torch.export.save(torch.export.export(program, (example,), dynamic_shapes=({0: batch},)), file)
    return file.getvalue()


def _load_pyfunc(folder: str) -> Served:
    """Return the model whose checkpoint lies in a folder; MLflow calls this by its name. Raises CheckpointError."""
    return Served(load(Path(folder)), torch.device("cuda" if torch.cuda.is_available() else "cpu"))
