"""How strongly filters respond to images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from analysis.subject import Subject

NORMS = ("sum", "norm")
STAGES = ("before", "after")

Numbers = Sequence[int] | slice  # of filters


@dataclass(frozen=True)
class Response:
    """What is made of a filter's map: its sum over positions (`norm` "sum") or its Frobenius norm ("norm"), `stage`
    "before" or "after" the activation.
    """

    norm: str
    stage: str

    def __str__(self) -> str:
        how = (
            "the sum of the filter's map over positions"
            if self.norm == "sum"
            else "the Frobenius norm of the filter's map"
        )
        return f"{how}, {self.stage} the activation"

    def maps(self, subject: Subject, features: Mapping[str, Tensor], layer: str, numbers: Numbers) -> Tensor:
        """Return the maps of these filters of a layer, (n, filters, h, w)."""
        maps = features[layer][:, numbers if isinstance(numbers, slice) else list(numbers)]
        return maps if self.stage == "before" else subject.model.activation(maps)

    def reduced(self, maps: Tensor) -> Tensor:
        """Return the responses, (n, filters), from maps()."""
        flat = maps.flatten(2)
        return flat.sum(2) if self.norm == "sum" else flat.norm(dim=2)

    def of(self, subject: Subject, features: Mapping[str, Tensor], wanted: Mapping[str, Numbers]) -> Tensor:
        """Return the responses of filters of several layers, one layer's after the other's, (n, filters)."""
        return torch.cat([self.reduced(self.maps(subject, features, *each)) for each in wanted.items()], 1)


def highest(responses: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the (at most) `count` images of the highest responses (N,), the highest first.

    Ties go by image number. Of (N, filters) it is (count, filters).
    """
    return np.argsort(-responses, axis=0, kind="stable")[:count]


def among_highest(responses: np.ndarray, count: int) -> np.ndarray:
    """Return whether each image is among those of highest(), as bool in the shape of `responses`."""
    among = np.zeros(responses.shape, bool)
    np.put_along_axis(among, highest(responses, count), True, axis=0)
    return among
