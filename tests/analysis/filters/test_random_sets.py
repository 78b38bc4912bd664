"""Other sets by counting them, their evenness, and where a set stands by hand."""

import itertools

import numpy as np
import pytest

from analysis.filters.random_sets import AmongSets, how_many, other_sets, stratified

FILTERS = {"conv1": (0, 2), "conv2": (1,)}
SIZES = {"conv1": 4, "conv2": 3}


def test_all_other_sets_where_they_are_few():
    assert how_many(FILTERS, SIZES) == 18
    found = other_sets(FILTERS, SIZES, 17)
    expected = [
        {"conv1": pair, "conv2": (number,)}
        for pair in itertools.combinations(range(4), 2)
        for number in range(3)
        if (pair, number) != ((0, 2), 1)
    ]
    assert found == expected
    assert other_sets({"conv1": (0, 1, 2, 3)}, SIZES, 9) == []


def test_drawn_sets_are_others_different_and_always_the_same():
    found = other_sets(FILTERS, SIZES, 16)
    assert len(found) == len({str(each) for each in found}) == 16
    assert FILTERS not in found
    assert all([len(each["conv1"]), len(each["conv2"])] == [2, 1] for each in found)
    assert all(each["conv1"] == tuple(sorted(each["conv1"])) for each in found)
    assert found == other_sets(FILTERS, SIZES, 16)


def test_each_filter_is_drawn_as_often_as_any_other():
    found = other_sets({"conv1": (0, 1, 2)}, {"conv1": 32}, 2000)
    often = np.bincount([number for each in found for number in each["conv1"]], minlength=32)
    assert often.sum() == 6000
    assert abs(often - 187.5).max() < 5 * 187.5**0.5


def test_where_a_set_stands_by_hand():
    found = AmongSets(3.0, np.array([1.0, 3.0, 5.0, 2.0]), complete=False)
    assert (found.as_bad, found.p) == (2, pytest.approx(3 / 5))
    assert found.sentence == (
        "Against 4 other sets, drawn at random, of as many filters of the same layers: they lose 2.50 points (median; "
        "90 % of them 1.15 to 4.70), this one 3.00; 50 % of them lose at least as much, p = 0.6: nothing shows that "
        "these filters matter more than any others."
    )


def test_a_set_that_is_worse_than_nearly_all_matters():
    found = AmongSets(9.0, np.arange(39) / 10, complete=True)
    assert found.p == pytest.approx(1 / 40)
    assert found.sentence.startswith("Against all 39 other sets of as many filters")
    assert found.sentence.endswith(
        "0 % of them lose at least as much, p = 0.025: these filters matter more than others."
    )
    assert "nothing shows" in AmongSets(9.0, np.arange(18) / 10, complete=True).sentence  # too few to say so


def test_p_is_small_as_often_as_it_says():
    rng = np.random.default_rng(0)
    small = [
        AmongSets(own, others, False).p <= 0.05
        for own, *others in rng.normal(size=(4000, 100))
        for others in [np.array(others)]
    ]
    assert np.mean(small) == pytest.approx(0.05, abs=0.01)


def test_of_no_other_sets_that_is_said():
    assert AmongSets(1.0, np.array([]), complete=True).sentence.startswith("There is no other set")


def test_a_sample_has_of_each_class_its_share():
    classes = np.repeat([0, 1, 2], [600, 300, 100])
    found = stratified(classes, 50)
    assert np.bincount(classes[found]).tolist() == [30, 15, 5]
    assert (np.diff(found) > 0).all()
    assert found.tolist() == stratified(classes, 50).tolist()
    assert found.tolist() != list(range(0, 1000, 20))
    assert stratified(classes, 1000).tolist() == stratified(classes, 5000).tolist() == list(range(1000))


def test_the_heading_says_whether_they_matter_more():
    assert AmongSets(9.0, np.arange(39) / 10, complete=True).headline == "more than other sets of the same size cost"
    headline = AmongSets(9.0, np.arange(18) / 10, complete=True).headline
    assert headline == "not significantly more than other sets of the same size cost"
    assert AmongSets(1.0, np.array([]), complete=True).headline == ""
