"""Logits of painted images against the whole network's, and where parts of maps are given up for whole ones."""

import copy
import itertools
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn

import analysis.maps.incremental
from analysis.maps.incremental import Incremental, switch
from analysis.maps.rectangles import Interval, Rectangle
from tests.analysis.maps.test_local_steps import Own
from tests.pretended import pretended_gpu
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


@pytest.mark.parametrize(("depth", "side"), [(18, 40), (18, 64), (34, 64)])
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


@pytest.mark.parametrize("config", [CNN(conv_layers=2, channels=4, padding=1), ResNet()])
@pytest.mark.parametrize("until", [0, 9])
def test_on_a_gpu_nothing_is_mixed_and_the_bits_are_the_cpus(config, until):
    torch.manual_seed(0)
    model, image = build(config, (3, 32, 32), 3).eval(), torch.rand(1, 3, 32, 32)
    changed = rectangles(np.random.default_rng(0), 4, 32, 32)
    with patch.object(analysis.maps.incremental, "switch", lambda *_: until):
        with torch.inference_mode():
            expected = Incremental(model, image).painted(changed, COLOUR)
        with pretended_gpu() as gpu:
            there, pixels, colour = copy.deepcopy(model).to(gpu.device), image.to(gpu.device), COLOUR.to(gpu.device)
            with torch.inference_mode():
                found = Incremental(there, pixels).painted(changed, colour)
            assert found.is_cuda
    assert gpu.faults == []
    assert torch.equal(found, expected)


def test_steps_are_made_anew_for_each_batch():
    """A module that is replaced meanwhile is not missed, as in Network.forward()."""
    torch.manual_seed(0)
    model = build(CNN(conv_layers=1, channels=4), (3, 16, 16), 3).eval()
    image, changed = torch.rand(1, 3, 16, 16), rectangles(np.random.default_rng(0), 4, 16, 16)
    network = Incremental(model, image)
    model.head = nn.Linear(model.head.in_features, 7)
    assert network.painted(changed, COLOUR).shape == (4, 7)


R0 = CNN(conv_layers=3, channels=(16, 32, 64), fc_layers=3)


def first_whole(config, side, size, centre, count=64):
    """Return the first step that is taken with whole maps, of so many windows at one place."""
    with torch.device("meta"):  # nothing is computed
        model = build(config, (3, side, side), 10).eval()
    network = Incremental(model, torch.empty(1, 3, side, side, device="meta"))
    ends = (max(0, centre - size // 2), min(side - 1, centre + size // 2))
    changed = Rectangle(*[Interval(*(np.full(count, end) for end in ends))] * 2)
    frames = [changed.frame(side, side), *network._frames(changed)]
    return [step.name for step in model.steps()][switch(network.image, network.local, frames)]


@pytest.mark.parametrize(
    ("config", "side", "size", "centre", "expected"),
    [
        (R0, 32, 3, 16, "conv3"),
        (R0, 32, 9, 0, "flat"),  # the border cuts the window, and all that it reaches
        (R0, 32, 31, 16, "normalize"),
        (CNN(conv_layers=0), 32, 9, 16, "normalize"),
        (ResNet(), 224, 21, 112, "layer3.0"),
        (ResNet(), 224, 21, 3, "layer4.0"),
        (ResNet(), 64, 7, 32, "layer1.1.conv1"),
    ],
)
def test_where_parts_end_follows_from_geometry_alone(config, side, size, centre, expected):
    assert first_whole(config, side, size, centre) == expected


def test_a_single_small_window_is_not_worth_gathering_for():
    assert first_whole(R0, 32, 3, 16, count=1) == "normalize"


def test_parts_end_where_all_takes_the_least_work(monkeypatch):
    """A 3×3 and a 15×15 convolution take 20×20 pixels to 18×18 and 4×4 places; five rectangles are changed."""
    for name, value in (("VALUE", 1), ("GATHERED", 9), ("CALL", 30)):
        monkeypatch.setattr(analysis.maps.incremental, name, value)
    convs = [nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 4, 15, bias=False)]
    model = Own(*(Step("conv", conv, convolution=conv) for conv in convs), Step("flat", lambda x: x.flatten(1)))
    network = Incremental(model, torch.rand(1, 3, 20, 20))
    chosen = set()
    for first, size in itertools.product((0, 4), range(1, 17)):
        changed = Rectangle(*[Interval(np.full(5, first), np.full(5, first + size - 1))] * 2)
        frames = [changed.frame(20, 20), *network._frames(changed)]
        one, two = (size, min(size, 4)) if first == 0 else (min(size + 2, 16), 4)
        assert [frame.rows.size for frame in frames] == [size, one, two]
        whole = [18 * 18 * (108 + 4), 4 * 4 * (3600 + 4)]
        part = [
            one**2 * (108 + 4) + 9 * 3 * (one + 2) ** 2 + 30 / 5,
            two**2 * (3600 + 4) + 9 * 4 * (two + 14) ** 2 + 30 / 5,
        ]
        work = [
            3 * 400 + sum(whole),
            part[0] + 9 * 4 * 18 * 18 + 30 / 5 + whole[1],
            sum(part) + 9 * 4 * 4 * 4 + 30 / 5,
        ]
        assert switch(network.image, network.local, frames) == work.index(min(work))
        chosen.add(work.index(min(work)))
    assert chosen == {0, 1, 2}
