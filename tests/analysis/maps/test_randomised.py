"""Cascading randomisation: which layers go, and what is made of maps that change, hardly change, or change in part."""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import analysis.maps.randomised
from analysis.maps.pointing import stretched
from analysis.maps.randomised import DRAW, Randomised, cascade, layers
from tests.analysis.filters.test_naming import make_subject
from trainables.config import CNN, ResNet
from trainables.models import build

DEEP = CNN(
    conv_layers=4,
    channels=4,
    convs_per_block=2,
    padding=1,
    batch_norm=True,
    fc_layers=3,
    fc_widths=8,
    fc_batch_norm=True,
)
CONFIGS = {
    CNN(conv_layers=0, fc_layers=1): ["fc1"],
    CNN(conv_layers=2, channels=4, padding=1, fc_layers=2, fc_widths=8): ["fc2", "fc1", "conv2", "conv1"],
    DEEP: ["fc3", "fc2", "fc1", "conv4", "conv3", "conv2", "conv1"],
    ResNet(): [
        "fc",
        *("layer4.1", "layer4.0", "layer3.1", "layer3.0", "layer2.1", "layer2.0", "layer1.1", "layer1.0"),
        "conv1",
    ],
}


def made(config):
    shape = (3, 16, 16)
    of = make_subject(config, shape)
    return replace(of, blank=partial(build, config, shape, len(of.class_names)))


@pytest.mark.parametrize(("config", "expected"), CONFIGS.items())
def test_layers_come_from_the_logits_down_with_all_that_they_learn(config, expected):
    model = made(config).model
    found = layers(model)
    assert list(found) == expected
    tensors = [name for of in found.values() for name in of]
    assert len(set(tensors)) == len(tensors)
    assert set(model.state_dict()) - set(tensors) == {"normalize.mean", "normalize.sd"}
    if isinstance(config, ResNet):
        assert "bn1.running_var" in found["conv1"]


@pytest.mark.parametrize("config", CONFIGS)
def test_one_layer_more_is_an_untrained_network_s_each_time(config):
    of = made(config)
    before = copy.deepcopy(of.model.state_dict())
    blank = of.untrained(DRAW + of.seed).model.state_dict()
    left = set(before)
    for layer, model in cascade(of):
        left -= set(layers(model)[layer])
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, before[name] if name in left else blank[name]), name
    assert left == {"normalize.mean", "normalize.sd"}
    assert all(torch.equal(tensor, before[name]) for name, tensor in of.model.state_dict().items())


def of(*levels: np.ndarray) -> Randomised:
    """Return maps (images, h, w) of one seed by level, the trained network's first."""
    return Randomised(tuple(f"layer {number}" for number in range(1, len(levels))), np.stack(levels)[:, :, None])


def noise(images: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((images, 6, 6)).astype(np.float32)


def test_correlations_by_hand():
    trained, random = noise(3), noise(3, 1)
    found = of(trained, random)
    ranks = [values.reshape(3, -1).argsort(1).argsort(1) for values in (trained, random)]
    expected = np.corrcoef(ranks[1], ranks[0])[:3, 3:]
    np.testing.assert_allclose(found.pairs[1, ..., 0], expected)
    np.testing.assert_allclose(found.own[1, :, 0], np.diagonal(expected))
    np.testing.assert_allclose(found.others[1, 0, 0], expected[0, 1:].mean())
    np.testing.assert_allclose(found.own[0], 1)
    table = found.table(made(CNN(conv_layers=0, fc_layers=1)))
    assert [row[0] for row in table.rows] == ["none", "layer 1"]
    assert table.rows[1][1].mean == pytest.approx(np.diagonal(expected).mean())


def test_maps_that_change_depend_on_what_was_learned():
    found = of(noise(), noise(seed=1), noise(seed=2))
    words = found.sentence()
    assert found.headline == "the maps depend on what was learned"
    assert ": not significantly different from other images' maps (p = " in words
    assert words.endswith("They depend on what was learned, as far as 12 images can tell.")


def test_maps_that_keep_something_of_the_image_are_partly_the_architecture_s():
    trained = noise()
    found = of(trained, trained / 2 + noise(seed=1), trained / 2 + noise(seed=2))
    words = found.sentence()
    assert found.headline == "a part of the maps stays without what was learned"
    assert ": more than with other images' maps (p = 0.001), with " in words
    assert "So much of them comes from image and architecture, and is no evidence for what was learned." in words


def test_maps_that_do_not_change_are_no_evidence():
    trained = noise()
    evidence = "They hardly change: they are no evidence for what the network has learned."
    found = of(trained, trained, trained + noise(seed=1) / 20)
    assert evidence in found.sentence()
    assert found.headline == "the maps hardly change without what was learned"
    same = np.ones((12, 1, 1), np.float32) * noise(
        1
    )  # whatever the image is: not told apart from other images', but no
    assert evidence in of(same + noise() / 50, same + noise(seed=1) / 50).sentence()  # evidence, either


def test_flat_maps_are_left_out_and_counted():
    random = noise(seed=1)
    random[0] = 0
    found = of(noise(), noise(seed=2), random)
    assert np.isnan(found.own[2, 0, 0])
    assert found.sentence().endswith(" 1 of 24 maps of random layers are the same everywhere, and left out.")
    assert "as far as 11 images can tell" in found.sentence()
    nothing = of(noise(), np.zeros_like(random))
    assert "What they show cannot be told." in nothing.sentence()
    assert nothing.headline == "what the maps show cannot be told"
    single = of(noise(1), noise(1, 1)).sentence()
    assert "of a single image, so that there are no other images' maps" in single
    assert "What they show cannot be told." in single


def test_figures_are_of_the_levels_and_the_first_images():
    found = of(noise(), noise(seed=1), np.zeros_like(noise()))
    subject = made(CNN(conv_layers=0, fc_layers=1))
    curve, examples = found.captions(subject, "net on noise. ")
    assert "means over 12 images" in curve
    assert "seed 0" in examples
    images = np.zeros((12, 16, 16, 3), np.uint8)
    for png in (found.curve(curve), found.examples(images, [f"image {at}" for at in range(12)], examples)):
        assert png.startswith(b"\x89PNG")


def test_of_many_layers_some_are_drawn_the_last_among_them(monkeypatch):
    drawn = []
    monkeypatch.setattr(analysis.maps.randomised, "panels", lambda rows, **look: drawn.append((rows, look)) or b"png")
    found = of(*(noise(2, seed) for seed in range(31)))  # 30 layers
    found.examples(np.zeros((2, 16, 16, 3), np.uint8), ["one", "two"], "caption")
    [(rows, look)] = drawn
    assert look["column_labels"] == ["image", "trained", *(f"layer {number}" for number in range(3, 31, 3))]
    assert [len(row) for row in rows] == [12, 12]
    expected = found.maps[30, 1, 0] / found.maps[30, 1, 0].max()
    np.testing.assert_allclose(rows[1][-1].overlay, stretched(expected[None], 16, 16)[0])
