import pytest

from sweeps.decisions.labels import brief, interval, label, listed, points, span


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "3"),
        (0.001, "0.001"),
        ("max", "max"),
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        ((16, 32, 64), "16-32-64"),
        ([16, None], "16-none"),
        ((), ""),
        ("models/alexnet/a.pth", "a.pth"),
        ((None, True, (1, 2), "a/b.pth"), "none-yes-1-2-b.pth"),
    ],
)
def test_values_in_words(value, words):
    assert label(value) == words


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ((0.0123, -0.001, 0.025), "+1.2 [−0.1, +2.5]"),
        ((-0.0004, -0.0004, 0.0), "+0.0 [+0.0, +0.0]"),
        ((-0.02, None, None), "−2.0"),
        ((0.01, None, 0.02), "+1.0"),
        ((0.01, 0.0, None), "+1.0"),
    ],
)
def test_a_difference_is_in_points_with_its_interval(difference, words):
    assert interval(*difference) == words


def test_points_have_a_sign():
    assert [points(each) for each in (0.1, -0.1, 0.0)] == ["+10.0", "−10.0", "+0.0"]


def test_of_many_names_the_first_few_are_given():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d, e, f and g"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_a_number_that_was_drawn_is_brief_and_all_else_as_labels_are():
    assert [brief(value) for value in (0.00123456, 12, "max", None, (16, 32))] == [
        *("0.00123", "12", "max", "none", "16-32")
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5.4, "5 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5399, "1 h 30"), (5300, "88 min"), (7500, "2 h 05")],
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert span(seconds) == said
