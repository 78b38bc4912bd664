"""The variance of means over seeds and images: by hand, and on numbers whose parts are known."""

import numpy as np
import pytest

from analysis.inference.readers_and_cases import by_images, variance_of_mean


def of_mean(values: np.ndarray) -> np.ndarray:
    return values.var(axis=0, ddof=1) / len(values)


def test_what_images_alone_make_by_hand():
    """Two networks differ by 2, 0 and −2 on three images: each is 1, 0, −1 apart from their mean, of variance 1."""
    images = np.array([[[3.0], [1.0], [0.0]], [[1.0], [1.0], [2.0]]])
    np.testing.assert_allclose(by_images(images, of_mean), [(1 / 3 + 1 / 3) / 1])


def test_only_what_seeds_add_counts_and_freedom_is_satterthwaite_s():
    variance, freedom = variance_of_mean(
        np.array([2.0, 2.0, 0.0]), 10.0, np.array([3.0, 1.0, 0.0]), 2.0, np.array([1.5, 1.5, 0.0])
    )
    np.testing.assert_allclose(variance, [3.5, 2.0, 0.0])
    np.testing.assert_allclose(freedom, [3.5**2 / (4 / 10 + 9 / 2), 4 / (4 / 10 + 1 / 2), np.inf])


def test_networks_that_differ_by_chance_alone_add_nothing():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        images = rng.normal(size=(3, 200, 1))
        found.append(images.mean(axis=1).var(ddof=1) - by_images(images, of_mean)[0])
    assert np.mean(found) == pytest.approx(0, abs=0.0005)
