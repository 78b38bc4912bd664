from dataclasses import replace
from statistics import fmean
from types import SimpleNamespace

import pytest

import sweeps.reporting.leaderboard
from sweeps.decisions.agenda import under_way
from sweeps.decisions.others import Other
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.reporting.leaderboard import (
    SIDE_BY_SIDE,
    account,
    drawn_by,
    drawn_table,
    front,
    importance_table,
    leaderboard,
    page_tables,
    second_half,
    what_mattered,
)
from tests.sweeps.decisions.test_search_run import Cluster, quality, search


@pytest.fixture(scope="module")
def found():
    return Cluster(search(27, seeds=2, confirm=2)).search


def test_the_leaderboard_ranks_the_confirmed_and_shows_the_others_behind_them(found):
    table = leaderboard(found, None)
    status = [column.name for column in table.columns].index("status")
    assert [row[status] for row in table.rows[:2]] == ["confirmed", "confirmed"]
    assert "confirmed" not in [row[status] for row in table.rows[2:]]
    assert table.eligible == (True, True) + (False,) * 13  # fifteen rows
    scores = [row[2] for row in table.rows]
    assert [each.mean for each in scores] == [
        pytest.approx(100 * fmean(each.val_score for each in draw.history.cut(found.seeds_of(draw), 9).chosen()))
        for draw in found.ranking()[:15]
    ]
    assert [each.n for each in scores] == [2, 2] + [1] * 13
    best = max((draw for draw in found.confirmed), key=lambda draw: quality(draw.cell.trial, 9))
    assert table.rows[0][0] == best.cell.label


def test_who_was_let_go_in_the_race_is_told_and_not_ranked():
    run = Cluster(search(9, confirm=3, race=True)).search
    best, second, third = run.ranking()[:3]
    table = leaderboard(run, None)
    assert [row[1] for row in table.rows[:3]] == [
        "confirmed",
        "let go after epoch 5 of confirmation",
        "let go after epoch 3 of confirmation",
    ]
    assert [(row[4], row[5]) for row in table.rows[:4]] == [(9, 2), (5, 2), (3, 2), (table.rows[3][4], 1)]
    assert table.eligible == (True,) + (False,) * 8

    screened = min(len(draw.scores) for draw in (best, second, third))

    def percent(draw, epoch):
        scores = screened * quality(draw.cell.trial, screened) + 2 * epoch * quality(draw.cell.trial, epoch)
        return f"{100 * scores / (screened + 2 * epoch):.1f} %"

    one = f"{third.cell.label} after epoch 3 (standing at {percent(third, 3)}, the best at {percent(best, 3)})"
    two = f"{second.cell.label} after epoch 5 (standing at {percent(second, 5)}, the best at {percent(best, 5)})"
    assert account(run)[2:] == [
        f"Let go in the race of 3 candidates, with 2 seeds: {one} and {two}.",
        f"Confirmed in full with 2 seeds: {best.cell.label}. Only this one is ranked.",
    ]


def test_a_rule_that_draws_is_named_beside_the_sampler(found):
    assert drawn_by(found.stage) == "random"
    assert drawn_by(replace(found.stage, rule="freeze-thaw")) == "random and freeze-thaw"


def test_what_mattered_is_told_where_all_had_the_same_budget(found):
    epoch, shares = what_mattered(found)
    assert epoch == 1  # of 27 trials by ASHA, more than half stop there
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "model.conv_layers"  # 0.1 a layer; batch size and learning rate give less
    assert "27 trials, all at epoch 1" in importance_table(found).title
    assert importance_table(Cluster(search(5)).search) is None  # too few trials tell nothing


@pytest.mark.parametrize(("ends", "epoch"), [((1, 1, 3, 9), 3), ((1, 1, 3), 1), ((2,), 2), ((1, 4), 4)])
def test_trials_are_compared_at_the_last_epoch_that_half_of_them_came_to(ends, epoch, monkeypatch):
    monkeypatch.setattr(sweeps.reporting.leaderboard, "importance", lambda space, told, at: {space: len(told) * at})
    told = [SimpleNamespace(scores=dict.fromkeys(range(1, end + 1), 0.5)) for end in ends]
    stage = SimpleNamespace(space="lr")
    assert what_mattered(SimpleNamespace(told=told, stage=stage)) == (epoch, {"lr": len(ends) * epoch})
    assert what_mattered(SimpleNamespace(told=[SimpleNamespace(scores={})], stage=stage)) is None


@pytest.mark.parametrize("rule", ["asha", "hyperband"])
def test_the_front_holds_what_no_other_beats_in_score_and_parameters(rule):
    """By asha nothing but the two that are confirmed runs in full."""
    found = Cluster(search(27, rule=rule, seeds=2, confirm=2)).search
    rows = [(row[1], row[2]) for row in front(found).rows]
    assert rows == sorted(rows, reverse=True)
    in_full = [draw for draw in found.draws.values() if draw.state == Status.DONE or found.is_confirmed(draw)]
    assert (len(in_full) == 2) == (rule == "asha")
    points = [(100 * found.value(draw, "score"), found.value(draw, "parameters")) for draw in in_full]
    beaten = [point for point in points if any(a >= point[0] and b <= point[1] and (a, b) != point for a, b in points)]
    assert set(rows) == set(points) - set(beaten)


def test_the_account_adds_up(found):
    text = " ".join(account(found))
    draws = list(found.draws.values())
    assert "27 trials drawn by random" in text
    spent = sum(len(records) for draw in draws for records in draw.history.records.values())
    assert f"took {spent} epochs; running all trials in full with one seed each would take {27 * 9}" in text


def test_what_the_second_half_of_the_draws_brought_by_hand(found):
    def drawn(*scores):
        return [
            SimpleNamespace(number=n, scores={1: 0.1, 4: score} if score else {}, reason=None)
            for n, score in enumerate(scores)
        ]

    ten = drawn(0.3, 0.5, 0.2, 0.4, 0.1, 0.2, 0.3, 0.56, 0.1, 0.1)
    assert second_half(ten) == (pytest.approx(0.06), 0.56)
    assert second_half(drawn(0.3, 0.6, 0.2, 0.4, 0.1, 0.2, 0.3, 0.56, 0.1, 0.1)) == (0.0, 0.6)
    ten[7].reason = "Diverged: x"  # and now the second half has four
    assert second_half(ten) is None
    assert second_half(drawn(0.3, None, 0.2, 0.4, 0.1, 0.2, 0.3, 0.56, 0.1, 0.1)) is None

    [said] = [line for line in account(found) if "second half" in line]
    gain, best = second_half(list(found.draws.values()))
    spent = sum(len(records) for draw in found.draws.values() for records in draw.history.records.values())
    assert (
        f"by {100 * gain:.1f} points, to {100 * best:.1f} %. As many trials again would take about {spent} ep" in said
    )
    assert not any("second half" in line for line in account(Cluster(search(9)).search))


def test_a_page_has_scores_in_one_table_and_what_the_best_drew_in_another(found):
    scores, drawn, *_ = page_tables(found, None)
    assert [column.name for column in scores.columns] == [
        *("trial", "status", "validation %", "test %", "epochs", "seeds")
    ]
    assert [row[3].mean for row in scores.rows] == [pytest.approx(50)] * 15
    best = found.ranking()[:SIDE_BY_SIDE]
    assert [column.name for column in drawn.columns] == ["field", *(draw.cell.label for draw in best)]
    rows = {row[0]: row[1:] for row in drawn.rows}
    assert list(rows) == ["conv_layers", "lr", "batch_size"]
    assert rows["lr"] == tuple(f"{draw.values['training.lr']:.3g}" for draw in best)


def test_a_field_that_a_trial_does_not_draw_is_missing():
    drawn = drawn_table(Cluster(search(4)).search)
    assert all(cell is not None for row in drawn.rows for cell in row)


@pytest.mark.parametrize("rule", ["asha", "none"])
def test_a_search_is_told_at_every_moment_also_while_the_best_are_confirmed(rule):
    """A trial that is to be confirmed has no epoch yet with the seeds that it will be judged by."""
    whole = Cluster(search(9, rule=rule, seeds=2, confirm=2)).epochs
    confirming = 0
    for epochs in range(1, whole - 1, 2):  # the last step trains two
        [so_far] = under_way(Cluster(search(9, rule=rule, seeds=2, confirm=2), break_after=epochs).agenda)
        run = so_far.search
        shown = [row[1] for row in leaderboard(run, None).rows]
        ready = [draw for draw in run.confirmed or () if draw.history.covers(run.seeds, 9)]
        assert shown.count("confirmed") == len(ready) == sum(map(run.is_confirmed, run.draws.values()))
        assert account(run)[-1].count("#") == len(ready)
        assert len(front(run).rows) <= len(run.draws)
        confirming += run.confirmed is not None
    assert confirming > 2


def test_what_is_beyond_a_bound_is_marked_and_counted_and_on_no_front():
    """An epoch takes a second: those that came to the end, 9 epochs, are as slow as the others."""
    free = Cluster(search(9, seeds=2, confirm=2)).search
    assert not any("Bounds" in line for line in account(free))
    within = Cluster(search(9, seeds=2, confirm=2, constraint={"seconds": 9})).search
    assert account(within)[-1] == "Bounds: at most 9 s of training in full; no trial is beyond that."
    assert front(within) == front(free)
    beyond = Cluster(search(9, seeds=2, confirm=2, constraint={"seconds": 8})).search
    assert account(beyond)[-1].startswith(
        "Bounds: at most 8 s of training in full; these are beyond a bound and cannot win: "
        "#0 (9 s of training in full, but at most 8 are allowed), #1 ("
    )
    assert {row[1].partition(", ")[2] for row in leaderboard(beyond, None).rows} == {"beyond a bound"}
    assert front(beyond).rows == ()


def test_epochs_of_other_studies_are_not_counted(found):
    drawn = list(found.draws.values())
    lent = [
        Other(draw.key, draw.values, Known(Status.CENSORED, draw.history.cut((0,), 1), "run", study="grid"))
        for draw in drawn
    ]
    beside = Cluster(search(27, seeds=2, confirm=2), others=lent)
    first, spent, *_ = account(beside.search)
    assert "27 trials drawn" in first
    assert spent.startswith(f"Screening and confirmation took {beside.epochs} epochs;")
