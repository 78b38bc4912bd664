"""Plans against the counts that the reports publish."""

import pytest
import torch

from sweeps.part_a import BASELINE
from trainables.config import CNN
from trainables.errors import UserError
from trainables.models import ConvNet
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
    layers = by_name(CNN(conv_layers=2, channels=(4, 5), kernel=3, stride=(2, 1), padding=(1, 0), fc_layers=1), (3, 16, 16), 2)
    assert layers["conv1"].shape == (4, 8, 8)
    assert layers["conv1"].flops == 2 * 3 * 3 * 3 * 4 * 64
    # conv1 (k 3, s 2, p 1): r 3, j 2, start 0; pool1 (k 2, s 2): r 5, j 4, start 1
    assert [(layers[n].receptive_field, layers[n].jump, layers[n].start) for n in ("conv1", "pool1")] == [(3, 2, 0.0), (5, 4, 1.0)]


def test_a_window_that_does_not_fit_is_named():
    with pytest.raises(UserError, match=r"^conv4 cannot be built: its 3×3 window does not fit the 2×2 map padded by 0$"):
        plan(CNN(conv_layers=4), (3, 32, 32), 10)


@pytest.mark.parametrize(
    ("model", "image_shape"), [(SIMPLE, (1, 28, 28)), (BLOCKS, (3, 32, 32)), (CAFFENET, (3, 227, 227)), (BASELINE.model, (3, 32, 32))]
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


def test_flops_are_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        built, images = ConvNet(BLOCKS, (3, 32, 32), 10).eval(), torch.zeros(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counted:
        built(images)
    assert counted.get_total_flops() == flops(plan(BLOCKS, (3, 32, 32), 10))
