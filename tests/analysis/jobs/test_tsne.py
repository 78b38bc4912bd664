"""t-SNE keeps what is apart apart, and is the same each time."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from analysis.features import features, nearest
from analysis.finding import Arrays, Finding
from analysis.jobs.tsne import COUNTED, TSNE, balanced, embed, initial_layout
from analysis.report import Measured
from analysis.subject import Subject
from tests.analysis.filters.test_naming import SMALL, make_subject
from trainables.config import ResNet
from trainables.errors import UserError


def noise(count: int, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_two_clusters_stay_apart_and_each_together():
    rng = np.random.default_rng(0)
    cluster = np.arange(120) % 2
    vectors = torch.from_numpy((rng.normal(size=(120, 10)) + 20 * cluster[:, None]).astype(np.float32))
    embedding = embed(vectors, initial_layout(noise(120), 0), perplexity=10, seed=0)
    centres = np.stack([embedding[cluster == number].mean(axis=0) for number in (0, 1)])
    radius = np.linalg.norm(embedding - centres[cluster], axis=1).max()
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * radius
    found, _ = nearest(torch.from_numpy(embedding), COUNTED, "euclidean")
    assert (cluster[found] == cluster[:, None]).all()


def test_the_picture_is_repeatable_to_the_bit_and_the_seed_tells():
    subject = make_subject(SMALL, count=60)
    job = TSNE(perplexity=5, images=50)
    first, again, other = (each.compute(subject, 0)["embedding"] for each in (job, job, replace(job, seed=1)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_initial_layout_is_the_pixels_first_two_principal_components():
    images = noise(80)
    layout = initial_layout(images, 0)
    expected = PCA(2, svd_solver="full").fit_transform(images.reshape(80, -1) / 255)
    for ours, theirs in zip(layout.T, expected.T, strict=True):
        assert abs(np.corrcoef(ours, theirs)[0, 1]) > 0.999  # but for the jitter, and perhaps mirrored
    assert layout[:, 0].std() == pytest.approx(1e-4, rel=0.01)


def test_the_initial_layout_of_larger_images_is_that_of_them_reduced():
    small = noise(40, side=32) // 2 + 60
    depth = np.random.default_rng(1).integers(-60, 61, (40, 32, 32, 1))
    checks = np.kron(depth[..., 0], [[[1, -1], [-1, 1]]])[..., None]  # which average out
    large = (small.repeat(2, axis=1).repeat(2, axis=2) + checks).astype(np.uint8)
    np.testing.assert_allclose(initial_layout(large, 3), initial_layout(small, 3), atol=1e-9)


def test_images_are_taken_in_turn_from_the_classes():
    classes = np.array([0, 0, 0, 0, 1, -1, 2, 2, 1])
    assert balanced(classes, 3).tolist() == [0, 4, 6]
    assert balanced(classes, 4).tolist() == [0, 1, 4, 6]
    assert balanced(classes, 7).tolist() == [0, 1, 2, 4, 6, 7, 8]
    assert balanced(classes, 99).tolist() == [0, 1, 2, 3, 4, 6, 7, 8]


def looked(job: TSNE, *subjects: Subject) -> tuple[list[Arrays], Finding]:
    computed = [job.compute(subject, part) for subject in subjects for part in range(job.parts(subject))]
    return computed, job.finding(subjects, computed)


def test_models_side_by_side():
    subject = replace(make_subject(SMALL, count=60), blank=None)
    subjects = [subject, replace(make_subject(ResNet(), count=60), name="other", blank=None)]
    computed, finding = looked(TSNE(layer="flat", perplexity=5, repeats=1), *subjects)
    assert np.array_equal(computed[0]["start"], computed[1]["start"])
    own, _ = nearest(torch.from_numpy(computed[1]["embedding"]), COUNTED, "euclidean")
    shares = [
        Measured(pytest.approx(100 * (subject.labels[found] == subject.labels[:, None]).mean()), None, 1)
        for found in (computed[1]["features"], own)
    ]
    kept = 100 * np.mean([len(set(a) & set(b)) / COUNTED for a, b in zip(computed[1]["features"], own, strict=True)])
    rows = finding.tables["tsne"].rows
    assert [row[0] for row in rows] == ["net", "other", "pixels", "by chance"]
    assert rows[1][1:3] == ("flat (512-d)", shares[0])
    assert rows[1][5:7] == (60, shares[1])
    assert rows[1][9:] == (Measured(pytest.approx(kept), None, 1), None)
    assert rows[3][2] == rows[3][6] == pytest.approx(100 * 19 / 59)
    assert finding.arrays["embedding_2"].shape == (60, 2)
    assert finding.text[2] == "2,000 images were asked for, but only 60 have a class."
    caption = finding.figures["tsne"].caption
    assert all(
        word in caption
        for word in (
            "net: flat (6-d)",
            "other: flat (512-d)",
            "perplexity 5",
            "seed 0",
            "random",
            "60 test",
            "the same for all",
        )
    )


def test_several_t_sne_seeds_all_networks_and_one_that_has_learned_nothing():
    """Parts: three t-SNE of the first network, the features of the second, a t-SNE of the untrained one."""
    first = make_subject(SMALL, count=45)
    subject = replace(first, others=(replace(first.untrained(1), name="net"),))
    job = TSNE(perplexity=5, images=45)
    computed, finding = looked(job, subject)
    assert [sorted(each) for each in computed] == [
        *[["embedding", "features", "picture", "start"]] * 3,
        ["features"],
        ["embedding", "features", "picture", "start"],
    ]
    for number, repeat in enumerate(computed[:3]):
        alone = replace(job, seed=number, repeats=1).compute(first, 0)
        assert np.array_equal(repeat["embedding"], alone["embedding"])
        assert np.array_equal(repeat["features"], computed[0]["features"])
    assert not np.array_equal(computed[0]["embedding"], computed[1]["embedding"])
    own, _ = nearest(features(first.untrained(first.seed), None), COUNTED, "euclidean")
    np.testing.assert_array_equal(computed[4]["features"], own)

    def share(found: np.ndarray) -> float:
        return 100 * (first.labels[found] == first.labels[:, None]).mean()

    net, untrained, start, _ = finding.tables["tsne"].rows
    for cell, values in (
        (net[2], [share(computed[part]["features"]) for part in (0, 3)]),
        (net[6], [share(computed[part]["picture"]) for part in range(3)]),
        (untrained[6], [share(computed[4]["picture"])]),
    ):
        assert (cell.mean, cell.n) == (pytest.approx(np.mean(values)), len(values))
        assert cell.sd == (pytest.approx(np.std(values, ddof=1)) if len(values) > 1 else None)
    pictures = [[set(each) for each in computed[part]["picture"].tolist()] for part in range(3)]
    pairs = [np.mean([len(one & two) for one, two in zip(a, b, strict=True)]) for a, b in combinations(pictures, 2)]
    assert net[10] == pytest.approx(100 * np.mean(pairs) / COUNTED)
    by_layout, _ = nearest(torch.from_numpy(computed[0]["start"]), COUNTED, "euclidean")
    assert start[6].mean == pytest.approx(share(by_layout))
    assert set(finding.figures) == {"tsne", "tsne_untrained", "features_share", "picture_share"}
    assert "The network is the first seed's." in finding.figures["tsne"].caption
    assert any(line.startswith("net, picture, 3 t-SNE seeds: ") for line in finding.text)


def test_multi_label_images_are_coloured_by_their_rarest_class():
    labels = np.zeros((40, 3), np.int8)
    labels[:30, 0] = labels[20:36, 1] = 1
    subject = replace(make_subject(SMALL, count=40), labels=labels)
    _, finding = looked(TSNE(perplexity=5, images=40, repeats=1), subject)
    assert finding.arrays["images"].tolist() == list(range(36))
    assert finding.arrays["classes"].tolist() == [0] * 20 + [1] * 16
    assert "the same for all" not in finding.figures["tsne"].caption
    assert "Colour and mark: the rarest of an image's classes" in finding.figures["tsne"].caption


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": 90}, "perplexity is 30, but must be at least 2 and less than a third of the images, which are 90"),
        (
            {"perplexity": 20},
            "perplexity is 20, but must be at least 2 and less than a third of the images, which are 60",
        ),
        (
            {"perplexity": 1},
            "perplexity is 1, but must be at least 2 and less than a third of the images, which are 2,000",
        ),
        ({"images": 6}, "images is 6, but must be a whole number from 7 on"),
        ({"repeats": 0}, "repeats is 0, but must be a whole number from 1 to 20"),
        ({"seed": -1}, "seed is -1, but must be a whole number from 0 to 2³² − 1"),
        (
            {"layer": "fc9", "perplexity": 5},
            "net has no feature 'fc9'; known: conv1, block1, conv2, block2, conv3, block3, flat",
        ),
    ],
)
def test_what_cannot_be_is_named(options, message):
    with pytest.raises(UserError) as error:
        TSNE(**options).parts(make_subject(SMALL, count=60))
    assert str(error.value) == message


def test_after_the_last_seed_comes_the_first():
    subject, job = make_subject(SMALL, count=7), TSNE(images=7, perplexity=2, seed=2**32 - 1, repeats=2)
    again = replace(job, seed=0).compute(subject, 0)
    assert np.array_equal(job.compute(subject, 1)["embedding"], again["embedding"])


def test_fewest_images():
    subject = make_subject(SMALL, count=7)
    embedding = TSNE(images=7, perplexity=2).compute(subject, 0)["embedding"]
    assert np.isfinite(embedding).all()


def test_the_heading_is_of_the_picture():
    _, finding = looked(TSNE(perplexity=5, images=60, repeats=1), make_subject(SMALL, count=60))
    assert finding.title.startswith("t-SNE: in the picture ")
    assert " % of the neighbours share a class, " in finding.title
