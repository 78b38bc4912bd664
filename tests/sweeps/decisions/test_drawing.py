"""What a search draws, without anyone who runs it."""

import math

import pytest

from sweeps.decisions.drawing import Draw, Drawing
from sweeps.decisions.records import Drawn, Known
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from sweeps.decisions.told import Told
from sweeps.study import Choice, Real, Search, Space, Whole
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History
from trainables.plan import parameters, plan

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=3))
SPACE = Space({"model.conv_layers": Whole(1, 2), "training.batch_size": Choice((16, 32))})
GRID = [{"model.conv_layers": layers, "training.batch_size": size} for layers in (1, 2) for size in (16, 32)]


def drawing(space=SPACE, base=BASE, image_shape=(3, 32, 32), **how) -> Drawing:
    return Drawing(
        Search("find", space, **{"trials": 10, "sampler": "grid", "rule": "none"} | how),
        base,
        terms(image_shape=image_shape),
    )


def test_what_hinders_a_trial_keeps_it_from_being_drawn_also_as_the_first():
    def hinders(trial: Trial) -> str | None:
        return "two do not do" if trial.model.conv_layers == 2 else None

    stage = Search("find", SPACE, trials=10, sampler="grid", rule="none", first=(GRID[2],))
    found = Drawing(stage, BASE, terms(), hinders=hinders)
    assert [found.allows(point) for point in GRID] == [True, True, False, False]
    assert found.wrong_with(GRID[2]) == "two do not do"
    drawn = [made.values for made in iter(found.new, None)]
    assert drawn == GRID[:2]
    assert [why for _, why in found.unbuildable] == ["two do not do"]


def draw() -> Draw:
    return Draw(0, 0, {}, Cell("#0", (0,), BASE), "key")


def test_what_is_trained_is_taken_over_as_the_best_score_so_far_of_the_first_seed():
    one = draw()
    whole = History(dict(history([0.5, 0.4, 0.7, 0.9], [0.8]).records))
    one.take(whole)
    assert one.scores == {1: 0.5, 2: 0.5, 3: 0.7}  # a full run has three epochs
    assert one.history is whole
    one.take(History({1: whole.records[0]}))
    assert one.scores == {}


def test_where_a_draw_stands():
    one = draw()
    assert (one.scores, one.history, one.reason) == ({}, History({}), None)
    assert one.running is False
    assert one.state is Status.CENSORED
    one.running = True
    assert one.state is Status.RUNNING
    one.running, one.scores = False, {1: 0.5, 2: 0.6}
    assert one.state is Status.CENSORED
    one.scores[3] = 0.6
    assert one.state is Status.DONE
    one.running = True
    assert one.state is Status.RUNNING
    one.reason = "it broke"
    assert one.state is Status.FAILED
    assert one.epochs == 3


def test_all_points_are_drawn_in_order_until_the_space_is_used_up():
    found = drawing()
    assert found.left == 10
    new = [found.new() for _ in range(4)]
    assert [one.values for one in new] == GRID
    assert [(one.number, one.attempt, one.cell.label, one.cell.values) for one in new] == [
        (n, n, f"#{n}", (n,)) for n in range(4)
    ]
    assert [one.cell.trial for one in new] == [BASE.with_values(values) for values in GRID]
    assert list(found.draws) == [one.key for one in new] == [one.cell.trial.key({}) for one in new]
    assert new[2].drawn == Drawn(new[2].key, 2, 2, GRID[2])
    assert (found.left, found.used_up) == (6, False)
    assert found.new() is None
    assert (found.left, found.used_up) == (0, True)


def test_what_is_wanted_is_drawn_first_except_what_cannot_be_built_or_was_drawn_before():
    found = drawing(image_shape=(3, 5, 5))  # no room for a second layer
    assert found.new(iter([GRID[2], GRID[1], GRID[0]])).values == GRID[1]
    assert found.new([GRID[1]]).values == GRID[0]  # the sampler's turn
    assert found.unbuildable == [(Told(1, GRID[1], Status.FAILED, {}), "the same network and training as #0")]


def test_no_more_are_left_than_the_search_has_trials():
    found = drawing(trials=1)
    found.new()
    assert found.left == 0
    found.new()
    assert found.left == 0


def test_a_sampler_is_not_told_of_what_cannot_be_built():
    """On 5×5 pixels there is no room for a second layer: 5 → 3 → 1 with pooling."""
    found = drawing(Space({"model.conv_layers": Choice((2, 1))}), image_shape=(3, 5, 5))
    one = found.new()
    assert (one.number, one.attempt, one.values) == (0, 0, {"model.conv_layers": 1})
    assert (found.new(), found.unbuildable) == (None, [])


def test_a_point_to_try_first_that_cannot_be_built_is_passed_over_with_the_reason():
    space = Space({"model.conv_layers": Choice((2, 1))})
    found = drawing(space, image_shape=(3, 5, 5), first=({"model.conv_layers": 2},))
    one = found.new()
    assert (one.number, one.attempt, one.values) == (0, 1, {"model.conv_layers": 1})
    [(told, reason)] = found.unbuildable
    assert told == Told(0, {"model.conv_layers": 2}, Status.FAILED, {})
    assert reason == "conv2 cannot be built: its 3×3 window does not fit the 1×1 map padded by 0"
    assert [told.number for told in found.told] == [0, 1]


def test_what_is_the_same_network_in_other_words_is_passed_over_with_its_twin():
    found = drawing(Space({"model.channels": Choice(((4, 8), (4, 16), (5, 8)))}))
    first, second = found.new(), found.new()
    assert [first.values["model.channels"], second.values["model.channels"]] == [(4, 8), (5, 8)]
    assert (second.number, second.attempt) == (1, 2)
    assert found.unbuildable == [
        (Told(1, {"model.channels": (4, 16)}, Status.FAILED, {}), "the same network and training as #0")
    ]


def test_a_sampler_is_told_of_each_draw_as_it_stands():
    found = drawing(objectives=("score", "parameters", "seconds"))
    assert found.sampler.objectives == ("score", "parameters", "seconds")
    done, running, failed, paused = (found.new() for _ in range(4))
    found.end(done, history([0.5, 0.7, 0.6]), None)
    found.begin(running)
    found.end(failed, History({}), "it broke")
    found.end(paused, history([0.3]), None)
    size = parameters(plan(done.cell.trial.model, (3, 32, 32), 10))
    assert found.told == [
        Told(0, GRID[0], Status.DONE, {1: 0.5, 2: 0.7, 3: 0.7}, (0.7, float(size), 3.0)),
        Told(1, GRID[1], Status.RUNNING, {}),
        Told(2, GRID[2], Status.FAILED, {}),
        Told(3, GRID[3], Status.CENSORED, {1: 0.3}),
    ]
    assert found.told[0].scores is not done.scores
    assert found.running
    running.scores[1] = 0.4
    assert found.told[1] == Told(1, GRID[1], Status.RUNNING, {1: 0.4})
    found.end(running, history([0.4]), None)
    assert found.told[1] == Told(1, GRID[1], Status.CENSORED, {1: 0.4})
    assert not found.running
    found.begin(running)  # it is run on
    assert found.told[1].state is Status.RUNNING


def test_the_objectives_of_a_full_run():
    found = drawing(base=BASE.with_values({"training.crop": 16, "model.fc_layers": 2, "model.fc_widths": 5}))
    one = found.new()
    one.take(history([0.5, 0.7, 0.6, 0.9], [0.1]))
    assert found.value(one, "score") == 0.7
    assert found.value(one, "seconds") == 3.0  # of three epochs of the first seed
    conv, flat = 3 * 4 * 9 + 4, 4 * 7 * 7  # a crop of 16 pixels: 16 → 14 → 7
    assert found.value(one, "parameters") == conv + (flat + 1) * 5 + (5 + 1) * 10


def known(*scores, reason=None) -> Known:
    return Known(Status.CENSORED, history(list(scores)), "run", reason)


def test_what_an_earlier_run_drew_is_taken_over_under_its_number():
    found = drawing()
    key = BASE.with_values(GRID[2]).key({})
    one = found.recall(Drawn(key, 1, 7, GRID[2]), known(0.5, 0.4))
    assert (one.number, one.attempt, one.key, one.values) == (1, 7, key, GRID[2])
    assert (one.scores, one.reason, one.cell.label) == ({1: 0.5, 2: 0.5}, None, "#1")
    first, second = found.new(), found.new()
    assert [(each.number, each.attempt) for each in (first, second)] == [(0, 8), (2, 9)]
    assert [first.values, second.values] == [GRID[0], GRID[1]]


def test_two_trials_of_one_attempt_which_runs_of_changed_searches_leave_are_both_told():
    found = drawing()
    for at in (0, 1):
        assert found.recall(Drawn(BASE.with_values(GRID[at]).key({}), at, 7, GRID[at]), known(0.5))
    assert [(told.number, told.values) for told in found.told] == [(7, GRID[0]), (7, GRID[1])]
    assert found.new().attempt == 8


@pytest.mark.parametrize(
    ("reason", "kept"), [("Diverged: the loss became nan", "Diverged: the loss became nan"), ("it broke", None)]
)
def test_that_a_trial_diverged_is_final_and_any_other_failure_is_tried_again(reason, kept):
    key = BASE.with_values(GRID[0]).key({})
    assert drawing().recall(Drawn(key, 0, 0, GRID[0]), known(0.5, reason=reason)).reason == kept


@pytest.mark.parametrize(
    ("values", "change"),
    [
        (GRID[0], {"known": None}),
        (GRID[0], {"key": "another"}),
        (GRID[0] | {"training.batch_size": 64}, {}),
        (GRID[0] | {"training.lr": 0.5}, {}),
    ],
    ids=["unknown to the store", "of another study", "out of the space", "of another space"],
)
def test_what_the_search_would_not_draw_is_not_taken_over(values, change):
    given = {"key": BASE.with_values(values).key({}), "known": known(0.5)} | change
    found = drawing()
    assert found.recall(Drawn(given["key"], 0, 0, values), given["known"]) is None
    assert found.draws == {}


def test_a_space_that_seems_to_hold_no_more_counts_as_used_up():
    """Without pooling, all 4096 sizes and strides of its window are one network; after 200 draws of it that is that."""
    found = drawing(
        Space({"model.pool_size": Whole(1, 64), "model.pool_stride": Whole(1, 64)}),
        BASE.with_values({"model.pooling": "none"}),
        sampler="random",
    )
    assert found.new().number == 0
    assert found.new() is None
    assert len(found.unbuildable) == 200
    assert found.used_up


# What is beyond a bound: on 3×6×6 pixels, c channels without pooling have 188c + 10 parameters and 1184c FLOPs

NARROW = Trial(
    model=CNN(conv_layers=1, channels=4, kernel=3, padding=0, pooling="none", fc_layers=1), training=Training(epochs=3)
)
WIDTHS = Space({"model.channels": Whole(1, 40), "training.lr": Real(0.001, 0.1, log=True)})
BOUND = {"parameters": 188 * 10 + 10}


def bounded(space=WIDTHS, **how) -> Drawing:
    return drawing(space, NARROW, (3, 6, 6), **{"constraint": BOUND, "sampler": "random"} | how)


def ran(found: Drawing, one: Draw) -> None:
    """Have a trial run in full; the wider, the better."""
    width = one.values["model.channels"]
    found.begin(one)
    found.end(one, history([0.01 * width - 0.001 * abs(one.values.get("training.lr", 0.01) - 0.01)] * 3), None)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cma-es", "nsga2"])
def test_nothing_that_is_drawn_breaks_a_bound_though_the_best_points_would(sampler):
    found = bounded(sampler=sampler, trials=500)
    for _ in range(500 if sampler == "random" else 60):
        one = found.new()
        ran(found, one)
        assert one.costs["parameters"] == 188 * one.values["model.channels"] + 10
    widths = [one.values["model.channels"] for one in found.draws.values()]
    assert max(widths) == 10
    assert found.unbuildable == []  # what is forbidden is no failure
    assert [one.attempt for one in found.draws.values()] == list(range(len(widths)))
    assert {each.state for each in found.told} == {Status.DONE}


def test_the_gaussian_process_keeps_within_a_bound_too():
    """It takes long: few trials. Of the ten drawn at random the widest are the best, and so it wants wider ones."""
    found = bounded(sampler="gp", trials=20)
    for _ in range(13):
        ran(found, found.new())
    assert max(one.values["model.channels"] for one in found.draws.values()) == 10
    assert min(one.values["model.channels"] for one in list(found.draws.values())[10:]) >= 8


def test_a_grid_leaves_out_what_breaks_a_bound():
    found = bounded(Space({"model.channels": Whole(1, 40)}), sampler="grid", trials=40)
    drawn = []
    while one := found.new():
        drawn.append(one.values["model.channels"])
    assert drawn == list(range(1, 11))
    assert found.used_up


@pytest.mark.parametrize("sampler", ["tpe", "random", "cma-es"])
def test_each_sampler_finds_all_that_is_allowed_of_a_small_space(sampler):
    found = bounded(Space({"model.channels": Whole(1, 40)}), sampler=sampler, trials=40)
    while one := found.new():
        ran(found, one)
    assert sorted(one.values["model.channels"] for one in found.draws.values()) == list(range(1, 11))


def test_without_bounds_or_where_all_is_within_them_the_draws_are_the_same():
    free, wide = bounded(constraint={}, sampler="tpe"), bounded(constraint={"flops": 1e12}, sampler="tpe")
    for _ in range(20):
        one, other = free.new(), wide.new()
        assert one.values == other.values
        ran(free, one)
        ran(wide, other)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cma-es", "nsga2", "grid"])
def test_the_same_events_give_the_same_draws_also_after_a_break(sampler):
    """The second half is drawn by one that only knows what the store has of the first."""
    space = Space({"model.channels": Whole(1, 40), "training.batch_size": Choice((16, 32))})
    whole, first = (bounded(space, sampler=sampler, trials=40) for _ in range(2))
    for found, count in ((whole, 18), (first, 12)):
        for _ in range(count):
            ran(found, found.new())
    second = bounded(space, sampler=sampler, trials=40)
    for one in first.draws.values():
        assert second.recall(one.drawn, Known(Status.DONE, one.history, "run"))
    assert second.told == first.told
    for _ in range(6):
        ran(second, second.new())
    assert [one.values for one in second.draws.values()] == [one.values for one in whole.draws.values()]


def test_what_an_earlier_run_drew_and_a_bound_forbids_now_is_not_taken_over():
    found = bounded()
    for width, taken in ((10, True), (11, False)):
        values = {"model.channels": width, "training.lr": 0.01}
        key = NARROW.with_values(values).key({})
        one = found.recall(Drawn(key, width, width, values), known(0.5))
        assert (one is not None) == taken


def test_a_point_to_try_first_that_a_bound_forbids_is_passed_over():
    found = bounded(first=({"model.channels": 11, "training.lr": 0.01}, {"model.channels": 9, "training.lr": 0.01}))
    assert found.new().values["model.channels"] == 9
    assert [reason for _, reason in found.unbuildable] == ["2,078 parameters, but at most 1,890 are allowed"]


def test_the_seconds_of_a_full_run_are_told_from_the_epochs_so_far():
    found = bounded(constraint={"seconds": 2.0, "parameters": 1e6})
    one = found.new()
    assert found.broken(one) is None
    assert found.told[0].beyond.keys() == {"parameters"}
    found.end(one, history([0.5]), None)  # an epoch takes a second, of three
    assert one.costs["seconds"] == 3.0
    assert found.broken(one) == "3 s of training in full, but at most 2 are allowed"
    assert found.told[0].beyond["seconds"] == pytest.approx(math.log(3 / 2))
    other = found.new()
    found.end(other, history(), None)
    assert found.within_first([one, other]) == [other, one]
