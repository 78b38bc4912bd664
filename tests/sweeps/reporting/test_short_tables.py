import pytest

from sweeps.decisions.records import StageResult
from sweeps.reporting.short_tables import (
    MOST_ROWS,
    beside_published,
    best_and_worst,
    class_heat,
    ending,
    leaders,
    short_table,
)
from sweeps.study import Stage
from tests.sweeps.outcomes import outcome
from tests.sweeps.reporting.materials import material


@pytest.fixture(scope="module")
def found():
    return material()


def test_the_short_table_has_the_scores_the_distance_to_the_winner_and_the_price(found):
    depth = found.results[0]
    table, best = short_table(depth, found), depth.winner.outcome
    assert [column.name for column in table.columns] == [
        *("conv_layers", "validation acc %", "to the winner, points", "test acc %", "parameters", "training, s")
    ]
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["1", "2", "3"]
    assert rows["3"][2] == "winner"
    first = depth.outcomes[0]
    assert rows["1"][1].mean == pytest.approx(100 * first.score)
    assert rows["1"][2] == depth.winner.contest.difference(first, best).words
    assert rows["1"][2].startswith("−")
    assert rows["1"][4] == (27 * 4 + 4) + (4 * 15 * 15 * 2 + 2)  # a 3×3 convolution, pooled 30 → 15; a head of two
    assert rows["1"][5] == 1.0
    assert table.marked == tuple(depth.winner.contest.may_be_best(each) for each in depth.outcomes)
    assert table.title == "Trials. a ± b (n): mean, sd, seeds; [a, b]: 95 % interval"


def test_what_did_not_run_in_full_says_so_and_is_not_ranked(found):
    some = [outcome("a", [0.5]), outcome("b", [0.4], status="censored"), outcome("c", status="failed")]
    table = short_table(StageResult(Stage("s", {"training.lr": (1,)}), tuple(some)), found)
    assert [row[0] for row in table.rows] == ["a", "b (stopped at epoch 1)", "c (failed)"]
    assert table.eligible == (True, False, False)
    assert table.rows[2][1:4] == (None, None, None)
    assert ending(some[0]) == ""


def test_of_many_trials_the_best_are_shown_in_their_order():
    scores = [0.1, 0.9, 0.5, 0.8]
    some = [outcome(str(score), [score]) for score in scores]
    result = StageResult(Stage("s"), (*some, outcome("x", [0.99], status="censored"), outcome("y", status="failed")))
    assert [each.cell.label for each in leaders(result, 3)] == ["0.9", "0.5", "0.8"]
    assert leaders(result, 6) == list(result.outcomes)


def test_the_heat_map_has_a_row_a_trial_and_a_column_a_class(found):
    heat = class_heat(found.results[0], found)
    assert heat.columns == ("cat", "dog")
    assert heat.head == "conv_layers"
    for (label, values), each in zip(heat.rows, found.results[0].outcomes, strict=True):
        test = 100 * each.chosen("test_score").mean()
        assert (label, values) == (each.cell.label, (pytest.approx(test), pytest.approx(test)))
    assert class_heat(StageResult(Stage("s"), (outcome("y", status="failed"),)), found) is None


def test_published_numbers_stand_beside_ours_at_the_best_epoch(found):
    table = beside_published(found.results[0], found)
    assert [row[:3] for row in table.rows] == [("1", 40, 3), ("2", 71, 9)]
    ours = 100 * found.results[0].outcomes[0].history.curve("test_score").max(axis=1).mean()
    assert table.rows[0][3].mean == pytest.approx(ours)
    assert table.rows[0][4:] == (1, f"+{ours - 40:.1f}")
    assert table.title == "Best test acc %: published, and ours by the same protocol"
    assert beside_published(found.results[1], found) is None


def test_of_more_than_a_screenful_a_terminal_shows_the_best_and_the_worst():
    some = [outcome(str(at), [at / 100]) for at in range(MOST_ROWS + 1)]
    some[7] = outcome("7", [0.99], status="censored")  # not ranked: behind all that ran in full
    some[8] = outcome("8", status="failed")  # never ran
    shown = best_and_worst(StageResult(Stage("lr"), tuple(some)))
    assert [each.cell.label for each in shown] == [
        *("20", "19", "18", "17", "16", "15", "14", "13", "12", "11"),
        *("3", "2", "1", "0", "7"),
    ]
    few = StageResult(Stage("lr"), tuple(some[:MOST_ROWS]))
    assert best_and_worst(few) == list(few.outcomes)
