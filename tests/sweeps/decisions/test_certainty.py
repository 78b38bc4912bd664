import numpy as np
import pytest
from scipy import stats

from sweeps.decisions.certainty import margin
from sweeps.decisions.scatter import spread
from tests.sweeps.outcomes import draws


def test_the_interval_of_a_score_is_student_s_over_images_where_seeds_agree():
    right = np.arange(1000) % 4 != 0  # 75 %, and each seed is right on the same ones
    sample = np.stack([right] * 3)
    variance = (0.1875 + 0.001) / 1000
    freedom = variance**2 / (variance**2 / 999)
    assert margin(sample) == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(variance), rel=1e-4)


def test_it_holds_over_seeds_and_images_as_often_as_it_says():
    rng = np.random.default_rng(1)
    images, missed, times = 400, 0, 1500
    for _ in range(times):
        easy = rng.normal(0.7, 0.6, images)
        able = easy + rng.normal(0, 0.05, (4, 1))
        sample = able + rng.normal(0, 0.5, (4, images)) > 0
        truth = stats.norm.cdf(0.7 / np.sqrt(0.6**2 + 0.05**2 + 0.5**2))
        missed += abs(sample.mean() - truth) > margin(sample)
    assert 0.03 < missed / times < 0.065


def test_of_one_seed_nothing_is_told_unless_others_tell_how_seeds_scatter():
    one, three = np.stack(draws(0.7, 1)), np.stack(draws(0.7, 3, number=1))
    assert margin(one) is None
    borrowed = margin(one, [spread(three)])
    assert borrowed > margin(three)


def test_more_seeds_and_more_images_make_it_narrower():
    few, more = (np.stack(draws(0.7, seeds)) for seeds in (2, 12))
    assert margin(more) < margin(few)
    assert margin(np.concatenate([more] * 4, axis=1)) < margin(more)
