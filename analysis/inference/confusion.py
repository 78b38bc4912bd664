"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.report import Column, Table


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images of each class (row) were taken for each class (column), (classes, classes) int64."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusion_table(counts: np.ndarray, class_names: Sequence[str], title: str) -> Table:
    """Return confusion counts (classes, classes), or their means, as a table: a row for each true class."""
    rows = tuple((name, *row) for name, row in zip(class_names, counts.tolist(), strict=True))
    return Table(title, (Column("true class"), *(Column(name, digits=1) for name in class_names)), rows, folded=True)
