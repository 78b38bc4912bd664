"""What differences vary by: numbers by hand, and simulations of which the truth is known."""

import numpy as np
import pytest
from scipy import stats

from analysis.inference.gains import Comparison, Estimate, Scores, moderated, over_resamples, reach
from analysis.inference.holm import holm


def spread(apart: np.ndarray) -> np.ndarray:
    """One column, all images."""
    return np.array([apart.var() / len(apart)])


def scores(right: list[list[int]], **more) -> Scores:
    """Return the scores of networks that get these images right, in a column."""
    images = np.array(right, float)
    return Scores(images.mean(axis=1)[:, None], images, **more)


def test_one_network_each_differs_by_its_images_alone():
    first, second = scores([[1, 1, 1, 0, 0, 0, 0, 0]]), scores([[1, 1, 0, 1, 1, 1, 0, 0]])
    compared = Comparison([first, second], spread, np.array([7.0]), least=2 / 8**2)
    assert not compared.over_seeds
    gain = compared.gain(1, 0)
    assert gain.value.tolist() == [2 / 8]
    assert gain.variance == pytest.approx((4 / 8 - (2 / 8) ** 2) / 8 + 2 / 64)  # differences: −1, 1, 1, 1 and four 0
    assert gain.freedom == pytest.approx(7)
    size = (2 / 8) / np.sqrt(gain.variance[0])
    assert gain.p == pytest.approx(2 * stats.t.sf(size, 7))
    level = compared.level(0)
    assert (level.value[0], level.variance[0]) == pytest.approx((3 / 8, 3 / 8 * 5 / 8 / 8))


def test_seeds_add_what_images_do_not_explain():
    """The scheme's variance, term by term: the images' part, and for each model its seeds' part beyond images."""
    rng = np.random.default_rng(0)
    rights = [(rng.random((3, 200)) < np.array(chances)[:, None]).astype(float) for chances in ((0.5, 0.8, 0.9),) * 2]
    first, second = (scores(right.tolist()) for right in rights)
    compared = Comparison([first, second], spread, np.array([199.0]))
    gain = compared.gain(1, 0)
    image_part = spread(rights[1].mean(axis=0) - rights[0].mean(axis=0))[0]
    pooled = np.mean([right.mean(axis=1).var(ddof=1) for right in rights])
    alone = []
    for right in rights:
        mean = right.mean(axis=0)
        # the scheme's w, less the share of it that is the seeds' spread itself
        alone.append((mean * (1 - mean)).mean() * 3 / 2 / 200 - right.mean(axis=1).var(ddof=1) / 200)
    expected = image_part + sum(max(0, pooled - each) / 3 for each in alone)
    assert gain.variance[0] == pytest.approx(expected, rel=1e-9)
    assert gain.freedom[0] == pytest.approx(expected**2 / (image_part**2 / 199 + (2 * pooled / 3) ** 2 / 4), rel=1e-9)


def test_a_model_of_one_seed_borrows_the_others_spread_and_one_without_seeds_has_none():
    rng = np.random.default_rng(1)
    several = scores((rng.random((4, 100)) < np.array([[0.3], [0.5], [0.7], [0.9]])).astype(int).tolist())
    one = scores((rng.random((1, 100)) < 0.5).astype(int).tolist())
    fixed = scores(one.images.astype(int).tolist(), seeded=False)
    compared = Comparison([several, one, fixed], spread, np.array([99.0]))
    own = compared.level(0).variance[0] - spread(several.images.mean(axis=0))[0]  # of a mean of four
    assert compared.level(1).variance[0] - spread(one.images[0])[0] == pytest.approx(4 * own)
    assert compared.level(2).variance[0] == pytest.approx(spread(one.images[0])[0])
    assert compared.gain(0, 1).variance[0] - compared.gain(0, 2).variance[0] == pytest.approx(4 * own)


def test_a_model_that_varies_far_more_than_the_others_keeps_its_own_variance():
    calm = scores([[1, 0] * 50, [1, 0] * 50, [1, 0] * 49 + [1, 1], [0, 0] + [1, 0] * 49])
    wild = scores([[1] * 100, [0] * 100, [1, 0] * 50])
    compared = Comparison([calm, calm, wild], spread, np.array([99.0]))
    assert compared.level(2).freedom < 3
    assert compared.gain(0, 1).variance < 0.001


def test_columns_that_are_not_known_stay_so():
    values = np.array([[0.5, np.nan], [0.6, np.nan]])
    images = np.stack([np.outer(np.arange(-5, 6) / 100, [each, np.nan]) for each in (1, 2)])
    gain = Comparison([Scores(values, images)] * 2, over_resamples, np.array([9.0, 9.0])).gain(1, 0)
    np.testing.assert_array_equal(np.isnan(gain.p), [False, True])
    assert np.isfinite(gain.by_chance())


def test_spread_over_resamples_is_the_mean_square_of_what_is_known():
    apart = np.array([[1.0, np.nan, 2.0], [2.0, np.nan, np.nan], [4.0, np.nan, 4.0]])
    np.testing.assert_allclose(over_resamples(apart), [21 / 3, np.nan, 20 / 2])


def test_simultaneous_intervals_and_what_the_largest_of_equal_gains_comes_to():
    """The number that a gain of one of ten equal classes of 1,000 images stays below: reference 3.5 points."""
    estimate = Estimate(np.zeros(10), np.full(10, 1.25**2), np.full(10, 1e9))
    quantile = stats.norm.ppf((1 + 0.95**0.1) / 2)
    assert estimate.by_chance() == pytest.approx(1.25 * quantile, rel=1e-6)
    assert estimate.by_chance() == pytest.approx(3.5, abs=0.05)
    np.testing.assert_allclose(estimate.margin(10), 1.25 * quantile, rtol=1e-6)
    np.testing.assert_allclose(estimate.margin(), 1.25 * 1.96, rtol=1e-4)
    uneven = Estimate(np.zeros(2), np.array([4.0, 0.0]), np.full(2, 5.0))
    assert uneven.by_chance() == pytest.approx(2 * stats.t.ppf(0.975, 5))
    assert np.isnan(Estimate(*np.full((3, 2), np.nan)).by_chance())
    assert Estimate(np.zeros(1), np.zeros(1), np.ones(1)).by_chance() == 0


def test_no_variance_tells_nothing_of_a_difference():
    np.testing.assert_array_equal(Estimate(np.array([0.0, 1.0]), np.zeros(2), np.full(2, 9.0)).p, [1, np.nan])


def test_variances_are_drawn_together_as_far_as_chance_may_have_set_them_apart():
    rng = np.random.default_rng(0)
    alike, freedom = moderated(rng.chisquare(4, 2000) / 4, 4)
    assert freedom > 40
    assert alike.min() > 0.7
    truth = np.exp(rng.normal(0, 2, 2000))
    apart, freedom = moderated(truth * rng.chisquare(4, 2000) / 4, 4)
    assert freedom < 4.6
    assert np.corrcoef(np.log(apart), np.log(truth))[0, 1] > 0.9
    assert moderated(np.array([2.0]), 3) == (np.array([2.0]), 3)
    assert moderated(np.zeros(3), 3)[1] == 3


def test_the_prior_is_that_which_the_variances_were_drawn_from():
    """Scaled inverse chi-squares with 8 degrees of freedom about 3: half of the 8 are added."""
    rng = np.random.default_rng(0)
    truth = 3 * 8 / rng.chisquare(8, 20_000)
    _, freedom = moderated(truth * rng.chisquare(4, 20_000) / 4, 4)
    assert freedom == pytest.approx(4 + 8 / 2, rel=0.05)


def simulated(rng, seeds: int, spreads: np.ndarray, gain: float) -> np.ndarray:
    """Return Holm's p values for ten classes of 500 images; the first gains `gain` points."""
    labels = np.repeat(np.arange(10), 500)
    hard = rng.normal(0, 1, 5000)  # how hard each image is
    models = []
    for added in (0.0, gain):
        shift = rng.normal(0, spreads, (seeds, 10)) + 0.65
        shift[:, 0] += added
        right = (shift[:, labels] + hard + rng.normal(0, 0.55, (seeds, 5000)) > 0).astype(float)
        models.append(Scores(100 * right.reshape(seeds, 10, 500).mean(axis=2), 100 * right))
    by_class = Comparison(
        models, lambda apart: apart.reshape(10, 500).var(axis=1) / 500, np.full(10, 499.0), 2 * (100 / 500) ** 2
    )
    return holm(by_class.gain(1, 0).p)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_of_equal_models_a_class_is_named_in_no_more_than_one_of_twenty_comparisons(seeds):
    rng = np.random.default_rng(seeds)
    spreads = np.tile([0.04, 0.05, 0.06, 0.07, 0.08], 2) * (seeds > 1)
    named = [(simulated(rng, seeds, spreads, 0) <= 0.05).any() for _ in range(300)]
    assert np.mean(named) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


def test_a_class_that_gains_is_found():
    rng = np.random.default_rng(0)
    found = np.array([simulated(rng, 3, np.full(10, 0.03), 0.25) <= 0.05 for _ in range(50)])
    assert found[:, 0].mean() > 0.8  # about 6 points
    assert found[:, 1:].any(axis=1).mean() <= 0.1


def test_how_far_it_reaches_is_said():
    assert reach({"a": 2, "b": 3}) == "Intervals and tests are over seeds and images, both."
    assert reach({"a": 1, "b": 1}).startswith("One seed each: what is said of differences holds for these networks")
    assert reach({"a": 1, "b": 3}).startswith("One seed: a; what others would make")
