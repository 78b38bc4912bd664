"""Bounds by hand: one conv layer of c channels, 3×3 on 3×6×6 pixels, without pooling, then one FC layer to 10 classes.

It has 28c + (16c + 1) × 10 parameters, which is 188c + 10; and forward 2 × 27c × 16 + 2 × 16c × 10 = 1184c FLOPs.
"""

import math

import pytest

from sweeps.decisions.bounds import amount, beyond, broken, check, in_words, planned_costs, within
from sweeps.study import Choice, Real, Space, Whole
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.plan import plan_of

SHAPE = (3, 6, 6)
START = Trial(
    model=CNN(conv_layers=1, channels=4, kernel=3, padding=0, pooling="none", fc_layers=1), training=Training(epochs=3)
)
CHANNELS = Space({"model.channels": Whole(1, 20), "training.batch_size": Choice((16, 32))})


def costs(channels):
    return planned_costs(plan_of(START.with_values({"model.channels": channels}), SHAPE, 10))


def test_what_a_network_costs_is_what_its_plan_says():
    assert costs(4) == {"parameters": 188 * 4 + 10, "flops": 1184 * 4}
    assert costs(5) == {"parameters": 188 * 5 + 10, "flops": 1184 * 5}


@pytest.mark.parametrize("constraint", [{"parameters": 188 * 4 + 10}, {"flops": 1184 * 4}, {"flops": 5000.0}])
def test_a_bound_between_two_points_tells_them_apart_and_its_own_value_is_within_it(constraint):
    assert broken(constraint, costs(4)) is None
    assert broken(constraint, costs(5)) is not None


def test_one_more_than_is_allowed_is_beyond_the_bound():
    assert broken({"parameters": 188 * 4 + 9}, costs(4)) == "762 parameters, but at most 761 are allowed"
    assert broken({"flops": 1184 * 4 - 1}, costs(4)) is not None


def test_how_far_a_cost_is_from_its_bound_is_the_logarithm_of_their_ratio():
    found = beyond({"parameters": 100, "seconds": 60, "flops": 10}, {"parameters": 200.0, "flops": 1.0})
    assert found == {"parameters": math.log(2), "flops": math.log(0.1)}  # of the seconds nothing is known
    assert beyond({}, {"parameters": 200.0}) == {}
    assert beyond({"seconds": 60}, {"seconds": 0.0})["seconds"] < 0


def test_the_first_bound_that_is_broken_is_told_with_both_numbers():
    constraint = {"parameters": 1e6, "seconds": 60}
    assert broken(constraint, {"parameters": 1_234_567.0, "seconds": 75.25}) == (
        "1,234,567 parameters, but at most 1,000,000 are allowed"
    )
    assert broken(constraint, {"parameters": 1.0, "seconds": 75.25}) == (
        "75.25 s of training in full, but at most 60 are allowed"
    )
    assert in_words(constraint) == "at most 1,000,000 parameters and 60 s of training in full"
    assert [amount(each) for each in (0.125, 60, 999.5, 1000, 5e7)] == ["0.125", "60", "999.5", "1,000", "50,000,000"]


@pytest.mark.parametrize(("channels", "share"), [(1, 1 / 20), (7, 7 / 20), (20, 1.0)])
def test_of_few_points_the_share_within_the_bounds_is_counted(channels, share):
    """Each number of channels comes with two sizes of batch."""
    found = within({"parameters": 188 * channels + 10}, CHANNELS, START, SHAPE, 10)
    assert found == (share, {"parameters": 188 * 10 + 10, "flops": 1184 * 10})


def test_of_many_points_it_is_drawn():
    space = Space({"model.channels": Whole(1, 20), "training.lr": Real(0.01, 0.1)})
    found = within({"flops": 1184 * 7}, space, START, SHAPE, 10)
    assert abs(found.share - 7 / 20) < 4 * (7 / 20 * 13 / 20 / 1000) ** 0.5
    assert found == within({"flops": 1184 * 7}, space, START, SHAPE, 10)


def test_what_cannot_be_built_is_not_within_bounds():
    space = Space({"model.channels": Whole(1, 2), "model.kernel": Choice((3, 7))})
    assert within({"parameters": 1e9}, space, START, SHAPE, 10).share == 0.5
    with pytest.raises(UserError, match=r"^no point of the space can be built$"):
        within({"parameters": 1e9}, Space({"model.kernel": Choice((7, 8))}), START, SHAPE, 10)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"parameter": 1e6}, "constraint names 'parameter', which cannot be bounded; did you mean 'parameters'?"),
        ({"memory": 1}, "constraint names 'memory', which cannot be bounded; known: parameters, flops, seconds"),
        ({"flops": 0}, "constraint: flops is 0, but must be a number above 0"),
        ({"flops": -1.5}, "constraint: flops is -1.5, but must be a number above 0"),
        ({"seconds": math.nan}, "constraint: seconds is nan, but must be a number above 0"),
        ({"seconds": math.inf}, "constraint: seconds is inf, but must be a number above 0"),
        ({"parameters": "1e6"}, "constraint: parameters is '1e6', but must be a number above 0"),
        ({"parameters": True}, "constraint: parameters is True, but must be a number above 0"),
        (1e6, 'constraint is 1000000.0, but must name bounds, as {"parameters": 1e6} does'),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused_in_one_line(constraint, message):
    with pytest.raises(UserError) as refused:
        check(constraint)
    assert str(refused.value) == message


def test_bounds_on_all_costs_are_taken():
    check({"parameters": 1, "flops": 0.5, "seconds": 1e9})
    check({})
