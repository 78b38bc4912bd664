"""Whether what follows a search can be built, by hand: a 7×7 window fits two conv layers on 32×32 pixels, not three."""

import pytest

from sweeps.decisions.following import KEPT, hindrance, search_ends
from sweeps.study import Choice, Real, Search, Space, Stage, Study, Whole
from trainables.config import CNN, Trial
from trainables.plan import flops, plan

BASE = Trial(model=CNN(conv_layers=1, channels=4, kernel=3))
FIND = Search("find", Space({"model.conv_layers": Whole(1, 3)}))
KERNEL = Stage("kernel", {"model.kernel": (3, 7)})
FC = Stage("fc", {"model.fc_layers": (1, 2)})
SHAPE = (3, 32, 32)


def of_depth(layers: int) -> Trial:
    return BASE.with_values({"model.conv_layers": layers})


def why(layers: int, *stages) -> str | None:
    return hindrance(Study("s", BASE, (FIND, *stages)), FIND, of_depth(layers), SHAPE, 10)


def test_a_value_of_a_following_grid_that_cannot_be_built_is_in_the_way():
    assert why(2, KERNEL) is None
    assert why(3, KERNEL) == (
        "from there stage kernel, 7: conv3 cannot be built: its 7×7 window does not fit the 3×3 map padded by 0"
    )


def test_so_is_one_that_only_a_winner_of_that_grid_leads_to():
    deeper = Stage("depth", {"model.conv_layers": (1, 3)})
    assert why(1, FC, KERNEL) is None
    assert why(1, FC, deeper) is None
    assert why(1, deeper, KERNEL).startswith("from there stage kernel, 7: conv3 cannot")


def test_what_does_not_follow_or_draws_its_own_points_is_not_in_the_way():
    assert why(3, Stage("kernel", {"model.kernel": (3, 7)}, start=BASE)) is None
    assert why(3, Search("again", Space({"model.kernel": Choice((3, 7))}))) is None
    assert why(3) is None


def test_a_value_against_its_rule_is_in_the_way():
    assert why(2, Stage("kernel", {"model.kernel": (0,)})).startswith("from there stage kernel: ")


def test_where_a_search_may_end_are_the_points_from_which_all_can_be_built_the_largest_first():
    """Two of the three depths: 2/3 of 200 points, give or take 4 standard deviations."""
    found = search_ends(Study("s", BASE, (FIND, KERNEL)), FIND, BASE, SHAPE, 10)
    sizes = {layers: flops(plan(of_depth(layers).model, SHAPE, 10)) for layers in (1, 2)}
    assert found.trials == tuple(of_depth(layers) for layers in sorted(sizes, key=lambda layers: -sizes[layers]))
    assert found.share == pytest.approx(2 / 3, abs=4 * (2 / 9 / 200) ** 0.5)
    assert found.reason == why(3, KERNEL)


def test_of_many_only_some_are_kept_and_none_beyond_a_bound():
    wide = Search("find", Space({"training.lr": Real(0.01, 0.1), "model.channels": Whole(1, 64)}))
    study = Study("s", BASE, (wide, FC))
    assert len(search_ends(study, wide, BASE, SHAPE, 10).trials) == KEPT
    least = flops(plan(BASE.with_values({"model.channels": 8}).model, SHAPE, 10))
    narrow = wide.changed(constraint={"flops": least})
    found = search_ends(Study("s", BASE, (narrow, FC)), narrow, BASE, SHAPE, 10)
    assert max(trial.model.channels for trial in found.trials) == 8
    assert (found.share, found.reason) == (1.0, None)
