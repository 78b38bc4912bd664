"""Layers' claims from claims made by hand."""

import numpy as np
import pytest

from analysis.filters.claims import Claims
from analysis.filters.layers import LayerClaims, headline, layers_table
from analysis.report import Measured


def claims(largest, colour, p=1e-9, colour_p=1e-9) -> Claims:
    """Return claims of filters with so many images of class 0, and none of class 1."""
    own = np.array(largest)
    count = len(own)
    counts = np.stack([own, np.zeros(count, int)], axis=1)
    zeros, ps = np.zeros(count, int), [np.broadcast_to(each, count).astype(float) for each in (p, colour_p)]
    return Claims(counts, zeros, ps[0], np.broadcast_to(colour, count), zeros, ps[1], np.zeros(count))


UNTRAINED = (claims([30, 60, 20, 10], 70, p=[1e-9, 1e-9, 0.9, 0.9]), claims([50, 10, 10, 10], 70, p=0.9))


def test_shares_are_of_filters_beyond_each_null_and_those_before_it():
    """Chance: 3 and 4 of 4; colour too: 2 (one is no more) and 3 (one not by enough); untrained (60) too: 1 and 3."""
    one = claims([80, 55, 70, 90], [40, 40, 75, 40], p=[1e-9, 1e-9, 1e-9, 0.9])
    other = claims([80, 70, 61, 90], 40, colour_p=[1e-9, 1e-9, 1e-9, 0.9])
    layer = LayerClaims("conv2", 64, (one, other), UNTRAINED)
    sd = 25 / 2**0.5
    expected = [Measured(87.5, sd, 2), Measured(62.5, sd, 2), Measured(50.0, 50 / 2**0.5, 2)]
    for found, known in zip(layer.beyond(), expected, strict=True):
        assert (found.mean, found.sd, found.n) == (pytest.approx(known.mean), pytest.approx(known.sd), 2)
    assert layer.reached.largest.tolist() == [60, 0]
    assert layer.reached.what == "8 untrained filters"
    assert layer.largest(layer.trained).mean == pytest.approx((73.75 + 75.25) / 2)
    assert layer.sentence == (
        "conv2, the first 4 of 64 filters: the largest class has 74.5 ± 1.1 (2) images on average (untrained 25.0 ± "
        "7.1 (2)); 88 ± 18 (2) % of them beat chance, 62 ± 18 (2) % colour too, 50 ± 35 (2) % the untrained "
        "filters too."
    )


def test_untrained_filters_are_set_against_chance_and_colour_alone():
    layer = LayerClaims("conv1", 4, (claims([80, 1, 1, 1], 40),), UNTRAINED)
    [trained, untrained] = layers_table([layer], "t").rows
    assert trained[:3] == ("conv1", "trained", 4)
    assert untrained[:3] == ("conv1", "untrained", 4)
    assert untrained[4:] == (Measured(25.0, pytest.approx(25 * 2**0.5), 2), Measured(0.0, 0.0, 2), None)


def test_without_untrained_networks_nothing_is_said_of_them():
    layer = LayerClaims("conv1", 2, (claims([80, 10], 40, p=[1e-9, 0.9]),), ())
    assert layer.reached is None
    assert len(layers_table([layer], "t").rows) == 1
    assert layer.sentence == (
        "conv1, 2 filters: the largest class has 45.0 images on average; 50 % of them beat chance, 50 % colour too."
    )


def test_the_heading_is_of_the_last_null_that_was_looked_at():
    trained = claims([80, 55, 70, 90], [40, 40, 75, 40], p=[1e-9, 1e-9, 1e-9, 0.9])
    with_untrained = LayerClaims("conv2", 4, (trained,), UNTRAINED)
    assert headline([with_untrained, with_untrained]) == (
        "beyond chance, colour and untrained networks, 25 % of conv2, 25 % of conv2 prefer a class"
    )
    alone = LayerClaims("conv1", 2, (claims([80, 10], 40, p=[1e-9, 0.9]),), ())
    assert headline([alone]) == "beyond chance and colour, 50 % of conv1 prefer a class"
