import pytest

from sweeps.decisions.points import Points
from sweeps.study import Choice, Real, Space, Whole
from trainables.errors import UserError

SMALL = Space({"a": Whole(1, 3), "b": Choice(("x", "y"))})
ORDER = [{"a": a, "b": b} for a in (1, 2, 3) for b in "xy"]
LINE = Space({"a": Real(0, 1)})


def test_the_first_point_in_order_that_was_not_drawn_is_next():
    points = Points(SMALL, [ORDER[0], ORDER[2]])
    assert points.size == 6
    found = []
    while (values := points.next()) is not None:
        assert points.next() == values  # it stays so until it is drawn
        assert points.free(values)
        points.add(values)
        assert not points.free(values)
        found.append(values)
    assert found == [ORDER[1], *ORDER[3:]]
    assert points.next() is None


def test_a_space_is_used_up_when_as_many_were_drawn_as_it_has():
    points = Points(SMALL)
    for values in ORDER:
        assert points.are_left()
        points.add(values)
    points.add(values)
    assert not points.are_left()


def test_what_is_not_allowed_is_not_free_and_is_passed_over_once():
    asked = []

    def allowed(values):
        asked.append(values)
        return values["b"] == "y"

    points = Points(SMALL, allowed=allowed)
    assert points.next() == ORDER[1]
    assert not points.free(ORDER[2])
    for values in (ORDER[1], ORDER[3], ORDER[5]):
        assert points.next() == values
        points.add(values)
    assert points.next() is None
    assert points.are_left()  # those that are not allowed
    assert sum(values == ORDER[0] for values in asked) == 1


def test_of_real_numbers_there_are_always_more_and_none_is_next():
    points = Points(LINE, [{"a": 0.5}])
    assert (points.size, points.are_left()) == (None, True)
    assert points.free({"a": 0.25})
    assert not points.free({"a": 0.5})
    with pytest.raises(UserError, match="infinitely many points"):
        points.next()


def test_a_tuple_and_a_list_are_one_point():
    space = Space({"a": Choice(((1, 2), (3, 4)))})
    assert not Points(space, [{"a": [1, 2]}]).free({"a": (1, 2)})
