"""A finished model as a program that knows nothing of studies asks it: images in, probabilities by class name out.

A logged model of MLflow names this module as its loader and has a copy of this package beside the weights, so that it
loads wherever torch is installed, and nothing of it is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainables.augment import as_evaluated
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
        shares = logits.sigmoid() if self.checkpoint.info["multi_label"] else logits.softmax(1)
        return pd.DataFrame(shares.numpy(), columns=names)


def _load_pyfunc(folder: str) -> Served:
    """Return the model whose checkpoint lies in a folder; MLflow calls this by its name. Raises CheckpointError."""
    return Served(load(Path(folder)), torch.device("cuda" if torch.cuda.is_available() else "cpu"))
