"""The embedded data set's promises: the same bytes everywhere, masks that fit; hard for a linear model, not a CNN."""

import hashlib
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.datasets import shapes
from trainables.datasets.shapes import CLASS_NAMES


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, labels and masks."""
    split = shapes.draw(count, seed)
    return split.images, split.labels, split.masks


@pytest.fixture(scope="module")
def train():
    return draw(4500, seed=1)


@pytest.fixture(scope="module")
def held_out():
    return draw(1000, seed=2)


def test_a_seed_gives_these_very_bytes_on_every_machine():
    images, labels, masks = draw(200, seed=0)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes() + masks.tobytes()).hexdigest()
    assert digest == "87431e65109d93670a6e7eeeea90d6545e40972a7caf66d884249cce5d59c5d6"


def test_another_seed_gives_other_images():
    assert not np.array_equal(draw(20, seed=0)[0], draw(20, seed=1)[0])


def test_shapes_and_kinds_are_as_promised(held_out):
    images, labels, masks = held_out
    assert (images.shape, images.dtype) == ((1000, 32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((1000,), np.int64)
    assert (masks.shape, masks.dtype) == ((1000, 32, 32), np.bool_)
    assert np.bincount(labels).tolist() == [100] * len(CLASS_NAMES)


def test_few_images_leave_the_last_classes_out():
    assert sorted(draw(3, seed=0)[1]) == [0, 1, 2]


def test_every_object_is_whole_and_none_fills_the_image(held_out):
    cover = held_out[2].mean(axis=(1, 2))
    assert cover.min() > 0.04
    assert cover.max() < 0.5
    rim = held_out[2][:, [0, -1], :].mean() + held_out[2][:, :, [0, -1]].mean()
    assert rim < 0.01


@pytest.mark.parametrize(
    ("name", "area"),
    # in squared radii, by hand: a circle's pi r^2, a ring's 2 pi r w, boxes' sides, a triangle's 3 sqrt(3) r^2 with
    # inradius r
    [
        ("disc", np.pi * 0.85**2),
        ("ring", 2 * np.pi * 0.7 * 0.4),
        ("square", 1.5**2),
        ("frame", 1.66**2 - 0.94**2),
        ("triangle", 3 * np.sqrt(3) * 0.5**2),
        ("cross", 2 * 1.9 * 0.56 - 0.56**2),
        ("bars", 2 * 0.5 * 1.7),
    ],
)
def test_a_mask_has_its_outline_s_area(name, area, train):
    _, labels, masks = train
    low, high = shapes.RADIUS
    mean_square_radius = (high**3 - low**3) / (3 * (high - low))  # of a uniform radius
    pixels = masks[labels == CLASS_NAMES.index(name)].sum(axis=(1, 2)).mean()
    assert pixels == pytest.approx(area * mean_square_radius, rel=0.05)


def test_the_mask_is_where_the_object_is(held_out):
    """Object and ground differ in luminance by about CONTRAST, so their means within the mask and beside it do."""
    images, _, masks = held_out
    luminance = images / np.float32(255) @ shapes.LUMINANCE
    inside = (luminance * masks).sum(axis=(1, 2)) / masks.sum(axis=(1, 2))
    outside = (luminance * ~masks).sum(axis=(1, 2)) / (~masks).sum(axis=(1, 2))
    assert (np.abs(inside - outside) > 0.15).mean() > 0.95
    assert (inside < outside).mean() == pytest.approx(shapes.DARKER, abs=0.05)


def test_colour_does_not_give_the_class_away(train, held_out):
    def colours(images, masks):
        """Mean colours of object and ground, their squares and a constant, (N, 13)."""
        weights = np.stack((masks, ~masks)).astype(np.float64)
        means = np.einsum("knhw,nhwc->nkc", weights, images / 255.0) / weights.sum(axis=(2, 3)).T[..., None]
        means = means.reshape(len(images), 6)
        return np.hstack((means, means**2, np.ones((len(images), 1))))

    one_hot = np.eye(len(CLASS_NAMES))[train[1]]
    solution = np.linalg.lstsq(colours(train[0], train[2]), one_hot)[0]
    accuracy = ((colours(held_out[0], held_out[2]) @ solution).argmax(axis=1) == held_out[1]).mean()
    assert accuracy < 0.2  # chance is 0.1


def test_drawing_is_quick():
    draw(64, seed=0)
    start = time.process_time()
    draw(5000, seed=1)
    assert time.process_time() - start < 2


def fit(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, lr: float) -> None:
    """Train with SGD, momentum 0.9, batch 64, the rate falling by 0.8 an epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    for epoch in range(epochs):
        optimizer.param_groups[0]["lr"] = lr * 0.8**epoch
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()


def accuracy_of(model: nn.Module, train, held_out, epochs: int, lr: float) -> float:
    pixels = torch.from_numpy(train[0]).float()
    mean, sd = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))

    def prepared(images):
        return ((torch.from_numpy(images).float() - mean) / sd).permute(0, 3, 1, 2)  # channels_last as it lies

    fit(model, prepared(train[0]), torch.from_numpy(train[1]), epochs, lr)
    with torch.no_grad():
        return (model(prepared(held_out[0])).argmax(1).numpy() == held_out[1]).mean()


def test_a_linear_classifier_stays_below_60_percent(train, held_out):
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    accuracy = accuracy_of(linear, train, held_out, epochs=8, lr=0.001)
    assert 0.3 < accuracy < 0.6  # less would be a linear classifier that has not learnt


def test_three_convolutions_pass_90_percent(train, held_out):
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3), nn.MaxPool2d(2), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 2 * 2, 128), nn.ReLU(), nn.Linear(128, 10))
    accuracy = accuracy_of(network.to(memory_format=torch.channels_last), train, held_out, epochs=6, lr=0.05)
    assert accuracy > 0.9
