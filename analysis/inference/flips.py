"""Which images a network classifies right before and after it was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.inference.confusion import confusion
from analysis.inference.mcnemar import mcnemar
from analysis.report import Column, Table

CONFUSIONS = 10
LEAST_P = 1e-300  # that can be told from 0

# true class, the class it is taken for, images before, after, and how many more
Growth = tuple[str, str, int, int, int]


@dataclass(frozen=True)
class Flips:
    """How many of `total` images are right or wrong, before and after."""

    total: int
    kept: int  # right before and after
    lost: int  # right → wrong
    gained: int  # wrong → right

    @classmethod
    def between(cls, labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Flips:
        """Count for the classes predicted (N,) before and after, against labels (N,)."""
        was, remains = before == labels, after == labels
        return cls(len(labels), *(int(cell.sum()) for cell in (was & remains, was & ~remains, ~was & remains)))

    @property
    def right_before(self) -> int:
        """Images right before."""
        return self.kept + self.lost

    @property
    def right_after(self) -> int:
        """Images right after."""
        return self.kept + self.gained

    @property
    def p(self) -> float:
        """McNemar's p."""
        return mcnemar(self.lost, self.gained)

    @property
    def in_words(self) -> str:
        """Return accuracies and test as a sentence."""
        before, after = (100 * right / self.total for right in (self.right_before, self.right_after))
        return (
            f"Right before: {before:.2f} % of {self.total:,} test images, after: {after:.2f} %; {self.lost:,} lost "
            f"against {self.gained:,} gained, McNemar's exact test {self._p_in_words}."
        )

    @property
    def _p_in_words(self) -> str:
        return f"p = {self.p:.2g}" if self.p >= LEAST_P else f"p < {LEAST_P:g}"

    def table(self, source: str) -> Table:
        """Return the four cells of the contingency, and their total."""
        rows = (
            ("right before and after", self.kept),
            ("wrong before and after", self.total - self.kept - self.lost - self.gained),
            ("right before, wrong after", self.lost),
            ("wrong before, right after", self.gained),
            ("total", self.total),
        )
        return Table(source, (Column(""), Column("images")), rows)


def per_class(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, class_names: Sequence[str], source: str
) -> Table:
    """Return the flips of each class, and of all images, for the classes predicted (N,) before and after."""
    everything = np.ones(len(labels), dtype=bool)
    groups = {name: labels == number for number, name in enumerate(class_names)} | {"total": everything}
    rows = []
    for name, members in groups.items():
        flips = Flips.between(labels[members], before[members], after[members])
        difference = flips.gained - flips.lost
        change = 100 * difference / flips.total if flips.total else None
        rows.append((name, flips.right_before, flips.lost, flips.gained, flips.right_after, difference, change))
    heads = ("class", "right before", "right→wrong", "wrong→right", "right after", "difference")
    return Table(source, (*map(Column, heads), Column("change, points", digits=2)), tuple(rows))


def grown(labels: np.ndarray, before: np.ndarray, after: np.ndarray, class_names: Sequence[str]) -> list[Growth]:
    """Return the confusions that grew most, by growth, the largest first."""
    was, is_now = (confusion(labels, predicted, len(class_names)) for predicted in (before, after))
    growth = is_now - was
    np.fill_diagonal(growth, 0)
    order = np.argsort(-growth, axis=None, kind="stable")[:CONFUSIONS]
    cells = [divmod(int(cell), len(growth)) for cell in order if growth.flat[cell] > 0]
    return [
        (
            class_names[true],
            class_names[taken],
            int(was[true, taken]),
            int(is_now[true, taken]),
            int(growth[true, taken]),
        )
        for true, taken in cells
    ]
