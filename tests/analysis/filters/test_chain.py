"""A chain computes what its network computes, and can be stopped where a convolution's map enters the next layer."""

import pytest
import torch
from torch import nn

from analysis.filters.chain import chain, run, switched_off
from tests.trainables.test_models import add_excite
from trainables.config import ACTIVATIONS, CNN, ResNet
from trainables.models import build, made

DOUBLE = CNN(conv_layers=4, convs_per_block=2, channels=(4, 5), padding=1, batch_norm=True, fc_batch_norm=True)


def network(model, shape=(3, 12, 12)):
    """Return a network whose batch norms have statistics and shifts of their own, as training would give them."""
    torch.manual_seed(0)
    net = build(model, shape, 3, (0.5,) * shape[0], (0.2,) * shape[0]).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn_like(tensor))
            module.running_var.uniform_(0.5, 2)
    return net, torch.randint(0, 256, (3, *shape), dtype=torch.uint8)


def check(net, pixels, convolutions):
    with torch.inference_mode():
        links = chain(net)
        assert list(links) == [*convolutions, "head"]
        assert torch.equal(run(links.values(), pixels), net(pixels))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_a_chain_computes_what_the_network_computes(activation, pooling):
    model = CNN(conv_layers=4, convs_per_block=2, channels=4, padding=1, activation=activation, pooling=pooling)
    check(*network(model), ["conv1", "conv2", "conv3", "conv4"])


@pytest.mark.parametrize(("depth", "shape"), [(18, (3, 32, 32)), (34, (1, 28, 28))])
def test_so_does_that_of_a_resnet(depth, shape):
    blocks = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}[depth]
    convolutions = [
        f"layer{stage}.{block}.conv{number}"
        for stage, count in enumerate(blocks, start=1)
        for block in range(count)
        for number in (1, 2)
    ]
    check(*network(ResNet(depth), shape), ["conv1", *convolutions])


def test_a_network_without_convolutions_is_all_head():
    check(*network(CNN(conv_layers=0)), [])


def test_a_link_ends_behind_activation_and_pooling():
    net, pixels = network(DOUBLE)
    with torch.inference_mode():
        _, features = net.features(pixels)
        links = chain(net)
        x = links["conv1"](pixels)
        assert torch.equal(x, features["conv1"].relu())
        assert torch.equal(links["conv2"](x), features["block1"])


def test_in_a_residual_block_it_ends_before_the_sum():
    net, pixels = network(ResNet(), (3, 32, 32))
    with torch.inference_mode():
        _, features = net.features(pixels)
        x = pixels
        for name, link in chain(net).items():
            if name == "conv1":
                x = link(x)
                assert torch.equal(x, net.maxpool(features["conv1"].relu()))
            else:
                x = link(x)
            if name == "layer2.0.conv1":
                assert torch.equal(made(x), features[name].relu())
            if name == "layer2.0.conv2":
                assert torch.equal(made(x), features[name])
                assert torch.equal(x[1], features["layer1"])


@pytest.mark.parametrize(("behind", "end"), [("conv2", "conv2"), ("pool2", "pool2"), ("block2", "block2")])
def test_a_link_ends_before_a_step_that_mixes_channels(monkeypatch, behind, end):
    net, pixels = network(CNN(conv_layers=3, channels=4, padding=1))
    add_excite(monkeypatch, behind, 4)
    check(net, pixels, ["conv1", "conv2", "conv3"])
    with torch.inference_mode():
        links, x = chain(net), pixels
        for step in net.steps():
            x = step.run(x)
            if step.name == end:
                break
        assert torch.equal(links["conv2"](links["conv1"](pixels)), x)


def test_switched_off_is_the_fill_value_and_nothing_else():
    maps, other = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    off = switched_off(maps, (0, 2), torch.tensor([0.5, 9.0, -1.0]))
    assert (off[:, 0] == 0.5).all()
    assert (off[:, 2] == -1).all()
    assert torch.equal(off[:, 1], maps[:, 1])
    assert maps.min() > 0
    assert maps.max() < 1
    both = switched_off((maps, other), (1,), torch.zeros(3))
    assert (both[0][:, 1] == 0).all()
    assert both[1] is other
