"""McNemar's test: whether two networks, seen on the same images, differ by more than chance."""

from __future__ import annotations


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p value of McNemar's exact test, in 0..1, correctly rounded.

    `gained` and `lost` count the images that only the second, and only the first of two classifiers has right.
    Where both are equally good, an image falls on either side with probability 1/2: p is twice the binomial tail at the
    smaller count, at most 1, and 1 where there are no such images. McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 1947. Raises ValueError for a negative
    count.
    """
    if min(gained, lost) < 0:
        raise ValueError(f"the counts are {gained} and {lost}, but must be at least 0")
    images = gained + lost
    tail = ways = 1  # integers: nothing underflows, however many images
    for number in range(1, min(gained, lost) + 1):
        ways = ways * (images - number + 1) // number
        tail += ways
    return min(1.0, 2 * tail / 2**images)
