"""Holm's step-down by hand, by its definition, and by how often it is wrong where nothing is there."""

import itertools

import numpy as np
import pytest

from analysis.inference.holm import holm


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 3×0.01, 0.04 not below 2×0.03, 2×0.03, 4×0.005
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.6, 0.4], [0.8, 0.8]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_by_hand(p, expected):
    np.testing.assert_allclose(holm(np.array(p)), expected, rtol=1e-12)


def test_a_test_that_was_not_made_does_not_count():
    adjusted = holm(np.array([np.nan, 0.01, 0.04, np.nan]))
    np.testing.assert_allclose(adjusted, [np.nan, 0.02, 0.04, np.nan])


def test_is_the_closed_test_of_bonferroni():
    """The definition: a test's p is the largest of n × the least p over all sets that it is in."""
    p = np.random.default_rng(0).random(6) ** 3
    sets = [list(chosen) for size in range(1, 7) for chosen in itertools.combinations(range(6), size)]
    closed = [max(min(1, len(own) * p[own].min()) for own in sets if test in own) for test in range(6)]
    np.testing.assert_allclose(holm(p), closed, rtol=1e-12)


def test_one_false_alarm_in_twenty_at_most():
    draws = np.random.default_rng(1).random((4000, 10))
    wrong = np.mean([(holm(row) <= 0.05).any() for row in draws])
    assert 0.04 < wrong < 0.06  # independent tests come close to 5 %; uncorrected it would be 40 %


@pytest.mark.parametrize("p", [[-0.1], [1.1], [[0.5]]])
def test_what_is_no_p_value_is_refused(p):
    with pytest.raises(ValueError, match="must be in one row and from 0 to 1"):
        holm(np.array(p))
