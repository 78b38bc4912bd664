"""What is lost with its interval: by hand, and by how often the truth is in it."""

import numpy as np
import pytest

from analysis.inference.lost import Lost, over_seeds, over_seeds_and_images


def test_one_seed_is_over_images_alone():
    """Mean 1/4; variance over four images 11/12, over 4; t with 3 degrees of freedom."""
    found = over_seeds_and_images(np.array([[1.0, 1.0, -1.0, 0.0]]))
    reach = 3.182446 * (11 / 12 / 4) ** 0.5
    assert (found.mean, found.low, found.high) == (0.25, pytest.approx(0.25 - reach), pytest.approx(0.25 + reach))


def test_seeds_that_differ_by_more_than_their_images_widen_it():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 400))
    alike, apart = over_seeds_and_images(images), over_seeds_and_images(images + np.array([[-3.0], [3.0]]))
    assert alike.high - alike.low < 0.3
    assert apart.high - apart.low > 20  # two seeds: nearly nothing is known
    means = apart.mean, images.mean()
    assert means[0] == pytest.approx(means[1])


def test_over_seeds_by_hand():
    found = over_seeds(np.array([1.0, 3.0]))
    assert found.mean == 2
    assert found.high - 2 == pytest.approx(12.7062, rel=1e-5)
    assert over_seeds(np.array([1.0])) == Lost(1.0, None, None)


def test_what_does_not_tell_has_no_interval():
    assert over_seeds_and_images(np.array([[2.0]])) == Lost(2.0, None, None)
    assert f"{Lost(2.0, None, None):.1f}" == "2.0"
    assert f"{Lost(2.0, -1.0, 5.0):.1f}" == "2.0 [-1.0, 5.0]"


@pytest.mark.parametrize(("seeds", "sd"), [(1, 0.0), (2, 0.0), (3, 0.0), (3, 0.05), (5, 0.2)])
def test_the_truth_is_in_it_in_95_percent(seeds, sd):
    """Images and seeds are samples; flips of −1, 0 and 1 are rare, as they are in networks."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(600):
        of_image = rng.normal(0, 0.15, 300)
        of_seed = rng.normal(0, sd, (seeds, 1))
        lost = rng.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(seeds, 300)) + 0.1 + of_image + of_seed
        found = over_seeds_and_images(lost)
        inside += found.low <= 0.1 <= found.high
    assert inside / 600 > 0.925
