"""Patches at the border, in the middle, and of fields larger than the image; against gradients in the job's tests."""

import numpy as np

from analysis.filters.patches import PADDING, patch
from trainables.plan import Layer

IMAGE = np.arange(36, dtype=np.uint8).reshape(6, 6, 1)


def test_a_patch_at_the_border_is_padded_not_resized():
    layer = Layer("conv1", (1, 6, 6), receptive_field=3)
    expected = np.full((3, 3, 1), PADDING, np.uint8)
    expected[:2, :2, 0] = [[28, 29], [34, 35]]
    assert (patch(IMAGE, layer, 35) == expected).all()
    assert (patch(IMAGE, layer, 7)[:, :, 0] == IMAGE[:3, :3, 0]).all()


def test_jump_and_start_lead_to_the_field():
    layer = Layer("conv2", (1, 2, 2), receptive_field=2, jump=3, start=1.5)
    assert (patch(IMAGE, layer, 3)[:, :, 0] == IMAGE[4:6, 4:6, 0]).all()


def test_a_field_larger_than_the_image_is_the_whole_image():
    assert patch(IMAGE, Layer("conv3", (1, 1, 1), receptive_field=7), 0) is IMAGE
