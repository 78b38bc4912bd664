from typing import Any

import pytest
import ray

from sweeps.execution import outbox
from sweeps.execution.outbox import Outbox
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.tracking.tracker import Tracker


class Called:
    """A Tracker as an actor's handle shows it, whose `state` fails as often as asked for."""

    def __init__(self, *errors: Exception):
        self.errors, self.taken = list(errors), []
        self.state = self

    def remote(self, key: str) -> Any:
        if self.errors:
            return self.errors.pop(0)
        self.taken.append(key)
        return key


def outbox_of(tracker: Called) -> Outbox:
    return Outbox(TrackerActor(tracker))


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(outbox, "PAUSE", 0.001)


def test_a_call_is_repeated_while_the_disk_is_full_and_before_the_next_one():
    tracker = Called(OSError(28, "full"), OSError(28, "full"))
    box = outbox_of(tracker)
    box.send(Tracker.state, "1")
    assert tracker.taken == []
    box.send(Tracker.state, "2")
    assert tracker.taken == ["1", "2"]
    assert box.ask(Tracker.state, "3") == "3"
    assert box.settle() is None


def test_what_repeating_does_not_mend_is_raised_once(monkeypatch):
    monkeypatch.setattr(outbox, "FULL_DISK", 0.01)
    box = outbox_of(Called(*[OSError(28, "full")] * 1000))
    box.send(Tracker.state, "1")
    with pytest.raises(OSError, match="full"):
        box.settle()
    box.settle()


def test_an_absent_mlflow_gets_longer_than_a_full_disk(monkeypatch):
    monkeypatch.setattr(outbox, "FULL_DISK", 0.0)
    box = outbox_of(Called(ConnectionError("MLflow does not answer"), ConnectionError("MLflow does not answer")))
    assert box.ask(Tracker.state, "1") == "1"


def test_other_errors_are_raised_at_once_but_not_into_the_next_trial():
    box = outbox_of(Called(ValueError("not started"), ray.exceptions.ActorDiedError()))
    box.send(Tracker.state, "1")
    with pytest.raises(ValueError, match="not started"):
        box.send(Tracker.state, "2")
    box.send(Tracker.state, "2")
    box.let_go()
