"""Common mistakes: counts by hand, and what chance makes of them by simulation."""

import numpy as np
import pytest

from analysis.inference.agreement import agreement


def test_items_are_counted_by_how_many_networks_have_them_wrong():
    wrong = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 1, 1]], bool)
    found = agreement(wrong, np.array([0, 0, 0, 0, 2]))
    assert found.found.tolist() == [1, 2, 2]
    # group 0: each is wrong with a half; group 2: always
    np.testing.assert_allclose(found.by_chance, [4 / 4, 4 / 2, 4 / 4 + 1])
    assert found.most == pytest.approx(2 + 1.645 * np.sqrt(4 * 1 / 4 * 3 / 4))
    assert str(found) == "2 with all 2 seeds (by chance 2, at most 3 (95 %))"


def test_chance_is_what_mistakes_at_random_in_each_group_make():
    rng, groups = np.random.default_rng(0), np.repeat([0, 1], [300, 100])
    rates = np.array([[0.2, 0.6], [0.3, 0.5], [0.4, 0.7]])
    drawn = []
    for _ in range(400):
        wrong = rng.random((3, 400)) < rates[:, groups]
        found = agreement(wrong, groups)
        drawn.append([*(found.found - found.by_chance), found.found[-1] <= found.most])
    *apart, below = np.mean(drawn, axis=0)
    np.testing.assert_allclose(apart, 0, atol=1)
    assert below == pytest.approx(0.97, abs=0.03)
