"""Networks with filters off, in sets and one at a time, against the whole chain with each; more in the job's tests."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.filters.chain import chain, run, switched_off
from analysis.filters.switching import fills, in_sets, one_at_a_time, pixels, together
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import ResNet

SETS = [{}, {"conv1": (0, 2), "conv2": (1,)}, {"conv1": (3,), "conv2": (0, 4)}]


def expected(subject, filters, values):
    with torch.inference_mode():
        x = torch.from_numpy(subject.images).permute(0, 3, 1, 2)
        for layer, link in chain(subject.model).items():
            x = link(x)
            x = switched_off(x, filters[layer], values[layer]) if layer in filters else x
    return x.numpy()


@pytest.fixture
def subject():
    return make_subject(SMALL, count=150)  # more than a batch


@torch.inference_mode()
def test_sets_are_each_alone(subject):
    values = {"conv2": torch.linspace(-1, 1, 5), "conv1": torch.linspace(0, 1, 4)}  # not in the network's order
    index = np.array([3, 149, 0, 77])
    found = in_sets(subject, SETS, values, index)
    assert found.shape == (3, 4, 3)
    for logits, filters in zip(found, SETS, strict=True):
        np.testing.assert_allclose(logits, expected(subject, filters, values)[index], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_sets_within_residual_blocks():
    subject = make_subject(ResNet(18), (3, 32, 32), count=3)
    sets = [{}, {"layer1.0.conv2": (0, 5), "layer2.0.conv1": (7,)}]
    values = fills(subject, ["layer1.0.conv2", "layer2.0.conv1"], "zero")
    found = in_sets(subject, sets, values, np.arange(3))
    for logits, filters in zip(found, sets, strict=True):
        np.testing.assert_allclose(logits, expected(subject, filters, values), rtol=1e-3, atol=1e-4)
    assert (found[0] != found[1]).any()


@torch.inference_mode()
def test_together_and_one_at_a_time(subject):
    values = fills(subject, ["conv2"], "mean")
    before, after = together(subject, {"conv2": (1, 3)}, values)
    np.testing.assert_allclose(before, expected(subject, {}, values), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after, expected(subject, {"conv2": (1, 3)}, values), rtol=1e-4, atol=1e-5)
    classes, each = one_at_a_time(subject, "conv2", range(2, 4), values["conv2"])
    assert (classes == before.argmax(1)).all()
    alone = [expected(subject, {"conv2": (number,)}, values).argmax(1) for number in (2, 3)]
    assert (alone == each.T).all()


@torch.inference_mode()
def test_fills(subject):
    assert fills(subject, ["conv1"], "zero")["conv1"].tolist() == [0] * 4
    means = fills(subject, ["conv2", "conv1"], "mean")
    links = chain(subject.model)
    x = torch.from_numpy(subject.images).permute(0, 3, 1, 2)
    torch.testing.assert_close(means["conv1"], run([links["conv1"]], x).mean((0, 2, 3)))
    torch.testing.assert_close(means["conv2"], run([links["conv1"], links["conv2"]], x).mean((0, 2, 3)))


def test_pixels_go_through_the_images_that_are_wanted(subject):
    batches = list(pixels(subject, np.array([5, 1, 9]), 2))
    assert [len(batch) for batch in batches] == [2, 1]
    assert (torch.cat(batches).permute(0, 2, 3, 1).numpy() == subject.images[[5, 1, 9]]).all()
    assert sum(len(batch) for batch in pixels(subject)) == 150


@torch.inference_mode()
def test_a_filter_that_does_not_switch_off_is_found(subject, monkeypatch):
    monkeypatch.setattr("analysis.filters.switching.switched_off", lambda x, *_: x)
    with pytest.raises(RuntimeError, match="filters of conv1 are switched off, but still"):
        together(replace(subject), {"conv1": (0,)}, {"conv1": torch.full((4,), -7.0)})
