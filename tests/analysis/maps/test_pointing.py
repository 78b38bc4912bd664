"""Whether maps point at objects, by hand."""

from dataclasses import replace

import numpy as np

from analysis.inference.permutation import Matched, matched
from analysis.maps import pointing as module
from analysis.maps.pointing import (
    Pointing,
    figure,
    headline,
    hits,
    on_object,
    own_scale,
    pointing,
    sentence,
    shares,
    stretched,
    verdicts,
)


def test_mass_and_peak_on_the_object():
    maps = np.array(
        [[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]]],
        np.float32,
    )
    masks = np.array([[[True, False], [False, False]]] * 4)
    masks[3] = False  # no object
    share, peak = on_object(maps, masks)
    np.testing.assert_array_equal(share, [0.25, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(peak, [0.0, np.nan, 1.0, np.nan])


def test_of_equal_maxima_the_first_counts_row_by_row():
    ones = np.ones((1, 2, 2), np.float32)
    first, last = np.zeros((2, 1, 2, 2), bool)
    first[0, 0, 0] = last[0, 1, 1] = True
    assert [on_object(ones, mask)[1].tolist() for mask in (first, last)] == [[1.0], [0.0]]
    assert [on_object(ones, mask)[0].tolist() for mask in (first, last)] == [[0.25], [0.25]]


def test_hits_are_counted_among_the_known():
    assert hits(np.array([1.0, 0.0, np.nan, 1.0])) == "2 of 3"
    assert hits(np.array([0.0])) == "0 of 1"
    assert hits(np.array([np.nan])) is None


def test_shares_under_each_mask_by_hand():
    maps = np.array([[[1.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = np.array([[[True, False], [False, False]], [[True, True], [True, True]], [[False] * 2] * 2])
    np.testing.assert_array_equal(shares(maps, masks), [[0.25, 1.0, np.nan], [np.nan] * 3])


SIDE = 16


def discs(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return round objects, (n, side, side) bool, for centres (n, 2) and radii (n,) in pixels."""
    y, x = np.mgrid[:SIDE, :SIDE]
    away = (y - centres[:, :1, None]) ** 2 + (x - centres[:, 1:, None]) ** 2
    return away <= radii[:, None, None] ** 2


def photographs(rng: np.random.Generator, count: int = 20) -> np.ndarray:
    """Return objects as they are in photographs: of different sizes, about the middle."""
    return discs(rng.normal(7.5, 1.5, (count, 2)), rng.uniform(2, 5, count))


def central(rng: np.random.Generator, count: int = 20) -> np.ndarray:
    """Return maps of a network that is blind to where the object is: stronger in the middle, as windows are clipped at
    the border, each of a contrast of its own.
    """
    y, x = np.mgrid[:SIDE, :SIDE] - 7.5
    fading = np.exp(-(y**2 + x**2) / 40)
    return fading ** rng.uniform(0.5, 2, (count, 1, 1)) * rng.exponential(size=(count, SIDE, SIDE))


def test_a_network_that_is_blind_to_position_is_not_told_apart_though_it_has_more_than_the_objects_area():
    rng = np.random.default_rng(0)
    alarms = above_area = 0
    for _ in range(200):
        maps, masks = central(rng), photographs(rng)
        share, _ = on_object(maps, masks)
        [words] = verdicts([matched(shares(maps, masks))])
        alarms += not words.startswith("not significantly different from other images' masks (p = ")
        excess = share - masks.mean((1, 2))
        above_area += excess.mean() > 2 * excess.std(ddof=1) / np.sqrt(len(excess))
    assert above_area == 200  # so that area is no null
    assert 2 <= alarms <= 20  # 10 are expected


def test_a_network_that_follows_the_object_is_found_and_one_that_shuns_it():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(50):
        masks = photographs(rng)
        towards = central(rng) * (1 + masks)  # twice as strong on the object
        away = central(rng) * (2 - masks)
        found.append(verdicts([matched(shares(towards, masks)), matched(shares(away, masks))]))
    assert sum(words.startswith("more than with other images' masks (p = 0.0") for words, _ in found) >= 49
    assert sum(words.startswith("less than with other images' masks (p = 0.0") for _, words in found) >= 49


def test_verdicts_count_the_tests():
    few, more, single = Matched(0.5, 0.4, 0.02, 20), Matched(0.3, 0.4, 0.01, 20), Matched(0.5, np.nan, None, 1)
    assert verdicts([few]) == ["more than with other images' masks (p = 0.02)"]
    assert verdicts([few, few, few, None, single, more], "guesses") == [
        *["not significantly different from guesses (p = 0.06)"] * 3,
        "not known",
        "of a single image, so that there are no guesses",
        "less than with guesses (p = 0.04)",
    ]


def test_maps_are_stretched_by_pixel_edges():
    np.testing.assert_allclose(stretched(np.array([[[0.0, 1.0]]]), 1, 4), [[[0, 0.25, 0.75, 1]]])


def test_pointing_of_several_seeds_by_hand():
    """Two images with the left and the right half as objects, of a third the object is not known; two seeds."""
    maps = np.zeros((3, 2, 1, 4))
    maps[0, 0, 0], maps[0, 1, 0] = [3, 1, 0, 0], [0, 1, 1, 0]
    maps[1, 0, 0] = [0, 0, 0, 1]  # the second network has nothing there
    maps[2] = 1
    masks = np.zeros((3, 1, 4), bool)
    masks[0, 0, :2] = masks[1, 0, 2:] = True
    found = pointing(maps, masks)
    np.testing.assert_array_equal(found.share, [[1, 0.5], [1, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.others, [[0, 0.5], [0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.points, [[1, 1], [1, np.nan], [np.nan, np.nan]])
    assert (found.test.own, found.test.others, found.test.images) == (0.875, 0.125, 2)
    assert found.area.tolist() == [0.5, 0.5, 0]


def test_words_and_bars_of_names_with_different_seeds_and_of_none(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "bars", lambda *given, **words: drawn.append((given, words)) or b"png")
    rng = np.random.default_rng(0)
    masks = photographs(rng)
    two = pointing(rng.random((20, 2, SIDE, SIDE)) * (1 + 9 * masks[:, None]), masks)
    one = pointing(np.random.default_rng(2).random((20, 1, SIDE, SIDE)), masks)
    none = pointing(np.zeros((20, 1, SIDE, SIDE)), masks)
    located = {"two": two, "one": one, "none": none}
    words = sentence(located, "the mass", "the images of a kind")
    assert words.startswith("Object or surroundings? Share of the mass on the object: two: ")
    by_seed = 100 * two.share.mean(axis=0)
    assert (
        f"two: {by_seed.mean():.1f} ± {by_seed.std(ddof=1):.1f} %, more than with other images' masks (p = 0.002)"
        in words
    )
    assert f"; one: {100 * one.share.mean():.1f} %, not significantly different from other images' masks (p = " in words
    assert words.endswith(
        "; none: none in any image. Masks are permuted among the images of a kind, whatever their class; Holm's "
        "adjustment counts the tests."
    )
    assert "Holm" not in sentence({"one": one}, "the mass", "the images")
    assert figure(located, "title", "caption.", "%").png == b"png"
    [((names, heights), look)] = drawn
    assert names == ["two", "one", "none"]
    own = "on the image's own object"
    np.testing.assert_allclose(heights[own], [two.share.mean(), one.share.mean(), np.nan])
    np.testing.assert_allclose(look["errors"][own], [by_seed.std(ddof=1) / 100, np.nan, np.nan])
    monkeypatch.undo()
    assert figure(located, "title", "caption.", "%").png.startswith(b"\x89PNG")


def test_each_map_is_stretched_over_its_own_maximum():
    maps = np.array([[[0.0, 2.0], [1.0, 0.0]], [[0.0, 0.02], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]], np.float32)
    found = own_scale(maps, 2, 2)
    np.testing.assert_allclose(found[0], maps[0] / 2)
    np.testing.assert_allclose(found[1], maps[1] / 0.02, rtol=1e-6)
    np.testing.assert_array_equal(found[2], 0)
    assert own_scale(maps, 8, 6).shape == (3, 8, 6)


def test_the_heading_counts_the_tests_of_all_maps():
    """Holm: of two tests the smaller p is doubled, so that 0.03 alone would be told apart, and of two is not."""
    none = np.zeros((2, 1))
    one = Pointing(none, none, none, Matched(0.6, 0.4, 0.03, 20), none[:, 0])
    other = Pointing(none, none, none, Matched(0.3, 0.4, 0.9, 20), none[:, 0])
    numbers = "(60 % of the drop there, 40 % under other images' masks)"
    assert headline({"a": one}, "a", "the drop") == f"the network looks at the object {numbers}"
    assert headline({"a": one, "b": other}, "a", "the drop") == (
        f"nothing shows that the network looks at the object {numbers}"
    )
    less = replace(one, test=Matched(0.2, 0.4, 0.001, 20))
    assert headline({"a": less}, "a", "the drop").startswith("the network looks beside the object (20 %")
    for unknown in (None, Matched(0.2, np.nan, None, 1)):
        found = headline({"a": replace(one, test=unknown)}, "a", "the drop")
        assert found == "whether the network looks at the object is not known"
