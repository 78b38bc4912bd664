"""Losses and scores against numbers worked by hand."""

import math

import pytest
import torch

from trainables.scoring import loss, score


def test_one_label_an_image():
    """Probabilities 2/3, 1/3; 1/4, 3/4; 1/2, 1/2: the losses are −log of the label's, their mean is taken."""
    logits = torch.tensor([[math.log(2), 0], [0, math.log(3)], [5, 5]])
    labels = torch.tensor([0, 0, 1])
    expected = (-math.log(2 / 3) - math.log(1 / 4) - math.log(1 / 2)) / 3
    assert float(loss(logits, labels)) == pytest.approx(expected)
    found = score(logits, labels, "11-point")
    assert found.loss == float(loss(logits, labels))
    assert (found.value, found.per_class) == (1 / 3, (1 / 2, 0))  # of equal logits the first class is predicted


def test_accuracy_is_over_images_not_over_classes():
    logits = torch.eye(4)[[0, 0, 1, 3, 3]]
    found = score(logits, torch.tensor([0, 0, 0, 3, 1]), "11-point")
    assert found.value == 3 / 5
    assert found.per_class == (2 / 3, 0, None, 1)  # no image is of class 2


def test_several_labels_an_image_and_unknown_ones_that_count_nowhere():
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    labels = torch.tensor([[1, -1], [0, 1]], dtype=torch.int8)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(0.5)) + math.log(2)) / 3
    assert float(loss(logits, labels)) == pytest.approx(expected)
    found = score(logits, labels, "11-point")
    assert found.loss == pytest.approx(expected)
    assert (found.value, found.per_class) == (1, (1, 1))
    changed = logits.clone()
    changed[0, 1] = 100
    assert score(changed, labels, "11-point") == found


@pytest.mark.parametrize(
    ("rule", "per_class", "mean"),
    [
        ("11-point", ((6 + 5 * 2 / 3) / 11, 1 / 4, None), ((6 + 5 * 2 / 3) / 11 + 1 / 4) / 2),
        ("all-point", (5 / 6, 1 / 4, None), (5 / 6 + 1 / 4) / 2),
    ],
)
def test_the_score_of_several_labels_is_the_mean_over_the_classes_there_are(rule, per_class, mean):
    """Class 0: right, wrong, right, wrong. Class 1: the only right one comes last. Class 2: none."""
    logits = torch.tensor([[4.0, 4, 0], [3, 3, 0], [2, 2, 0], [1, 1, 0]])
    labels = torch.tensor([[1, 0, 0], [0, 0, -1], [1, 0, 0], [0, 1, 0]], dtype=torch.int8)
    found = score(logits, labels, rule)
    assert found.per_class == (pytest.approx(per_class[0]), pytest.approx(per_class[1]), None)
    assert found.value == pytest.approx(mean)


def test_without_any_class_there_is_no_score():
    with pytest.raises(ValueError, match="no image is known to have any of the classes"):
        score(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int8), "11-point")
