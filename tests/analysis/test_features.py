"""Feature spaces: neighbours against scikit-learn, shares and overlaps against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from analysis import features as spaces
from analysis.features import (
    by_chance,
    check_same_images,
    feature_space,
    features,
    main_class,
    nearest,
    nearest_of_pixels,
    of_pixels,
    overlap,
    pixels,
    presence,
    sharing,
)
from analysis.job import WrongOption
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import ResNet
from trainables.errors import UserError

METRICS = ("cosine", "euclidean")

# 1: present, 0: absent, -1: unknown. Class 1 is the rarest; image 3 has no class, image 4 is not known to have one.
LABELS = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [-1, 0, -1], [0, 0, 1]], np.int8)


def multi_label():
    return replace(make_subject(SMALL), labels=LABELS)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_neighbours_are_those_of_scikit_learn(metric, offset, monkeypatch):
    monkeypatch.setattr(spaces, "BLOCK", 64)
    vectors = np.random.default_rng(0).normal(offset, 1, (300, 20)).astype(np.float32)
    distances, found = (
        NearestNeighbors(n_neighbors=8, metric=metric, algorithm="brute").fit(vectors.astype(float)).kneighbors()
    )
    ours, our_distances = nearest(torch.from_numpy(vectors), 8, metric)
    assert np.array_equal(ours, found)
    np.testing.assert_allclose(our_distances, distances, rtol=1e-4 if metric == "cosine" and offset else 1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_distances_go_by_number_and_an_image_is_not_its_own_neighbour(metric, monkeypatch):
    monkeypatch.setattr(spaces, "BLOCK", 5)
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 700)).astype(np.float32))
    found, distances = nearest(rows.repeat(4, 1), 3, metric)  # rows 0, 3, 6, 9 are equal, and so on
    assert found[:6].tolist() == [[3, 6, 9], [4, 7, 10], [5, 8, 11], [0, 6, 9], [1, 7, 10], [2, 8, 11]]
    assert (distances == 0).all()


def test_a_vector_of_zeros_is_at_cosine_distance_1_of_all():
    found, distances = nearest(torch.tensor([[0.0, 0], [1, 0], [2, 0], [0, 3]]), 9, "cosine")
    assert found.tolist() == [[1, 2, 3], [2, 0, 3], [1, 0, 3], [0, 1, 2]]
    assert distances.tolist() == [[1, 1, 1], [0, 1, 1], [0, 1, 1], [1, 1, 1]]


def test_default_features_are_the_last_before_the_logits():
    cnn, mlp, resnet = make_subject(SMALL), make_subject(replace(SMALL, fc_layers=3)), make_subject(ResNet())
    assert [str(feature_space(subject, None)) for subject in (cnn, mlp, resnet)] == [
        "flat (6-d)",
        "fc2 (128-d)",
        "flat (512-d)",
    ]
    assert str(feature_space(cnn, "block2")) == "block2 (45-d, 5×3×3 flattened)"
    _, _, maps = next(cnn.batches())
    assert torch.equal(features(cnn, "block2", np.array([4, 1])), maps["block2"][[4, 1]].flatten(1))
    assert torch.equal(features(cnn, "block2", None), maps["block2"].flatten(1))


def test_a_feature_that_is_not_there_is_a_wrong_option():
    with pytest.raises(WrongOption, match=r"^net has no feature 'blok2'; did you mean 'block2'\?$"):
        feature_space(make_subject(SMALL), "blok2")


def test_features_too_large_to_hold_are_refused():
    subject = make_subject(SMALL)
    with pytest.raises(
        UserError, match=r"^conv1 \(576-d, 4×12×12 flattened\) of 10,000,000 images takes 21,973 MiB, .* 512 MiB$"
    ):
        feature_space(subject, "conv1", 10**7)


def test_features_that_just_fit_are_held(monkeypatch):
    subject = make_subject(SMALL)
    monkeypatch.setattr(spaces, "LARGEST", 4 * 6 * 576)  # bytes: float32, images, dimensions
    assert feature_space(subject, "conv1", 6).dimensions == 576
    with pytest.raises(UserError, match="of 7 images takes"):
        feature_space(subject, "conv1", 7)


def test_euclidean_distances_are_those_of_the_vectors_as_they_are():
    _, distances = nearest(torch.tensor([[0.0, 0], [3, 4], [6, 8]]), 2, "euclidean")
    assert distances.tolist() == [[5, 10], [5, 5], [5, 10]]


def test_cosine_distances_know_no_lengths_but_the_sign():
    numbers, distances = nearest(torch.tensor([[2.0, 0], [0.25, 0], [-2, 0], [0, 5]]), 3, "cosine")
    assert numbers[0].tolist() == [1, 3, 2]
    assert distances[0].tolist() == [0, 1, 2]


def test_an_unknown_label_is_no_class():
    assert presence(multi_label()).tolist() == (LABELS == 1).tolist()
    assert presence(make_subject(SMALL)).tolist() == np.eye(3, dtype=bool)[[0, 1, 2, 0, 1, 2]].tolist()


def test_an_image_with_several_classes_stands_for_the_rarest():
    assert main_class(multi_label()).tolist() == [2, 1, 0, -1, -1, 2]
    assert main_class(make_subject(SMALL)).tolist() == [0, 1, 2, 0, 1, 2]


def test_of_classes_that_are_equally_rare_the_first_counts():
    both = replace(make_subject(SMALL, count=2), labels=np.array([[0, 1, 1], [1, 0, 0]], np.int8))
    assert main_class(both).tolist() == [1, 0]


def test_a_neighbour_shares_a_class_where_any_is_present_in_both():
    found = np.array([[1, 5], [5, 0], [3, 4], [0, 1], [0, 1], [0, 4]])
    nan = np.nan
    np.testing.assert_equal(sharing(LABELS == 1, found), [[1, 1], [0, 1], [0, 0], [nan, nan], [nan, nan], [1, 0]])


def test_share_by_chance_is_that_of_all_others():
    np.testing.assert_equal(by_chance(LABELS == 1), np.array([3, 2, 2, np.nan, np.nan, 1]) / 5)
    present = np.eye(10, dtype=bool)[np.arange(50) % 10]
    np.testing.assert_allclose(by_chance(present), 4 / 49)


def test_overlap_is_the_mean_share_of_common_neighbours():
    a, b = np.array([[1, 2, 3, 4], [0, 2, 3, 4]]), np.array([[4, 3, 2, 1], [5, 6, 7, 2]])
    assert overlap(a, b) == (4 + 1) / 8


def test_by_chance_is_the_same_in_blocks(monkeypatch):
    present = np.random.default_rng(0).random((30, 4)) < 0.3
    whole = by_chance(present)
    monkeypatch.setattr(spaces, "BLOCK", 7)
    np.testing.assert_array_equal(by_chance(present), whole)
    assert by_chance(np.array([[True]])).tolist() == [0]  # no other image shares its class


@pytest.mark.parametrize("change", ["dataset", "labels", "class_names"])
def test_models_must_have_been_examined_on_the_same_images(change):
    subject = make_subject(SMALL)
    others = {"dataset": "else", "labels": subject.labels[::-1], "class_names": ("a", "b", "c")}
    check_same_images([subject, replace(subject, name="twin", labels=subject.labels.copy())])
    other = replace(subject, name="other", **{change: others[change]})
    with pytest.raises(
        UserError, match=r"^net is examined on random, other on \w+, but must be on the same images of the"
    ):
        check_same_images([subject, subject, other])


def test_pixels_are_a_space_and_larger_images_are_reduced():
    images = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), dtype=np.uint8)
    expected = images.transpose(0, 3, 1, 2).reshape(4, -1)
    np.testing.assert_array_equal(pixels(images, 8), expected)
    blocks = images.reshape(4, 3, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(pixels(images[:, :, :6], 3), blocks[:, :, :3].transpose(0, 3, 1, 2).reshape(4, -1))
    assert of_pixels(images) == "6×8×3"
    assert of_pixels(np.zeros((1, 32, 12, 1), np.uint8)) == "16×12×1, reduced"


def test_neighbours_by_pixels():
    subject = make_subject(SMALL, count=20)
    found = nearest_of_pixels(subject, 4, "euclidean", np.arange(3, 18))
    flat = subject.images[3:18].reshape(15, -1).astype(float)
    distances = np.linalg.norm(flat[:, None] - flat, axis=2) + np.diag(np.full(15, np.inf))
    np.testing.assert_array_equal(found, distances.argsort(axis=1)[:, :4])
