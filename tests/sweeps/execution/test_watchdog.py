from types import SimpleNamespace

import pytest
import ray

from sweeps.execution import watchdog
from sweeps.execution.watchdog import Patience, Watchdog


class Clock:
    """Time as the watchdog sees it, and the actors that it killed."""

    def __init__(self):
        self.now, self.killed = 0.0, []

    def look(self, dog: Watchdog, at: float) -> int:
        """Have the dog look each second until this time; return how many actors it has killed so far."""
        while self.now < at:
            self.now = min(self.now + 1, at)
            dog.kill_what_hangs()
        return len(self.killed)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(ray, "kill", clock.killed.append)
    monkeypatch.setattr(watchdog, "PATIENCE", Patience(first=100, least=10, factor=3))
    return clock


def actor(name):
    return SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: name))


def test_before_its_first_epoch_a_trial_gets_the_first_patience(clock):
    dog, hung = Watchdog(), actor("a")
    dog.watch("key", hung)
    assert clock.look(dog, 100) == 0
    assert clock.look(dog, 101) == 1
    assert clock.killed == [hung]
    assert dog.reason("key") == "it hung: 101 s without an epoch"
    assert clock.look(dog, 201) == 1  # it is given the time to start again
    assert clock.look(dog, 202) == 2


def test_time_in_which_the_driver_did_not_run_counts_for_nobody(clock):
    """It was stopped for an hour. The epoch around that was not one of an hour, and the trial does not hang."""
    dog = Watchdog()
    dog.watch("key", actor("a"))
    clock.look(dog, 2)
    clock.now += 3600
    assert clock.look(dog, clock.now + 2) == 0
    dog.note_epoch("key")
    assert dog._watched["key"].longest == 2 + 1 + 1  # of the hour one second
    clock.now += 3600
    dog.note_epoch("key")  # what has come in meanwhile may be read before the next look
    assert dog._watched["key"].longest == 4
    assert clock.look(dog, clock.now + 12) == 0
    assert clock.look(dog, clock.now + 1) == 1


def test_then_a_multiple_of_its_longest_epoch_and_no_less_than_the_least(clock):
    dog = Watchdog()
    dog.watch("key", actor("a"))
    for end, patience in ((2, 10), (8, 18), (12, 18)):  # epochs of 2, 6 and 4 s
        clock.look(dog, end)
        dog.note_epoch("key")
        assert dog._watched["key"].patience == patience
    assert clock.look(dog, 12 + 18) == 0
    assert clock.look(dog, 12 + 18.5) == 1
    assert dog.reason("key") == "it hung: 18 s without an epoch, its longest so far having taken 6.0 s"


def test_a_reason_is_given_once_and_a_loss_without_one_is_a_loss():
    dog = Watchdog()
    dog.watch("key", actor("a"))
    dog.blame("key", "its process was killed (OutOfMemoryError)")
    assert [dog.reason("key"), dog.reason("key")] == [
        "its process was killed (OutOfMemoryError)",
        "its process was lost",
    ]


def test_what_is_left_is_watched_no_longer(clock):
    dog = Watchdog()
    dog.watch("one", actor("a"))
    dog.watch("two", actor("b"))
    dog.leave("one")
    dog.leave("one")  # a trial that was never started, or has ended
    assert dog.under_way() == ["two"]
    assert clock.look(dog, 101) == 1


def test_an_error_of_ray_names_its_actors():
    dog = Watchdog()
    dog.watch("one", actor("a1"))
    dog.watch("two", actor("b2"))
    assert dog.named_in(RuntimeError("worker of actor b2 was killed")) == ["two"]
    assert dog.named_in(RuntimeError("a worker was killed")) == []
