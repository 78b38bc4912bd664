"""Nearest neighbours: which queries, what is said of them, and models side by side against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.features import features, nearest
from analysis.jobs.neighbours import Neighbours, chosen_queries, mean_percent
from analysis.report import Measured
from tests.analysis.filters.test_naming import SMALL, make_subject
from tests.analysis.test_features import multi_label
from trainables.config import CNN, ResNet
from trainables.errors import UserError


def looked(job, *subjects):
    """Return what the job computes of each network, and its finding."""
    computed = [job.compute(subject, part) for subject in subjects for part in range(job.parts(subject))]
    return computed, job.finding(subjects, computed)


def test_neighbours_are_repeatable_to_the_bit():
    first, again = (looked(Neighbours(), make_subject(SMALL, count=40))[0][0] for _ in range(2))
    assert all(np.array_equal(first[key], again[key]) for key in first)


def test_default_queries_are_the_first_images_of_the_first_classes():
    assert chosen_queries(np.array([4, -1, 2, 2, 4, 0, 9, 0])).tolist() == [5, 2, 0]
    assert chosen_queries(np.array([-1, 1])).tolist() == [1]


def test_models_side_by_side():
    subject = replace(make_subject(replace(SMALL, fc_layers=2), count=30), blank=None)
    twin, other = replace(subject, name="twin"), replace(make_subject(ResNet(), count=30), name="other", blank=None)
    computed, finding = looked(Neighbours(layer="flat", count=4), subject, twin, other)
    ours, theirs = computed[0]["neighbours"], computed[2]["neighbours"]
    shared = [float((subject.labels[found] == subject.labels[:, None]).mean()) for found in (ours, theirs)]
    *models, pixels, chance = finding.tables["neighbours_share"].rows
    assert [row[0] for row in models] == ["net", "twin", "other"]
    assert [row[2].mean for row in models] == pytest.approx([100 * shared[n] for n in (0, 0, 1)])
    by_pixels, _ = nearest(torch.from_numpy(subject.images).permute(0, 3, 1, 2).flatten(1).float(), 4, "cosine")
    assert pixels[2].mean == pytest.approx(100 * (subject.labels[by_pixels] == subject.labels[:, None]).mean())
    assert chance[:3] == ("by chance", "", pytest.approx(100 * 9 / 29))
    common = 100 * np.mean([len(set(a) & set(b)) / 4 for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)])
    with_pixels = np.mean([len(set(a) & set(b)) / 4 for a, b in zip(ours.tolist(), by_pixels.tolist(), strict=True)])
    overlaps = [(*row[:2], row[2].mean) for row in finding.tables["neighbours_overlap"].rows]
    assert overlaps[:4] == [
        ("net", "twin", 100),
        ("net", "other", pytest.approx(common)),
        ("twin", "other", pytest.approx(common)),
        ("net", "pixels", pytest.approx(100 * with_pixels)),
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
    first = finding.tables["neighbours_share"].rows[0]
    assert first[5:] == (4, None)
    assert {row[2] for row in finding.tables["neighbours"].rows} == {"no class"}
    assert {row[7] for row in finding.tables["neighbours"].rows} == {None}
    assert finding.text[-1] == "Of the neighbours shown, those of each model's first seed: net unknown."


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
        ({"queries": (6,)}, "query 6 is not a test image of random, whose numbers are 0 to 5"),
        ({"queries": (-1,)}, "query -1 is not a test image of random, whose numbers are 0 to 5"),
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
    assert finding.tables["neighbours_share"].rows[0][2:] == (None, None, None, 0, None)
    assert finding.text[1] == "net, flat (6-d): no image is known to have a class."
    assert set(finding.figures) == {"neighbours"}


def test_all_seeds_count_and_a_network_that_has_learned_nothing_is_set_beside_them():
    first = make_subject(SMALL, count=60)
    seeds = [replace(first.untrained(seed), name="net") for seed in (1, 2)]
    subject = replace(first, others=tuple(seeds))
    computed, finding = looked(Neighbours(count=3), subject)
    shares = [100 * (first.labels[each["neighbours"]] == first.labels[:, None]).mean() for each in computed]
    expected, _ = nearest(features(first.untrained(first.seed), None), 3, "cosine")
    np.testing.assert_array_equal(computed[3]["neighbours"], expected)
    model, untrained, *_ = finding.tables["neighbours_share"].rows
    assert model[2] == Measured(pytest.approx(np.mean(shares[:3])), pytest.approx(np.std(shares[:3], ddof=1)), 3)
    assert untrained[:3:2] == ("net, untrained", Measured(pytest.approx(shares[3]), None, 1))
    assert [row[:2] for row in finding.tables["neighbours_gain"].rows] == [("net", "pixels"), ("net", "net, untrained")]
    assert finding.tables["neighbours_overlap"].rows[1][:2] == ("net", "its other seeds")
    assert np.array_equal(finding.arrays["neighbours_1"], computed[0]["neighbours"])
    assert "not significantly different from pixels" in finding.text[1]


def test_models_on_other_images_are_not_set_side_by_side():
    subject = make_subject(SMALL)
    job, other = Neighbours(), replace(subject, name="other", labels=subject.labels[::-1])
    with pytest.raises(
        UserError, match="net is examined on random, other on random, but must be on the same images of"
    ):
        job.finding([subject, other], [job.compute(subject, 0)] * 2)


def test_shares_are_means_of_what_is_known():
    assert mean_percent(np.array([[1.0, 0.0], [np.nan, 0.0]])) == pytest.approx(100 / 3)
    assert mean_percent(np.array([np.nan])) is None


def test_the_heading_is_what_neighbours_share_and_raw_rows_are_folded():
    _, finding = looked(Neighbours(count=4), make_subject(SMALL, count=30))
    assert finding.title.startswith("Nearest neighbours: ")
    assert " % of the neighbours share a class, " in finding.title
    assert [stem for stem, table in finding.tables.items() if table.folded] == ["neighbours"]
