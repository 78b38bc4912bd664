"""What a trial came to, and whether it must run again, by seeds and epochs asked for and known."""

from dataclasses import replace

import pytest

from sweeps.decisions.ledger import Ledger
from sweeps.decisions.records import Known
from sweeps.decisions.stages import Cell
from sweeps.decisions.status import Status
from tests.sweeps.outcomes import history, outcome, terms
from trainables.config import Training, Trial

TRIAL = Trial(training=Training(epochs=2))
CELL = Cell("a", (1,), TRIAL)
SHORT, FULL, LONG = [0.5], [0.5, 0.6], [0.5, 0.6, 0.9]


def test_a_new_ledger_is_empty():
    ledger = Ledger(terms())
    assert (ledger.known, ledger.outcomes, ledger.tasks, ledger.restarts) == ({}, {}, {}, {})
    assert (ledger.queue, ledger.waiting, ledger.reused) == ([], {}, [])


@pytest.mark.parametrize(
    ("replicates", "seeds", "reason", "status"),
    [
        ([FULL], (0,), None, Status.DONE),
        ([LONG], (0,), None, Status.DONE),
        ([SHORT], (0,), None, Status.CENSORED),
        ([FULL], (0, 1), None, Status.CENSORED),
        ([FULL, SHORT], (0, 1), None, Status.CENSORED),
        ([FULL, SHORT], (0,), None, Status.DONE),
        ([FULL], (0,), "it broke", Status.FAILED),
    ],
)
def test_a_trial_is_done_where_all_its_seeds_ran_in_full(replicates, seeds, reason, status):
    ledger = Ledger(terms())
    outcome = ledger.outcome(CELL, "key", history(*replicates), seeds, reason)
    assert (outcome.cell, outcome.key, outcome.status, outcome.reason) == (CELL, "key", status, reason)


def test_an_outcome_holds_only_the_seeds_and_epochs_asked_for_and_why_it_was_started_again():
    ledger = Ledger(terms(), restarts={"key": ["a node was lost", "out of memory"], "other": ["no"]})
    outcome = ledger.outcome(CELL, "key", history(LONG, LONG), (1,))
    assert outcome.history.records == {1: history(LONG, LONG).records[1][:2]}
    assert outcome.restarts == ("a node was lost", "out of memory")
    assert ledger.outcome(CELL, "new", history(FULL), (0,)).restarts == ()


@pytest.mark.parametrize(
    ("replicates", "status", "early_stopping", "wanted"),
    [
        ([FULL, LONG], "done", True, False),
        ([FULL, LONG], "censored", False, False),  # it was of a longer study
        ([FULL, SHORT], "censored", True, False),
        ([FULL, SHORT], "censored", False, True),
        ([FULL, SHORT], "interrupted", True, True),
        ([FULL], "done", True, True),
        ([SHORT], "censored", True, True),  # it has not been stopped with all seeds
    ],
)
def test_what_was_stopped_early_stays_so_and_all_else_that_is_missing_is_run(
    replicates, status, early_stopping, wanted
):
    ledger = Ledger(terms((0, 1), early_stopping=early_stopping))
    assert ledger.wants(TRIAL, Known(Status(status), history(*replicates), "run"), (0, 1)) is wanted


def test_outcomes_are_counted_as_they_are_noted_and_the_best_of_those_in_full_is_known():
    ledger = Ledger(terms())
    assert (ledger.counts.total(), ledger.best) == (0, None)
    worse, equal, best = outcome("a", [0.5]), outcome("b", [0.75]), outcome("c", [0.75])
    for each in (worse, equal, best, outcome("d", [0.9], status="censored"), outcome("e", status="failed")):
        ledger.note(each)
    assert ledger.counts == {Status.DONE: 3, Status.CENSORED: 1, Status.FAILED: 1}
    assert ledger.best == equal  # the first of equals
    ledger.note(replace(equal, status=Status.CENSORED))  # it goes on, and is stopped
    assert ledger.counts == {Status.DONE: 2, Status.CENSORED: 2, Status.FAILED: 1}
    assert ledger.best == best
    ledger.forget(best.key)
    ledger.forget(worse.key)
    assert (ledger.counts[Status.DONE], ledger.best, list(ledger.outcomes)) == (0, None, ["d", "e", "b"])
