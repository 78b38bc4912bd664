"""Brightness and colour of images made by hand, and mixes that are known."""

import numpy as np
import pytest

from analysis.filters.colour import means, mixed, rankings


def test_means_are_over_pixels_channel_by_channel():
    images = np.zeros((2, 2, 2, 3), np.uint8)
    images[0, 0, 0] = [4, 8, 0]
    images[1] = [255, 0, 1]
    np.testing.assert_array_equal(means(images), [[1, 2, 0], [255, 0, 1]])


def test_rankings_go_both_ways_and_gray_has_brightness_alone():
    channels = np.array([[30.0, 0.0, 0.0], [0.0, 0.0, 60.0]])
    ranked = rankings(channels)
    assert len(ranked) == 8
    assert ranked["high mean brightness"].tolist() == [10, 20]
    assert ranked["low mean red"].tolist() == [-30, 0]
    assert ranked["high mean blue"].tolist() == [0, 60]
    assert list(rankings(channels[:, :1])) == ["high mean brightness", "low mean brightness"]


def test_a_mix_is_found_and_explains_all_of_itself():
    rng = np.random.default_rng(0)
    channels = rng.uniform(0, 255, (200, 3))
    own = channels @ [0.5, -2.0, 0.1] + 7
    noise = rng.normal(size=200)
    diverged = np.where(np.arange(200) == 7, np.inf, own)
    fitted, explained = mixed(np.stack([own, noise, np.full(200, 3.0), diverged], axis=1), channels)
    np.testing.assert_allclose(fitted[:, 0], own)
    assert explained[0] == pytest.approx(1)
    assert explained[1] < 0.1
    assert np.isnan(explained[2:]).all()  # what never changes is explained by nothing, nor is infinity


def test_explained_is_the_squared_correlation_with_the_mix():
    rng = np.random.default_rng(1)
    channels = rng.uniform(0, 255, (100, 1))
    responses = channels[:, 0] + rng.normal(0, 60, 100)
    _, explained = mixed(responses[:, None], channels)
    assert explained[0] == pytest.approx(np.corrcoef(channels[:, 0], responses)[0, 1] ** 2)
