import itertools
from collections import Counter

import numpy as np
import pytest

from sweeps.decisions.space import Row, buildable, unbuildable
from sweeps.study import Choice, Each, Real, Space, When, Whole
from trainables.config import CNN, ResNet, Training, Trial
from trainables.errors import UserError

SPACE = Space(
    {
        "model.conv_layers": Whole(0, 2),
        "model.channels": Each("model.conv_layers", Choice((16, 32, 64))),
        "model.fc_layers": Whole(1, 3),
        "model.fc_widths": Each("model.fc_layers", Choice((64, 128)), fewer=1),
        "model.pooling": Choice(("max", "average", "none")),
        "model.pool_size": When({"model.pooling": {"max", "average"}, "model.conv_layers": 2}, Choice((2, 3))),
        "model.stride": When({"model.pooling": "none"}, Each("model.conv_layers", Choice((1, 2)))),
    }
)
REAL = Space(dict(SPACE.fields) | {"training.lr": Real(1e-3, 0.1, log=True)})


def by_hand():
    """The same space as nested loops."""
    for conv in (0, 1, 2):
        for channels, fc in itertools.product(itertools.product((16, 32, 64), repeat=conv), (1, 2, 3)):
            for widths, pooling in itertools.product(
                itertools.product((64, 128), repeat=fc - 1), ("max", "average", "none")
            ):
                for size in (2, 3) if pooling != "none" and conv == 2 else (None,):
                    for stride in itertools.product((1, 2), repeat=conv) if pooling == "none" else (None,):
                        yield conv, channels or None, fc, widths or None, pooling, size, stride or None


def test_points_are_those_of_nested_loops_in_order():
    points = [tuple(point.get(path) for path in SPACE.fields) for point in SPACE.points()]
    assert points == list(by_hand())
    assert SPACE.size == len(points)


def test_size_is_counted_without_going_through_the_points():
    assert Space({f"field{n}": Whole(1, 1000) for n in range(20)}).size == 10**60
    assert REAL.size is None


DRAWN = {
    "model.conv_layers": 2,
    "model.channels": (16, 64),
    "model.fc_layers": 1,
    "model.pooling": "max",
    "model.pool_size": 2,
}


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"pool_size": 3}, {"model.pool_size": 3}),
        ({"model.pooling": "none", "stride": (1, 2)}, {"model.pooling": "none", "model.stride": (1, 2)}),
        ({"conv_layers": 1, "channels": (32,)}, {"model.conv_layers": 1, "model.channels": (32,)}),
    ],
)
def test_a_point_with_other_values_leaves_out_what_they_leave_no_use_for(values, changed):
    expected = DRAWN | changed
    if "model.pool_size" not in changed:  # it is drawn of two layers that pool
        del expected["model.pool_size"]
    assert SPACE.changed(DRAWN, values) == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "the search space has no field 'depth'"),
        ({"pooling": "none"}, "model.stride is missing, but must be given where model.pooling is none"),
        ({"conv_layers": 1}, "model.channels is 16-64, but must be a tuple of 1"),
        ({"stride": (1, 2)}, "model.stride is 1-2, but must be left out"),
    ],
)
def test_values_that_make_no_point_are_refused(values, said):
    with pytest.raises(UserError, match=said):
        SPACE.changed(DRAWN, values)


def test_real_numbers_are_found_in_tuples_and_under_conditions():
    space = Space({
        "n": Whole(1, 2),
        "a": Each("n", Real(0, 1)),
        "b": When({"n": 1}, Real(0, 1)),
        "c": When({"n": 2}, Each("n", Real(0, 1))),
        "d": When({"n": 2}, Whole(0, 1)),
    })  # fmt: skip
    assert space.continuous == ("a", "b", "c")
    assert space.size is None


def test_flat_is_draw_backwards():
    for point in SPACE.points():
        drawn = SPACE.flat(point)
        assert SPACE.draw(lambda name, _, drawn=drawn: drawn[name]) == point
    assert REAL.flat(POINT | {"model.channels": [16], "training.lr": 0.01}) == {
        "model.conv_layers": 1,
        "model.channels[0]": 16,
        "model.fc_layers": 1,
        "model.pooling": "max",
        "training.lr": 0.01,
    }


def test_random_points_lie_in_the_space_and_their_values_are_equally_likely():
    rng = np.random.default_rng(0)
    points = [REAL.random(rng) for _ in range(3000)]
    for point in points:
        REAL.flat(point)
        REAL.check(Trial().with_values(point))
    for path, dimension in (("model.pooling", Choice(("max", "average", "none"))), ("model.conv_layers", Whole(0, 2))):
        counts = Counter(point[path] for point in points)
        assert all(abs(counts[value] - 1000) < 130 for value in dimension.values)  # 5 standard deviations
    assert abs(sum(point["training.lr"] < 1e-2 for point in points) - 1500) < 140


def test_a_space_in_words():
    assert REAL.describe() == [
        Row("model.conv_layers", "0..2", ""),
        Row("model.channels", "16, 32, 64, for each of model.conv_layers", ""),
        Row("model.fc_layers", "1..3", ""),
        Row("model.fc_widths", "64, 128, for each of model.fc_layers less 1", ""),
        Row("model.pooling", "max, average, none", ""),
        Row("model.pool_size", "2, 3", "model.pooling is average or max and model.conv_layers is 2"),
        Row("model.stride", "1, 2, for each of model.conv_layers", "model.pooling is none"),
        Row("training.lr", "0.001..0.1 (log)", ""),
    ]


POINT = {"model.conv_layers": 1, "model.channels": (16,), "model.fc_layers": 1, "model.pooling": "max"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.conv_layers": 3}, "model.conv_layers is 3, but must be 0..2"),
        ({"model.conv_layers": True}, "model.conv_layers is yes, but must be 0..2"),
        ({"model.channels": (48,)}, r"model.channels\[0\] is 48, but must be one of 16, 32, 64"),
        ({"model.channels": (16, 16)}, "model.channels is 16-16, but must be a tuple of 1"),
        ({"model.channels": 16}, "model.channels is 16, but must be a tuple of 1"),
        ({"model.channels": None}, "model.channels is missing, but must be given where model.conv_layers is above 0"),
        ({"model.fc_layers": None}, "model.fc_layers is missing, but must be given"),
        ({"model.stride": (1,)}, ("model.stride is 1, but must be left out unless model.pooling is none and "
                                 "model.conv_layers is above 0")),
        ({"model.fc_widths": (64,)}, "model.fc_widths is 64, but must be left out unless model.fc_layers is above 1"),
        ({"model.polling": "max"}, "the search space has no field 'model.polling'; did you mean 'model.pooling'?"),
    ],
)  # fmt: skip
def test_a_point_outside_the_space_is_told_by_field_value_and_rule(change, message):
    SPACE.flat(POINT)
    point = {path: value for path, value in (POINT | change).items() if value is not None}
    with pytest.raises(UserError, match=f"^{message.replace('?', '[?]')}$"):
        SPACE.flat(point)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Space({}), "this search space is empty: it names no field to draw"),
        (lambda: Space({"a": 3}), "a is 3, but must be a Choice, Whole, Real, Each or When"),
        (lambda: Space({"a": Each("b", Whole(1, 2)), "b": Whole(1, 2)}),
         "a depends on 'b', which the search space does not draw before it"),
        (lambda: Space({"a": When({"a": 1}, Whole(1, 2))}), ("a depends on 'a', which the search space does not draw "
                                                            "before it")),
        (lambda: Space({"one": Whole(1, 2), "b": When({"on": 1}, Whole(1, 2))}),
         "b depends on 'on', which the search space does not draw; did you mean 'one'[?]"),
        (lambda: Space({"a": Whole(1, 2), "b": When({"a": {2, 3}}, Whole(1, 2))}),
         "b is drawn where a is 3, but a is drawn from 1..2"),
        (lambda: Space({"a": Real(1, 2), "b": When({"a": 1.5}, Whole(1, 2))}),
         "b depends on a, but only a Choice or Whole has values that a condition can name"),
        (lambda: Space({"n": Whole(1, 2), "a": Each("n", Whole(1, 2)), "b": When({"a": (1,)}, Whole(1, 2))}),
         "b depends on a, but only a Choice or Whole has values that a condition can name"),
        (lambda: Space({"a": Whole(0, 2), "b": Each("a", Whole(1, 2), fewer=1)}),
         "b has an entry for each of a, which must be a whole number of at least 1 in every trial"),
        (lambda: Space({"a": Choice((1, 2)), "b": When({"a": 1}, Whole(1, 2)),
                        "c": When({"a": 2, "b": 1}, Whole(1, 2))}),
         "c can never be drawn: its conditions and counts exclude one another"),
        (lambda: Space({"a": Whole(0, 0), "b": Each("a", Whole(1, 2))}),
         "b can never be drawn: its conditions and counts exclude one another"),
        (REAL.points, "training.lr is a real number, so there are infinitely many points; for a grid, use a Choice"),
        (lambda: SPACE.check(Trial(model=ResNet())), "a trial has no field 'model.conv_layers'; .*"),
    ],
)  # fmt: skip
def test_a_space_that_makes_no_sense_is_refused_in_one_line(build, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        build()


def test_the_share_that_can_be_built_is_counted_and_the_reason_told():
    space = Space({"model.conv_layers": Whole(1, 4), "model.fc_layers": Whole(1, 2)})
    start = Trial(model=CNN(kernel=3, pooling="max"))
    reason = "conv4 cannot be built: its 3×3 window does not fit the 2×2 map padded by 0"
    assert unbuildable(start, {"model.conv_layers": 4}, (3, 32, 32), 10) == reason
    assert unbuildable(start, {"model.conv_layers": 3}, (3, 32, 32), 10) is None
    found = buildable(space, start, (3, 32, 32), 10)
    assert abs(found.share - 3 / 4) < 5 * (3 / 16 / 1000) ** 0.5
    assert found.reason == reason
    assert buildable(space, start, (3, 64, 64), 10, samples=20) == (1.0, None)


def test_the_share_is_drawn_with_a_seed_and_the_reason_is_the_most_frequent():
    """Of 5 points one has no room for the 60×60 window and three for the 50×50, which is first in the alphabet."""
    space = Space({"model.kernel": Choice((5, 60, 50, (50, 1), (50, 2)))})
    start, shape = Trial(model=CNN(conv_layers=1, padding=0)), (3, 40, 40)
    found = buildable(space, start, shape, 10)
    assert found == buildable(space, start, shape, 10, samples=1000, seed=0)
    assert found.share != buildable(space, start, shape, 10, seed=1).share
    assert found.reason == "conv1 cannot be built: its 50×50 window does not fit the 40×40 map padded by 0"


def test_a_value_against_a_fields_rule_cannot_be_built_either():
    assert unbuildable(Trial(), {"model.fc_dropout": 1.5}, (3, 32, 32), 10) == "fc_dropout is 1.5, but must be 0..0.99"
    assert unbuildable(Trial(training=Training(crop=40)), {}, (3, 32, 32), 10).startswith(
        "crop is 40, but must be at most 32"
    )
