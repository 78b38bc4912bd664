"""Feature maps: which are shown, against maps made by hand and the network's own features."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.jobs import feature_maps
from analysis.jobs.feature_maps import FeatureMaps, strongest
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import CNN, ResNet
from trainables.errors import UserError


def test_the_strongest_come_first_and_ties_go_by_channel():
    maps = np.zeros((5, 2, 2), np.float32)
    maps[1], maps[2, 0, 0], maps[3] = 1, -8, 1
    assert strongest(maps, 16).tolist() == [2, 1, 3, 0, 4]
    assert strongest(maps, 2).tolist() == [2, 1]


def test_maps_are_the_features_of_that_image():
    subject = make_subject(replace(SMALL, batch_norm=True), (1, 12, 12))
    arrays = FeatureMaps(image=4, layers=("block1", "conv3")).compute(subject, 0)
    assert list(arrays) == ["block1", "conv3"]
    with torch.inference_mode():
        _, features = subject.model.features(torch.from_numpy(subject.images[4:5]).permute(0, 3, 1, 2))
    for name, maps in arrays.items():
        np.testing.assert_array_equal(maps, features[name][0].numpy())


def test_default_layers_are_blocks_or_stages_and_the_last_convolution():
    assert list(FeatureMaps().compute(make_subject(SMALL), 0)) == ["block1", "block2", "block3"]
    resnet = make_subject(ResNet(18), (3, 32, 32), count=2)
    assert list(FeatureMaps().compute(resnet, 0)) == ["layer1", "layer2", "layer3", "layer4", "layer4.1.conv2"]


def test_the_image_stands_beside_its_maps_and_is_named(monkeypatch):
    drawn = []
    monkeypatch.setattr(feature_maps, "panels", lambda rows, **look: drawn.append((rows, look)) or b"png")
    subject, job = (
        make_subject(replace(SMALL, channels=12)),
        FeatureMaps(image=2, per_layer=10, layers=("conv1", "block1")),
    )
    job.finding([subject], [job.compute(subject, 0)])
    (rows, look), (_, behind) = drawn
    assert [[panel is not None for panel in row] for row in rows] == [[True] * 9, [False, True, True]]
    assert (rows[0][0].image == subject.images[2]).all()
    assert look["caption"].startswith("net, test image 2 of random (class2), conv1: the 10 of 12 maps (12×12)")
    assert (look["colormap"], behind["colormap"]) == ("RdBu_r", "viridis")  # signed before the ReLU


def test_several_labels_are_all_named():
    subject, job = make_subject(SMALL, count=2), FeatureMaps(layers=("block3",))
    subject = replace(subject, labels=np.array([[1, 0, 1], [0, 1, -1]], np.int8))
    finding = job.finding([subject], [job.compute(subject, 0)])
    assert "test image 0 of random (class0, class2)" in finding.figures["feature_maps-block3"].caption
    assert finding.files() == job.finding([subject], [job.compute(subject, 0)]).files()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": 6}, "image is 6, but the test images of random are numbered 0 to 5"),
        ({"layers": ("block4",)}, r"net has no feature maps 'block4'; did you mean 'block\d'\?"),
        ({"layers": ("flat",)}, "net has no feature maps 'flat'; known: conv1, block1, conv2, block2, conv3, block3"),
        ({"image": -1}, "image is -1, but must be the number of a test image, from 0"),
        ({"per_layer": 0}, "per_layer is 0, but must be a whole number from 1 to 256"),
    ],
)
def test_what_is_not_there_is_named(options, message):
    with pytest.raises(UserError, match=message):
        FeatureMaps(**options).parts(make_subject(SMALL))


def test_a_network_without_convolutions_has_none():
    with pytest.raises(UserError, match="net has no convolutions, and so no feature maps"):
        FeatureMaps().parts(make_subject(CNN(conv_layers=0)))


def test_the_heading_counts_the_maps_that_are_silent():
    subject, job = make_subject(SMALL), FeatureMaps(image=2, layers=("conv1", "block1"))
    maps = {"conv1": np.ones((4, 2, 2), np.float32), "block1": np.zeros((4, 2, 2), np.float32)}
    maps["block1"][0, 1, 1] = 1
    assert job.finding([subject], [maps]).title == (
        "Feature maps: of image 2, maps that are 0 everywhere: 0 of 4 in conv1, 3 of 4 in block1"
    )
