from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.subject import Subject, subject
from tests.conftest import make_dataset
from trainables.checkpoint import load, pack
from trainables.config import CNN, Training, Trial
from trainables.datasets.voc import Box
from trainables.errors import UserError
from trainables.train import replicate, train


@pytest.fixture(scope="module")
def trained(tiny):
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, crop=6))
    members = [replicate(trial, tiny, 0, torch.device("cpu"))]
    epochs = list(train(trial, tiny, members, torch.device("cpu")))
    return load(pack(trial, tiny, members)), epochs[-1].records[0]


def examine(trained, data) -> Subject:
    return subject(trained[0], data, "net", torch.device("cpu"))


def test_a_subject_sees_the_test_images_as_training_evaluated_them(trained, tiny):
    of = examine(trained, tiny)
    np.testing.assert_array_equal(of.images, tiny.test.images[:, 3:9, 3:9])
    assert of.right.mean() == trained[1].test_score
    assert of.training_images == (32, 32, 32)
    assert of.convolutions == ["conv1"]
    np.testing.assert_allclose(of.probabilities.sum(1), 1, rtol=1e-6)
    gathered = np.concatenate([logits.numpy() for _, logits, _ in of.batches(size=7)])
    np.testing.assert_allclose(gathered, of.logits, rtol=0, atol=1e-5)


def test_other_data_is_refused(trained):
    with pytest.raises(UserError, match=r"^net was trained on other images than tiny has now, or with another split$"):
        examine(trained, make_dataset(seed=1))
    with pytest.raises(UserError, match=r"^net was trained on other classes or images than tiny has"):
        examine(trained, make_dataset(classes=2))


def test_boxes_move_with_the_centre_that_is_cut_out(trained, tiny):
    """The centre 6×6 of 12×12 pixels: fractions 0.25 to 0.75."""
    boxes = ((Box(1, False, 0.25, 0.0, 0.5, 0.5), Box(2, False, 0.7, 0.7, 1, 1)), *((),) * (len(tiny.test) - 1))
    of = examine(trained, replace(tiny, test=replace(tiny.test, boxes=boxes)))
    expected = np.zeros((3, 6, 6), bool)
    expected[0, :3, :3] = True
    np.testing.assert_array_equal(of.objects(np.array([0, 0, 1]), np.array([1, 0, 1])), expected)
    assert not examine(trained, tiny).knows_objects
