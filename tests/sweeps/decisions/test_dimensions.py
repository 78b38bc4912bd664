"""Choices, ranges, tuples and conditions, each by itself."""

import math
from collections import Counter

import numpy as np
import pytest

from sweeps.study import Choice, Each, Real, When, Whole
from trainables.errors import UserError


def test_a_choices_values_have_equal_shares_in_order():
    form = Choice(("a", None, [1, 2]))
    assert form.values == ("a", None, (1, 2))
    assert form.size == 3
    assert [form.at(share) for share in (0, 0.333, 0.334, 0.666, 0.667, 0.999, 1)] == [
        "a", "a", None, None, (1, 2), (1, 2), (1, 2),
    ]  # fmt: skip
    assert form.has(None)
    assert form.has((1, 2))
    assert not form.has(1)


@pytest.mark.parametrize("value", [None, True, 1, 0.5, "a", (), (1, "a"), ((1, None), 2)])
def test_what_a_choice_may_hold(value):
    assert Choice((value,)).has(value)


def test_a_whole_numbers_values_have_equal_shares():
    form = Whole(2, 5)
    assert list(form.values) == [2, 3, 4, 5]
    assert form.size == 4
    assert [form.at(share) for share in (0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1)] == [2, 2, 3, 3, 4, 4, 5, 5]
    assert [form.share(value) for value in form.values] == [1 / 8, 3 / 8, 5 / 8, 7 / 8]
    assert [form.has(value) for value in (1, 2, 5, 6, 3.0, True, "3")] == [False, True, True] + [False] * 4


def test_a_logarithmic_whole_number_has_each_value_by_its_width_in_the_logarithm():
    form = Whole(1, 4, log=True)
    counts = Counter(form.at((n + 0.5) / 10_000) for n in range(10_000))
    # the parts between 0.5, 1.5, 2.5, 3.5 and 4.5
    assert [counts[value] / 10_000 for value in form.values] == pytest.approx(
        [math.log(r, 9) for r in (3, 5 / 3, 7 / 5, 9 / 7)], abs=1e-3
    )
    assert [form.share(value) for value in form.values] == pytest.approx([math.log(2 * n, 9) for n in (1, 2, 3, 4)])


@pytest.mark.parametrize(
    ("form", "values"),
    [
        (Real(-1, 3), {0: -1, 0.25: 0, 0.5: 1, 1: 3}),
        (Real(0.01, 100, log=True), {0: 0.01, 0.25: 0.1, 0.5: 1, 1: 100}),
    ],
)
def test_a_real_number_at_a_share_of_its_range_and_back(form, values):
    for share, value in values.items():
        assert form.at(share) == pytest.approx(value)
        assert form.share(value) == pytest.approx(share)
    assert form.size is None
    assert [form.has(value) for value in (form.low, form.high, 0.9 * form.low + 0.1 * form.high)] == [True] * 3
    assert [form.has(value) for value in (form.low - 1e-9, form.high + 1e-9, True, "1", None)] == [False] * 5


@pytest.mark.parametrize("form", [Real(-1, 3), Real(1e-6, 10, log=True), Whole(-5, 5), Whole(3, 3)])
def test_the_ends_of_a_range_are_in_it(form):
    assert (form.at(0), form.at(1)) == (form.low, form.high)
    assert form.has(form.at(np.nextafter(1, 0)))


def test_what_rounding_gives_beyond_the_ends_is_cut_off():
    form = Real(1e-5, 3.0, log=True)
    assert form.low * (form.high / form.low) ** 1 > form.high  # as computed in floating point
    assert form.at(1) == form.high


def test_a_condition_holds_where_each_field_has_one_of_its_values():
    form = When({"a": {3, 1}, "b": None, "c": (1, 2)}, Whole(1, 2))
    assert form.conditions == {"a": (1, 3), "b": (None,), "c": ((1, 2),)}
    assert form.holds({"a": 3, "b": None, "c": (1, 2), "d": 5})
    assert not form.holds({"a": 2, "b": None, "c": (1, 2)})
    assert not form.holds({"a": 1, "b": None, "c": 1})
    assert not form.holds({"a": 1, "c": (1, 2)})  # b was left out, which is no value
    assert When({"a": frozenset({"max", None, 2})}, Whole(1, 2)).conditions == {"a": (2, "max", None)}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (Choice((None, True, (1, 2), "max")), "none, yes, 1-2, max"),
        (Whole(1, 3), "1..3"),
        (Whole(1, 3, log=True), "1..3 (log)"),
        (Real(1e-6, 0.25), "1e-06..0.25"),
        (Real(1e-6, 10, log=True), "1e-06..10 (log)"),
        (Each("n", Whole(1, 3)), "1..3, for each of n"),
        (Each("n", Whole(1, 3), fewer=1), "1..3, for each of n less 1"),
        (When({"a": {2, 1}, "b": "x"}, Whole(1, 3)), "a is 1 or 2 and b is x"),
    ],
)
def test_in_words(form, words):
    assert str(form) == words


@pytest.mark.parametrize("build", [
    lambda: Whole(3, 3), lambda: Whole(1, 2, log=True), lambda: Whole(0, 1), lambda: Real(1e-9, 1, log=True),
    lambda: Real(0, 1), lambda: Each("n", Real(0, 1), fewer=64), lambda: When({"a": 1}, Each("n", Whole(1, 2))),
])  # fmt: skip
def test_what_is_just_allowed(build):
    build()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Choice(()), r"Choice\(\(\)\) has nothing to choose from"),
        (lambda: Choice(3), r"Choice\(3\) must have a tuple of values"),
        (lambda: Choice("max"), r"Choice\('max'\) must have a tuple of values"),
        (lambda: Choice((1, 2, 1)), "Choice holds 1 twice"),
        (lambda: Choice(([1, 2], (1, 2))), r"Choice holds \(1, 2\) twice"),
        (lambda: Choice(({},)), ("Choice holds {}, but must hold None, True, False, numbers, strings, or tuples of "
                                "such")),
        (lambda: Choice((1, (2, {}))), r"Choice holds \(2, {}\), but must hold .*"),
        (lambda: Whole(2, 1), r"Whole\(low=2, high=1, log=False\): low must be at most high"),
        (lambda: Whole(0, 1, log=True), r"Whole\(low=0, high=1, log=True\): with log, low must be above 0"),
        (lambda: Whole(1, 2.5), r"Whole\(low=1, high=2.5, log=False\): the ends must be whole numbers"),
        (lambda: Whole(True, 2), r"Whole\(low=True, high=2, log=False\): the ends must be whole numbers"),
        (lambda: Real(False, 2), r"Real\(low=False, high=2, log=False\): the ends must be finite numbers"),
        (lambda: Real(0, "1"), r"Real\(low=0, high='1', log=False\): the ends must be finite numbers"),
        (lambda: Real(-math.inf, 1), r"Real\(low=-inf, high=1, log=False\): the ends must be finite numbers"),
        (lambda: Real(0, 1, log=True), r"Real\(low=0, high=1, log=True\): with log, low must be above 0"),
        (lambda: Real(1, 1), r"Real\(low=1, high=1, log=False\): low must be below high"),
        (lambda: Real(0, float("nan")), r"Real\(low=0, high=nan, log=False\): the ends must be finite numbers"),
        (lambda: Each("a", Each("b", Whole(1, 2))),
         "Each of a draws from Each, but must draw from a Choice, Whole or Real"),
        (lambda: Each("a", Whole(1, 2), fewer=-1), "Each of a: fewer is -1, but must be 0..64"),
        (lambda: Each("a", Whole(1, 2), fewer=65), "Each of a: fewer is 65, but must be 0..64"),
        (lambda: When({"a": 1}, When({"b": 1}, Whole(1, 2))),
         "When draws from When, but must draw from a Choice, Whole, Real or Each"),
        (lambda: When({}, Whole(1, 2)), "When has no condition; without one, leave it out"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_from_is_refused_in_one_line(build, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        build()
