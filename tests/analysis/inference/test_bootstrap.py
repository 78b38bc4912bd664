"""The bootstrap against what is known of means, and against average precision on images written out."""

import numpy as np
import pytest

from analysis.inference.bootstrap import average_precisions, drawn, means
from trainables.metrics import average_precision


def test_a_resample_has_as_many_images_each_as_likely():
    counts = drawn(50, 4000)
    assert (counts.sum(axis=0) == 50).all()
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.08)  # sd 1 / √4000 each
    np.testing.assert_allclose(counts.var(axis=1), 1 - 1 / 50, atol=0.15)
    assert np.array_equal(counts, drawn.__wrapped__(50, 4000))
    with pytest.raises(ValueError, match="read-only"):
        counts[0, 0] = 1


def test_means_are_those_of_the_images_drawn():
    values = np.random.default_rng(0).normal(size=(30, 2))
    counts, found = drawn(30, 150), means(values, 150)
    expected = [values[np.repeat(np.arange(30), counts[:, number])].mean(axis=0) for number in range(150)]
    np.testing.assert_allclose(found, expected)


def test_means_spread_as_means_do():
    values = np.random.default_rng(0).normal(size=(400, 1))
    assert means(values, 4000).std() == pytest.approx(values.std() / 20, rel=0.05)


@pytest.mark.parametrize("rule", ["11-point", "all-point"])
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_that_of_the_images_drawn(rule, ties):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3)).round(0 if ties else 9)
    labels = rng.choice([1, 0, -1], p=[0.2, 0.7, 0.1], size=(60, 3)).astype(np.int8)
    labels[:, 2] = 0
    labels[5, 2] = 1  # on about a third of the resamples there is no image of this class
    counts, found = drawn(60, 200), average_precisions(logits, labels, rule, 200)
    for number in range(200):
        rows = np.repeat(np.arange(60), counts[:, number])
        expected = [average_precision(logits[rows, label], labels[rows, label], rule) for label in range(3)]
        np.testing.assert_allclose(found[number], np.array(expected, float), rtol=1e-12)
    assert 0.2 < np.isnan(found[:, 2]).mean() < 0.55


def test_a_class_without_images_has_no_average_precision():
    found = average_precisions(np.zeros((4, 1)), np.array([[0], [-1], [0], [0]], np.int8), "11-point", 3)
    assert np.isnan(found).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'voc' is not a rule of average precision"):
        average_precisions(np.zeros((2, 1)), np.ones((2, 1), np.int8), "voc", 3)
