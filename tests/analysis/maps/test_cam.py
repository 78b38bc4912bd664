"""Grad-CAM against captum, and against maps worked out by hand."""

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from analysis.maps.cam import BATCH, cam, default_layer, maps_of
from tests.analysis.jobs.test_grad_cam import network, pictures, subject
from tests.trainables.test_models import add_excite
from trainables.config import CNN, ResNet
from trainables.models import Network


def oracle(model: Network, module: nn.Module, images: np.ndarray, targets: torch.Tensor) -> np.ndarray:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return LayerGradCam(model, module).attribute(pixels, targets, relu_attributions=True)[:, 0].detach().numpy()


TARGETS = torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_the_default_is_captum_s_after_the_last_convolution_s_activation(activation: str, pooling: str):
    model = network(
        CNN(conv_layers=2, channels=(4, 6), activation=activation, pooling=pooling, pool_size=3, fc_widths=8)
    )
    images = pictures(5)
    got = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    model.blocks[-1].pool_first = False  # the same function, but in captum's reach: activation first
    np.testing.assert_allclose(got, oracle(model, model.blocks[-1].activation, images, TARGETS), rtol=1e-5, atol=1e-7)
    assert got.max() > 0
    assert default_layer(model) == "conv2 after its activation" + ("" if pooling == "none" else ", before pooling")


def test_a_named_layer_is_captum_s():
    model, images = network(), pictures(5)
    modules = {
        "conv1": model.blocks[0].convs[0],
        "block1": model.blocks[0].dropout,
        "conv2": model.blocks[1].convs[0],
        "block2": model.blocks[1].dropout,
    }
    for name, module in modules.items():
        got = cam(model, torch.from_numpy(images), TARGETS, name).numpy()
        np.testing.assert_allclose(got, oracle(model, module, images, TARGETS), rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("behind", ["conv2", "activation2"])
def test_a_step_added_to_a_block_is_captum_s_too(monkeypatch: pytest.MonkeyPatch, behind: str):
    model, images = network(), pictures(5)
    without = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    add_excite(monkeypatch, behind, 6)
    block = model.blocks[1]
    block.pool_first = False
    modules = {None: block.activation, "conv2": block.convs[0], "block2": block.dropout}
    for name, module in modules.items():
        got = cam(model, torch.from_numpy(images), TARGETS, name).numpy()
        np.testing.assert_allclose(got, oracle(model, module, images, TARGETS), rtol=1e-5, atol=1e-7, err_msg=name)
    assert not np.allclose(cam(model, torch.from_numpy(images), TARGETS, None).numpy(), without)
    assert default_layer(model).startswith("conv2 after its activation")


@pytest.mark.parametrize("option", [{"dilation": 2}, {"groups": (1, 2)}])
def test_a_dilated_or_grouped_network_s_is_captum_s(option: dict):
    model, images = network(CNN(conv_layers=2, channels=(4, 6), fc_layers=1, **option)), pictures(5)
    got = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    model.blocks[1].pool_first = False
    expected = oracle(model, model.blocks[1].activation, images, TARGETS)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert got.max() > 0


def test_a_residual_network_s_is_captum_s_of_torchvision_s():
    shape = (1, 64, 64)
    model, images = network(ResNet(), shape), pictures(2, shape)
    theirs = torchvision.models.resnet18(num_classes=3)
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    theirs.load_state_dict({n: tensor for n, tensor in model.state_dict().items() if not n.startswith("normalize.")})
    whole = nn.Sequential(model.normalize, theirs).eval()
    for name in (None, "layer3", "layer4.0"):
        got = cam(model, torch.from_numpy(images), TARGETS[:2], name).numpy()
        expected = oracle(whole, theirs.get_submodule(name or "layer4"), images, TARGETS[:2])
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * expected.max(), err_msg=name)
    assert default_layer(model) == "layer4"


def test_a_map_worked_out_by_hand():
    """Two 1×1 convolutions without pooling on a 2×2 image, and one FC layer: α is the mean of the class's weights."""
    model = network(
        CNN(conv_layers=1, channels=2, kernel=1, pooling="none", fc_layers=1, normalize_input=False), (1, 2, 2), 2
    )
    conv = model.blocks[0].convs[0]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, 0.5]))
        by_channel = torch.tensor([[1.0, 2.0, 3.0, 2.0, -1.0, -1.0, -1.0, -1.0], [-1.0] * 8])
        model.load_state_dict({"head.weight": by_channel}, strict=False)
    image = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8).view(1, 2, 2, 1)  # 0, 0.2, 0.4, 1
    # A = x and ReLU(0.5 - x); α = 2 and -1 for class 0, -1 and -1 for class 1
    expected = [[[0.0, 0.4 - 0.3], [0.8 - 0.1, 2.0]], [[0.0, 0.0], [0.0, 0.0]]]
    np.testing.assert_allclose(cam(model, image.expand(2, -1, -1, -1), torch.tensor([0, 1]), None), expected, atol=1e-6)


def test_nothing_is_left_behind():
    model, images = network(), torch.from_numpy(pictures(5))
    model.head.weight.requires_grad_(False)
    before = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    with torch.no_grad():
        assert not cam(model, images, TARGETS, None).requires_grad
        assert not torch.is_grad_enabled()
    assert [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()] == before
    hooks = [getattr(module, name) for module in model.modules() for name in vars(module) if name.endswith("_hooks")]
    assert hooks
    assert not any(hooks)


def test_a_frozen_network_has_the_same_maps():
    model, images = network(), torch.from_numpy(pictures(5))
    expected = cam(model, images, TARGETS, None)
    assert torch.equal(cam(model.requires_grad_(False), images, TARGETS, None), expected)


def test_each_image_s_map_is_its_own():
    model, images = network(), torch.from_numpy(pictures(5))
    alone = torch.cat([cam(model, images[at : at + 1], TARGETS[at : at + 1], None) for at in range(5)])
    torch.testing.assert_close(cam(model, images, TARGETS, None), alone, rtol=1e-5, atol=1e-7)


def test_maps_of_many_images_come_in_batches():
    of = subject(np.zeros(BATCH + 3, np.int64))
    images, targets = np.arange(BATCH + 3)[::-1].copy(), np.arange(BATCH + 3) % 3
    expected = cam(of.model, of.pixels(images), torch.from_numpy(targets), "conv2")
    found = maps_of(of, of.model, images, targets, "conv2")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert maps_of(of, of.model, images[:0], targets[:0], None).shape == (0, 1, 1)
