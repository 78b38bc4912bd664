"""Correlations of maps against numpy and scipy."""

import numpy as np
from scipy import stats

from analysis.inference.likeness import correlations, ranked


def test_each_map_with_each_other_one():
    rng = np.random.default_rng(0)
    maps, others = rng.random((3, 4, 5)), rng.random((2, 4, 5)).astype(np.float32)
    expected = np.corrcoef(maps.reshape(3, -1), others.reshape(2, -1))[:3, 3:]
    np.testing.assert_allclose(correlations(maps, others), expected, atol=1e-7)
    np.testing.assert_allclose(np.diagonal(correlations(maps, 3 - 2 * maps)), -1)


def test_a_map_that_is_the_same_everywhere_is_like_none():
    maps = np.stack([np.full((3, 3), 0.1), np.arange(9.0).reshape(3, 3)])
    np.testing.assert_allclose(correlations(maps, maps), [[np.nan, np.nan], [np.nan, 1]])


def test_of_ranks_they_are_spearmans_with_ties():
    rng = np.random.default_rng(1)
    maps = rng.integers(0, 4, (2, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(ranked(maps)[1].ravel(), stats.rankdata(maps[1]))
    expected = stats.spearmanr(maps[0].ravel(), maps[1].ravel()).statistic
    np.testing.assert_allclose(correlations(ranked(maps[:1]), ranked(maps[1:])), [[expected]])
    assert ranked(np.zeros((0, 2, 2))).shape == (0, 2, 2)
