import math

import numpy as np
import pytest
from scipy import stats

from sweeps.decisions.scatter import Spread, scatter, spread


def of(*totals, seeds=3, images=0.0):
    return [Spread(seeds, total, images) for total in totals]


def test_a_spread_worked_out_by_hand():
    """Accuracies 1/2 and 1: variance 1/8. One image in two differs, of variance 1/2: in the mean 1/4, over two 1/8."""
    assert spread(np.array([[True, False], [True, True]])) == Spread(2, 0.125, 0.125)
    assert spread(np.array([[0.0, 4.0], [2.0, 2.0]])) == Spread(2, 0.0, 1.0)


def test_what_images_explain_is_the_formula_for_right_or_not():
    right = np.random.default_rng(0).random((3, 50)) < 0.7
    share = right.mean(axis=0)
    assert spread(right).images == pytest.approx((share * (1 - share)).mean() * 3 / 2 / 50)


def test_one_seed_tells_nothing():
    single = spread(np.array([[True, False]]))
    assert single.seeds == 1
    assert math.isnan(single.total)
    assert math.isnan(single.images)
    assert scatter([single, single], []) is None


def test_equal_trials_are_pooled_by_their_degrees_of_freedom():
    """P = (2 · 4 + 4 · 7) / 6 = 6; what seeds add to a score of one seed is 6 - 1."""
    seeds = scatter([Spread(3, 4.0, 1.0), Spread(5, 7.0, 1.0)], [])
    assert (seeds.pooled, seeds.freedom, seeds.trials, seeds.unlike) == (6, 6, 2, 0)
    assert seeds.added.tolist() == [5, 5]
    assert not seeds.own.any()
    assert seeds.of_pairs() == pytest.approx(np.array([[10 / 3, 5 / 3 + 1], [5 / 3 + 1, 2]]))


def test_the_doubt_of_the_pool_is_that_of_chi_square():
    """Of two trials of three seeds: half the variance of 2 P / 3 with ν = 4, which is (2 P / 3)² / 4."""
    assert scatter(of(6.0, 6.0), []).doubt_of_pairs()[0, 1] == pytest.approx(4**2 / 4)


def test_images_that_explain_all_leave_nothing_to_seeds():
    assert scatter(of(1.0, 1.2, images=2.0), []).of_pairs().tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("above", "keeps"), [(1.01, True), (0.99, False)])
def test_a_trial_keeps_its_own_variance_where_the_others_pool_does_not_explain_it(above, keeps):
    """The limit is F's upper quartile for 2 degrees of freedom and the 8 of the others."""
    limit = 5.0 * stats.f.ppf(0.75, 2, 8)
    seeds = scatter(of(limit * above, 5.0, 5.0, 5.0, 5.0, images=1.0), [])
    pooled = (limit * above + 20) / 5
    assert seeds.added == pytest.approx([(limit * above if keeps else pooled) - 1] + [pooled - 1] * 4)
    own = (limit * above / 3) ** 2 / 1
    borrowed = (pooled**2 / 10 + seeds.unlike / 10, seeds.unlike / 2)
    expected = own + borrowed[0] / 9 + borrowed[1] / 9 if keeps else 4 * borrowed[0] / 9 + 2 * borrowed[1] / 9
    assert seeds.doubt_of_pairs()[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "freedom"), [(2, 0.5), (3, 1), (6, 4)])
def test_an_own_variance_counts_a_degree_of_freedom_less(seeds, freedom):
    found = scatter(of(60.0, 60.0, 1.0, 1.0, 1.0, 1.0, seeds=seeds), [])
    borrowed = (found.pooled**2 / found.freedom + found.unlike / 12 + found.unlike / 2) / seeds**2
    assert found.own.tolist() == [60, 60, 0, 0, 0, 0]
    assert found.doubt_of_pairs()[0, 1] == pytest.approx(2 * (60 / seeds) ** 2 / freedom)
    assert found.doubt_of_pairs()[2, 1] == pytest.approx((60 / seeds) ** 2 / freedom + borrowed)


def test_the_variance_of_the_true_variances_is_found():
    """Half the trials scatter with variance 1, half with 3: that of these is 1. Then chi-square is added."""
    rng = np.random.default_rng(1)
    true = np.repeat([1.0, 3.0], 20_000)
    for count in (3, 6):
        totals = true * rng.chisquare(count - 1, len(true)) / (count - 1)
        assert scatter(of(*totals, seeds=count), []).unlike == pytest.approx(1, abs=0.1)
    assert scatter(of(*rng.chisquare(2, 40_000)), []).unlike == pytest.approx(0, abs=0.1)


def test_a_trial_of_one_seed_takes_the_mean_of_the_others():
    """Of the third the images explain more than all: its E is 0, not below."""
    seeds = scatter([Spread(1, math.nan, math.nan), *of(4.0, 4.0, images=1.0)], of(4.0, images=7.0))
    assert seeds.added == pytest.approx([(3 + 3 + 0) / 3, 3, 3])
    assert seeds.images == pytest.approx([3, 1, 1])
    assert seeds.trials == 3
    assert seeds.freedom == 6
    assert seeds.of_pairs()[0, 1] == pytest.approx(2 + 1)


def test_a_single_trial_with_several_seeds_is_the_pool():
    seeds = scatter([Spread(1, math.nan, math.nan)] * 2, of(4.0, images=1.0))
    assert (seeds.added.tolist(), seeds.unlike, seeds.pooled, seeds.freedom) == ([3, 3], 0, 4, 2)
    assert seeds.doubt_of_pairs()[0, 1] == pytest.approx((2 * 4) ** 2 / 2)


def test_others_are_not_among_the_trials_but_in_the_pool():
    seeds = scatter(of(2.0, 2.0), of(8.0, 8.0, seeds=5))
    assert seeds.pooled == pytest.approx((2 * 2 + 2 * 2 + 4 * 8 + 4 * 8) / 12)
    assert seeds.added.shape == (2,)
