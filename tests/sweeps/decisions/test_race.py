"""Races worked out by hand."""

import pytest

from sweeps.decisions.race import Lap, ends_of_laps, epochs_of_race, race


@pytest.mark.parametrize(
    ("runners", "epochs", "ends"),
    [
        (1, 16, []),
        (2, 16, [4]),
        (3, 16, [4, 8]),
        (4, 16, [4, 8]),
        (5, 16, [4, 8]),  # five, three, two: both of these run to the end
        (9, 16, [4, 8]),
        (3, 15, [4, 8]),  # 3.75 and 7.5 are rounded up
        (3, 17, [5, 9]),
        (3, 3, [1, 2]),  # a lap has an epoch at least
        (3, 2, [1]),
        (3, 1, []),
        (0, 9, []),
    ],
)
def test_laps_double_until_one_is_left(runners, epochs, ends):
    assert ends_of_laps(runners, epochs) == ends


@pytest.mark.parametrize(
    ("runners", "epochs", "total"),
    [(1, 16, 16), (2, 16, 4 + 16), (3, 16, 3 * 4 + 2 * 4 + 8), (9, 16, 9 * 4 + 5 * 4 + 3 * 8), (0, 9, 0)],
)
def test_a_race_takes_what_its_laps_take(runners, epochs, total):
    assert epochs_of_race(runners, epochs) == total
    assert epochs_of_race(runners, epochs, raced=False) == runners * epochs


CURVES = {"a": [0.5, 0.6, 0.7, 0.75], "b": [0.1, 0.2, 0.9, 0.9], "c": [0.4, 0.5, 0.6, 0.8]}


def after(**epochs):
    return {name: CURVES[name][: epochs[name]] for name in CURVES}


def test_all_set_out_to_the_end_of_the_first_lap():
    assert race(after(a=0, b=0, c=0), 4) == race(after(a=1, b=1, c=0), 4)
    found = race(after(a=1, b=0, c=1), 4)
    assert (found.laps, found.on, found.until) == ((), ("a", "b", "c"), 1)


def test_after_each_lap_the_better_half_runs_on():
    found = race(after(a=1, b=1, c=1), 4)
    assert found.laps == (Lap(1, ("a", "c"), ("b",)),)
    assert (found.on, found.until, found.out) == (("a", "c"), 2, {"b": 1})
    found = race(after(a=2, b=1, c=2), 4)
    assert found.laps[1:] == (Lap(2, ("a",), ("c",)),)
    assert (found.on, found.until) == (("a",), 4)
    assert list(found.out.items()) == [("c", 2), ("b", 1)]  # the last to leave first
    assert race(after(a=4, b=1, c=2), 4) == found  # what comes after a lap changes nothing in it
    assert race(after(a=4, b=4, c=4), 4) == found


def test_of_equals_the_first_named_runs_on():
    assert race({"x": [0.5], "y": [0.5]}, 4).on == ("x",)
    assert race({"y": [0.5], "x": [0.5]}, 4).on == ("y",)


def test_without_one_who_failed_the_laps_are_decided_anew():
    """The winner of the laps fails later: of the two others the better is now ahead at the first."""
    left = {name: curve for name, curve in after(a=3, b=1, c=2).items() if name != "a"}
    assert race(left, 4).on == ("c",)
    assert race(left, 4).until == 4


def test_without_a_race_all_run_to_the_end():
    found = race(after(a=1, b=1, c=1), 4, raced=False)
    assert (found.laps, found.on, found.until, found.out) == ((), ("a", "b", "c"), 4, {})


def test_a_race_of_none_is_over():
    assert race({}, 4).on == ()
