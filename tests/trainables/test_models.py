import pytest
import torch
from torch.nn import functional as F

from trainables import config, models
from trainables.config import CNN
from trainables.models import ConvNet


def test_every_activation_of_the_config_exists():
    assert tuple(models.ACTIVATIONS) == config.ACTIVATIONS


def test_forward_equals_the_same_network_written_out():
    torch.manual_seed(0)
    net = ConvNet(
        CNN(conv_layers=2, channels=(4, 6), fc_layers=2, fc_widths=8), (3, 12, 12), 5, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    )
    pixels = torch.randint(0, 256, (7, 3, 12, 12), dtype=torch.uint8)
    weights = dict(net.named_parameters())
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
