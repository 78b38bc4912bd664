"""Parts of maps against slices of the whole ones."""

import numpy as np
import pytest
import torch

from analysis.maps.patches import Base, Patch, numbers
from analysis.maps.rectangles import Cut, Frame


def make_maps(channels=3, count=2):
    """Return an unchanged map, those of changed images, and their patches: 2×3 places, on a map of 5×6."""
    unchanged = torch.arange(channels * 30.0).reshape(1, channels, 5, 6)
    frame = Frame(Cut(np.arange(count) * 3, 2), Cut(np.arange(count) + 1, 3))
    patch = Patch(-1 - torch.rand(count, channels, 2, 3), frame)
    whole = unchanged.repeat(count, 1, 1, 1)
    for at in range(count):
        whole[at, :, 3 * at : 3 * at + 2, at + 1 : at + 4] = patch.values[at]
    return unchanged, whole, patch


def test_the_whole_map_is_the_patch_and_the_unchanged_map_around_it():
    unchanged, whole, patch = make_maps()
    assert torch.equal(patch.whole(unchanged), whole)
    assert patch.whole(unchanged).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(patch.part(Base.of(unchanged), patch.frame), patch.values)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("padding", "padded_with"), [((1, 2), 0.0), ((1, 2), -torch.inf), ((3, 2), 7.0)])
def test_a_part_may_reach_into_the_padding_hold_the_patch_or_miss_it(channels, padding, padded_with, last):
    unchanged, whole, patch = make_maps(channels)
    if last:
        unchanged = unchanged.contiguous(memory_format=torch.channels_last)
        patch = patch._replace(values=patch.values.contiguous(memory_format=torch.channels_last))
    base = Base.of(unchanged, padding, padded_with)
    rows, columns = padding
    padded = torch.nn.functional.pad(whole, (columns, columns, rows, rows), value=padded_with)
    for top, left, height, width in ((-1, -2, 6, 10), (-1, 1, 2, 2), (1, 2, 2, 3), (2, 3, 4, 5), (0, 0, 1, 1)):
        frame = Frame(Cut(np.array([top, 0]), height), Cut(np.array([left, left]), width))
        found = patch.part(base, frame)
        for image, first in enumerate((top, 0)):
            y, x = first + rows, left + columns
            assert torch.equal(found[image], padded[image, :, y : y + height, x : x + width])


def test_a_part_of_the_unchanged_map():
    unchanged, _, _ = make_maps()
    frame = Frame(Cut(np.array([0, 3]), 2), Cut(np.array([2, -1]), 3))
    found = Base.of(unchanged, (0, 1)).part(frame)
    assert torch.equal(found[0], unchanged[0, :, 0:2, 2:5])
    assert torch.equal(found[1, :, :, 1:], unchanged[0, :, 3:5, 0:2])
    assert (found[1, :, :, 0] == 0).all()


def test_the_numbers_of_places():
    assert numbers(Cut(np.array([-1, 4]), 3), torch.device("cpu")).tolist() == [[-1, 0, 1], [4, 5, 6]]
