"""Logits of painted images against the whole network's, and where parts of maps are given up for whole ones."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

import analysis.maps.incremental
from analysis.maps.incremental import Incremental, switch
from analysis.maps.local_steps import local_steps
from analysis.maps.rectangles import Interval, Rectangle
from tests.analysis.maps.test_local_steps import Own
from tests.trainables.test_models import add_excite
from trainables.config import CNN, ResNet
from trainables.errors import UserError
from trainables.models import Step, build

COLOUR = torch.tensor([0.1, 0.9, 0.4])


def rectangles(generator, count, height, width):
    """Return random rectangles: some of one pixel, some cut by the border, some the whole image."""
    axes = []
    for side in (height, width):
        centres, reach = generator.integers(0, side, count), generator.integers(0, side // 3, count)
        reach[0], reach[-1] = 0, side if generator.random() < 0.2 else 1
        axes.append(Interval(np.maximum(centres - reach, 0), np.minimum(centres + reach, side - 1)))
    return Rectangle(*axes)


def painted(image, changed, colour):
    images = image.repeat(len(changed.rows.first), 1, 1, 1)
    for each, top, bottom, left, right in zip(images, *changed.rows, *changed.columns, strict=True):
        each[:, top : bottom + 1, left : right + 1] = colour[:, None, None]
    return images


def trained_norms(model, shape):
    """Let batch norms have seen something."""
    with torch.no_grad():
        for each in model.modules():
            if isinstance(each, nn.BatchNorm2d):
                for values in (each.weight, each.bias, each.running_mean):
                    values.uniform_(-1, 1)
        model.train()(torch.rand(4, *shape))
    return model.eval()


def differences(model, image, changed, until=None):
    """Return how far the logits are from those of the whole network, in float64 and in float32, over the largest logit.

    So many steps are taken in parts, None: as many as take the least work.
    """
    found = []
    for dtype in (torch.float64, torch.float32):
        net, pixels, colour = model.to(dtype), image.to(dtype), COLOUR[: image.shape[1]].to(dtype)
        with torch.inference_mode():
            network = Incremental(net, pixels)
            chosen = switch if until is None else lambda _, local, __: min(until, len(local))
            with patch.object(analysis.maps.incremental, "switch", chosen):
                logits = network.painted(changed, colour)
            expected = net(painted(pixels, changed, colour))
        found.append(float((logits - expected).abs().max() / expected.abs().max()))
    return found


def random_cnn(generator):
    """Return a random network and the size of its images."""

    def one(*values):
        return values[generator.integers(len(values))]

    def each(*values):
        return tuple(one(*values) for _ in range(blocks))

    while True:
        blocks, convs = one(1, 2, 3), one(1, 1, 2)
        config = CNN(
            conv_layers=blocks * convs,
            channels=each(2, 4, 6),
            kernel=each(1, 2, 3, 5),
            stride=each(1, 1, 1, 2, 3),
            padding=each(0, 1, 2, 3),
            dilation=each(1, 1, 2),
            groups=(1, *each(1, 2)[1:]),
            convs_per_block=convs,
            pooling=one("max", "average"),
            pool_size=one(1, 2, 3),
            pool_stride=one(1, 2, 3),
            pool_after=one(None, (), (1,)),
            batch_norm=one(False, True),
            activation=one("relu", "gelu", "sigmoid"),
            conv_dropout=one(0.0, 0.5),
            fc_layers=one(1, 2),
        )
        shape = (one(1, 3), one(15, 20, 24), one(16, 21))
        try:
            return build(config, shape, 5, (0.4,) * shape[0], (0.2,) * shape[0]), shape
        except UserError:
            continue


@pytest.mark.parametrize("seed", range(40))
def test_logits_are_the_whole_networks(seed):
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model, shape = random_cnn(generator)
    trained_norms(model, shape)
    image, changed = torch.rand(1, *shape), rectangles(generator, 9, *shape[1:])
    for until in (None, 99, int(generator.integers(0, 10))):
        exact, rounded = differences(model, image, changed, until)
        assert exact < 1e-12
        assert rounded < 2e-6


@pytest.mark.parametrize(("depth", "side"), [(18, 40), (18, 64), (18, 97), (34, 64)])
def test_logits_are_a_whole_resnets(depth, side):
    torch.manual_seed(side)
    shape, generator = (3, side, side + 3), np.random.default_rng(side)
    model = trained_norms(build(ResNet(depth=depth), shape, 4), shape)
    image, changed = torch.rand(1, *shape), rectangles(generator, 5, *shape[1:])
    for until in (None, 99, 8, 17):
        exact, rounded = differences(model, image, changed, until)
        assert exact < 1e-11
        assert rounded < 2e-5


def test_windows_and_strides_may_differ_between_rows_and_columns():
    conv = nn.Conv2d(3, 4, (3, 1), (1, 2), (1, 0), bias=False)
    steps = (Step("conv", conv, convolution=conv), Step("pool", nn.MaxPool2d((2, 3), (2, 1), (0, 1)), False, True))
    model = Own(*steps, Step("flat", lambda x: x.flatten(1)))
    image, changed = torch.rand(1, 3, 12, 15), rectangles(np.random.default_rng(0), 20, 12, 15)
    assert differences(model, image, changed, 2)[0] < 1e-12


@pytest.mark.parametrize("behind", ["conv2", "pool1"])
def test_a_network_with_a_step_that_sees_the_whole_map_is_whole_from_there_on(monkeypatch, behind):
    add_excite(monkeypatch, behind, 4)
    torch.manual_seed(0)
    model = build(CNN(conv_layers=2, channels=4, padding=1), (3, 16, 16), 3).eval()
    image, changed = torch.rand(1, 3, 16, 16), rectangles(np.random.default_rng(0), 9, 16, 16)
    with patch.object(analysis.maps.incremental, "switch", lambda _, local, __: len(local)):
        network = Incremental(model, image)
        found = network.painted(changed, COLOUR)
    torch.testing.assert_close(found, model(painted(image, changed, COLOUR)))


def test_steps_are_made_anew_for_each_batch():
    """A module that is replaced meanwhile is not missed, as in Network.forward()."""
    torch.manual_seed(0)
    model = build(CNN(conv_layers=1, channels=4), (3, 16, 16), 3).eval()
    image, changed = torch.rand(1, 3, 16, 16), rectangles(np.random.default_rng(0), 4, 16, 16)
    network = Incremental(model, image)
    model.head = nn.Linear(model.head.in_features, 7)
    assert network.painted(changed, COLOUR).shape == (4, 7)


def windows(size, side, step):
    """Return windows of `size` pixels at every `step`-th place of both axes."""
    y, x = (each.ravel() for each in np.meshgrid(*[np.arange(0, side, step)] * 2, indexing="ij"))
    reach = size // 2
    return Rectangle(*(Interval(np.maximum(c - reach, 0), np.minimum(c + reach, side - 1)) for c in (y, x)))


def chosen(config, side, size):
    """Return the first step that is taken with whole maps behind windows of a size."""
    with torch.device("meta"):
        model = build(config, (3, side, side), 10).eval()
    image = torch.empty(1, 3, side, side, device="meta")
    local, _ = local_steps(model, image)
    network = Incremental.__new__(Incremental)
    network.local = local
    changed = windows(size, side, side // 8)
    frames = [changed.frame(side, side), *network._frames(changed)]
    return [step.name for step in model.steps()][switch(image, local, frames)]


R0 = CNN(conv_layers=3, channels=(16, 32, 64), fc_layers=3)


@pytest.mark.parametrize(
    ("config", "side", "size", "first_whole"),
    [
        (R0, 32, 3, "conv3"),
        (R0, 32, 9, "conv3"),
        (R0, 32, 33, "normalize"),
        (CNN(conv_layers=0), 32, 9, "flat"),
        (ResNet(), 224, 21, "layer4.0.conv1"),
        (ResNet(), 64, 7, "layer2.0.conv1"),
    ],
)
def test_where_parts_are_given_up_follows_from_geometry_alone(config, side, size, first_whole):
    assert chosen(config, side, size) == first_whole
