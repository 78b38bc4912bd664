"""Our ResNet against torchvision's own, bit by bit."""

import itertools

import pytest
import torch
import torchvision

from trainables.config import CNN, ResNet
from trainables.models import ConvNet, build
from trainables.plan import plan
from trainables.residual import ResidualNet

MEAN, SD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def pair(depth=18, mean=(), sd=()):
    """Return our network and torchvision's with the same weights; batch norm's are random too, so that they matter."""
    torch.manual_seed(0)
    ours = build(ResNet(depth), (3, 64, 64), 10, mean, sd)
    for name, tensor in ours.state_dict().items():
        if ".bn" in name or name.startswith("bn"):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
    theirs.load_state_dict(
        {name: tensor for name, tensor in ours.state_dict().items() if not name.startswith("normalize.")}
    )
    return ours, theirs


def test_names_are_torchvisions_and_normalize():
    ours, theirs = pair()
    assert ours.state_dict().keys() - theirs.state_dict().keys() == {"normalize.mean", "normalize.sd"}


@pytest.mark.parametrize("depth", [18, 34])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_gradients_and_statistics_are_torchvisions(depth, training):
    _, theirs = pair(depth)
    pixels = torch.rand(4, 3, 64, 64)
    expected = theirs.train(training)(pixels)
    expected.square().sum().backward()
    for run in (lambda net: net(pixels), lambda net: net.features(pixels)[0]):
        net = pair(depth)[0].train(training)
        logits = run(net)
        assert torch.equal(logits, expected)
        logits.square().sum().backward()
        for parameter, (name, like) in zip(net.parameters(), theirs.named_parameters(), strict=True):
            assert torch.equal(parameter.grad, like.grad), name
        assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())


def test_pixels_are_normalised_first():
    ours, theirs = (net.eval() for net in pair(mean=MEAN, sd=SD))
    pixels = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    expected = theirs((pixels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SD).view(3, 1, 1))
    torch.testing.assert_close(ours(pixels), expected)
    torch.testing.assert_close(ours(pixels / 255), expected)


@pytest.mark.parametrize("training", [False, True])
def test_features_are_what_torchvisions_modules_give(training):
    ours, theirs = (net.train(training) for net in pair())
    norms = {"conv1": "bn1"}
    for stage, block in itertools.product((1, 2, 3, 4), (0, 1)):
        norms |= {f"layer{stage}.{block}.conv{n}": f"layer{stage}.{block}.bn{n}" for n in (1, 2)}
        if stage > 1 and block == 0:
            norms[f"layer{stage}.0.downsample.0"] = f"layer{stage}.0.downsample.1"
    stages = [f"layer{stage}" for stage in (1, 2, 3, 4)]
    modules = (
        norms
        | {name: name for name in [f"{stage}.{block}" for stage in stages for block in (0, 1)] + stages}
        | {"flat": "avgpool"}
    )
    seen = {}
    for name, module in modules.items():  # cloned at once, as torchvision works in place
        theirs.get_submodule(module).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out.detach().clone()})
        )
    pixels = torch.rand(2, 3, 64, 64)
    theirs(pixels)
    features = ours.features(pixels)[1]
    assert features.keys() == seen.keys()
    for name, value in features.items():
        assert torch.equal(value, seen[name].flatten(1) if name == "flat" else seen[name]), name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("model", "convolutions"),
    [
        (ResNet(18), 17 + 3),
        (ResNet(34), 33 + 3),
        (CNN(conv_layers=4, convs_per_block=2, padding=1, batch_norm=True), 4),
    ],
)
def test_features_cover_every_convolution_of_the_plan(model, convolutions, channels):
    shape = (channels, 48, 40)
    with torch.device("meta"):
        logits, features = build(model, shape, 7).features(torch.zeros(2, *shape))
    assert logits.shape == (2, 7)
    planned = [layer for layer in plan(model, shape, 7) if "conv" in layer.name or layer.name.endswith("downsample.0")]
    assert len(planned) == convolutions
    for layer in planned:
        assert features[layer.name].shape[1:] == layer.shape


def test_the_seed_gives_torchvisions_own_initial_weights():
    torch.manual_seed(3)
    ours = build(ResNet(18), (3, 32, 32), 10).state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(num_classes=10).state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_the_first_convolution_takes_gray_images_and_is_initialised_alike():
    torch.manual_seed(0)
    net = build(ResNet(18), (1, 32, 32), 10, (0.3,), (0.2,))
    assert net.conv1.weight.shape == (64, 1, 7, 7)
    fan_out = 64 * 7 * 7
    assert net.conv1.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)  # He et al. 2015
    assert net(torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)).shape == (2, 10)


@pytest.mark.parametrize(
    "model", [ResNet(18), CNN(conv_layers=4, convs_per_block=2, padding=1, batch_norm=True, fc_layers=2)]
)
def test_channels_last_changes_nothing_but_the_order_in_memory(model):
    torch.manual_seed(0)
    net, pixels = build(model, (3, 32, 32), 10, MEAN, SD).eval(), torch.rand(2, 3, 32, 32)
    logits, features = net.features(pixels)
    net.to(memory_format=torch.channels_last)
    for given in (pixels, pixels.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(net(given), logits)
        for name, value in net.features(given)[1].items():
            torch.testing.assert_close(value, features[name], msg=lambda text, name=name: f"{name}: {text}")


def test_a_config_is_built_as_its_family():
    with torch.device("meta"):
        assert type(build(CNN(), (3, 32, 32), 10)) is ConvNet
        assert type(build(ResNet(), (3, 32, 32), 10, MEAN, SD)) is ResidualNet


@pytest.mark.parametrize("model", [CNN(), ResNet()])
def test_without_normalisation_pixels_are_only_scaled(model):
    net = build(type(model)(normalize_input=False), (3, 32, 32), 10, MEAN, SD)
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    torch.testing.assert_close(net.normalize(every), every / 255)


@pytest.mark.parametrize("training", [False, True])
def test_of_maps_of_one_place_the_centre_of_a_kernel_sees_all(training):
    """At 32×32 the last stage's maps are of one place each, and four of its convolutions are padded around it."""
    ours, theirs = (net.train(training) for net in pair())
    pixels = torch.rand(3, 3, 32, 32)
    out, expected = ours(pixels), theirs((pixels - ours.normalize.mean) / ours.normalize.sd)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    for logits in (out, expected):
        logits.square().sum().backward()
    mine, reference = (dict(net.named_parameters()) for net in (ours, theirs))
    for name in ("layer4.0.conv2.weight", "layer4.1.conv1.weight", "layer4.1.conv2.weight"):
        assert not mine[name].grad[:, :, 0].any()
        torch.testing.assert_close(mine[name].grad, reference[name].grad, rtol=1e-3, atol=1e-3)
