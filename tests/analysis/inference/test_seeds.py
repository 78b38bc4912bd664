"""Means over images, and their spread over seeds."""

import numpy as np
import pytest

from analysis.inference.seeds import counted, known_mean, measured, said, whose
from analysis.report import Measured
from tests.analysis.jobs.test_occlusion import make_subject, with_seeds

VALUES = np.array([[1.0, 4.0], [3.0, np.nan]])  # two images, two seeds


def test_the_mean_is_over_images_and_the_spread_over_seeds():
    found = measured(VALUES)
    assert (found.mean, found.sd, found.n) == (3, pytest.approx(2**0.5), 2)  # of 2 and 4
    assert said(VALUES) == "3.00 ± 1.41"
    assert measured(VALUES[:, :1]) == Measured(2, None, 1)
    assert said(VALUES[:, :1], 1) == "2.0"


def test_what_is_not_known_is_left_out():
    np.testing.assert_array_equal(known_mean(VALUES, axis=1), [2.5, 3])
    nothing = np.full((2, 2), np.nan)
    assert np.isnan(known_mean(nothing, axis=0)).all()
    assert (measured(nothing), said(nothing)) == (None, "–")


def test_whose_the_numbers_are():
    subject = make_subject()
    assert whose(subject, "the maps").startswith("All numbers are of one network, that of seed 0: ")
    assert whose(with_seeds(subject, 2), "the maps") == (
        "Numbers are means over the networks of 2 seeds ± their standard deviation; the maps are of the first, seed 0."
    )


def test_what_numbers_are_means_over():
    subject = make_subject()
    assert counted(subject, 20) == "means over 20 images"
    assert counted(with_seeds(subject, 2), 20, " at dawn") == (
        "means over 20 images at dawn, ± standard deviation (n) over 2 seeds"
    )
