"""Plans against the counts that the reports publish, and against the networks that are built."""

from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from sweeps.part_a import BASELINE
from trainables.config import CNN, ResNet
from trainables.errors import UserError
from trainables.models import ConvNet, build
from trainables.plan import flops, parameters, plan

WIDE = CNN(conv_layers=4, channels=(256, 1024, 2048, 2048), kernel=(5, 3, 3, 1), fc_layers=3, fc_widths=(1024, 256))
BLOCKS = CNN(
    conv_layers=6,
    convs_per_block=2,
    channels=(16, 32, 64),
    padding=1,
    batch_norm=True,
    fc_layers=3,
    fc_widths=(512, 128),
    fc_batch_norm=True,
    fc_dropout=0.5,
)
SIMPLE = CNN(conv_layers=2, channels=(32, 64), kernel=5, padding=2, pooling="average", fc_layers=2, fc_widths=128)
CAFFENET = CNN(
    conv_layers=5,
    channels=(96, 256, 384, 384, 256),
    kernel=(11, 5, 3, 3, 3),
    stride=(4, 1, 1, 1, 1),
    padding=(0, 2, 1, 1, 1),
    pool_size=3,
    pool_stride=2,
    pool_after=(1, 2, 5),
    fc_layers=3,
    fc_widths=4096,
    fc_dropout=0.5,
)


def by_name(model, image_shape, classes=10):
    return {layer.name: layer for layer in plan(model, image_shape, classes)}


def test_simple_cnn_has_the_published_parameters():
    layers = by_name(SIMPLE, (1, 28, 28))
    assert [layers[name].parameters for name in ("conv1", "conv2", "fc1", "fc2")] == [832, 51_264, 401_536, 1_290]
    assert sum(layer.parameters for layer in layers.values()) == 454_922


def test_the_wide_network_has_the_published_shapes():
    layers = by_name(WIDE, (3, 32, 32))
    assert [layers[f"pool{n}"].shape for n in (1, 2, 3, 4)] == [(256, 14, 14), (1024, 6, 6), (2048, 2, 2), (2048, 1, 1)]


def test_blocks_and_caffenet_have_the_published_flat_sizes():
    assert by_name(BLOCKS, (3, 32, 32))["flat"].shape == (1024,)
    caffenet = by_name(CAFFENET, (3, 227, 227), 20)
    assert caffenet["pool5"].shape == (256, 6, 6)
    assert caffenet["flat"].shape == (9216,)


def test_r0_has_unpadded_maps_of_30_and_room_for_a_fourth_convolution():
    four = by_name(BASELINE.with_values({"model.conv_layers": 4}).model, (3, 32, 32))
    assert four["conv1"].shape == (16, 30, 30)
    assert [four[f"pool{n}"].shape[1] for n in (1, 2, 3, 4)] == [15, 6, 2, 1]


def test_flops_and_receptive_field_by_hand():
    layers = by_name(
        CNN(conv_layers=2, channels=(4, 5), kernel=3, stride=(2, 1), padding=(1, 0), fc_layers=1), (3, 16, 16), 2
    )
    assert layers["conv1"].shape == (4, 8, 8)
    assert layers["conv1"].flops == 2 * 3 * 3 * 3 * 4 * 64
    # conv1 (k 3, s 2, p 1): r 3, j 2, start 0; pool1 (k 2, s 2): r 5, j 4, start 1
    assert [(layers[n].receptive_field, layers[n].jump, layers[n].start) for n in ("conv1", "pool1")] == [
        (3, 2, 0.0),
        (5, 4, 1.0),
    ]


def test_without_pooling_the_last_convolution_counts_once():
    """3×3 over 3 channels of 5×7 pixels: 4 maps of 3×5, then 60 inputs of each of 10 classes."""
    layers = plan(CNN(conv_layers=1, channels=4, pooling="none", fc_layers=1), (3, 5, 7), 10)
    assert [(layer.name, layer.shape, layer.parameters, layer.flops) for layer in layers] == [
        ("conv1", (4, 3, 5), 4 * (27 + 1), 2 * 27 * 4 * 15),
        ("flat", (60,), 0, 0),
        ("fc1", (10,), 610, 1200),
    ]
    assert (parameters(layers), flops(layers)) == (112 + 610, 3240 + 1200)


def test_a_window_that_does_not_fit_is_named():
    with pytest.raises(
        UserError, match=r"^conv4 cannot be built: its 3×3 window does not fit the 2×2 map padded by 0$"
    ):
        plan(CNN(conv_layers=4), (3, 32, 32), 10)


DILATED = CNN(
    conv_layers=4,
    convs_per_block=2,
    channels=(6, 8),
    kernel=(3, 2),
    stride=(2, 1),
    padding=(2, 1),
    dilation=(3, 2),
    groups=(3, 2),
    pooling="average",
    activation="none",
    fc_layers=1,
)


def test_dilation_and_groups_by_hand():
    layers = by_name(replace(DILATED, batch_norm=True), (3, 40, 40))
    assert layers["conv1"].shape == (6, 19, 19)  # (40 + 2 × 2 − 7) // 2 + 1
    assert layers["conv2"].shape == (6, 17, 17)  # the same without the stride
    assert layers["conv1"].parameters == 3 * 3 * 1 * 6 + 6  # a channel of three each
    assert layers["conv2"].parameters == 3 * 3 * 2 * 6 + 6
    assert layers["conv3"].parameters == 2 * 2 * 3 * 8 + 8
    assert layers["conv2"].flops == 2 * 3 * 3 * 2 * 6 * 17 * 17
    # conv1: r 1 + 6, start 3 − 2; conv2 at jump 2: r + 12, start + 2 × (3 − 2); pool1: r + 2, start + 1;
    # conv3 at jump 4, of two pixels and a gap: r + 8, start + 4 × (1 − 1)
    expected = {"conv1": (7, 2, 1.0), "conv2": (19, 2, 3.0), "pool1": (21, 4, 4.0), "conv3": (29, 4, 4.0)}
    for name, values in expected.items():
        assert (layers[name].receptive_field, layers[name].jump, layers[name].start) == values


@pytest.mark.parametrize("name", ["conv1", "conv2", "block1", "conv3", "conv4", "block2"])
def test_a_dilated_receptive_field_is_where_the_gradient_reaches(name):
    layer = by_name(DILATED, (3, 96, 96))[name.replace("block", "pool")]
    torch.manual_seed(0)
    net = build(DILATED, (3, 96, 96), 10).double()
    for parameter in net.parameters():
        parameter.data.abs_()  # so that nothing cancels
    pixels = torch.ones(1, 3, 96, 96, dtype=torch.float64, requires_grad=True)
    row, column = layer.shape[1] // 2, layer.shape[2] // 2 + 1
    net.features(pixels)[1][name][0, :, row, column].sum().backward()
    for at, reached in ((row, pixels.grad[0].any(dim=0).any(dim=1)), (column, pixels.grad[0].any(dim=0).any(dim=0))):
        reach = (layer.receptive_field - 1) / 2
        centre = layer.start + at * layer.jump
        pixel = reached.nonzero().flatten()
        assert (pixel.min(), pixel.max()) == (centre - reach, centre + reach)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            CNN(groups=2),
            (
                "conv1 of block 1 cannot be built: groups is 2, but must divide the channels going in (3) and "
                "coming out (16)"
            ),
        ),
        (
            CNN(groups=3),
            (
                "conv1 of block 1 cannot be built: groups is 3, but must divide the channels going in (3) and "
                "coming out (16)"
            ),
        ),
        (
            CNN(conv_layers=4, convs_per_block=2, channels=(6, 4), groups=(1, 3)),
            (
                "conv3 of block 2 cannot be built: "
                "groups is 3, but must divide the channels going in (6) and coming out (4)"
            ),
        ),
        (
            CNN(dilation=(1, 8)),
            "conv2 cannot be built: its 3×3 window, dilated to 17×17, does not fit the 15×15 map padded by 0",
        ),
    ],
)
def test_groups_that_do_not_divide_and_dilated_windows_that_do_not_fit_are_named(model, message):
    with pytest.raises(UserError) as caught:
        plan(model, (3, 32, 32), 10)
    assert str(caught.value) == message
    with pytest.raises(UserError):
        build(model, (3, 32, 32), 10)


@pytest.mark.parametrize(("dilation", "fits"), [(7, True), (8, False)])
def test_a_dilated_window_may_fill_the_map(dilation, fits):
    model = CNN(conv_layers=1, dilation=dilation, pooling="none")
    if fits:
        assert by_name(model, (3, 15, 15))["conv1"].shape == (16, 1, 1)
    else:
        with pytest.raises(UserError, match="dilated to 17×17"):
            plan(model, (3, 15, 15), 10)


@pytest.mark.parametrize(
    ("model", "image_shape"),
    [
        (DILATED, (3, 40, 40)),
        (SIMPLE, (1, 28, 28)),
        (BLOCKS, (3, 32, 32)),
        (CAFFENET, (3, 227, 227)),
        (BASELINE.model, (3, 32, 32)),
    ],
)
def test_the_plan_is_what_is_built(model, image_shape):
    layers = plan(model, image_shape, 10)
    with torch.device("meta"):
        built = ConvNet(model, image_shape, 10)
        logits, features = built.features(torch.zeros(2, *image_shape))
    assert parameters(layers) == sum(p.numel() for p in built.parameters())
    assert logits.shape == (2, 10)
    for layer in layers:
        if layer.name.startswith(("conv", "flat")):
            assert features[layer.name].shape[1:] == layer.shape


@pytest.mark.parametrize("model", [BLOCKS, DILATED, CAFFENET, CNN(conv_layers=0), ResNet(18), ResNet(34)])
def test_the_plan_is_in_the_order_of_the_network_s_steps(model):
    """What is not planned leaves every place to itself; batch norm belongs to the step of its convolution."""
    shape = (3, 227, 227)
    with torch.device("meta"):
        steps = list(build(model, shape, 10).plain_steps())
    planned = [layer.name for layer in plan(model, shape, 10) if "norm" not in layer.name]
    planned = [name for name in planned if "bn" not in name and not name.endswith("downsample.1")]
    assert [step.name for step in steps if not step.keeps_places] == planned
    assert len({step.name for step in steps if step.is_feature}) == sum(step.is_feature for step in steps)


@pytest.mark.parametrize("model", [BLOCKS, DILATED, ResNet(18), ResNet(34)])
def test_flops_are_what_torch_counts(model):
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        # maps of one place each are convolved by the kernel's centre alone, and the plan counts all of it
        side = 64 if isinstance(model, ResNet) else 32
        built, images = build(model, (3, side, side), 10).eval(), torch.zeros(1, 3, side, side)
    with FlopCounterMode(display=False) as counted:
        built(images)
    assert counted.get_total_flops() == flops(plan(model, (3, side, side), 10))


def torchvision_resnet(depth, channels, classes):
    net = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
    if channels != 3:
        net.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return net.eval()


@pytest.mark.parametrize("depth", [18, 34])
@pytest.mark.parametrize("image_shape", [(3, 32, 32), (1, 32, 32), (3, 224, 224), (3, 1, 1), (1, 5, 3), (3, 33, 65)])
def test_a_resnet_is_planned_as_torchvision_builds_it(depth, image_shape):
    layers = plan(ResNet(depth), image_shape, 10)
    with torch.device("meta"):
        net, images = torchvision_resnet(depth, image_shape[0], 10), torch.zeros(1, *image_shape)
    modules = {
        name: module for name, module in net.named_modules() if not list(module.children()) and "relu" not in name
    }
    trained = {name: sum(parameter.numel() for parameter in module.parameters()) for name, module in modules.items()}
    shapes = {}
    for name, module in modules.items():
        module.register_forward_hook(
            lambda _module, _inputs, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    net(images)
    assert [layer.name for layer in layers] == list(modules)
    assert {layer.name: layer.shape for layer in layers} == shapes
    assert {layer.name: layer.parameters for layer in layers} == trained


def test_resnets_have_the_published_parameters_and_flops():
    assert parameters(plan(ResNet(18), (3, 32, 32), 10)) == 11_181_642
    for depth, weights in (
        (18, torchvision.models.ResNet18_Weights.DEFAULT),
        (34, torchvision.models.ResNet34_Weights.DEFAULT),
    ):
        layers = plan(ResNet(depth), (3, 224, 224), 1000)
        assert parameters(layers) == weights.meta["num_params"]
        assert round(flops(layers) / 2e9, 3) == weights.meta["_ops"]  # 10⁹ multiply-adds


@pytest.mark.parametrize(("depth", "blocks"), [(18, (2, 2, 2, 2)), (34, (3, 4, 6, 3))])
def test_a_resnets_receptive_field_by_hand(depth, blocks):
    """1 + Σ (kernel − 1) × jump of the input: the stem, then every 3×3 at its stage's jump, a stage's first at half."""
    layers = by_name(ResNet(depth), (3, 224, 224))
    size = (
        1
        + 6 * 1
        + 2 * 2
        + sum(2 * 2 * count * jump for count, jump in zip(blocks, (4, 8, 16, 32), strict=True))
        - 2 * (4 + 8 + 16)
    )
    assert size == {18: 435, 34: 899}[depth]
    last = layers[f"layer4.{blocks[-1] - 1}.conv2"]
    assert (last.receptive_field, last.jump, last.start) == (size, 32, 0.0)
    average = layers["avgpool"]  # of 7×7
    assert (average.receptive_field, average.start) == (size + 6 * 32, 3 * 32)


@pytest.mark.parametrize(
    "name", ["conv1", "layer1.1.conv2", "layer2.0.conv1", "layer2.0.downsample.0", "layer2.1.conv2", "layer3.1.conv2"]
)
def test_a_receptive_field_is_where_the_gradient_reaches(name):
    layer = by_name(ResNet(18), (1, 224, 224))[name]
    net = build(ResNet(18), (1, 224, 224), 10).double().eval()
    net.maxpool = nn.AvgPool2d(3, 2, 1)  # the same window, but each of its inputs counts
    for parameter in net.parameters():
        parameter.data.abs_()  # so that nothing cancels, and no ReLU is closed
    pixels = torch.ones(1, 1, 224, 224, dtype=torch.float64, requires_grad=True)
    column = layer.shape[2] // 2
    net.features(pixels)[1][name][0, 0, column, column].backward()
    reached = pixels.grad[0, 0].any(dim=0).nonzero().flatten()
    reach = (layer.receptive_field - 1) // 2
    centre = layer.start + column * layer.jump
    assert (reached.min(), reached.max()) == (centre - reach, centre + reach)
