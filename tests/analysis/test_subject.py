from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.jobs.filter_identification import FilterIdentification
from analysis.subject import Subject, handed_over, subject
from tests.analysis.filters.test_naming import make_subject
from tests.conftest import make_dataset
from tests.trainables.test_models import add_excite
from trainables.checkpoint import load, pack
from trainables.config import CNN, ResNet, Training, Trial
from trainables.datasets.voc import Box
from trainables.errors import UserError
from trainables.replicate import replicate
from trainables.train import train


@pytest.fixture(scope="module")
def trained(tiny):
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, crop=6))
    members = [replicate(trial, tiny, seed, torch.device("cpu")) for seed in (0, 7)]
    epochs = list(train(trial, tiny, members, torch.device("cpu")))
    return load(pack(trial, tiny, members)), epochs[-1].records


def examine(trained, data) -> Subject:
    return subject(trained[0], data, "net", torch.device("cpu"))


def test_a_subject_sees_the_test_images_as_training_evaluated_them(trained, tiny):
    of = examine(trained, tiny)
    np.testing.assert_array_equal(of.images, tiny.test.images[:, 3:9, 3:9])
    assert [each.right.mean() for each in of.replicates] == [record.test_score for record in trained[1]]
    assert [each.seed for each in of.replicates] == [0, 7]
    assert of.training_images == (32, 32, 32)
    assert of.convolutions == ["conv1"]
    np.testing.assert_allclose(of.probabilities.sum(1), 1, rtol=1e-6)
    gathered = np.concatenate([logits.numpy() for _, logits, _ in of.batches(size=7)])
    np.testing.assert_allclose(gathered, of.logits, rtol=0, atol=1e-5)


def test_images_that_came_later_are_seen_as_the_test_images_were(trained, tiny):
    """Of the same images all is the same, but for what only the data set tells."""
    expected = examine(trained, tiny)
    of = handed_over(trained[0], tiny.test, "net", "later", torch.device("cpu"))
    np.testing.assert_array_equal(of.logits, expected.logits)
    np.testing.assert_array_equal(of.images, expected.images)
    np.testing.assert_array_equal(of.untrained(3).logits, expected.untrained(3).logits)
    assert [each.seed for each in of.replicates] == [0, 7]
    assert (of.dataset, of.training_images, of.class_names) == ("later", (), tiny.class_names)


def test_an_untrained_network_is_as_training_would_begin_with_it(trained, tiny):
    of = examine(trained, tiny)
    expected = replicate(trained[0].trial, tiny, 3, torch.device("cpu")).model.state_dict()
    begun = of.untrained(3)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in begun.model.state_dict().items())
    assert (begun.name, begun.replicates) == ("net, untrained", (begun,))
    assert not np.array_equal(begun.logits, of.logits)
    with pytest.raises(ValueError, match="is not known"):
        replace(of, blank=None).untrained(3)


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


@pytest.mark.parametrize("model", [CNN(conv_layers=3, padding=1, batch_norm=True), ResNet()])
def test_what_a_layer_sees_is_the_plan_s(model):
    of = make_subject(model, (3, 16, 16))
    for name in of.convolutions:
        assert of.sees(name) is of.layer(name)
    with pytest.raises(UserError, match=r"^net has no layer 'conv9'"):
        of.sees("conv9")


def test_what_a_layer_sees_is_refused_behind_a_step_that_is_not_planned(monkeypatch):
    of = make_subject(CNN(conv_layers=3, channels=4, padding=1), (3, 16, 16))
    add_excite(monkeypatch, "activation2", 4)
    assert [of.sees(name).receptive_field for name in ("conv1", "conv2")] == [3, 8]
    message = "net has the step 'excite', which is not in the plan: what conv3 sees is not known"
    with pytest.raises(UserError) as caught:
        of.sees("conv3")
    assert str(caught.value) == message
    FilterIdentification(filters="conv2:0").check(of)
    with pytest.raises(UserError, match=message):
        FilterIdentification(filters="conv2:0 conv3:0").parts(of)
