"""Flips by hand, and the published ones; class by class and as confusions in the tests of the ablation."""

import numpy as np
import pytest

from analysis.inference.flips import Flips, grown, per_class
from analysis.inference.mcnemar import mcnemar

LABELS = np.array([0, 0, 0, 1, 1, 2])
BEFORE = np.array([0, 0, 1, 1, 1, 0])
AFTER = np.array([0, 1, 0, 0, 0, 0])


def test_published_flips_make_the_published_table():
    flips = Flips(total=1000, kept=748 - 45, lost=45, gained=10)  # R0.B3, plane
    assert (flips.right_before, flips.right_after) == (748, 713)


def test_counts_by_hand():
    flips = Flips.between(LABELS, BEFORE, AFTER)
    assert flips == Flips(total=6, kept=1, lost=3, gained=1)
    assert [row[1] for row in flips.table("t").rows] == [1, 1, 3, 1, 6]
    assert flips.p == mcnemar(1, 3)
    assert flips.in_words.startswith("Right before: 66.67 % of 6 test images, after: 33.33 %; 3 lost against 1 gained")


def test_class_by_class():
    rows = per_class(LABELS, BEFORE, AFTER, ("a", "b", "c", "d"), "t").rows
    assert rows[0] == ("a", 2, 1, 1, 2, 0, 0.0)
    assert rows[1] == ("b", 2, 2, 0, 0, -2, -100.0)
    assert rows[2] == ("c", 0, 0, 0, 0, 0, 0.0)
    assert rows[3] == ("d", 0, 0, 0, 0, 0, None)
    assert rows[4] == ("total", 4, 3, 1, 2, -2, pytest.approx(-100 / 3))


def test_confusions_that_grew():
    assert grown(LABELS, BEFORE, AFTER, ("a", "b", "c")) == [("b", "a", 0, 2, 2)]


def test_a_p_too_small_to_be_told_from_0_is_not_said_to_be_0():
    assert Flips(10_000, 0, 5_000, 0).in_words.endswith("McNemar's exact test p < 1e-300.")
