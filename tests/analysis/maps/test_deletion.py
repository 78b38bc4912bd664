"""Deletion and insertion: orders, curves by hand, and who beats whom."""

import numpy as np
import pytest

import analysis.maps.deletion
from analysis.maps.deletion import (
    ORDERS,
    STEPS,
    Deletion,
    areas,
    cheap,
    curves_of,
    orders,
    outwards,
    patches,
    probabilities,
    ranks,
)
from analysis.maps.pointing import stretched
from tests.analysis.jobs.test_occlusion import make_subject


def test_the_highest_score_goes_first_and_ties_are_broken():
    scores, ties = np.array([[1.0, 5.0], [1.0, 1.0]]), np.array([[0.2, 0.1], [0.9, 0.2]])
    assert ranks(scores, ties).tolist() == [[2, 0], [1, 3]]


def test_random_patches_are_whole_and_their_own_of_each_seed():
    scores = patches(5, 7, 3, 0)
    assert len(np.unique(scores)) == 6
    assert len(np.unique(scores[:3, :3])) == len(np.unique(scores[3:, 6:])) == 1
    assert np.array_equal(scores, patches(5, 7, 3, 0))
    assert not np.array_equal(scores, patches(5, 7, 3, 1))


def test_outwards_is_by_the_distance_from_the_centre():
    assert outwards(3, 3).tolist() == [[-2, -1, -2], [-1, 0, -1], [-2, -1, -2]]
    assert (outwards(2, 4) == outwards(2, 4)[::-1, ::-1]).all()


def test_orders_are_of_all_pixels():
    found = orders(np.random.default_rng(0).random((6, 5)), 2, 7)
    assert found.shape == (len(ORDERS), 6, 5)
    assert all(sorted(each.ravel()) == list(range(30)) for each in found)
    assert found[2, 2:4, 2].max() == 1


def test_curves_of_a_linear_network_by_hand():
    subject, shown = make_subject(), np.array([0.1, 0.2, 0.3], np.float32)
    order = orders(np.random.default_rng(0).random((12, 12)), 3, 0)
    found = probabilities(subject, 5, 2, order, shown)
    assert found.shape == (2, 3, STEPS + 1)
    weight, bias = (subject.model.state_dict()[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    for at in range(3):
        for step in (0, 1, 7, STEPS):
            first = order[at] < round(144 * step / STEPS)  # 7.2 pixels a step
            for way, hidden in enumerate((first, ~first)):
                image = np.where(hidden[..., None], shown, subject.images[5] / 255)
                odds = np.exp(weight @ ((image - 0.4) / 0.2).transpose(2, 0, 1).ravel() + bias)
                assert found[way, at, step] == pytest.approx(odds[2] / odds.sum(), abs=1e-5)
    np.testing.assert_allclose(found[0, :, 0], subject.probabilities[5, 2], atol=1e-6)
    np.testing.assert_array_equal(found[0, :, -1], found[1, :, 0])


def test_a_map_s_curves_are_those_of_the_map_stretched_over_the_image():
    subject, shown, values = make_subject(), np.full(3, 0.5, np.float32), np.random.default_rng(0).random((3, 4))
    order = orders(stretched(values[None], 12, 12)[0], 4, 9)
    found = curves_of(subject, 9, 1, values, 4, shown)
    np.testing.assert_array_equal(found, probabilities(subject, 9, 1, order, shown))


def test_curves_are_cheap_where_they_are_fewer_images_than_the_test_images_or_take_no_time(monkeypatch):
    subject = make_subject(count=252)  # 126 images go through the network for the curves of one
    assert cheap(subject, 400)
    monkeypatch.setattr(analysis.maps.deletion, "MOMENT", 0)
    assert cheap(subject, 2)
    assert not cheap(subject, 3)


def test_areas_are_means_over_the_share_of_pixels():
    np.testing.assert_allclose(areas(np.stack([np.linspace(0, 1, STEPS + 1), np.ones(STEPS + 1)])), [0.5, 1])


def made(levels: np.ndarray, images: int = 12, seeds: int = 1) -> Deletion:
    """Return flat curves at these levels (2, 3), but for a little noise of each image."""
    noise = np.random.default_rng(0).normal(0, 0.02, (images, seeds, 2, 3))
    return Deletion((levels + noise)[..., None].repeat(STEPS + 1, axis=-1).astype(np.float32))


def test_it_is_said_what_the_map_beats_what_beats_it_and_what_is_not_told_apart():
    words = made(np.array([[0.2, 0.5, 0.2], [0.6, 0.3, 0.8]])).sentence()
    assert "while pixels are hidden, 0.2" in words
    assert "in random patches (the map beats it, p = 0.002), " in words  # 2/4096, of four tests the smallest
    assert "in rings from the centre outwards (no significant difference, p = " in words
    assert "in rings from the centre outwards (it beats the map, p = 0.002)." in words
    single = made(np.full((2, 3), 0.5), images=1).sentence()
    assert single.count("(of a single image)") == 4


def test_orders_that_differ_by_chance_are_seldom_told_apart():
    rng, alarms = np.random.default_rng(5), 0
    for _ in range(200):
        found = Deletion(rng.normal(size=(20, 1, 2, 3, 1)).repeat(STEPS + 1, axis=-1))
        alarms += found.sentence().count("no significant difference") < 4
    assert alarms <= 18  # 10 are expected at most, as Holm counts the tests


def test_table_and_figure_are_means_over_images_by_seed(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        analysis.maps.deletion, "lines", lambda plots, x, **words: drawn.append((plots, x, words)) or b"png"
    )
    found = made(np.array([[0.2, 0.5, 0.4], [0.6, 0.3, 0.8]]), seeds=3)
    table = found.table("title")
    assert [row[0] for row in table.rows] == list(ORDERS)
    expected = found.areas.mean(axis=0)[:, 1, 2]
    cell = table.rows[2][2]
    assert (cell.mean, cell.sd, cell.n) == (pytest.approx(expected.mean()), pytest.approx(expected.std(ddof=1)), 3)
    assert found.figure("t", "c") == b"png"
    [((deletion, insertion), x, _)] = drawn
    assert (deletion[0], insertion[0], len(x)) == ("deletion: share hidden", "insertion: share shown", STEPS + 1)
    np.testing.assert_allclose(insertion[1][ORDERS[1]], found.curves[:, :, 1, 1].mean(axis=0), rtol=1e-6)
