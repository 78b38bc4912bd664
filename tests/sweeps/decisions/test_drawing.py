"""What a search draws, without anyone who runs it."""

import pytest

from sweeps.decisions.drawing import Draw, Drawing
from sweeps.decisions.records import Drawn, Known
from sweeps.decisions.samplers import Told
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from sweeps.study import Choice, Search, Space, Whole
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
    assert found.unbuildable[0][0].values == GRID[2]
    assert found.new([GRID[1]]).values == GRID[0]  # the sampler's turn


def test_no_more_are_left_than_the_search_has_trials():
    found = drawing(trials=1)
    found.new()
    assert found.left == 0
    found.new()
    assert found.left == 0


def test_what_cannot_be_built_is_passed_over_with_the_reason():
    """On 5×5 pixels there is no room for a second layer: 5 → 3 → 1 with pooling."""
    found = drawing(Space({"model.conv_layers": Choice((2, 1))}), image_shape=(3, 5, 5))
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
    done.take(history([0.5, 0.7, 0.6]))
    running.running = True
    failed.reason = "it broke"
    paused.take(history([0.3]))
    size = parameters(plan(done.cell.trial.model, (3, 32, 32), 10))
    assert found.told == [
        Told(0, GRID[0], Status.DONE, {1: 0.5, 2: 0.7, 3: 0.7}, (0.7, float(size), 3.0)),
        Told(1, GRID[1], Status.RUNNING, {}),
        Told(2, GRID[2], Status.FAILED, {}),
        Told(3, GRID[3], Status.CENSORED, {1: 0.3}),
    ]
    assert found.told[0].scores is not done.scores


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
