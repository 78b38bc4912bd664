"""Which steps can be taken in a part of a map, and what their places see."""

import pytest
import torch
from torch import nn

from analysis.maps.local_steps import SAME_PLACE, local_steps, without_padding
from analysis.maps.rectangles import Field, Reach
from tests.trainables.test_models import add_excite
from trainables.config import CNN, ResNet
from trainables.models import Network, Step, build


class Own(Network):
    """A network of any steps."""

    def __init__(self, *steps: Step) -> None:
        super().__init__()
        self.own = steps
        self.known = nn.ModuleList(step.run for step in steps if isinstance(step.run, nn.Module))

    def steps(self):
        return iter(self.own)


def found(model, side=16, channels=3):
    """Return the local ones among a network's steps, by name, after a look at its logits."""
    torch.manual_seed(0)
    model, image = model.eval(), torch.rand(1, channels, side, side)
    with torch.inference_mode():
        local, logits = local_steps(model, image)
        torch.testing.assert_close(logits, model(image), rtol=0, atol=0)
    return dict(zip((step.name for step in model.steps()), local, strict=False))


def square(*reach):
    return Field(Reach(*reach), Reach(*reach))


def test_a_cnn_is_local_up_to_its_fully_connected_layers():
    config = CNN(
        2, (4, 6), kernel=(5, 3), stride=(2, 1), padding=(2, 0), dilation=(1, 2), groups=(1, 2), pool_after=(1,)
    )
    local = found(build(config, (3, 24, 24), 4), 24)
    assert " ".join(local) == "normalize conv1 pool1 activation1 block1 conv2 activation2 block2"
    assert {name: each.field for name, each in local.items() if each.field != SAME_PLACE} == {
        "conv1": square(5, 2, 2),
        "pool1": square(2, 2, 0),
        "conv2": square(5, 1, 0),  # three places, every other one
    }
    assert {name: each.products for name, each in local.items() if each.products} == {
        "conv1": 4 * 3 * 25,
        "conv2": 6 * 2 * 9,
    }
    assert local["conv2"].after[0].shape == (1, 6, 2, 2)


def test_padding_is_the_layers_own():
    local = found(build(ResNet(), (3, 64, 64), 4), 64)
    assert list(local)[-1] == "layer4"
    assert (local["conv1"].field, local["maxpool"].field) == (square(7, 2, 3), square(3, 2, 1))
    [base], [pooled] = local["conv1"].reads.values(), local["maxpool"].reads.values()
    assert base.table.shape == (70 * 70, 3)
    assert (base.table[: 3 * 70] == 0).all()
    assert pooled.table.shape == (34 * 34, 64)
    assert (pooled.table[:34] == -torch.inf).all()


def test_a_residual_block_reads_what_it_says_and_leaves_the_other_branch():
    local = found(build(ResNet(), (3, 64, 64), 4), 64)
    read = {name.removeprefix("layer2.0"): list(each.reads) for name, each in local.items() if "layer2.0" in name}
    assert read == {".conv1": [0], ".relu": [0], ".conv2": [0], ".downsample.0": [1], "": [0, 1]}
    assert list(local["layer1.0.relu"].reads) == [0, 1]  # of one size: by its flag alone, it may see both
    assert (local["layer2.0.downsample.0"].field, local["layer2.0.downsample.0"].products) == (
        square(1, 2, 0),
        64 * 128,
    )
    shortcut, after = local["layer2.0.conv1"].before[0], local["layer2.0.relu"].after
    assert after[1] is shortcut
    assert after[0].shape == (1, 128, 8, 8)


@pytest.mark.parametrize("behind", ["conv2", "pool1"])
def test_what_sees_the_whole_map_ends_them(monkeypatch, behind):
    add_excite(monkeypatch, behind, 4)
    names = list(found(build(CNN(conv_layers=2, channels=4, padding=1), (3, 16, 16), 4)))
    assert names[-1] == behind


@pytest.mark.parametrize(
    ("module", "field"),
    [
        (nn.MaxPool2d(3, 2, 1, 2), square(5, 2, 1)),
        (nn.MaxPool2d((3, 2), (1, 2)), Field(Reach(3, 1), Reach(2, 2))),
        (nn.AvgPool2d(2), square(2, 2)),
        (nn.Conv2d(4, 4, (3, 1), padding=(1, 0)), Field(Reach(3, 1, 1), Reach(1, 1))),
        (nn.MaxPool2d(3, 2, ceil_mode=True), None),
        (nn.AvgPool2d(3, 2, ceil_mode=True), None),
        (nn.AvgPool2d(3, 1, 1), None),
        (nn.AdaptiveAvgPool2d(7), None),
        (nn.LPPool2d(2, 2), None),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), None),
        (nn.Conv2d(4, 4, 3, padding="same"), None),
        (nn.Upsample(scale_factor=2), None),
    ],
)
def test_convolutions_and_pooling_are_local_where_all_is_known_of_them(module, field):
    local = found(Own(Step("one", module, False, True), Step("two", nn.ReLU(), False, True, True)), channels=4)
    assert list(local) == ([] if field is None else ["one", "two"])
    if field:
        assert local["one"].field == field


@pytest.mark.parametrize(
    "run",
    [
        lambda x: (x + 1, x * 2),  # two maps are made
        lambda x: x.flatten(1),
        lambda x: x[:, :, ::2],
    ],
)
def test_a_step_with_another_state_than_it_promises_ends_them(run):
    first = Step("first", nn.ReLU(), False, True, True)
    assert list(found(Own(first, Step("other", run, False, True, True)))) == ["first"]


def test_a_window_over_two_maps_ends_them():
    start = Step("start", lambda x: (x + 1, x), False, True, True)
    conv = nn.Conv2d(3, 3, 3, padding=1)
    both = Step("both", lambda maps: conv(maps[0] + maps[1]), convolution=conv)
    assert list(found(Own(start, both))) == ["start"]


def test_nothing_is_padded_and_the_weights_are_the_same():
    model = build(ResNet(), (3, 64, 64), 4)
    bare = without_padding(model)
    assert (model.conv1.padding, model.maxpool.padding) == ((3, 3), 1)
    assert {each.padding for each in bare.modules() if isinstance(each, nn.Conv2d | nn.MaxPool2d)} == {(0, 0)}
    assert all(one is other for one, other in zip(model.parameters(), bare.parameters(), strict=True))
    assert all(one is other for one, other in zip(model.buffers(), bare.buffers(), strict=True))
