"""Where windows are put and what they show."""

import itertools

import numpy as np
import pytest
import torch

import analysis.maps.windows
from analysis.maps.windows import FILLS, Grid, _blocks, colour, occluded_logits
from tests.analysis.jobs.test_occlusion import make_subject
from trainables.config import CNN

GRID = Grid((5, 3, 9), np.array([1, 4, 7, 10]), np.array([1, 4, 7]), 3)


def test_a_grid_has_a_window_of_middle_size_and_can_be_thinned():
    assert (GRID.shape, GRID.middle) == ((3, 4, 3), 0)
    assert Grid((9, 3), GRID.rows, GRID.columns, 3).middle == 1  # of two the smaller one
    thin = GRID.thinned(2, 2)
    assert (thin.windows, thin.rows.tolist(), thin.columns.tolist(), thin.stride) == ((9,), [1, 7], [1, 7], 6)
    assert GRID.thinned(2).windows == (5, 3, 9)
    assert thin.places() == "one pixel in 6 along both axes"
    assert Grid((3,), GRID.rows, GRID.columns, 1).places() == "every pixel"


def test_colours_are_of_all_channels():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    images[..., 0], images[0, ..., 1] = 255, 51
    np.testing.assert_allclose(colour("mean", images), [1, 0.1, 0], atol=1e-7)
    assert colour("gray", images).tolist() == [0.5] * 3
    assert {colour(fill, images).dtype for fill in FILLS} == {np.dtype(np.float32)}
    assert colour("black", images[..., :1]).tolist() == [0.0]


@pytest.mark.parametrize("at_once", [1, 5, 1000])
@pytest.mark.parametrize("windows", [(3,), (1, 11)])
def test_the_first_logits_are_of_the_whole_image_and_the_others_in_the_order_of_the_maps(windows, at_once, monkeypatch):
    monkeypatch.setattr(analysis.maps.windows, "evaluation_batch", lambda *_: at_once)
    monkeypatch.setattr(analysis.maps.windows, "AT_ONCE", 1)
    subject = make_subject()
    grid, shown = Grid(windows, np.array([0, 6, 11]), np.array([2, 5]), 1), np.array([0.1, 0.2, 0.3], np.float32)
    found = occluded_logits(subject, 4, grid, shown).numpy()
    np.testing.assert_allclose(found[0], subject.logits[4], rtol=0, atol=1e-5)
    pixels = subject.images[4] / np.float32(255)
    for at, (window, row, column) in enumerate((w, r, c) for w in windows for r in grid.rows for c in grid.columns):
        image, reach = pixels.copy(), window // 2
        image[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = shown
        weight, bias = (subject.model.state_dict()[f"head.{name}"].numpy() for name in ("weight", "bias"))
        expected = weight @ ((image - 0.4) / 0.2).transpose(2, 0, 1).ravel() + bias
        np.testing.assert_allclose(found[at + 1], expected, rtol=0, atol=1e-4)


def test_a_grid_is_gone_through_in_blocks_as_far_from_the_border():
    def blocks(places):
        return [
            (GRID.rows[rows].tolist(), GRID.columns[columns].tolist())
            for rows, columns in _blocks(GRID, (12, 9), places)
        ]

    assert blocks(1) == blocks(3) == [([row], [column]) for row in (1, 10, 4, 7) for column in (1, 7, 4)]
    assert blocks(4) == [([1, 10], [1, 7]), ([1, 10], [4]), ([4, 7], [1, 7]), ([4, 7], [4])]
    assert blocks(16) == [([1, 10, 4, 7], [1, 7, 4])]
    assert list(_blocks(Grid((3,), np.arange(1), np.arange(1), 1), (1, 1), 9)) == [([0], [0])]


def test_the_whole_network_says_the_same():
    """Of a convolutional network, windows of all sizes, over the border and as large as the image."""
    subject = make_subject(CNN(conv_layers=2, channels=(8, 12), padding=1, batch_norm=True), side=24)
    grid, shown = Grid((1, 3, 9, 23), np.arange(0, 24, 3), np.arange(1, 24, 2), 1), np.full(3, 0.5, np.float32)
    found = occluded_logits(subject, 4, grid, shown)
    images = [torch.from_numpy(subject.images[4]) / 255]
    for window, row, column in itertools.product(grid.windows, grid.rows, grid.columns):
        images.append(images[0].clone())
        reach = window // 2
        images[-1][max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = 0.5
    with torch.inference_mode():
        expected = subject.model(torch.stack(images).permute(0, 3, 1, 2))
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
