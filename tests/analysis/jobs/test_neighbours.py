"""Neighbours against scikit-learn, shares and overlaps against counts made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from analysis import features as spaces
from analysis.features import by_chance, feature_space, features, main_class, nearest, overlap, sharing
from analysis.jobs.neighbours import METRICS, Neighbours, chosen_queries
from tests.analysis.test_filters import SMALL, make_subject
from trainables.config import CNN, ResNet
from trainables.errors import UserError

# 1: present, 0: absent, -1: unknown. Class 1 is the rarest; image 3 has no class, image 4 is not known to have one.
LABELS = np.array([[1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [-1, 0, -1], [0, 0, 1]], np.int8)


def multi_label():
    return replace(make_subject(SMALL), labels=LABELS)


def looked(job, *subjects):
    """Return what the job computes of each model, and its finding."""
    assert [job.parts(subject) for subject in subjects] == [1] * len(subjects)
    computed = [job.compute(subject, 0) for subject in subjects]
    return computed, job.finding(subjects, computed)


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


def test_neighbours_are_repeatable_to_the_bit():
    first, again = (looked(Neighbours(), make_subject(SMALL, count=40))[0][0] for _ in range(2))
    assert all(np.array_equal(first[key], again[key]) for key in first)


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


def test_an_image_with_several_classes_stands_for_the_rarest():
    assert main_class(multi_label()).tolist() == [2, 1, 0, -1, -1, 2]
    assert main_class(make_subject(SMALL)).tolist() == [0, 1, 2, 0, 1, 2]


def test_default_queries_are_the_first_images_of_the_first_classes():
    assert chosen_queries(np.array([4, -1, 2, 2, 4, 0, 9, 0])).tolist() == [5, 2, 0]
    assert chosen_queries(np.array([-1, 1])).tolist() == [1]


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


def test_models_side_by_side():
    subject = make_subject(replace(SMALL, fc_layers=2), count=30)
    twin, other = replace(subject, name="twin"), replace(make_subject(ResNet(), count=30), name="other")
    computed, finding = looked(Neighbours(layer="flat", count=4), subject, twin, other)
    ours, theirs = computed[0]["neighbours"], computed[2]["neighbours"]
    shared = [float((subject.labels[found] == subject.labels[:, None]).mean()) for found in (ours, theirs)]
    assert [row[2] for row in finding.tables["neighbours_share"].rows] == pytest.approx(
        [100 * shared[n] for n in (0, 0, 1)]
    )
    assert [row[6] for row in finding.tables["neighbours_share"].rows] == pytest.approx([100 * 9 / 29] * 3)
    common = 100 * np.mean([len(set(a) & set(b)) / 4 for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)])
    assert [row[:3] for row in finding.tables["neighbours_overlap"].rows] == [
        ("net", "twin", 100),
        ("net", "other", pytest.approx(common)),
        ("twin", "other", pytest.approx(common)),
    ]
    rows = finding.tables["neighbours"].rows
    assert len(rows) == 3 * 3 * 4
    assert rows[0][:6] == ("net", 0, "class0", 1, ours[0, 0], f"class{ours[0, 0] % 3}")
    assert finding.arrays["queries"].tolist() == [0, 1, 2]
    assert np.array_equal(finding.arrays["neighbours_3"], theirs)
    caption = finding.figures["neighbours"].caption
    assert all(
        word in caption
        for word in ("net: flat (6-d)", "other: flat (512-d)", "cosine", "random", "class0, class1, class2")
    )


def test_a_query_without_a_class_has_no_share():
    _, finding = looked(Neighbours(queries=[3, 4], count=2), multi_label())
    [row] = finding.tables["neighbours_share"].rows
    assert row[3:6] == (4, None, 0)
    assert {row[2] for row in finding.tables["neighbours"].rows} == {"no class"}
    assert {row[7] for row in finding.tables["neighbours"].rows} == {None}
    assert "of those shown unknown" in finding.text[1]


def test_fewer_images_than_asked_for_are_said():
    _, finding = looked(Neighbours(), make_subject(CNN(conv_layers=1, channels=2, fc_layers=1), (1, 8, 8)))
    assert finding.text[-1] == "8 neighbours were asked for, but there are only 5 other images."
    assert len(finding.tables["neighbours"].rows) == 3 * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "l1"}, "metric is 'l1', but must be 'cosine' or 'euclidean'"),
        ({"count": 0}, "count is 0, but must be a whole number from 1 to 20"),
        ({"queries": ()}, "queries is empty, but must have at least one image number"),
        ({"queries": (6,)}, "query 6 is no test image of random, whose numbers are 0 to 5"),
        ({"queries": (-1,)}, "query -1 is no test image of random, whose numbers are 0 to 5"),
        ({"queries": (1, 1)}, "query 1 comes twice, but must come once"),
        ({"layer": "blok2"}, "net has no feature 'blok2'; did you mean 'block2'?"),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(UserError) as error:
        Neighbours(**options).parts(make_subject(SMALL))
    assert str(error.value) == message


def test_queries_must_be_given_where_no_image_has_a_class():
    nothing_known = replace(multi_label(), labels=np.full((6, 3), -1, np.int8))
    with pytest.raises(UserError, match="no image of random is known to have a class, so that queries must be given"):
        Neighbours().parts(nothing_known)
    _, finding = looked(Neighbours(queries=[0], count=2), nothing_known)
    assert finding.tables["neighbours_share"].rows[0][2:] == (None, 0, None, 0, None)


def test_features_too_large_to_hold_are_refused():
    subject = make_subject(SMALL)
    with pytest.raises(
        UserError, match=r"^conv1 \(576-d, 4×12×12 flattened\) of 10,000,000 images takes 21,973 MiB, .* 512 MiB$"
    ):
        feature_space(subject, "conv1", 10**7)


def test_models_on_other_images_are_not_set_side_by_side():
    subject = make_subject(SMALL)
    job, other = Neighbours(), replace(subject, name="other", labels=subject.labels[::-1])
    with pytest.raises(UserError, match="net is examined on random, other on random, but must be on the same images"):
        job.finding([subject, other], [job.compute(subject, 0)] * 2)
