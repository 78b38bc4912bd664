"""Gains per class: tests by hand, and equal and unequal models of which the truth is known."""

import time

import numpy as np
import pytest

from analysis.inference.bootstrap import average_precisions
from analysis.inference.class_gains import of_accuracy, of_precision
from analysis.inference.mcnemar import mcnemar
from trainables.metrics import average_precision


def test_single_networks_are_tested_exactly_class_by_class():
    labels = np.repeat([0, 1, 3], [10, 10, 10])
    first, second = np.zeros(30, bool), np.zeros(30, bool)
    first[0] = second[1:9] = True  # class 0: eight gained, one lost
    first[10:13] = second[10:13] = True  # class 1: the same
    gained = of_accuracy([first[None], second[None]], labels, 4)
    assert (gained.tests, gained.over_seeds) == (3, False)
    expected = [[min(1, 3 * mcnemar(8, 1)), 1, np.nan, 1]]
    np.testing.assert_allclose(gained.p, expected)
    np.testing.assert_allclose(gained.per_class[0].value, [70, 0, np.nan, 0])
    assert gained.over_all.value == pytest.approx([100 * 7 / 30])
    # of the differences, one is −1 and eight are 1; and two images more
    variance = ((9 / 10 - 0.7**2) / 10 + 2 / 10**2) * 100**2
    assert gained.per_class[0].variance[0] == pytest.approx(variance)
    over_all = ((9 / 30 - (7 / 30) ** 2) / 30 + 2 / 30**2) * 100**2
    assert gained.over_all.variance == pytest.approx([over_all])


def test_several_seeds_are_compared_by_their_means():
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 100)
    rights = [rng.random((3, 200)) < np.repeat([share, 0.5], 100) for share in (0.5, 0.9, 0.5)]
    gained = of_accuracy(rights, labels, 2)
    assert gained.over_seeds
    expected = [
        100 * (right.mean(axis=0) - rights[0].mean(axis=0)).reshape(2, 100).mean(axis=1) for right in rights[1:]
    ]
    np.testing.assert_allclose([gain.value for gain in gained.per_class], expected)
    np.testing.assert_array_equal(gained.p < 0.05, [[True, False], [False, False]])


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_average_precision_of_equal_models_is_seldom_told_apart_and_a_gain_is_found(gain):
    rng, named = np.random.default_rng(0), []
    for _ in range(40):
        labels = (rng.random((300, 4)) < 0.2).astype(np.int8)
        shown = labels + rng.normal(0, 0.7, (300, 4))  # what both models see
        logits = [shown + rng.normal(0, 0.7, (300, 4)) + added for added in (0, gain * labels * np.eye(4)[0])]
        found = [
            np.array([average_precision(*of, "all-point") for of in zip(each.T, labels.T, strict=True)])
            for each in logits
        ]
        again = [average_precisions(each, labels, "all-point", 200) for each in logits]
        values = [np.append(each.mean(), each)[None] for each in found]
        resampled = [np.column_stack([each.mean(axis=1), each])[None] for each in again]
        named.append(of_precision(values, resampled, labels.sum(axis=0)).p[0] <= 0.05)
    told = np.array(named)
    assert told[:, 1:].any(axis=1).mean() <= 0.1
    assert told[:, 0].mean() > 0.9 if gain else told.any(axis=1).mean() <= 0.1


def test_many_models_and_classes_take_no_longer_than_their_number():
    labels, rng, begun = np.arange(10_000) % 300, np.random.default_rng(0), time.perf_counter()
    rights = [rng.random((2, 10_000)) < 0.6 for _ in range(10)]
    assert of_accuracy(rights, labels, 300).tests == 9 * 300
    assert time.perf_counter() - begun < 10
