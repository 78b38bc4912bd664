"""A grid alone, over a ledger that may have some of its trials already."""

from dataclasses import replace

import pytest

from sweeps.decisions.grid_run import GridRun
from sweeps.decisions.ledger import Ledger, Waiting
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Drawn, Known, StageResult, Task
from sweeps.decisions.stages import Stage
from sweeps.decisions.status import Status
from sweeps.decisions.winner import choose
from tests.sweeps.outcomes import draws, history, marked, outcome, record, terms
from trainables.config import CNN, Training, Trial
from trainables.history import History
from trainables.marks import Marks, Right

BASE = Trial(model=CNN(conv_layers=1), training=Training(epochs=2))
STAGE = Stage("lr", {"training.lr": (0.1, 0.2)})
FIRST, SECOND = STAGE.cells(BASE)
KEYS = [cell.trial.key({}) for cell in (FIRST, SECOND)]
FULL = history([0.5, 0.6])


def known(history, status="done") -> Known:
    return Known(Status(status), history, "run")


def test_trials_that_nobody_has_run_are_queued_in_order():
    ledger = Ledger(terms((0, 1)))
    run = GridRun(STAGE, BASE, ledger)
    assert ledger.queue == [
        Task("lr", FIRST, KEYS[0], None, (0, 1)),
        Task("lr", SECOND, KEYS[1], None, (0, 1)),
    ]
    assert ledger.tasks == {task.key: task for task in ledger.queue}
    assert ledger.outcomes == {}
    assert run.judges is True
    assert GridRun(STAGE, BASE, Ledger(terms(rule="asha"))).judges is False
    assert run.ready() == 0
    assert run.let_go() == []
    assert run.waits(KEYS[0]) is False
    assert run.decisions == []
    assert run.next() is None
    assert run.goes_on(KEYS[0], 1, 0.1) is True
    assert run.blames(outcome("a", [0.1], status="failed")) is True


def test_what_the_store_has_in_full_is_taken_over_and_what_it_has_in_part_goes_on():
    part = known(history([0.5]), "interrupted")
    ledger = Ledger(terms(), {KEYS[0]: known(FULL), KEYS[1]: part})
    GridRun(STAGE, BASE, ledger)
    assert ledger.reused == [KEYS[0]]
    assert ledger.outcomes == {KEYS[0]: ledger.outcome(FIRST, KEYS[0], FULL, (0,))}
    assert [(task.key, task.known) for task in ledger.queue] == [(KEYS[1], part)]


def test_what_another_stage_runs_or_has_run_is_left_to_it():
    ledger = Ledger(terms())
    GridRun(STAGE, BASE, ledger)
    ledger.outcomes[KEYS[0]] = ledger.outcome(FIRST, KEYS[0], FULL, (0,))
    tasks, queue, outcomes = dict(ledger.tasks), list(ledger.queue), dict(ledger.outcomes)
    GridRun(Stage("again", STAGE.vary), BASE, ledger)
    assert (ledger.tasks, ledger.queue, ledger.outcomes, ledger.reused) == (tasks, queue, outcomes, [])


def test_trials_are_held_against_those_that_another_stage_has_run_in_full():
    base = BASE.with_values({"training.epochs": 8})
    stage = Stage("lr", {"training.lr": (0.1, 0.2, 0.3)})
    keys = [cell.trial.key({}) for cell in stage.cells(base)]
    ledger = Ledger(terms())
    cells = stage.cells(base)
    for cell, key in zip(cells[:2], keys[:2], strict=True):
        ledger.tasks[key] = Task("other", cell, key, None, (0,))
    longer = replace(cells[1], trial=cells[1].trial.with_values({"training.epochs": 9}))
    ledger.outcomes[keys[1]] = ledger.outcome(longer, keys[1], history([0.8] * 9), (0,))
    run = GridRun(stage, base, ledger)
    ledger.queue.clear()
    assert [run.goes_on(keys[2], epoch, 0.3) for epoch in (1, 2, 3, 4)] == [True] * 4  # one is ahead
    ledger.outcomes[keys[0]] = ledger.outcome(cells[0], keys[0], history([0.8] * 8), (0,))
    assert run.goes_on(keys[2], 5, 0.3) is False
    ledger.outcomes[keys[2]] = ledger.outcome(cells[2], keys[2], history([0.3] * 8), (0,))
    assert run.goes_on(keys[2], 5, 0.3) is False
    assert [(each["decision"], each["trial"]) for each in run.decisions if each["decision"] != "note"] == [
        ("known", "0.2"),
        ("known", "0.1"),
        ("drop", "0.3"),
    ]
    assert len(run.decisions[0]["scores"]) == 8


@pytest.mark.parametrize("vary", [{"training.epochs": (7, 8)}, {"training.schedule": ("constant", "cosine")}])
def test_trials_whose_curves_cross_by_design_all_run_in_full(vary):
    stage, base = Stage("rows", vary | {"training.lr": (0.1, 0.2)}), BASE.with_values({"training.epochs": 8})
    run = GridRun(stage, base, Ledger(terms()))
    for (_, key), score in zip(run.cells, (0.8, 0.8, 0.1, 0.1), strict=True):
        assert all(run.goes_on(key, epoch, score) for epoch in range(1, 7))
    assert run.decisions == []


def test_a_stage_of_one_trial_runs_it():
    run = GridRun(Stage("curve"), BASE, Ledger(terms()))
    assert all(run.goes_on(run.cells[0][1], epoch, 0.5) for epoch in (1, 2))


LONG = BASE.with_values({"training.epochs": 8})
ROWS = Stage("rows", {"training.lr": (0.1, 0.2, 0.3, 0.4)})
ROW_KEYS = [cell.trial.key({}) for cell in ROWS.cells(LONG)]


def waiting(run, ledger, number, score):
    """Have a trial run its first three epochs, and lay it aside."""
    task = ledger.queue.pop(0)
    assert task.key == ROW_KEYS[number]
    assert [run.goes_on(task.key, epoch, score) for epoch in (1, 2, 3)] == [True, True, False]
    assert run.waits(task.key)
    assert not run.waits(ROW_KEYS[-1])
    ledger.waiting[task.key] = Waiting(task, history([score] * 3))
    return task


def test_while_trials_are_in_the_queue_one_waits_and_then_the_best_runs_on():
    ledger = Ledger(terms())
    run = GridRun(ROWS, LONG, ledger)
    assert run.next() is None
    first, second, third = (waiting(run, ledger, number, score) for number, score in enumerate((0.1, 0.5, 0.6)))
    ledger.waiting["of another stage"] = ledger.waiting[first.key]
    assert run.ready() == 3
    assert run.let_go() == [first.key]
    del ledger.waiting[first.key]
    run.ended(first.key, history([0.1] * 3), None)
    assert (run.next(), run.next(), run.next()) == (third, second, None)
    assert run.let_go() == []
    assert [each["decision"] for each in run.decisions if each["decision"] != "note"] == [
        *["wait"] * 3,
        "drop",
        *["due"] * 2,
    ]


def test_nobody_is_held_against_one_that_failed():
    ledger = Ledger(terms())
    run = GridRun(ROWS, LONG, ledger)
    first, second = waiting(run, ledger, 0, 0.8), waiting(run, ledger, 1, 0.8)
    run.ended(first.key, history([0.8] * 3), "it broke")
    assert run.decisions[-1] == {"decision": "drop", "trial": "0.1", "reason": "it broke"}
    assert not run.waits(first.key)
    assert run.next() == second
    ledger.queue.clear()
    assert [run.goes_on(ROW_KEYS[2], epoch, 0.3) for epoch in range(1, 8)] == [True] * 7


def test_earlier_decisions_come_first_and_what_an_earlier_start_has_reached_is_known():
    stored = {
        ROW_KEYS[0]: known(history([0.8] * 4, [0.6] * 4, [0.0] * 4), "interrupted"),
        ROW_KEYS[1]: known(history([0.8] * 4), "interrupted"),  # lacks a seed
    }
    before = [{"decision": "wait", "trial": "0.1"}]
    run = GridRun(ROWS, LONG, Ledger(terms((0, 1)), stored), decided=before)
    assert run.decisions == [
        *before,
        {"decision": "resumed"},
        {"decision": "known", "trial": "0.1", "scores": [pytest.approx(0.7)] * 4},
    ]
    assert GridRun(ROWS, LONG, Ledger(terms()), decided=before).decisions == before
    whole = {ROW_KEYS[0]: known(history([0.8] * 4, [0.6] * 4), "interrupted")}
    assert len(GridRun(ROWS, LONG, Ledger(terms((0, 1)), whole)).decisions) == 1


@pytest.mark.parametrize(
    "some", [terms(early_stopping=False), terms(rule="asha"), replace(terms(), yardstick=Yardstick("mAP", 1000))]
)
def test_without_a_judge_all_run_on_and_nothing_is_decided(some):
    ledger = Ledger(some, {ROW_KEYS[3]: known(history([0.8] * 4), "interrupted")})
    run = GridRun(ROWS, LONG, ledger)
    assert all(run.goes_on(key, epoch, 0.8) for key in ROW_KEYS[:2] for epoch in range(1, 9))
    assert all(run.goes_on(ROW_KEYS[2], epoch, 0.1) for epoch in range(1, 9))
    assert not run.waits(ROW_KEYS[0])
    run.ended(ROW_KEYS[0], history([0.8] * 3), "it broke")
    assert (run.decisions, run.let_go(), run.ready(), run.next()) == ([], (), 0, None)


def test_nobody_is_held_against_a_trial_that_was_stopped_elsewhere():
    base = BASE.with_values({"training.epochs": 8})
    stage = Stage("lr", {"training.lr": (0.1, 0.2, 0.3)})
    cells = stage.cells(base)
    keys = [cell.trial.key({}) for cell in cells]
    stored = {keys[0]: known(history([0.8] * 8)), keys[1]: known(history([0.8] * 5), "censored")}
    ledger = Ledger(terms(), stored)
    run = GridRun(stage, base, ledger)
    assert [task.key for task in ledger.queue] == [keys[2]]
    ledger.queue.clear()
    assert [run.goes_on(keys[2], epoch, 0.3) for epoch in range(1, 8)] == [True] * 7


@pytest.mark.parametrize(
    ("history", "queued"), [(history([0.5]), [KEYS[0], KEYS[1]]), (FULL, [KEYS[1]])], ids=["screened", "in full"]
)
def test_what_a_search_has_only_screened_runs_in_full(history, queued):
    ledger = Ledger(terms())
    drawn = Drawn(KEYS[0], 0, 0, {})
    ledger.tasks[KEYS[0]] = Task("find", FIRST, KEYS[0], None, (0,), drawn=drawn)
    ledger.outcomes[KEYS[0]] = ledger.outcome(FIRST, KEYS[0], history, (0,))
    GridRun(STAGE, BASE, ledger)
    assert [task.key for task in ledger.queue] == queued
    assert (KEYS[0] in ledger.outcomes) is (KEYS[0] not in queued)


def test_with_more_seeds_than_a_search_confirms_with_a_trial_runs_on():
    ledger = Ledger(terms((0, 1)))
    ledger.tasks[KEYS[0]] = Task("find", FIRST, KEYS[0], None, (0,), drawn=Drawn(KEYS[0], 0, 0, {}))
    ledger.outcomes[KEYS[0]] = ledger.outcome(FIRST, KEYS[0], FULL, (0,))
    GridRun(STAGE, BASE, ledger)
    assert [task.key for task in ledger.queue] == KEYS


def test_the_result_is_there_when_all_have_ended_under_the_stages_own_labels():
    ledger = Ledger(terms())
    run = GridRun(STAGE, BASE, ledger)
    other = Stage("both", {"training.lr": (0.1, 0.2), "model.stride": (1,)}).cells(BASE)
    ledger.outcomes[KEYS[1]] = ledger.outcome(other[1], KEYS[1], history([0.5, 0.7]), (0,))
    assert run.result() is None
    ledger.outcomes[KEYS[0]] = ledger.outcome(other[0], KEYS[0], FULL, (0,))
    result = run.result()
    assert result.stage is STAGE
    assert [outcome.cell for outcome in result.outcomes] == [FIRST, SECOND]
    assert result.winner.outcome.cell == SECOND


def test_what_leads_to_a_stage_tells_how_its_seeds_scatter():
    """One seed each here, and several in the stage before."""
    before = StageResult(STAGE, winner=choose([marked("a", *draws(0.7, 3, 137))], terms(images=137).yardstick))
    ledger = Ledger(terms(images=137))
    run = GridRun(STAGE, BASE, ledger, before)
    for key, cell, score in zip(KEYS, (FIRST, SECOND), (0.6, 0.8), strict=True):
        [right] = draws(score, 1, 137, number=5)
        epochs = cell.trial.training.epochs
        found = History({0: (record(right.mean()),) * epochs}, {0: Marks(1, Right.of(right), Right.of(right))})
        ledger.outcomes[key] = ledger.outcome(cell, key, found, (0,))
    assert run.result().winner.contest.told
    run.before = None
    assert not run.result().winner.contest.told
