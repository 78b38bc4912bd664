"""Maps of all seeds at the same places, put together from what was computed at different ones."""

import numpy as np
import pytest

from analysis.maps.occluded import THIN, examine, occluded
from analysis.maps.windows import Grid
from tests.analysis.jobs.test_occlusion import by_hand, make_subject, with_seeds

GRID = Grid((3, 7), np.arange(12), np.arange(12), 1)


def seen(subject, fill="gray"):
    images = np.array([3, 8])
    return occluded(
        subject, {"image": images, "class": np.array([1, 1])} | examine(subject, 1, images, GRID, fill), GRID, fill
    )


def test_with_one_seed_they_are_all_places_and_with_several_every_other_one():
    subject = make_subject(masks=np.random.default_rng(0).random((30, 12, 12)) < 0.5)
    alone, several = seen(subject), seen(with_seeds(subject))
    assert (alone.maps.shape, several.maps.shape) == ((2, 1, 2, 12, 12), (2, 3, 2, 6, 6))
    np.testing.assert_array_equal(alone.maps[:, 0, :, ::THIN, ::THIN], several.maps[:, 0])
    np.testing.assert_array_equal(several.masks, subject.masks[[3, 8], ::2, ::2])
    np.testing.assert_array_equal(alone.masks, subject.masks[[3, 8]])
    assert (alone.counted, several.grid.stride) == ("means over 2 images", 2)
    assert several.counted == (
        "means over 2 images at one pixel in 2 along both axes, ± standard deviation (n) over 3 seeds"
    )
    for at, network in enumerate(with_seeds(subject).replicates):
        assert several.unoccluded[1, at] == pytest.approx(network.probabilities[8, 1], abs=1e-6)
        np.testing.assert_allclose(several.maps[1, at, 1], by_hand(network, 8, 1, 7, 1, 0.5)[::2, ::2], atol=2e-6)
    assert (alone.drops >= 0).all()
    below = np.maximum(alone.unoccluded[0, 0] - alone.maps[0, 0, 1, 4, 5].astype(float), 0)
    assert alone.drops[0, 0, 1, 4, 5] == pytest.approx(below)


@pytest.mark.parametrize("asked", ["gray", "mean", "black"])
def test_fills_come_in_one_order_whichever_was_asked_for(asked):
    subject = with_seeds(make_subject(), 2)
    found = seen(subject, asked).fills
    for at, shown in enumerate((0.5, subject.images.mean(axis=(0, 1, 2)) / 255, 0)):
        for seed, network in enumerate(subject.replicates):
            expected = by_hand(network, 3, 1, 3, 1, shown)[::2, ::2]
            np.testing.assert_allclose(found.maps[0, seed, at], expected, rtol=0, atol=2e-6)
    assert found.grid.windows == (3,)


def test_no_image_is_no_map():
    found = examine(with_seeds(make_subject()), 1, np.zeros(0, np.int64), GRID, "gray")
    assert {name: values.shape[:2] for name, values in found.items()} == {
        "unoccluded": (0,),
        "maps": (0, 2),
        "changed": (0, 2),
        "other_unoccluded": (0, 2),
        "other_maps": (0, 2),
        "other_changed": (0, 2),
        "fills": (0, 3),
        "deletion": (0, 3),
    }
