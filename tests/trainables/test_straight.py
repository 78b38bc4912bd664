"""The forward pass without modules has the bits of the one with them."""

import itertools

import pytest
import torch
from torch import nn

from trainables.config import CNN, ResNet
from trainables.models import ACTIVATIONS, Hidden, build
from trainables.straight import straight

SHAPE, CLASSES = (3, 24, 24), 5
PIXELS = torch.randint(0, 256, (6, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PLAIN = CNN(conv_layers=3, channels=(4, 6, 8), fc_layers=3, fc_widths=(16, 8))


def network(config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(config, SHAPE, CLASSES, (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)).to(memory_format=torch.channels_last)


def trained(model, forward):
    """Return the logits of a pass, all gradients, and what the network remembers of it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        logits = forward(PIXELS)
        logits.square().mean().backward()
    found = {f"gradient of {name}": each.grad for name, each in model.named_parameters()}
    return found | dict(model.named_buffers()) | {"logits": logits.detach()}


CONFIGS = [
    *(CNN(conv_layers=2, channels=4, fc_layers=2, fc_widths=8, activation=name) for name in ACTIVATIONS),
    *(
        CNN(conv_layers=4, convs_per_block=2, channels=(4, 8), padding=1, batch_norm=norm, pooling=pooling)
        for norm, pooling in itertools.product((False, True), ("max", "average", "none"))
    ),
    CNN(conv_layers=2, channels=4, conv_dropout=0.3, fc_layers=3, fc_widths=16, fc_dropout=0.5, fc_batch_norm=True),
    CNN(conv_layers=2, channels=(4, 8), kernel=5, stride=2, padding=2, groups=(1, 2), pool_size=3, pool_stride=2),
    CNN(conv_layers=2, channels=4, dilation=2, normalize_input=False),
    CNN(conv_layers=0, fc_layers=1),
    ResNet(18),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_logits_gradients_and_statistics_are_the_network_s_own_bit_by_bit(config):
    one, other = network(config), network(config)
    found, expected = trained(one, straight(one)), trained(other, other)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_it_follows_weights_that_are_loaded_and_the_mode_that_is_set():
    model, other = network(CNN(conv_layers=1, channels=4, fc_dropout=0.5)), network(CNN(conv_layers=1, channels=4))
    forward = straight(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    model.load_state_dict(other.state_dict())
    assert torch.equal(forward(PIXELS), forward(PIXELS)) is False  # dropout
    model.eval()
    assert torch.equal(forward(PIXELS), other.eval()(PIXELS))


def test_of_a_plain_network_no_module_is_called_but_the_one_that_scales_pixels(monkeypatch):
    called = []

    def noted(self, *arguments):
        called.append(type(self).__name__)
        return self.forward(*arguments)

    model = network(PLAIN)
    forward = straight(model)
    monkeypatch.setattr(nn.Module, "__call__", noted)
    forward(PIXELS)
    assert called == ["Normalize"]


def test_modules_of_other_kinds_are_called_as_they_are():
    model = network(PLAIN)
    doubled = nn.Sequential(model.hidden[0].linear, nn.Tanh())
    hidden = model.hidden[0]
    assert isinstance(hidden, Hidden)
    hidden.linear = doubled
    assert torch.equal(straight(model)(PIXELS), model(PIXELS))
