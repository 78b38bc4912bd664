from dataclasses import replace

import pytest

from sweeps.decisions import rules
from sweeps.decisions.agenda import Agenda, take_as_it_stands
from sweeps.decisions.ledger import Ledger
from sweeps.decisions.records import Drawn, Known, Task
from sweeps.decisions.samplers import Sampler
from sweeps.decisions.search_run import SearchRun
from sweeps.decisions.status import Status
from sweeps.decisions.winner import CHEAPEST
from sweeps.study import Choice, Search, Space, Stage, Study, Whole
from tests.sweeps.decisions.cluster import BASE, Cluster, quality, search
from tests.sweeps.outcomes import history, outcome, record, terms
from trainables.history import History


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("rule", rules.RULES)
def test_a_search_screens_all_confirms_the_best_and_ranks_only_these(rule, width):
    cluster = Cluster(search(rule=rule), width)
    outcomes = cluster.result.outcomes
    assert len(outcomes) == cluster.agenda.ledger.counts.total() == 12
    confirmed = [outcome for outcome in outcomes if len(outcome.history.seeds) == 2]
    assert outcomes[:2] == tuple(sorted(confirmed, key=lambda outcome: -outcome.score))
    assert {outcome.key for outcome in confirmed} == {draw.key for draw in cluster.search.confirmed}
    assert all(outcome.status == "done" for outcome in confirmed)
    assert cluster.result.winner.outcome is max(confirmed, key=lambda outcome: outcome.score)
    best = max(cluster.search.confirmed, key=lambda draw: quality(draw.cell.trial, 9))
    assert cluster.result.winner.outcome.key == best.key
    if rule == "none":
        assert cluster.epochs == 12 * 9 + 2 * 2 * 9
    else:
        assert cluster.epochs - 2 * 2 * 9 < 12 * 9


@pytest.mark.usefixtures("thirds")
def test_by_asha_a_trial_is_paused_and_runs_on_when_it_is_seen_to_be_among_the_best():
    cluster = Cluster(search())
    paused = [draw for draw in cluster.search.draws.values() if draw.state == Status.CENSORED]
    rungs = rules.ladder(rules.ASHA.GRACE, 9, rules.ASHA.ETA)
    assert {len(draw.scores) for draw in paused} <= set(rungs[:-1])
    at_first = sorted(cluster.search.draws.values(), key=lambda draw: draw.scores[rungs[0]], reverse=True)
    assert len(at_first[0].scores) == 9  # the best at the first rung came to the end
    told = {each.number: each for each in cluster.search.told}
    assert all(told[draw.attempt].state == Status.CENSORED and told[draw.attempt].objectives is None for draw in paused)


@pytest.mark.parametrize("trials", [12, 40])
@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("rule", [rule for rule in rules.RULES if rule != "freeze-thaw"])  # its own is below
def test_a_trial_that_is_called_due_before_its_pause_is_complete_runs_on_once_it_is(rule, width, trials):
    cluster = Cluster(search(trials, rule=rule), width, winding_up=True)
    assert cluster.result.winner
    ends = {each["number"]: each["runs_on_to"] for each in cluster.search.decisions if each["decision"] == "due"}
    reached = {draw.number: len(draw.scores) for draw in cluster.search.draws.values()}
    assert all(reached[number] >= end for number, end in ends.items())


@pytest.mark.usefixtures("thirds")
def test_a_trial_that_loses_its_process_before_its_pause_is_complete_runs_on_to_where_it_is_due_by_then():
    agenda = Agenda(Study("s", BASE, (search(4),)), terms(), lambda _: None)
    first = agenda.next()
    assert not agenda.goes_on(first.key, 1, 0.9)  # to be paused
    for score in (0.1, 0.2):
        other = agenda.next()
        assert not agenda.goes_on(other.key, 1, score)
        agenda.finish(other.key, history([score]))
    fourth = agenda.next()  # by now the first is due again, and still at work
    assert fourth.key not in {first.key, other.key}
    assert [agenda.goes_on(first.key, epoch, 0.9) for epoch in (1, 2, 3)] == [True, True, False]
    agenda.finish(first.key, history([0.9, 0.9, 0.9]))
    assert agenda.next() is None


def test_freeze_thaw_draws_what_the_model_wants_and_ends_within_its_budget():
    cluster = Cluster(search(20, rule="freeze-thaw"), width=3, winding_up=True)
    rule = cluster.search.screening.rule
    assert cluster.epochs - 2 * 2 * 9 <= rule.budget == 20 + 6 * 2 + 2 * 6
    drawn = list(cluster.search.draws.values())
    assert [rule.points[draw.number] for draw in drawn] == [draw.values for draw in drawn]
    # the highest curve of the space ends at 0.3125; of points at random 1 in 700 comes so near
    assert max(quality(draw.cell.trial, 9) for draw in drawn) > 0.31
    again = cluster.again(search(20, rule="freeze-thaw"))
    assert again.epochs == 0
    assert again.search.screening.rule.ranking() == rule.ranking()


def test_freeze_thaw_spends_what_it_kept_for_new_trials_where_the_space_holds_no_more():
    few = Space({"model.conv_layers": Whole(1, 3), "training.batch_size": Choice((16, 32, 64))})
    cluster = Cluster(Search("find", few, 12, rule="freeze-thaw", confirm=1, seeds=1), image_shape=(3, 8, 8))
    assert len(cluster.search.draws) == 3  # two layers do not fit
    assert cluster.result.winner
    assert sum(len(draw.scores) for draw in cluster.search.draws.values()) > 3


@pytest.mark.parametrize("rule", ["asha", "freeze-thaw", "hyperband", "median", "none"])
@pytest.mark.parametrize("break_after", [1, 5, 17, 40])
def test_a_search_that_broke_off_goes_on_as_if_it_had_not(rule, break_after):
    breaks_off(break_after, rule=rule)


@pytest.mark.parametrize("back", range(1, 30, 3))
def test_so_it_does_in_the_race(back):
    whole = Cluster(search(confirm=3, race=True))
    breaks_off(whole.epochs - back, confirm=3, race=True)


def breaks_off(break_after, **how):
    whole = Cluster(search(**how))
    broken = Cluster(search(**how), break_after=break_after)
    resumed = broken.again(search(**how))
    assert {draw.key: draw.scores for draw in resumed.search.draws.values()} == {
        d.key: d.scores for d in whole.search.draws.values()
    }
    assert resumed.result.winner.outcome.key == whole.result.winner.outcome.key
    assert broken.epochs + resumed.epochs == whole.epochs


def test_a_finished_search_runs_nothing_again_and_a_longer_one_goes_on():
    first = Cluster(search(8, sampler="tpe"))
    same = first.again(search(8, sampler="tpe"))
    assert (same.epochs, same.result.winner.outcome.key) == (0, first.result.winner.outcome.key)
    longer = first.again(search(16, sampler="tpe"))
    assert len(longer.search.draws) == 16
    assert set(first.search.draws) < set(longer.search.draws)
    assert longer.search.confirmed


def test_who_was_chosen_to_be_confirmed_remains_so_though_others_show_more_since():
    """A stage that follows has run a trial on with the seed that screened it; with one more draw all are looked at."""
    first = Cluster(search(10))
    chosen = {draw.key for draw in first.search.confirmed}
    other = next(draw for draw in first.search.draws.values() if draw.key not in chosen)
    whole = History({0: tuple(record(0.99) for _ in range(9))})
    first.store[other.key] = (whole, Status.DONE)
    again = first.again(search(10))
    assert {draw.key for draw in again.search.confirmed} == chosen
    assert again.epochs == 0
    assert "confirm" not in {each["decision"] for each in again.search.decisions}
    few = Cluster(search(2, confirm=3))
    assert "confirm" not in {each["decision"] for each in few.again(search(2, confirm=3)).search.decisions}
    more = first.again(search(11))
    assert other.key in {draw.key for draw in more.search.confirmed}
    fewer = first.again(search(10, confirm=1))
    assert [draw.key for draw in fewer.search.confirmed] == [other.key]


def test_decisions_replay():
    """Fed with the same events in the same order, a new rule decides the same."""
    *decisions, last = Cluster(search(20), width=4).search.decisions
    assert last["decision"] == "confirm"
    rule, replayed = rules.make("asha", 9, 20), []
    for each in decisions:
        match each["decision"]:
            case "first":
                replayed.append(rule.first(each["number"]))
            case "note":
                replayed.append(rule.note(each["number"], each["epoch"], each["score"]))
            case "due":
                replayed.append(rule.due())
    recorded = [
        (each["number"], each["runs_on_to"]) if each["decision"] == "due" else each["runs_on_to"] for each in decisions
    ]
    assert replayed == recorded
    assert "due" in {each["decision"] for each in decisions}


def test_what_cannot_be_built_is_never_trained():
    cluster = Cluster(search(), image_shape=(3, 8, 8))  # 8 → 3 → 0: no room for a second layer
    assert {draw.cell.trial.model.conv_layers for draw in cluster.search.draws.values()} == {1}
    assert cluster.search.drawing.unbuildable == []
    assert sorted(each.number for each in cluster.search.told) == list(range(len(cluster.search.told)))


def test_a_trial_that_fails_is_told_so_and_takes_nobodys_place():
    def diverging(trial):
        return "Diverged: the training loss became nan" if trial.model.conv_layers == 3 else None

    cluster = Cluster(search(), failing=diverging)
    failed = [draw for draw in cluster.search.draws.values() if draw.reason]
    assert failed
    assert not {draw.number for draw in failed} & {draw.number for draw in cluster.search.confirmed}
    assert cluster.agenda.failed == []  # that it diverges is a finding
    assert len(Cluster(search(), failing=lambda trial: "it broke" if diverging(trial) else None).agenda.failed) == len(
        failed
    )
    again = cluster.again(search(), failing=diverging)
    assert again.epochs == 0


def test_a_used_up_space_ends_the_search():
    few = Space({"model.conv_layers": Whole(1, 2), "training.batch_size": Choice((16, 32))})
    for sampler in ("grid", "random"):
        cluster = Cluster(Search("find", few, trials=12, sampler=sampler, rule="none", confirm=1, seeds=1))
        assert len(cluster.search.draws) == 4
        assert cluster.result.winner


def test_given_points_are_tried_first():
    point = {"model.conv_layers": 2, "training.lr": 0.05, "training.batch_size": 32}
    cluster = Cluster(search(first=(point,)))
    assert next(iter(cluster.search.draws.values())).values == point


def test_a_search_starts_from_a_stages_winner():
    study = Study("s", BASE, (Stage("act", {"model.activation": ("relu", "tanh")}), search(4)))
    agenda = Agenda(study, terms(), lambda _: None)
    for value in (0.5, 0.6):
        task = agenda.next()
        agenda.finish(task.key, History({0: (record(value),) * 9}))
        agenda.advance()
    assert agenda.next().cell.trial.model.activation == "tanh"


def test_a_trial_that_a_search_only_screened_runs_in_full_where_a_grid_has_it_too():
    point = {"model.conv_layers": 1, "training.lr": 0.05, "training.batch_size": 64}
    grid = Stage(
        "grid",
        {"training.lr": (0.05, 0.06)},
        start=BASE.with_values({"model.conv_layers": 1, "training.batch_size": 64}),
    )
    study = Study("s", BASE, (search(12, first=(point,), start=BASE), grid))
    cluster = Cluster(study.stages[0])  # as the search alone does
    paused = next(iter(cluster.search.draws.values()))
    assert paused.state == Status.CENSORED

    cluster.agenda = Agenda(study, terms(), lambda _: None)
    cluster.store, cluster.drawn = {}, {}
    cluster.run(10**6)
    found, rows = cluster.agenda.results
    assert paused.key in [outcome.key for outcome in found.outcomes if outcome.status == "censored"]
    assert [(outcome.cell.label, outcome.status, outcome.history.epochs) for outcome in rows.outcomes] == [
        ("0.05", "done", 9),
        ("0.06", "done", 9),
    ]


# one search by itself, step by step: three trials of three epochs, drawn in order

THREE = BASE.with_values({"training.epochs": 3})
SIZES = Space({"training.batch_size": Choice((16, 32, 64))})
KEYS = [THREE.with_values({"training.batch_size": size}).key({}) for size in (16, 32, 64)]


def by_hand(known=None, earlier=(), of_command=(0,), **how) -> SearchRun:
    form = {"trials": 3, "sampler": "grid", "rule": "asha", "confirm": 2, "seeds": 2, "race": False}
    stage = Search("find", SIZES, **form | how)
    return SearchRun(stage, THREE, Ledger(terms(of_command), known or {}), earlier)


def drawn(number: int) -> Drawn:
    return Drawn(KEYS[number], number, number, {"training.batch_size": (16, 32, 64)[number]})


def test_in_full_the_best_two_of_three_are_confirmed_with_all_seeds():
    run = by_hand(rule="none")
    assert run.judges is True
    tasks = [run.next() for _ in range(3)]
    assert tasks == [
        Task("find", draw.cell, KEYS[n], None, (0,), drawn=drawn(n)) for n, draw in enumerate(run.draws.values())
    ]
    assert list(run.ledger.tasks.values()) == tasks
    assert run.next() is None
    assert run.so_far().outcomes == ()  # all of them run
    scores = {KEYS[0]: [0.3, 0.5, 0.4], KEYS[1]: [0.2, 0.3, 0.3], KEYS[2]: [0.2, 0.4, 0.7]}
    for key, curve in scores.items():
        assert [run.goes_on(key, epoch, score) for epoch, score in enumerate(curve[:2], start=1)] == [True, True]
        run.ended(key, history(curve), None)
        assert run.result() is None
    assert {each.key for each in run.so_far().outcomes} >= {KEYS[1]}
    assert run.draws[KEYS[0]].scores == {1: 0.3, 2: 0.5, 3: 0.5}  # the best so far
    again = [run.next() for _ in range(2)]
    assert [(task.key, task.seeds) for task in again] == [(KEYS[2], (1, 2)), (KEYS[0], (1, 2))]
    assert run.next() is None
    run.ended(KEYS[2], history(scores[KEYS[2]], [0.1, 0.1, 0.1], [0.2, 0.2, 0.2]), None)
    assert run.result() is None
    assert [draw.key for draw in run.draws.values() if run.is_confirmed(draw)] == [KEYS[2]]
    run.ended(KEYS[0], history(scores[KEYS[0]], [0.5, 0.6, 0.6], [0.2, 0.2, 0.2]), None)
    first = run.draws[KEYS[0]]
    assert run.value(first, "score") == pytest.approx(0.4)
    assert run.value(first, "parameters") == run.drawing.value(first, "parameters") > 1000
    first.reason = "it broke"
    assert not run.is_confirmed(first)
    first.reason = None
    result = run.result()
    assert result.search is run
    assert result.stage is run.stage
    assert [(each.key, each.status, each.history.seeds) for each in result.outcomes] == [
        (KEYS[0], "done", (1, 2)),  # 0.4 with both fresh seeds, against 0.15; the one that chose had 0.4 and 0.7
        (KEYS[2], "done", (1, 2)),
        (KEYS[1], "done", (0,)),
    ]
    assert result.winner.outcome is result.outcomes[0]
    assert run.decisions == [
        {"decision": "first", "number": n, "values": drawn(n).values, "runs_on_to": 3} for n in range(3)
    ] + [
        {"decision": "note", "number": n, "epoch": 3, "score": score, "runs_on_to": None}
        for n, score in enumerate((0.5, 0.3, 0.7))
    ] + [{"decision": "confirm", "numbers": [2, 0]}]


def test_in_a_race_the_one_behind_after_an_epoch_is_let_go():
    run = by_hand(rule="none", race=True)
    for curve in ([0.3, 0.5, 0.4], [0.2, 0.3, 0.3], [0.2, 0.4, 0.7]):
        run.ended(run.next().key, history(curve), None)
    first, second = (run.next() for _ in range(2))
    assert [(task.key, task.seeds) for task in (first, second)] == [(KEYS[2], (1, 2)), (KEYS[0], (1, 2))]
    assert run.goes_on(KEYS[2], 1, 0.2) is False
    run.ended(KEYS[2], history([0.2, 0.4, 0.7], [0.1], [0.3]), None)
    assert run.next() is None  # the other is still at work
    assert run.result() is None
    assert run.goes_on(KEYS[0], 1, 0.8) is False
    run.ended(KEYS[0], history([0.3, 0.5, 0.4], [0.7], [0.9]), None)
    stood = (3 * 0.7 + 2 * 0.2) / 5, (3 * 0.5 + 2 * 0.8) / 5
    assert run.confirmation.let_go() == [(run.draws[KEYS[2]], 1, *map(pytest.approx, stood))]
    assert [draw.key for draw in run.ranking()] == [KEYS[0], KEYS[2], KEYS[1]]
    assert run.decisions[-1] == {"decision": "lap", "epoch": 1, "on": [0], "out": [2]}
    task = run.next()
    assert (task.key, task.seeds, run.next()) == (KEYS[0], (1, 2), None)
    assert run.goes_on(KEYS[0], 2, 0.8) is True
    run.ended(KEYS[0], history([0.3, 0.5, 0.4], [0.7, 0.7, 0.7], [0.9, 0.9, 0.9]), None)
    result = run.result()
    assert [(each.key, each.status, each.history.seeds, each.history.epochs) for each in result.outcomes] == [
        (KEYS[0], "done", (1, 2), 3),
        (KEYS[2], "censored", (1, 2), 1),  # its end with the seed that chose is nobody's to compare
        (KEYS[1], "done", (0,), 3),
    ]
    assert result.winner.outcome is result.outcomes[0]
    assert [each.key for each in result.winner.contest.compared + result.winner.contest.left_out] == [KEYS[0]]
    assert run.value(run.draws[KEYS[2]], "score") == pytest.approx(0.7)
    assert len(run.decisions) == 3 + 3 + 1 + 1


def test_where_the_one_that_is_left_fails_the_one_let_go_runs_on():
    run = by_hand(rule="none", race=True)
    for score in (0.5, 0.3, 0.7):
        run.ended(run.next().key, history([score] * 3), None)
    for key, score in ((KEYS[2], 0.6), (KEYS[0], 0.4)):
        run.next()
        run.ended(key, history([0.5] * 3, [score], [score]), None)
    assert run.next().key == KEYS[2]
    run.ended(KEYS[2], history([0.5] * 3, [0.6] * 2, [0.6] * 2), "Diverged: the loss became nan")
    assert run.next().key == KEYS[0]
    run.ended(KEYS[0], history([0.5] * 3, [0.4] * 3, [0.4] * 3), None)
    assert run.result().winner.outcome.key == KEYS[0]


@pytest.mark.parametrize("how", [{"objectives": ("score", "parameters")}, {"confirm": 1}])
def test_with_several_objectives_and_with_one_candidate_there_is_no_race(how):
    run = by_hand(rule="none", race=True, **how)
    for score in (0.5, 0.3, 0.7):
        run.ended(run.next().key, history([score] * 3), None)
    task = run.next()
    assert [run.goes_on(task.key, epoch, 0.5) for epoch in (1, 2)] == [True, True]
    assert run.confirmation.let_go() == []


def test_where_the_cheapest_that_may_be_best_is_to_win_there_is_no_race():
    stage = Search("find", SIZES, trials=3)
    assert SearchRun(stage, THREE, Ledger(replace(terms(), winner=CHEAPEST))).raced is False
    assert SearchRun(stage, THREE, Ledger(terms())).raced is True


@pytest.mark.usefixtures("thirds")
def test_by_asha_trials_pause_and_the_best_third_runs_on():
    """Rungs at 1 and 3. The first two are paused; when the third reaches epoch 1, the second is the best of three."""
    run = by_hand(confirm=1, seeds=1)
    for n, score in enumerate((0.5, 0.6, 0.4)):
        task = run.next()
        assert run.draws[task.key].running
        assert run.goes_on(task.key, 1, score) is False
        run.ledger.note(replace(outcome("paused", [score], status="censored"), key=task.key))
        run.ended(task.key, history([score]), None)
        assert run.draws[task.key].state == Status.CENSORED
        assert len(run.decisions) == 2 * n + 2
    assert run.ready() == 1
    task = run.next()
    assert run.ready() == 0
    assert run.decisions[-2:] == [
        {"decision": "note", "number": 2, "epoch": 1, "score": 0.4, "runs_on_to": None},
        {"decision": "due", "number": 1, "runs_on_to": 3},
    ]
    assert (task.key, task.seeds) == (KEYS[1], (0,))
    assert set(run.ledger.outcomes) == {KEYS[0], KEYS[2]}  # it runs again
    assert run.goes_on(KEYS[1], 2, 0.1) is True
    assert run.goes_on(KEYS[1], 3, 0.1) is False  # at the end there is nothing to run on to
    run.ended(KEYS[1], history([0.6, 0.1, 0.1]), None)
    task = run.next()
    assert (task.key, task.seeds) == (KEYS[1], (1,))
    run.ended(KEYS[1], history([0.6, 0.1, 0.1], [0.1] * 3), None)
    result = run.result()
    assert [(each.key, each.status) for each in result.outcomes] == [
        (KEYS[1], "done"),
        (KEYS[0], "censored"),
        (KEYS[2], "censored"),
    ]
    assert result.winner.outcome.key == KEYS[1]


@pytest.mark.usefixtures("thirds")
def test_who_is_promoted_at_its_limit_runs_on_without_a_pause():
    run = by_hand()
    for score in (0.4, 0.5):
        task = run.next()
        run.goes_on(task.key, 1, score)
        run.ended(task.key, history([score]), None)
    task = run.next()
    assert run.goes_on(task.key, 1, 0.6) is True
    assert run.decisions[-1] == {"decision": "note", "number": 2, "epoch": 1, "score": 0.6, "runs_on_to": 3}
    assert run.goes_on(task.key, 2, 0.5) is True
    assert run.draws[task.key].scores == {1: 0.6, 2: 0.6}
    assert run.next() is None


def test_a_trial_that_fails_is_dropped_and_is_neither_ranked_before_others_nor_confirmed():
    run = by_hand(rule="none", confirm=3, seeds=1)
    first, second, third = (run.next() for _ in range(3))
    run.goes_on(first.key, 1, 0.9)
    run.ended(first.key, history([0.9]), "Diverged: the loss became nan")
    assert run.decisions[-1] == {"decision": "drop", "number": 0, "reason": "Diverged: the loss became nan"}
    for task, score in ((second, 0.5), (third, 0.6)):
        run.ended(task.key, history([score] * 3), None)
    assert [draw.key for draw in run.confirmed] == [third.key, second.key]
    for score in (0.6, 0.5):
        run.ended(run.next().key, history([score] * 3, [score] * 3), None)
    result = run.result()
    assert [(each.key, each.status) for each in result.outcomes] == [
        (third.key, "done"),
        (second.key, "done"),
        (first.key, "failed"),
    ]
    assert result.outcomes[2].reason == "Diverged: the loss became nan"
    assert run.blames(result.outcomes[2]) is False
    assert run.blames(outcome("a", status="failed")) is True


def test_one_that_fails_while_it_is_confirmed_does_not_win():
    run = by_hand(rule="none")
    for score in (0.4, 0.5, 0.6):
        run.ended(run.next().key, history([score] * 3), None)
    best, second = run.next(), run.next()
    assert run.goes_on(best.key, 2, 0.1) is True
    run.ended(best.key, history([0.6] * 3, [0.6]), "it broke")
    run.ended(second.key, history([0.5] * 3, [0.5] * 3, [0.5] * 3), None)
    result = run.result()
    assert "drop" not in {each["decision"] for each in run.decisions}
    assert result.winner.outcome.key == second.key
    assert [each.status for each in result.outcomes if each.key == best.key] == ["failed"]


@pytest.mark.parametrize(("seeds", "confirming"), [((0,), (1, 2)), ((0, 1, 2), (1, 2, 3))])
def test_the_best_are_confirmed_with_fresh_seeds_as_many_as_the_searchs_or_the_commands(seeds, confirming):
    assert by_hand(of_command=seeds).seeds == confirming


@pytest.mark.usefixtures("thirds")
def test_what_an_earlier_run_came_to_is_taken_over():
    """#0 is between its rungs, #1 diverged, #2 was drawn and not started; none is drawn anew."""
    known = {
        KEYS[0]: Known(Status.INTERRUPTED, history([0.5, 0.6]), "run-0"),
        KEYS[1]: Known(Status.FAILED, history([0.1]), "run-1", "Diverged: the loss became nan"),
        KEYS[2]: Known(Status.INTERRUPTED, History({}), "run-2"),
    }
    run = by_hand(known, [drawn(2), drawn(1), drawn(0)], confirm=1, seeds=1)
    assert [draw.number for draw in run.draws.values()] == [0, 1, 2]
    assert run.ledger.reused == [KEYS[0], KEYS[1]]
    first = run.next()
    assert (first.key, first.known, first.seeds) == (KEYS[2], known[KEYS[2]], (0,))
    assert run.goes_on(KEYS[2], 1, 0.4) is False
    run.ended(KEYS[2], history([0.4]), None)
    second = run.next()
    assert (second.key, second.known) == (KEYS[0], known[KEYS[0]])
    assert run.decisions[-1] == {"decision": "due", "number": 0, "runs_on_to": 3}
    assert run.goes_on(KEYS[0], 3, 0.7) is False
    run.ended(KEYS[0], history([0.5, 0.6, 0.7]), None)
    assert run.next().seeds == (1,)
    run.ended(KEYS[0], history([0.5, 0.6, 0.7], [0.7] * 3), None)
    assert [(each.key, each.status) for each in run.result().outcomes] == [
        (KEYS[0], "done"),
        (KEYS[2], "censored"),
        (KEYS[1], "failed"),
    ]


def test_objectives_and_what_a_sampler_is_told_come_from_the_drawing():
    run = by_hand(rule="none")
    task = run.next()
    run.ended(task.key, history([0.4] * 3), None)
    assert run.value(run.draws[task.key], "score") == 0.4
    assert run.told == run.drawing.told


@pytest.mark.parametrize("rule", rules.RULES)
def test_as_many_trials_are_ready_as_it_then_gives_out(rule):
    run, under_way = by_hand(rule=rule, confirm=1, seeds=1), []
    for score in (0.5, 0.6, 0.4):
        assert run.ready() == 3 - len(run.draws)  # none is promoted yet: all that may still be drawn
        task = run.next()
        under_way.append((task, score))
    assert run.ready() == 0
    assert run.next() is None
    for task, score in under_way:
        epochs = next(n for n in (1, 2, 3) if not run.goes_on(task.key, n, score) or n == 3)
        run.ended(task.key, history([score] * epochs), None)
    for _ in range(run.ready()):
        assert run.next() is not None
    assert run.ready() == 0
    assert run.next() is None


def test_a_trial_is_drawn_only_when_it_is_given_out_and_knows_what_was_told_by_then(monkeypatch):
    run = by_hand(sampler="random", rule="none")
    suggest, told = Sampler.suggest, []
    monkeypatch.setattr(Sampler, "suggest", lambda own, known, *at: (told.append(known), suggest(own, known, *at))[1])
    assert run.ready() == 3
    assert told == []
    run.ended(run.next().key, history([0.5] * 3), None)
    run.next()
    assert [[each.scores.get(3) for each in known] for known in told[-1:]] == [[0.5]]


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_search_that_is_to_have_fewer_trials_than_it_had_keeps_those_it_has(rule):
    first = Cluster(search(12, rule=rule))
    fewer = first.again(search(3, rule=rule))
    assert fewer.epochs == 0
    assert fewer.search.draws.keys() == first.search.draws.keys()
    assert fewer.result.winner.outcome.key == first.result.winner.outcome.key


def took(score: float, seconds: float, seeds=(0,)) -> History:
    return History({seed: (replace(record(score), seconds=seconds),) * 3 for seed in seeds})


def test_the_best_within_the_seconds_wins_and_the_better_one_beyond_them_is_not_even_confirmed():
    """In full they take 30, 90 and 60 seconds, of which 60 are allowed; the second is the best by far."""
    run = by_hand(rule="none", constraint={"seconds": 60})
    for score, seconds in ((0.4, 10), (0.9, 30), (0.5, 20)):
        run.ended(run.next().key, took(score, seconds), None)
    assert [each for each in run.decisions if each["decision"] == "beyond"] == [
        {"decision": "beyond", "number": 1, "reason": "90 s of training in full, but at most 60 are allowed"}
    ]
    assert [draw.key for draw in run.confirmed] == [KEYS[2], KEYS[0]]
    for score in (0.5, 0.4):
        run.ended(run.next().key, took(score, 20, (0, 1, 2)), None)
    result = run.result()
    assert [each.key for each in result.outcomes] == [KEYS[2], KEYS[0], KEYS[1]]
    assert result.winner.outcome.key == KEYS[2]


def test_where_all_are_beyond_a_bound_none_wins():
    run = by_hand(rule="none", constraint={"seconds": 1})
    for _ in range(3):
        run.ended(run.next().key, took(0.5, 10), None)
    assert run.confirmed == []
    result = run.result()
    assert result.winner is None
    assert len(result.outcomes) == 3


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_where_nothing_is_to_be_run_a_used_up_space_has_ended_the_search_too(sampler):
    few = Space({"model.conv_layers": Whole(1, 2), "training.batch_size": Choice((16, 32))})

    def stage(space, trials):
        return Search("find", space, trials=trials, sampler=sampler, rule="none", confirm=1, seeds=1)

    first = Cluster(stage(few, 12))

    def stands(again):
        known = {key: Known(status, whole, "run") for key, (whole, status) in first.store.items()}
        study, drawn = Study("s", BASE, (again,)), {"find": list(first.drawn.values())}
        agenda = Agenda(study, terms(), lambda _: None, known, drawn)
        assert not agenda.over
        take_as_it_stands(agenda)
        return agenda

    found = stands(stage(few, 12))
    assert found.over
    assert found.results[0].winner.outcome.key == first.result.winner.outcome.key
    more = Space({"model.conv_layers": Whole(1, 2), "training.batch_size": Choice((16, 32, 64))})
    wider = stands(stage(more, 12))
    assert not wider.over
    assert len(wider._runs["find"].draws) == 4
