"""Points of spaces as rows, by hand."""

import numpy as np
import pytest

from sweeps.decisions.coordinates import Coordinates
from sweeps.study import Choice, Each, Real, Space, When, Whole

HALF = 0.5**0.5


def test_numbers_are_placed_in_their_range_and_choices_of_numbers_by_their_order():
    space = Space(
        {"lr": Real(0.01, 1.0, log=True), "layers": Whole(1, 4), "batch": Choice((128, 16, 32)), "one": Choice((5,))}
    )
    coordinates = Coordinates(space)
    assert coordinates.draws.tolist() == [0, 1, 2, 3]
    rows = coordinates.rows(
        [{"lr": 0.1, "layers": 1, "batch": 128, "one": 5}, {"lr": 1.0, "layers": 4, "batch": 16, "one": 5}]
    )
    np.testing.assert_allclose(rows, [[0.5, 0.125, 1.0, 0.0], [1.0, 0.875, 0.0, 0.0]])


@pytest.mark.parametrize("values", [("relu", "tanh"), (False, True), (None, 1)])
def test_two_values_without_an_order_are_1_apart(values):
    first, second = Coordinates(Space({"x": Choice(values)})).rows([{"x": value} for value in values])
    assert first.tolist() == [HALF, 0.0]
    assert np.linalg.norm(first - second) == pytest.approx(1)


def test_what_is_not_drawn_is_in_the_middle_and_says_so():
    space = Space(
        {
            "pooling": Choice(("max", "none")),
            "stride": When({"pooling": "none"}, Choice((2, 3))),
            "kind": When({"pooling": "none"}, Choice(("a", "b"))),
        }
    )
    coordinates = Coordinates(space)
    assert coordinates.draws.tolist() == [0, 0, 1, 1, 2, 2, 2]
    rows = coordinates.rows([{"pooling": "max"}, {"pooling": "none", "stride": 3, "kind": "b"}])
    np.testing.assert_allclose(rows, [[HALF, 0, 0.5, 0, 0, 0, 0], [0, HALF, 1, 1, 0, HALF, 1]])


def test_of_a_tuple_each_entry_has_its_place_and_those_that_some_points_lack_say_so():
    space = Space(
        {
            "layers": Whole(1, 3),
            "channels": Each("layers", Choice((8, 16, 32))),
            "fc": Each("layers", Whole(0, 9), fewer=1),
        }
    )
    coordinates = Coordinates(space)
    assert coordinates.draws.tolist() == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    rows = coordinates.rows([{"layers": 1, "channels": (16,)}, {"layers": 2, "channels": [8, 32], "fc": (0,)}])
    np.testing.assert_allclose(rows[0], [1 / 6, 0.5, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0])
    np.testing.assert_allclose(rows[1], [0.5, 0, 1, 1, 0.5, 0, 0.05, 1, 0.5, 0])


def test_no_points_have_no_rows():
    assert Coordinates(Space({"x": Choice(("a", "b"))})).rows([]).shape == (0, 2)
