"""How alike maps of different fills are, by hand."""

import numpy as np
import pytest

from analysis.maps.fills import Fills
from analysis.maps.windows import Grid


def made(maps: np.ndarray, **more) -> Fills:
    """Return maps (images, seeds, fills, rows, columns) with windows of 5 pixels at every other one."""
    rows, columns = (2 * np.arange(side) for side in maps.shape[-2:])
    return Fills(maps, "gray", Grid((5,), rows, columns, 2), np.ones(maps.shape[:2]), **more)


def holes(*places: tuple[int, int]) -> np.ndarray:
    """Return maps (6, 6) with their lowest value at these places."""
    maps = 1 - 0.01 * np.random.default_rng(0).random((len(places), 6, 6))
    for values, place in zip(maps, places, strict=True):
        values[place] = 0.1
    return maps


def test_the_largest_drop_is_at_the_same_place_where_each_centre_is_in_the_others_window():
    gray = holes((2, 2), (2, 2), (0, 5))
    mean = holes((3, 1), (2, 4), (0, 5))  # one place is two pixels: 2 is as far as a window of 5 reaches
    black = np.full((3, 6, 6), 0.5)
    found = made(np.stack([gray, mean, black], axis=1)[:, None])
    assert found.others == ["mean", "black"]
    assert found.same_place("mean").tolist() == [[1], [0], [1]]
    assert np.isnan(found.same_place("black")).all()
    assert "the largest drop is at the same place in 2 of 3 maps; with black" in found.sentence()
    assert "With all three fills it is there in 0 of 0 maps." in found.sentence()


def test_likeness_is_the_correlation_with_the_same_image_s_map_and_beside_it_with_those_of_others():
    rng = np.random.default_rng(1)
    gray = rng.random((4, 2, 6, 6))
    mean, black = 0.5 + gray / 2, rng.random((4, 2, 6, 6))
    found = made(np.stack([gray, mean, black], axis=2))
    own, others = found.likeness("mean")
    np.testing.assert_allclose(own, 1)
    expected = np.corrcoef(gray[:, 1].reshape(4, -1), mean[:, 1].reshape(4, -1))[:4, 4:]
    np.testing.assert_allclose(others[2, 1], np.delete(expected[2], 2).mean())
    own, _ = found.likeness("black")
    assert own[3, 0] == pytest.approx(np.corrcoef(gray[3, 0].ravel(), black[3, 0].ravel())[0, 1])
    rows = {row[0]: row[1:] for row in found.table("title").rows}
    assert (rows["mean"][1].mean, rows["mean"][1].n) == (pytest.approx(1), 2)
    assert rows["gray"][1:] == (None, None, None)
    assert rows["black"][0].mean == pytest.approx(black.mean())
    assert (
        "against gray: with mean the maps' correlation over the places is 1.00 ± 0.00 (with other" in found.sentence()
    )


def test_what_each_fill_has_on_the_objects_is_held_against_other_images_masks():
    rng = np.random.default_rng(2)
    masks = rng.random((20, 6, 6)) < 0.3
    follows = np.where(masks, 0.2, 0.9) - 0.1 * rng.random((20, 6, 6))
    blind = rng.random((20, 6, 6))
    found = made(np.stack([follows, follows, blind], axis=1)[:, None], masks=masks)
    words = found.sentence()
    share = found.on_objects()["gray"].share
    assert f"gray {100 * share.mean():.1f} %, more than with other images' masks (p = 0.003);" in words
    assert "black" in words.rpartition(";")[2]
    assert "not significantly different from other images' masks" in words.rpartition(";")[2]
    assert len(found.table("title").columns) == 7
    assert len(made(found.maps).table("title").columns) == 5
    assert "object" not in made(found.maps).sentence()
