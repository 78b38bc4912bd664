"""Networks against the same written out, and their steps."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables import config, models
from trainables.config import CNN, ResNet
from trainables.models import Block, ConvNet, Step, build


class Excite(nn.Module):
    """Squeeze and excite: every channel times a number that all channels and places decide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x.mean((2, 3))).sigmoid()[:, :, None, None]


def add_excite(monkeypatch: pytest.MonkeyPatch, behind: str, channels: int) -> Excite:
    """Let every block have one step more: squeeze and excite behind the step `behind`, if the block has that."""
    torch.manual_seed(1)
    excite, steps = Excite(channels), Block.steps

    def more(self, plain):
        for step in steps(self, plain):
            yield step
            if step.name == behind:
                yield Step("excite", excite)

    monkeypatch.setattr(Block, "steps", more)
    return excite


def test_every_activation_of_the_config_exists():
    assert tuple(models.ACTIVATIONS) == config.ACTIVATIONS


def test_forward_equals_the_same_network_written_out():
    torch.manual_seed(0)
    net = ConvNet(
        CNN(conv_layers=2, channels=(4, 6), fc_layers=2, fc_widths=8), (3, 12, 12), 5, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    )
    pixels = torch.randint(0, 256, (7, 3, 12, 12), dtype=torch.uint8)
    weights = net.state_dict()
    x = (pixels / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    for n in (0, 1):
        x = F.max_pool2d(
            F.relu(F.conv2d(x, weights[f"blocks.{n}.convs.0.weight"], weights[f"blocks.{n}.convs.0.bias"])), 2
        )
    x = F.relu(F.linear(x.flatten(1), weights["hidden.0.linear.weight"], weights["hidden.0.linear.bias"]))
    expected = F.linear(x, weights["head.weight"], weights["head.bias"])
    torch.testing.assert_close(net(pixels), expected)
    torch.testing.assert_close(net(pixels / 255), expected)


@pytest.mark.parametrize("activation", config.ACTIVATIONS)
def test_pooling_first_changes_nothing(activation):
    torch.manual_seed(0)
    net = ConvNet(CNN(conv_layers=1, channels=4, activation=activation, fc_layers=1), (3, 8, 8), 2)
    block = net.blocks[0]
    pixels = torch.rand(3, 3, 8, 8)
    expected = F.max_pool2d(models.ACTIVATIONS[activation]()(block.convs[0](net.normalize(pixels))), 2)
    torch.testing.assert_close(net.features(pixels)[1]["block1"], expected)


def test_features_are_those_of_the_logits():
    net = ConvNet(CNN(conv_layers=2, convs_per_block=2, channels=4, padding=1, batch_norm=True), (1, 8, 8), 3).eval()
    pixels = torch.rand(2, 1, 8, 8)
    logits, features = net.features(pixels)
    assert list(features) == ["conv1", "conv2", "block1", "flat", "fc1", "fc2"]
    torch.testing.assert_close(logits, net(pixels))
    torch.testing.assert_close(logits, net.head(features["fc2"]))


def test_without_normalisation_pixels_are_only_scaled():
    net = ConvNet(CNN(conv_layers=0, fc_layers=1, normalize_input=False), (1, 2, 2), 2, (0.5,), (0.1,))
    assert net.normalize(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)).unique().item() == pytest.approx(0.2)


def test_a_dilated_and_grouped_network_equals_the_same_written_out():
    torch.manual_seed(0)
    net = build(
        CNN(conv_layers=2, convs_per_block=2, channels=6, padding=2, dilation=2, groups=3, fc_layers=1), (3, 9, 9), 2
    )
    weights, x = net.state_dict(), torch.rand(4, 3, 9, 9)
    y = F.conv2d(x, weights["blocks.0.convs.0.weight"], weights["blocks.0.convs.0.bias"], 1, 2, 2, 3).relu()
    y = F.conv2d(y, weights["blocks.0.convs.1.weight"], weights["blocks.0.convs.1.bias"], 1, 2, 2, 3)
    expected = F.linear(F.max_pool2d(y.relu(), 2).flatten(1), weights["head.weight"], weights["head.bias"])
    torch.testing.assert_close(net(x), expected)


def test_the_first_fc_layer_gets_maps_as_they_lie_in_memory_and_has_the_usual_weights_in_files():
    config = CNN(conv_layers=1, channels=4, pooling="none", fc_layers=2, fc_widths=5)
    net = build(config, (3, 6, 6), 2).to(memory_format=torch.channels_last)
    usual = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 2))
    own = list(net.state_dict().values())[2:]  # without the pixels' mean and deviation
    usual.load_state_dict(dict(zip(usual.state_dict(), own, strict=True)))
    pixels = torch.rand(3, 6, 6, 3).permute(0, 3, 1, 2)
    logits, features = net.features(pixels)
    torch.testing.assert_close(logits, usual(pixels))
    assert features["flat"].data_ptr() == features["block1"].data_ptr()  # not copied
    other = build(config, (3, 6, 6), 2)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.hidden[0].linear.weight, net.hidden[0].linear.weight)


def test_the_steps_of_a_network_in_order():
    model = CNN(conv_layers=4, convs_per_block=2, channels=4, padding=1, pool_after=(2,), fc_layers=2)
    net = build(model, (3, 8, 8), 2)
    fast = (
        "normalize conv1 activation1 conv2 activation2 block1 conv3 activation3 conv4 pool2 activation4 block2 "
        "flat fc1 fc2"
    )
    assert " ".join(step.name for step in net.steps()) == fast
    plain = fast.replace("pool2 activation4", "activation4 pool2")
    assert " ".join(step.name for step in net.plain_steps()) == plain
    assert [step.name for step in net.steps() if step.conv2d] == ["conv1", "conv2", "conv3", "conv4"]
    assert net.first_convolution is net.blocks[0].convs[0]
    assert net.last_activation == "activation4"
    assert build(CNN(conv_layers=0), (3, 8, 8), 2).first_convolution is None


@pytest.mark.parametrize("activation", config.ACTIVATIONS)
@pytest.mark.parametrize("pooling", config.POOLINGS)
def test_plain_steps_are_the_same_function(activation, pooling):
    torch.manual_seed(0)
    net = build(CNN(conv_layers=2, channels=4, activation=activation, pooling=pooling), (3, 12, 12), 2).eval()
    x = pixels = torch.rand(3, 3, 12, 12)
    for step in net.plain_steps():
        x = step.run(x)
    torch.testing.assert_close(x, net(pixels))


@pytest.mark.parametrize("model", [CNN(conv_layers=4, convs_per_block=2, padding=1, batch_norm=True), ResNet(18)])
def test_steps_keep_what_they_promise(model):
    """Another value at one channel, or place, of what a step gets changes only that one of what it yields."""
    torch.manual_seed(0)
    net = build(model, (3, 32, 32), 5).double().eval()
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    promised = 0
    for step in net.plain_steps():
        for keeps, at in ((step.keeps_channels, (0, 1)), (step.keeps_places, (0, slice(None), 0, 0))):
            if keeps:
                promised += 1
                change = torch.zeros_like(models.made(x))
                change[at] = torch.rand_like(change[at])
                other = (x[0] + change, x[1]) if isinstance(x, tuple) else x + change
                differs = models.made(step.run(other)) != models.made(step.run(x))
                kept = differs.clone().reshape(differs.shape[0], differs.shape[1], -1)
                kept[(0, 1) if at == (0, 1) else (0, slice(None), 0)] = False
                assert not kept.any(), step.name
        x = step.run(x)
    assert promised >= 10


def test_a_copy_computes_with_its_own_weights():
    torch.manual_seed(0)
    for model in (CNN(conv_layers=1), ResNet()):
        net, pixels = build(model, (3, 32, 32), 3).eval(), torch.rand(1, 3, 32, 32)
        logits = net(pixels)
        other = copy.deepcopy(net)
        for parameter in other.parameters():
            parameter.data.zero_()
        assert torch.equal(net(pixels), logits)
        assert other(pixels).abs().max() == 0


def test_no_dropout_is_no_step_of_the_random_numbers():
    for rate, drawn in ((0.0, False), (0.5, True)):
        net = build(CNN(conv_layers=1, conv_dropout=rate, fc_dropout=rate), (3, 8, 8), 2).train()
        torch.manual_seed(0)
        state = torch.get_rng_state()
        net(torch.rand(1, 3, 8, 8, generator=torch.Generator()))
        assert torch.equal(torch.get_rng_state(), state) != drawn


@pytest.mark.parametrize("behind", ["conv1", "activation1", "conv3", "block2"])
def test_a_step_added_to_a_block_is_in_logits_and_features(monkeypatch, behind):
    torch.manual_seed(0)
    net = build(CNN(conv_layers=3, channels=4, padding=1), (3, 16, 16), 3).eval()
    pixels = torch.rand(2, 3, 16, 16)
    without = net(pixels)
    excite = add_excite(monkeypatch, behind, 4)
    assert not torch.allclose(net(pixels), without)
    logits, features = net.features(pixels)
    assert torch.equal(logits, net(pixels))
    x = net.normalize(pixels)
    for number, block in enumerate(net.blocks, start=1):
        x = block.convs[0](x)
        assert torch.equal(features[f"conv{number}"], x)
        parts = {f"conv{number}": nn.Identity(), f"pool{number}": block.pool, f"activation{number}": block.activation}
        for name, part in (parts | {f"block{number}": nn.Identity()}).items():
            x = part(x)
            x = excite(x) if name == behind else x
        if f"block{number}" != behind:
            assert torch.equal(features[f"block{number}"], x)
    assert torch.equal(features["flat"], x.permute(0, 2, 3, 1).flatten(1))


def test_nothing_but_a_residual_network_imports_torchvision():
    """It takes seconds, of the driver's start and of every worker's."""
    code = "import sys, analysis.jobs, sweeps.engine, sweeps.execution.worker; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
