"""Filters drawn: the tiles' pixels against weights made by hand."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.figures.text import DPI
from analysis.filters.naming import convolution
from analysis.jobs import filters_drawn
from analysis.jobs.filters_drawn import FiltersDrawn, first_filters
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import CNN, ResNet
from trainables.errors import UserError


@pytest.fixture
def grids(monkeypatch):
    """Take down what is drawn."""
    taken = []

    def panels(rows, **look):
        taken.append(([[panel.image for panel in row] for row in rows], look))
        return b"png"

    monkeypatch.setattr(filters_drawn, "panels", panels)
    return taken


def finding(subject, job):
    return job.finding([subject], [job.compute(subject, part) for part in range(job.parts(subject))])


def test_colours_are_symmetric_about_mid_gray(grids):
    weight = np.zeros((2, 3, 1, 2), np.float32)
    weight[0, :, 0, 0] = (0.5, -0.5, 0.25)
    weight[1, 2, 0, 1] = -0.1
    first_filters(weight, "title", "net")
    [([[first, second]], look)] = grids
    assert first.tolist() == [[[255, 0, 191], [128, 128, 128]]]
    assert second.tolist() == [[[128, 128, 128], [128, 128, 102]]]
    assert look["caption"].startswith("net. ")
    assert "mid-gray is 0, the ends are ±0.5, the largest absolute weight" in look["caption"]


def test_one_channel_is_gray_and_weights_of_0_are_mid_gray(grids):
    first_filters(np.zeros((5, 1, 3, 3), np.float32), "title", "net")
    [(rows, _)] = grids
    assert [len(row) for row in rows] == [3, 2]
    assert all(tile.shape == (3, 3, 1) and (tile == 128).all() for row in rows for tile in row)


def test_deeper_layers_are_averaged_over_input_channels(grids):
    subject = make_subject(SMALL)
    found = finding(subject, FiltersDrawn(layers=("conv1", "conv2")))
    assert set(found.figures) == {"filters_drawn-conv1", "filters_drawn-conv2"}
    rows, look = grids[1]
    weight = convolution(subject.model, "conv2").weight.detach().numpy()
    np.testing.assert_array_equal(np.stack([tile for row in rows for tile in row]), weight.mean(axis=1))
    assert look["colormap"] == "RdBu_r"
    assert "averaged over its input channels" in look["caption"]
    np.testing.assert_array_equal(found.arrays["conv2"], weight.mean(axis=1))


def test_no_more_than_256_tiles_and_that_is_said(grids):
    first_filters(np.ones((300, 3, 1, 1), np.float32), "title", "net")
    [(rows, look)] = grids
    assert sum(map(len, rows)) == 256
    assert look["caption"].endswith("Only the first 256 are drawn.")


def test_default_is_the_first_and_the_last_layer(grids):
    assert set(finding(make_subject(SMALL), FiltersDrawn()).arrays) == {"conv1", "conv3"}
    assert set(finding(make_subject(replace(SMALL, conv_layers=1)), FiltersDrawn()).arrays) == {"conv1"}
    found = finding(make_subject(ResNet(18), (1, 28, 28)), FiltersDrawn())
    assert found.arrays["conv1"].shape == (64, 1, 7, 7)
    assert found.arrays["layer4.1.conv2"].shape == (512, 3, 3)
    assert len(grids) == 5


def test_all_layers_are_drawn_without_naming_them():
    found = finding(make_subject(replace(SMALL, conv_layers=3)), FiltersDrawn(layers=("all",)))
    assert list(found.arrays) == ["conv1", "conv2", "conv3"]


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(
        UserError,
        match=r"^net has no convolution 'fc1'; did you mean 'conv1'\?$|^net has no convolution 'fc1'; known: ",
    ):
        FiltersDrawn(layers=("fc1",)).parts(make_subject(SMALL))
    with pytest.raises(UserError, match="net has no convolutions"):
        FiltersDrawn().parts(make_subject(CNN(conv_layers=0)))


def test_it_is_a_png_that_repeats_to_the_bit():
    weight = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    png = first_filters(weight, "title", "net")
    assert png.startswith(b"\x89PNG")
    assert png == first_filters(weight, "title", "net")


def test_the_heading_says_how_many_of_what_size():
    found = finding(make_subject(SMALL), FiltersDrawn(layers=("conv1", "conv2")))
    sizes = [found.arrays[layer].shape for layer in ("conv1", "conv2")]
    assert found.title == f"Filters drawn: {sizes[0][0]} of 3×3 in conv1, {sizes[1][0]} of 3×3 in conv2"


@pytest.mark.parametrize(("count", "width"), [(16, 3.6), (64, 3.6), (256, 7.3)])
def test_few_filters_fit_on_half_a_page_and_many_on_one(count, width):
    weight = np.random.default_rng(0).normal(size=(count, 3, 3, 3)).astype(np.float32)
    with Image.open(io.BytesIO(first_filters(weight, "title", "net"))) as picture:
        assert picture.width / DPI <= width + 0.01
