"""The choice of filters: as text, checked against a network, and its modules."""

from functools import partial

import numpy as np
import pytest
import torch

from analysis.filters.naming import chosen, convolution, labels, parse, written
from analysis.subject import Subject
from trainables.config import CNN, Model, ResNet
from trainables.errors import UserError
from trainables.models import build
from trainables.plan import plan


def make_subject(model: Model, shape: tuple[int, int, int] = (3, 12, 12), count: int = 6, classes: int = 3) -> Subject:
    """Return an untrained network on random images, their classes in turn."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)
    return Subject(
        name="net",
        model=build(model, shape, classes).eval(),
        layers=plan(model, shape, classes),
        class_names=tuple(f"class{number}" for number in range(classes)),
        dataset="random",
        images=images,
        labels=np.arange(count) % classes,
        training_images=(2,) * classes,
        blank=partial(build, model, shape, classes),
    )


SMALL = CNN(channels=(4, 5, 6), padding=1, fc_layers=1)


def test_text_and_mapping_say_the_same():
    filters = {"conv1": (0, 1, 2), "conv2": (7,), "layer1.0.conv2": (0, 1, 5)}
    text = "conv1:0-2 conv2:7 layer1.0.conv2:0,1,5"
    assert parse("conv1:2,0,1,0 conv2:7 layer1.0.conv2:0-1,5") == parse(text) == filters
    assert written("conv1:2,0,1 conv2:7 layer1.0.conv2:5,0-1") == written(filters) == text


def test_one_layer_written_twice_is_one_choice():
    assert parse("conv1:4 conv2:1 conv1:0") == {"conv1": (0, 4), "conv2": (1,)}


@pytest.mark.parametrize(
    "text",
    ["", "conv1", "conv1:", "conv1:a", "conv1:-1", "conv1:1,,2", "conv1:0, 1", "conv1:9999999", "conv1:1-", "conv1:٣"],
)
def test_other_forms_are_named(text):
    with pytest.raises(UserError, match=r"^filters .*must be like 'conv1:0,1,2 conv3:0-3'$"):
        parse(text)


def test_a_range_may_be_of_one():
    assert parse("conv1:3-3") == {"conv1": (3,)}


def test_a_falling_range_is_named():
    with pytest.raises(UserError, match=r"^filters has '3-1', but a range must rise$"):
        parse("conv1:3-1")


def test_default_is_that_of_r0_as_far_as_there_are_layers_and_filters():
    assert chosen(None, make_subject(SMALL)) == {"conv1": (0, 1, 2), "conv2": (0, 1, 2), "conv3": (0, 1, 2, 3)}
    assert chosen(None, make_subject(CNN(conv_layers=1, channels=2))) == {"conv1": (0, 1)}
    resnet = make_subject(ResNet(18), (3, 32, 32))
    assert list(chosen(None, resnet)) == ["conv1", *(f"layer{stage}.1.conv2" for stage in (1, 2, 3, 4))]
    assert set(chosen(None, resnet).values()) == {(0, 1, 2)}


def test_what_a_network_lacks_is_said_with_what_it_has():
    subject = make_subject(SMALL)
    with pytest.raises(UserError, match=r"^net has no convolution 'stem'; known: conv1, conv2, conv3$"):
        chosen("stem:0", subject)
    with pytest.raises(UserError, match=r"^conv2 of net has the filters 0 to 4, but no 5$"):
        chosen({"conv2": (0, 5)}, subject)
    with pytest.raises(UserError, match="net has no convolutions"):
        chosen(None, make_subject(CNN(conv_layers=0)))


def test_labels_count_from_0():
    assert labels({"conv1": (0, 2), "conv3": (1,)}) == ["conv1:0", "conv1:2", "conv3:1"]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_modules_are_those_of_the_plan(batch_norm):
    subject = make_subject(
        CNN(conv_layers=4, convs_per_block=2, channels=(4, 5), padding=1, batch_norm=batch_norm, activation="tanh")
    )
    shapes = [tuple(convolution(subject.model, layer).weight.shape) for layer in subject.convolutions]
    assert shapes == [(4, 3, 3, 3), (4, 4, 3, 3), (5, 4, 3, 3), (5, 5, 3, 3)]
    assert isinstance(subject.model.activation, torch.nn.Tanh)


def test_modules_of_a_resnet_go_by_name():
    model = make_subject(ResNet(18), (1, 32, 32)).model
    assert convolution(model, "conv1").weight.shape == (64, 1, 7, 7)
    assert convolution(model, "layer4.1.conv2").weight.shape == (512, 512, 3, 3)
    assert isinstance(model.activation, torch.nn.ReLU)
