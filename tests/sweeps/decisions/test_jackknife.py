import time

import numpy as np
import pytest

from sweeps.decisions.jackknife import contributions
from trainables.metrics import average_precisions, mean_average_precision

RULES = ("11-point", "all-point")


def score(logits, labels, rule):
    return mean_average_precision(average_precisions(logits, labels, rule))


def pseudo_values(logits, labels, rule):
    """N θ - (N - 1) θ₋ᵢ, by leaving out one image after the other."""
    count = len(labels)
    kept = ~np.eye(count, dtype=bool)
    return np.array(
        [count * score(logits, labels, rule) - (count - 1) * score(logits[k], labels[k], rule) for k in kept]
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(25))
def test_it_is_the_pseudo_values_of_the_naive_loop_moved_to_the_mean_average_precision(rule, seed):
    """Coarse logits tie often; a third of the labels are unknown in some, and rare classes vanish with their image."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 60))
    logits = rng.integers(-3, 4, (count, 4)) / 2 if seed % 2 else rng.normal(size=(count, 4))
    labels = (rng.random((count, 4)) < (0.05, 0.2, 0.5, 0.9)).astype(np.int8)
    if seed % 3:
        labels[rng.random((count, 4)) < 0.3] = -1
    labels[:2, 3], labels[:, 0] = 1, np.where(np.arange(count) == 1, 1, 0)  # the last class stays; the first may vanish
    expected = pseudo_values(logits, labels, rule)
    values = contributions(logits, labels, rule)
    assert values == pytest.approx(expected - expected.mean() + score(logits, labels, rule), abs=1e-10)
    assert values.mean() == pytest.approx(score(logits, labels, rule), abs=1e-12)


def test_worked_out_by_hand():
    """Ranked right, wrong, right: precisions 1 and 2/3, their mean 5/6.

    Without the first 1/2, without the second 1, without the third 1: in the mean 5/6; 5/6 + 2 (5/6 - θ₋ᵢ).
    """
    values = contributions(np.array([[3.0], [2.0], [1.0]]), np.array([[1], [0], [1]], np.int8), "all-point")
    assert values == pytest.approx([5 / 6 + 2 / 3, 1 / 2, 1 / 2])


def test_an_image_of_which_nothing_is_known_changes_nothing_but_the_number_of_images():
    logits, labels = np.array([[3.0], [2.0], [1.0], [9.0]]), np.array([[1], [0], [1], [-1]], np.int8)
    values = contributions(logits, labels, "all-point")
    assert values[3] == pytest.approx(5 / 6 + 3 * ((1 / 2 + 1 + 1 + 5 / 6) / 4 - 5 / 6))


def test_no_image_is_known_to_have_a_class():
    assert contributions(np.zeros((3, 2)), np.array([[0, -1]] * 3, np.int8), "11-point") is None


def test_without_its_only_image_the_only_class_has_no_average_precision():
    assert contributions(np.zeros((3, 1)), np.array([[1], [0], [0]], np.int8), "11-point") is None


def test_half_precision_is_enough_and_what_overflows_it_ties():
    logits = np.array([[70000.0, 80000.0, 1.0, -2.0, 0.5]]).T
    labels = np.array([[1, 0, 1, 0, 1]], np.int8).T
    with np.errstate(over="ignore"):
        halved = logits.astype(np.float16)
    tied = np.array([[9.0, 9.0, 1.0, -2.0, 0.5]]).T
    assert contributions(halved, labels, "all-point") == pytest.approx(contributions(tied, labels, "all-point"))


def test_what_the_metric_refuses_is_refused():
    with pytest.raises(ValueError, match="a score is NaN"):
        contributions(np.array([[np.nan], [1.0]]), np.ones((2, 1), np.int8), "all-point")
    with pytest.raises(ValueError, match="is not a rule"):
        contributions(np.ones((2, 1)), np.ones((2, 1), np.int8), "12-point")


def test_many_images_of_a_class_are_worked_through_in_parts(monkeypatch):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(200, 1)), (rng.random((200, 1)) < 0.5).astype(np.int8)
    whole = {rule: contributions(logits, labels, rule) for rule in RULES}
    monkeypatch.setattr("sweeps.decisions.jackknife._CELLS", 700)
    assert all((contributions(logits, labels, rule) == whole[rule]).all() for rule in RULES)


@pytest.mark.parametrize("rule", RULES)
def test_the_images_of_voc_take_well_under_two_seconds_a_replicate(rule):
    rng = np.random.default_rng(0)
    labels = (rng.random((5000, 20)) < 0.08).astype(np.int8)
    logits = rng.normal(size=(5000, 20)) + labels
    start = time.process_time()
    contributions(logits, labels, rule)
    assert time.process_time() - start < 2


def test_the_scatter_over_the_images_is_that_of_the_score():
    """The standard error from one sample of images, against the scatter of the mAP over samples."""
    rng = np.random.default_rng(3)

    def sample():
        labels = (rng.random((400, 3)) < 0.3).astype(np.int8)
        return rng.normal(size=(400, 3)) + 1.2 * labels, labels

    scores = [score(*sample(), "all-point") for _ in range(400)]
    errors = [contributions(*sample(), "all-point").std() / np.sqrt(400) for _ in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.1)
