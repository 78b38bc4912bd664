"""sweeps.tracking.helm against a real sqlite store."""

import time

import pytest

from sweeps.decisions.acts import Act
from sweeps.tracking import acts, helm
from sweeps.tracking.helm import AFTER, BEFORE, Helm

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(helm, "PERIOD", 0.02)


def until(found):
    """Return what `found` gives once that is something."""
    end = time.monotonic() + 20
    while not (it := found()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return it


def ask(store, what="stop", **how):
    act = Act(what, "", "maria", **how)
    acts.write(store, store.experiment_id("study"), act)
    return act


def answers(store):
    return [each.answer for each in acts.read(store, store.experiment_id("study")) if each.answer is not None]


def test_what_is_asked_is_taken_up_once_and_answered_in_the_store(store):
    taken = []
    with Helm(store, "study", taken, print) as rudder:
        act = ask(store)
        assert until(rudder.asked) == [act]
        time.sleep(0.1)
        assert rudder.asked() == []
        rudder.answer(act, "it ends", {})
        assert until(lambda: answers(store)) == ["it ends"]
    assert taken == [act.answered("it ends", {})]


def test_what_was_refused_is_answered_and_not_kept(store):
    taken = []
    with Helm(store, "study", taken, print) as rudder:
        ask(store)
        rudder.answer(until(rudder.asked)[0], "not done: it is paused already")
    assert (answers(store), taken) == (["not done: it is paused already"], [])


def test_what_was_asked_before_or_after_the_trials_is_refused_and_what_was_set_before_holds(store):
    experiment = store.experiment_id("study")
    before = Act("seeds", "3", "maria", time=1.0).answered("3 seeds", {"seeds": 3})
    acts.write(store, experiment, before)
    ask(store, time=2.0)
    taken = []
    with Helm(store, "study", taken, print) as rudder:
        assert until(lambda: len(answers(store)) == 2)
        assert (taken, rudder.steered.plan) == ([before], (3, 0, 0))
        assert rudder.asked() == []
        rudder.close()
        ask(store, time=3.0)
        assert until(lambda: len(answers(store)) == 3)
    ask(store, time=4.0)
    assert answers(store) == ["3 seeds", BEFORE, AFTER]


def test_the_last_answers_are_sent_as_it_ends(store, monkeypatch):
    with Helm(store, "study", [], print) as rudder:
        ask(store)
        act = until(rudder.asked)[0]
        monkeypatch.setattr(helm, "PERIOD", 60.0)
        rudder.answer(act, "it ends", {})
    assert answers(store) == ["it ends"]


def test_a_fresh_command_begins_without_what_was_asked_for_before(store):
    acts.write(store, store.experiment_id("study"), Act("seeds", "3", "maria").answered("3 seeds", {"seeds": 3}))
    taken = []
    with Helm(store, "study", taken, print, fresh=True) as rudder:
        assert rudder.steered.plan == (0, 0, 0)
    assert taken == acts.read(store, store.experiment_id("study")) == []


def test_an_answer_that_does_not_go_through_is_sent_again(store, monkeypatch):
    write, failures = acts.write, iter([OSError("MLflow is away"), OSError("still")])

    def unsteady(*arguments):
        for error in failures:
            raise error
        write(*arguments)

    with Helm(store, "study", [], print) as rudder:
        ask(store)
        act = until(rudder.asked)[0]
        monkeypatch.setattr(acts, "write", unsteady)
        rudder.answer(act, "it ends", {})
        assert until(lambda: answers(store)) == ["it ends"]
