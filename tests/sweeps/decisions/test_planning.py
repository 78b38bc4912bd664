"""What a study can reach, laid out from the baseline, and what is refused before anything is spent."""

import re

import pytest

from sweeps.decisions.planning import distinct, plan_study
from sweeps.decisions.space import Row
from sweeps.study import Choice, Real, Search, Space, Stage, Study, Whole
from trainables.config import CNN, ResNet, Trial
from trainables.errors import UserError
from trainables.plan import plan

BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))
DEPTH = Stage("depth", {"model.conv_layers": (1, 3)})
WIDTH = Stage("width", {"model.channels": ((4, 8), (8, 16))})
SHAPE = (3, 32, 32)


def planned(*stages, base=BASE, shape=SHAPE):
    return plan_study(Study("s", base, stages), shape, 10)


def shown(stage):
    """The networks of a planned stage's cells, as (conv layers, channels)."""
    return [(cell.trial.model.conv_layers, cell.trial.model.channels) for cell, _ in stage.cells]


def test_a_stage_is_shown_from_the_baseline_with_the_layers_of_its_networks():
    [stage] = planned(Stage("kernel", {"model.kernel": (3, 5)}))
    assert stage.stage.name == "kernel"
    assert stage.start == "the baseline"
    assert [(cell.label, layers) for cell, layers in stage.cells] == [
        (str(kernel), plan(BASE.with_values({"model.kernel": kernel}).model, SHAPE, 10)) for kernel in (3, 5)
    ]
    assert stage.reachable == tuple(cell.trial for cell, _ in stage.cells)
    assert (stage.space, stage.about, stage.to_draw) == ((), "", 0)


def test_a_winner_that_is_not_known_is_assumed_to_be_the_start_or_else_the_last():
    depth, width = planned(Stage("depth", {"model.conv_layers": (1, 2, 3)}), WIDTH)
    assert width.start == "the winner of depth"
    assert shown(width) == [(2, (4, 8)), (2, (8, 16))]  # the baseline has 2 layers
    depth, width = planned(DEPTH, WIDTH)
    assert shown(depth) == [(1, (4, 8)), (3, (4, 8))]
    assert shown(width) == [(3, (4, 8)), (3, (8, 16))]


def test_all_that_any_winner_leads_to_can_be_reached():
    *_, pooling = planned(DEPTH, WIDTH, Stage("pooling", {"model.pooling": ("max", "none")}))
    reached = {(t.model.conv_layers, t.model.channels[0], t.model.pooling) for t in pooling.reachable}
    assert reached == {(depth, width, pool) for depth in (1, 3) for width in (4, 8) for pool in ("max", "none")}
    assert len(pooling.reachable) == 8


def test_what_is_the_same_network_is_reached_once():
    """With one layer only the first number of channels counts."""
    _, width = planned(
        Stage("depth", {"model.conv_layers": (1, 2)}), Stage("width", {"model.channels": ((4, 8), (4, 16))})
    )
    assert [(t.model.conv_layers, t.model.channels) for t in width.reachable] == [
        (1, (4, 16)),
        (2, (4, 8)),
        (2, (4, 16)),
    ]


def test_a_stage_with_a_base_of_its_own_starts_there():
    own = BASE.with_values({"model.fc_layers": 1})
    [stage] = planned(Stage("stride", {"model.stride": (1, 2)}, start=own))
    assert stage.start == "its own base"
    assert [cell.trial.model.fc_layers for cell, _ in stage.cells] == [1, 1]


def test_each_configuration_shown_counts_once():
    again = planned(DEPTH, Stage("depth_again", {"model.conv_layers": (3, 1, 2)}, start=BASE))
    assert [cell.trial.model.conv_layers for cell, _ in distinct(again)] == [1, 3, 2]
    assert all(layers == plan(cell.trial.model, SHAPE, 10) for cell, layers in distinct(again))


SPACE = Space({"model.conv_layers": Whole(1, 4), "model.kernel": Choice((3, 5, 7))})


def test_a_search_is_shown_by_its_space():
    [depth, found] = planned(DEPTH, Search("find", SPACE, trials=20, sampler="random", rule="none"))
    assert found.start == "the winner of depth"
    assert found.cells == ()
    assert found.reachable == depth.reachable
    assert found.space == (Row("model.conv_layers", "1..4", ""), Row("model.kernel", "3, 5, 7", ""))
    assert found.to_draw == 20
    about = re.fullmatch(r"20 trials by random, none; 12 points, (\d+) % of which can be built", found.about)
    # up to 3 layers fit with windows of 3, 2 with 5 and with 7: 7 of 12 points, give or take 4 standard deviations
    assert abs(float(about[1]) / 100 - 7 / 12) < 4 * (7 / 12 * 5 / 12 / 1000) ** 0.5


def test_of_a_space_without_a_number_of_points_that_is_said():
    [found] = planned(Search("find", Space({"training.lr": Real(0.1, 1)}), trials=1500))
    assert found.about == "1500 trials by tpe, asha; infinitely many points, 100 % of which can be built"
    [found] = planned(Search("find", Space({"training.batch_size": Whole(1, 5000)})))
    assert found.about == "64 trials by tpe, asha; 5,000 points, 100 % of which can be built"


def test_a_stage_after_a_search_is_shown_from_where_that_starts_and_reached_from_some_of_where_it_may_end():
    """A window of 7 does not fit three layers: points with three lead nowhere, one third of those that can be built."""
    space = Space({"model.conv_layers": Whole(1, 3)})
    find, kernel = planned(Search("find", space), Stage("kernel", {"model.kernel": (3, 7)}))
    share = float(re.search(r"built; from (\d+) % of these all that follows can be built$", find.about)[1]) / 100
    assert abs(share - 2 / 3) < 4 * (2 / 9 / 200) ** 0.5 + 0.005
    assert {trial.model.conv_layers for trial in find.ends} == {1, 2}
    assert (find.some, kernel.some, kernel.start) == (False, True, "the winner of find")
    assert [(cell.trial.model.conv_layers, cell.trial.model.kernel) for cell, _ in kernel.cells] == [(2, 3), (2, 7)]
    reached = {(trial.model.conv_layers, trial.model.kernel) for trial in kernel.reachable}
    assert reached == {(layers, kernel) for layers in (1, 2) for kernel in (3, 7)}


def test_where_nothing_can_be_built_from_the_start_a_stage_after_a_search_is_shown_from_elsewhere():
    three = BASE.with_values({"model.conv_layers": 3})
    space = Space({"model.conv_layers": Whole(1, 3)})
    _, kernel = planned(Search("find", space), Stage("kernel", {"model.kernel": (3, 7)}), base=three)
    assert {cell.trial.model.conv_layers for cell, _ in kernel.cells} <= {1, 2}


def test_a_search_after_a_search_is_planned_too():
    space, lr = Space({"model.conv_layers": Whole(1, 3)}), Space({"training.lr": Real(0.1, 1)})
    first, second = planned(Search("first", space), Search("second", lr))
    assert set(second.reachable) == set(first.ends)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (
            [Search("find", SPACE), Stage("kernel", {"model.kernel": (3, 40)})],
            (
                "search find: no point was found from which all that follows can be built: from there stage kernel, "
                "40: conv1 cannot be built: .*"
            ),
        ),
        (
            [
                Search("find", SPACE, first=({"model.conv_layers": 3, "model.kernel": 3},)),
                Stage("kernel", {"model.kernel": (3, 7)}),
            ],
            ("search find: point 1 of those to try first does not do: from there stage kernel, 7: .*"),
        ),
        (
            [Stage("kernel", {"model.kernel": (3, 40)})],
            "stage kernel, 40: conv1 cannot be built: its 40×40 window does not fit the 32×32 map padded by 0",
        ),
        (
            [DEPTH, Stage("kernel", {"model.kernel": (3, 7)})],
            (
                "stage kernel, 7: conv3 cannot be built: its 7×7 window does not fit the 3×3 map padded by 0, "
                "after depth 3 won"
            ),
        ),
        (
            [DEPTH, WIDTH, Stage("kernel", {"model.kernel": (3, 7)})],
            (
                "stage kernel, 7: conv3 cannot be built: its 7×7 window does not fit the 3×3 map padded by 0, "
                "after depth 3 and width 4-8 won"
            ),
        ),
        (
            [Search("find", Space({"model.kernel": Choice((40, 41))}))],
            "search find: no point of its space can be built: conv1 cannot be built: .*",
        ),
        (
            [Search("find", Space({"model.conv_layers": Choice((1, 2))}), start=Trial(model=ResNet()))],
            "a trial has no field 'model.conv_layers'.*",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_winners_that_lead_there(stages, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        planned(*stages)


def test_a_trial_that_only_an_unlikely_winner_leads_to_is_checked_too():
    stages = (Stage("depth", {"model.conv_layers": (2, 3)}), Stage("kernel", {"model.kernel": (3, 5)}))
    with pytest.raises(UserError, match=r"^stage kernel, 5: conv3 cannot be built"):
        plan_study(Study("s", BASE, stages), (3, 28, 28), 10)


def test_a_recheck_is_shown_by_the_values_of_which_it_tries_one_a_stage():
    study = Study("s", BASE, (DEPTH, WIDTH), recheck=True)
    *_, entry = plan_study(study, SHAPE, 10)
    assert (entry.stage, entry.start, entry.cells) == (study.all_stages[-1], "the final winner", ())
    assert entry.to_recheck == (("depth", ("1", "3")), ("width", ("4-8", "8-16")))
    # by depth alone 1 or 3 layers win, and width may be tried in both
    assert len(entry.reachable) == 4


def test_what_a_recheck_could_lead_to_and_cannot_be_built_is_no_error():
    """A window of 31 fits one layer, not the two of the other branch."""
    one = BASE.with_values({"model.conv_layers": 1})
    kernel, depth = Stage("kernel", {"model.kernel": (3, 31)}), Stage("depth", {"model.conv_layers": (1, 2)}, start=one)
    *_, entry = plan_study(Study("s", one, (kernel, depth), recheck=True), SHAPE, 10)
    reached = {(trial.model.conv_layers, trial.model.kernel) for trial in entry.reachable}
    assert reached == {(1, 3), (2, 3), (1, 31)}


def test_a_field_that_two_stages_vary_is_rechecked_where_only_the_first_has_been():
    first, second = Stage("lr", {"training.lr": (0.1, 0.2)}), Stage("fine", {"training.lr": (0.3, 0.4)})
    *_, entry = plan_study(Study("s", BASE, (first, second), recheck=True), SHAPE, 10)
    assert {trial.training.lr for trial in entry.reachable} >= {0.1, 0.2}
    *_, entry = plan_study(Study("s", BASE, (first,), recheck=True), SHAPE, 10)
    assert entry.reachable == ()  # they are the stage's own
    *_, entry = plan_study(Study("s", BASE, (first, Stage("curve")), recheck=True), SHAPE, 10)
    assert entry.reachable == ()


# a conv layer of c channels, 3×3 on 3×6×6 pixels, without pooling, and an FC layer to 10 classes: 188c + 10 parameters
NARROW = Trial(model=CNN(conv_layers=1, channels=4, kernel=3, padding=0, pooling="none", fc_layers=1))
WIDTHS = Space({"model.channels": Whole(1, 20)})


def bounded(constraint, space=WIDTHS, **how):
    return planned(Search("find", space, constraint=constraint, **how), base=NARROW, shape=(3, 6, 6))


def test_a_search_s_bounds_are_shown_with_the_share_of_its_space_within_them():
    [found] = bounded({"parameters": 188 * 7 + 10, "seconds": 60})
    assert found.about == (
        "64 trials by tpe, asha; 20 points, 100 % of which can be built, 35 % with at most 1,326 parameters; at most "
        "60 s of training in full, which training shows"
    )
    [found] = bounded({"seconds": 60})
    assert found.about.endswith("100 % of which can be built; at most 60 s of training in full, which training shows")


def test_a_space_of_which_hardly_anything_is_within_the_bounds_is_refused_before_anything_is_spent():
    refused = (
        r"search find: 0.0 % of its space has at most 197 parameters, but it must be at least 1 %; half of it has "
    )
    with pytest.raises(UserError, match=rf"^{refused}at least 1,890 parameters$"):
        bounded({"parameters": 197})
    bounded({"parameters": 198})
    wide = Space({"model.channels": Whole(1, 1000)})
    with pytest.raises(UserError, match=r"^search find: 0.9 % of its space has at most 1,702 parameters, but"):
        bounded({"parameters": 188 * 9 + 10}, wide)
    bounded({"parameters": 188 * 10 + 10}, wide)


def test_a_point_to_try_first_beyond_a_bound_is_refused_with_its_value_and_the_bound():
    refused = r"search find: point 2 of those to try first has 1,514 parameters, but at most 1,500 are allowed"
    with pytest.raises(UserError, match=f"^{refused}$"):
        bounded({"parameters": 1500}, first=({"model.channels": 7}, {"model.channels": 8}))
    bounded({"parameters": 1514}, first=({"model.channels": 8},))
