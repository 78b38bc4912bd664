"""Chance: how many of some images drawn at random have one class."""

from __future__ import annotations

import numpy as np

LEVEL = 0.05  # how often chance alone may seem to be more


def tails(sizes: np.ndarray, total: int, drawn: int) -> np.ndarray:
    """Return the probability that of `drawn` of `total` images, drawn at random, k or more have a class: (classes,
    drawn + 1) float64, k from 0.

    `sizes` (classes,) are the images that have each class; an image may have several. The hypergeometric distribution.
    """
    logarithms = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])  # of the factorials
    own, k = np.asarray(sizes)[:, None], np.arange(drawn + 1)
    possible = (k <= own) & (drawn - k <= total - own)

    def ways(of: np.ndarray | int, chosen: np.ndarray | int) -> np.ndarray:
        return logarithms[of] - logarithms[chosen] - logarithms[np.maximum(of - chosen, 0)]

    within, beyond = np.where(possible, k, 0), np.where(possible, drawn - k, 0)
    exactly = np.exp(ways(own, within) + ways(total - own, beyond) - ways(total, drawn)) * possible
    return np.minimum(1, np.cumsum(exactly[:, ::-1], axis=1)[:, ::-1])  # from the smallest on


def most(of: np.ndarray) -> np.ndarray:
    """Return, from tails(), how many images of each class chance reaches, (classes,) int64.

    That even one class has more happens in at most 5 % of draws, however many classes there are.
    """
    return (of > LEVEL / len(of)).sum(axis=1) - 1


def p_values(counts: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that is most above chance in each row of counts (rows, classes), and p: int64 and float64,
    (rows,).

    `of` is what tails() returns. p is at least the probability that by chance any class is so far above: that of this
    class, times the number of classes. Where classes are equally large, it is the class of the largest count.
    """
    each = of[np.arange(len(of)), counts]
    leading = np.lexsort((-counts, each), axis=1)[:, 0]
    return leading, np.minimum(1, len(of) * each[np.arange(len(counts)), leading])
