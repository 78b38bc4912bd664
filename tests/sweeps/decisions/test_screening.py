"""Which screened trials run on, by hand. How a search as a whole goes: test_search_run.py."""

import pytest

from sweeps.decisions import rules
from sweeps.decisions.drawing import Draw
from sweeps.decisions.screening import Screening
from sweeps.decisions.stages import Cell
from tests.sweeps.outcomes import history
from trainables.config import Training, Trial

NINE = Trial(training=Training(epochs=9))


def draw(number: int, *scores: float) -> Draw:
    """Return a trial that has run so many epochs, each better than those before."""
    found = Draw(number, number, {"x": number}, Cell(str(number), (number,), NINE), f"key-{number}", running=True)
    found.take(history(list(scores)))
    return found


@pytest.fixture
def drawn() -> dict[str, Draw]:
    """The trials of the search, by key."""
    return {}


@pytest.fixture
def screening(drawn, thirds) -> Screening:  # noqa: ARG001
    """Rungs at the epochs 1, 3 and 9; of the trials that have come to one the best third runs on."""
    return Screening(rules.make("asha", 9, 3), drawn)


def test_a_trial_is_paused_at_its_rung_and_called_due_when_it_is_among_the_best(screening, drawn):
    draws = [draw(0, 0.5), draw(1, 0.7), draw(2, 0.6)]
    drawn |= {each.key: each for each in draws}
    for each in draws:
        screening.begin(each)
        assert screening.ready() == 0
        assert not screening.goes_on(each, 1)
        each.running = False
        assert not screening.ended(each)
    assert screening.ready() == 1
    assert screening.promoted() is draws[1]
    assert screening.promoted() is None
    screening.something_happened()
    assert screening.ready() == 0
    assert screening.decisions[-1] == {"decision": "due", "number": 1, "runs_on_to": 3}
    draws[1].take(history([0.7, 0.8, 0.9]))
    assert screening.goes_on(draws[1], 2)
    assert not screening.goes_on(draws[1], 3)


def test_one_that_comes_to_its_rung_as_the_best_of_enough_runs_on_at_once(screening):
    for each in (draw(0, 0.5), draw(1, 0.4), best := draw(2, 0.6)):
        screening.begin(each)
        went_on = screening.goes_on(each, 1)
    assert went_on
    assert screening.decisions[-1] == {"decision": "note", "number": 2, "epoch": 1, "score": 0.6, "runs_on_to": 3}
    assert screening.goes_on(best, 2)


def test_one_that_is_called_due_while_it_runs_is_not_given_out_and_runs_on_when_its_pause_is_complete(screening, drawn):
    draws = [draw(0, 0.5), draw(1, 0.7), draw(2, 0.6)]
    drawn |= {each.key: each for each in draws}
    for each in draws:
        screening.begin(each)
        screening.goes_on(each, 1)
    assert screening.promoted() is None
    assert screening.ended(draws[1])
    assert not screening.ended(draws[0])


def test_what_fails_is_dropped_and_what_ran_in_full_is_noted_without_a_next_rung(screening):
    failed, full = draw(0, 0.5), draw(1, *(0.1 * epoch for epoch in range(1, 10)))
    for each in (failed, full):
        screening.begin(each)
        each.running = False
    failed.reason = "it broke"
    assert not screening.ended(failed)
    assert not screening.ended(full)
    assert screening.decisions == [
        {"decision": "first", "number": 0, "values": {"x": 0}, "runs_on_to": 1},
        {"decision": "first", "number": 1, "values": {"x": 1}, "runs_on_to": 1},
        {"decision": "drop", "number": 0, "reason": "it broke"},
        {"decision": "note", "number": 1, "epoch": 9, "score": pytest.approx(0.9), "runs_on_to": None},
    ]
    assert screening.rule.ranking() == [1]
    assert screening.rule.dropped == {0}


def test_what_another_study_has_trained_is_judged_at_the_rung_to_which_it_has_come(screening, drawn):
    draws = [draw(0, 0.5), draw(1, 0.4), draw(2, 0.6, 0.7)]
    drawn |= {each.key: each for each in draws}
    for each in draws[:2]:
        screening.begin(each)
        assert not screening.goes_on(each, 1)
        each.running = False
    assert screening.ready() == 0
    screening.begin(draws[2])
    draws[2].running = False
    screening.adopt(draws[2], {"study": "grid", "trained": 7})
    assert screening.decisions[-1] == {
        "decision": "taken",
        "number": 2,
        "scores": [0.6, 0.7],
        "study": "grid",
        "trained": 7,
    }
    assert screening.ready() == 1  # the best of three at the first rung
    assert screening.promoted() is draws[2]
