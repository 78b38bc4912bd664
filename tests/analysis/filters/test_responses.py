"""Responses of maps made by hand, and which images have the highest."""

import numpy as np
import pytest
import torch

from analysis.filters.responses import Response, among_highest, highest
from tests.analysis.filters.test_naming import SMALL, make_subject

MAPS = {"conv1": torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]]), "conv2": torch.tensor([[[[-5.0, 1.0]]]])}


@pytest.mark.parametrize(
    ("norm", "stage", "expected"),
    [
        ("sum", "before", [7, -1, -4]),
        ("sum", "after", [7, 1, 1]),
        ("norm", "before", [5, 5**0.5, 26**0.5]),
        ("norm", "after", [5, 1, 1]),
    ],
)
def test_of_several_layers(norm, stage, expected):
    found = Response(norm, stage).of(make_subject(SMALL), MAPS, {"conv1": (1, 0), "conv2": slice(5)})
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_in_words():
    assert str(Response("norm", "after")) == "the Frobenius norm of the filter's map, after the activation"


def test_the_highest_come_first_and_ties_go_by_number():
    responses = np.array([[1.0, 0.0], [2.0, 0.0], [2.0, 5.0], [0.0, 0.0]])
    assert highest(responses[:, 0], 3).tolist() == [1, 2, 0]
    assert highest(responses, 2).T.tolist() == [[1, 2], [2, 0]]
    assert among_highest(responses, 2).T.tolist() == [[False, True, True, False], [True, False, True, False]]
    assert among_highest(responses, 9).all()
