"""Permutation tests against numbers by hand, scipy, and simulations in which the truth is known."""

import itertools

import numpy as np
import pytest
from scipy import stats

from analysis.inference.permutation import matched, paired


def test_three_images_by_hand():
    """Of the six arrangements only the one that was seen has a mean as large, so that p is 2/6."""
    values = np.array([[5.0, 1.0, 2.0], [0.0, 6.0, 1.0], [3.0, 2.0, 7.0]])
    found = matched(values)
    assert (found.own, found.others, found.images) == (6, 1.5, 3)
    assert found.p == pytest.approx(2 / 6)
    reverse = matched(-values)  # the other tail is as far
    assert (reverse.own, reverse.p) == (-6, pytest.approx(2 / 6))
    assert matched(np.ones((3, 3))).p == 1


def test_the_exact_p_is_that_of_all_arrangements():
    values = np.random.default_rng(1).normal(size=(5, 5)) + 0.6 * np.eye(5)
    sums = [sum(values[i, j] for i, j in enumerate(order)) for order in itertools.permutations(range(5))]
    seen = np.trace(values)
    upper, lower = (np.mean([compare(each, seen) for each in sums]) for compare in (_at_least, _at_most))
    assert matched(values).p == pytest.approx(min(1, 2 * min(upper, lower)))


def _at_least(one: float, other: float) -> bool:
    return one >= other - 1e-12


def _at_most(one: float, other: float) -> bool:
    return one <= other + 1e-12


def test_what_is_not_known_is_left_out_with_its_partner():
    values = np.arange(16.0).reshape(4, 4) ** 2
    wanted = matched(values[np.ix_([0, 2, 3], [0, 2, 3])])
    values[1] = np.nan
    assert matched(values) == wanted
    assert matched(np.full((2, 2), np.nan)) is None
    single = matched(np.array([[0.5, 0.1], [0.1, np.nan]]))
    assert (single.own, single.p, single.images) == (0.5, None, 1)


@pytest.mark.parametrize("images", [4, 20])
def test_of_partners_that_do_not_matter_one_in_twenty_is_told_apart_at_most(images):
    """Image and partner both have a level of their own, which is no match."""
    rng, alarms = np.random.default_rng(2), 0
    for _ in range(300):
        values = rng.normal(size=(images, 1)) + rng.normal(size=(1, images)) + rng.normal(size=(images, images))
        alarms += matched(values).p <= 0.05
    assert alarms <= 27  # 15 are expected of 300; 27 or more come in 0.3 % of cases


def test_partners_that_match_are_found_with_the_sign_of_the_match():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(20, 20)) + rng.normal(size=(1, 20)) + 2 * np.eye(20)
    above, below = matched(values), matched(values - 4 * np.eye(20))
    assert above.p == below.p == pytest.approx(2 / 2_001)
    assert above.own > above.others
    assert below.own < below.others


@pytest.mark.parametrize("count", [2, 5, 12])
def test_paired_is_scipys_test_of_all_signs(count):
    differences = np.random.default_rng(count).normal(0.4, 1, count)
    theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert paired(differences) == pytest.approx(theirs.pvalue)


def test_of_many_images_signs_are_drawn():
    rng = np.random.default_rng(4)
    assert paired(rng.normal(2, 1, 40)) == pytest.approx(2 / 2_001)
    differences = rng.normal(0.3, 1, 40)
    assert paired(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert paired(np.array([np.nan, 1.0])) is None
    assert paired(np.array([np.nan, 1.0, 1.0, 1.0])) == 0.25
    assert paired(np.zeros(20)) == 1
