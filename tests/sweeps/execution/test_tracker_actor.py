import os
import signal
from types import SimpleNamespace

import pytest
import ray

from sweeps import interruption
from sweeps.execution import tracker_actor
from sweeps.execution.tracker_actor import DRAIN_SECONDS, FIRST_DRAIN_SECONDS, Handover, TrackerActor, start
from sweeps.tracking.spool import locked
from sweeps.tracking.tracker import LOCK, Tracker
from trainables.errors import UserError


class Actor:
    """A Tracker as an actor's handle shows it: notes the calls, and answers each method from a list."""

    def __init__(self, **answers):
        self.calls, self.answers = [], answers

    def __getattr__(self, name):
        def remote(*arguments, **named):
            self.calls.append((name, *arguments, *named.values()))
            return self.answers.get(name, [None]).pop(0)

        return SimpleNamespace(remote=remote)


@pytest.fixture(autouse=True)
def killed(monkeypatch):
    killed = []
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    monkeypatch.setattr(ray, "wait", lambda answers, **_: (answers, []))
    monkeypatch.setattr(ray, "kill", killed.append)
    return killed


def test_a_call_goes_by_the_tracker_s_method_with_its_arguments():
    actor = Actor(state=["newest"])
    assert TrackerActor(actor).ask(Tracker.state, "key") == "newest"
    TrackerActor(actor).call(Tracker.epoch, "key", 1, {}, {}, worker="w")
    assert actor.calls == [("state", "key"), ("epoch", "key", 1, {}, {}, "w")]


def test_at_the_end_the_user_is_told_of_a_wait_only_where_something_is_left(killed):
    said = []
    actor = Actor(drain=[["a: refused"], []], problems=[["a: refused"]], run_ids=[{"key": "run"}])
    assert TrackerActor(actor).end(said.append) == Handover([], ["a: refused"], {"key": "run"})
    assert actor.calls[:2] == [("drain", FIRST_DRAIN_SECONDS), ("drain", DRAIN_SECONDS)]
    assert (actor.calls[-1], killed) == (("close",), [actor])
    assert said == ["waiting for MLflow to take the rest, until 120 s pass in which it takes nothing"]

    actor = Actor(drain=[[]], problems=[[]], run_ids=[{}])
    assert TrackerActor(actor).end(said.append) == Handover([], [], {})
    assert len(said) == 1


def test_where_another_command_has_the_trials_nothing_is_delivered_any_more(killed):
    actor = Actor()
    tracker = TrackerActor(actor)
    tracker.stop_delivering()
    assert (actor.calls, killed) == ([("close",)], [])
    assert tracker.abandon() == Handover([], [], {})
    assert (actor.calls, killed) == ([("close",)] * 2, [actor])


def ask_to_stop():
    os.kill(os.getpid(), signal.SIGINT)


def test_whoever_asked_to_stop_waits_only_for_what_mlflow_takes_at_once(killed):
    interruption.listen()
    said, actor = [], Actor(drain=[["a: away"]], problems=[[]], run_ids=[{"key": "run"}])
    with interruption.tidy():
        with pytest.raises(KeyboardInterrupt):
            ask_to_stop()
        assert TrackerActor(actor).end(said.append) == Handover(["a: away"], [], {"key": "run"})
    assert (said, killed) == ([], [actor])


def test_whoever_asks_meanwhile_does_not_cut_off_what_mlflow_takes_at_once(killed, monkeypatch):
    interruption.listen()
    monkeypatch.setattr(ray, "get", lambda answer: ask_to_stop() or answer)
    said, actor = [], Actor(drain=[["a: away"]], problems=[[]], run_ids=[{}])
    with interruption.tidy(), pytest.raises(KeyboardInterrupt):
        TrackerActor(actor).end(said.append)
    assert [name for name, *_ in actor.calls] == ["drain", "problems", "run_ids", "close"]
    assert (said, killed) == ([], [actor])


def test_whoever_asks_during_the_long_wait_ends_it(monkeypatch):
    interruption.listen()
    monkeypatch.setattr(ray, "wait", lambda answers, **_: ask_to_stop() or ([], answers))
    said, actor = [], Actor(drain=[["a: away"], []])
    with interruption.tidy(), pytest.raises(KeyboardInterrupt):
        TrackerActor(actor).end(said.append)
    assert actor.calls == [("drain", FIRST_DRAIN_SECONDS), ("drain", DRAIN_SECONDS)]
    assert len(said) == 1


def test_a_spool_whose_last_owner_does_not_go_is_said_before_a_tracker_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(Tracker, "PATIENCE", 0.1)
    monkeypatch.setattr(tracker_actor.ray, "remote", lambda _: pytest.fail("it was started"))
    with locked(tmp_path / LOCK), pytest.raises(UserError, match=r"is in use by process .*; wait for its end"):
        start(f"sqlite:///{tmp_path / 'mlflow.db'}", "study", tmp_path, {})
