"""Chance against scipy's hypergeometric distribution, numbers by hand, and draws."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from analysis.inference.chance import most, p_values, tails


@pytest.mark.parametrize(
    ("sizes", "total", "drawn"), [([1000] * 10, 10_000, 100), ([7, 0, 300, 41], 400, 30), ([3, 2], 6, 6), ([5], 5, 1)]
)
def test_tails_are_those_of_the_hypergeometric_distribution(sizes, total, drawn):
    found = tails(np.array(sizes), total, drawn)
    expected = hypergeom.sf(np.arange(drawn + 1) - 1, total, np.array(sizes)[:, None], drawn)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-300)


def test_two_of_four_by_hand():
    """Two of four images drawn, two of the four have the class: 1, 4 and 1 of the 6 pairs have 0, 1 and 2 of them."""
    np.testing.assert_allclose(tails(np.array([2]), 4, 2), [[1, 5 / 6, 1 / 6]], rtol=1e-12)


def test_chance_has_at_most_18_of_100_of_one_of_ten_classes():
    of = tails(np.array([1000] * 10), 10_000, 100)
    assert most(of).tolist() == [18] * 10
    draws = np.random.default_rng(0).multivariate_hypergeometric([1000] * 10, 100, size=20_000)
    assert (draws.max(axis=1) > 18).mean() < 0.05 < (draws.max(axis=1) > 17).mean()


def test_each_class_has_a_limit_of_its_own_and_all_together_are_passed_in_5_percent():
    sizes = [200, 40, 10]
    of = tails(np.array(sizes), 250, 30)
    limits = most(of)
    assert (np.diff(limits) < 0).all()
    draws = np.random.default_rng(0).multivariate_hypergeometric(sizes, 30, size=20_000)
    assert 0.01 < (draws > limits).any(axis=1).mean() < 0.05


def test_p_is_of_the_class_most_above_chance_times_the_classes():
    of = tails(np.array([200, 40, 10]), 250, 30)
    counts = np.array([[24, 5, 1], [20, 4, 6], [0, 30, 0]])
    leading, p = p_values(counts, of)
    assert leading[1:].tolist() == [2, 1]  # not the largest count, but far more than of 10 images by chance
    assert p[1] == pytest.approx(3 * hypergeom.sf(5, 250, 10, 30))
    assert p[0] > 0.5
    assert (p <= 1).all()


def test_of_equally_large_classes_it_is_the_largest_count_the_first_of_equal_ones():
    of = tails(np.array([50] * 3), 150, 12)
    leading, p = p_values(np.array([[3, 5, 4], [6, 0, 6]]), of)
    assert leading.tolist() == [1, 0]
    assert p[1] == pytest.approx(3 * hypergeom.sf(5, 150, 50, 12))
