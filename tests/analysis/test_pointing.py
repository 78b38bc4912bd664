"""Whether maps point at objects, by hand."""

import numpy as np
import pytest

from analysis.pointing import hits, on_object, verdict


def test_mass_and_peak_on_the_object():
    maps = np.array(
        [[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]],
        np.float32,
    )
    masks = np.array([[[True, False], [False, False]]] * 4)
    masks[3] = False  # no object
    share, peak = on_object(maps, masks)
    np.testing.assert_array_equal(share, [0.25, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(peak, [0.0, np.nan, 1.0, np.nan])


def test_of_equal_maxima_the_first_counts_row_by_row():
    ones = np.ones((1, 2, 2), np.float32)
    first, last = np.zeros((2, 1, 2, 2), bool)
    first[0, 0, 0] = last[0, 1, 1] = True
    assert [on_object(ones, mask)[1].tolist() for mask in (first, last)] == [[1.0], [0.0]]
    assert [on_object(ones, mask)[0].tolist() for mask in (first, last)] == [[0.25], [0.25]]


def test_hits_are_counted_among_the_known():
    assert hits(np.array([1.0, 0.0, np.nan, 1.0])) == "2 of 3"
    assert hits(np.array([0.0])) == "0 of 1"
    assert hits(np.array([np.nan])) is None


# mean 2, sd 2, two standard errors of the mean: 2·2/√n, with √n = 2, so that it just does not tell them apart
JUST = np.array([2 - 3**0.5, 2 - 3**0.5, 2 + 3**0.5, 2 + 3**0.5])


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        (JUST - 0.01, "not told apart from chance"),
        (JUST + 0.01, "more than chance"),
        (0.01 - JUST, "not told apart from chance"),
        (-0.01 - JUST, "less than chance"),
        (np.array([9.0]), "of a single image"),
        (np.array([1.0, 1.0]), "more than chance"),
        (np.array([0.0, 0.0]), "not told apart from chance"),
    ],
)
def test_chance_is_told_by_two_standard_errors(excess, words):
    assert verdict(excess) == words
