"""What the scheduler makes of trials that hang, die or find no room on a GPU: without Ray, and without one."""

from types import SimpleNamespace

import pytest
import ray

from sweeps.decisions.agenda import Agenda
from sweeps.execution import scheduler
from sweeps.execution.scheduler import RESTARTS, Patience
from sweeps.study import Stage, Study
from tests.sweeps.outcomes import terms
from trainables.config import CNN, Training, Trial

STUDY = Study(
    "s", Trial(model=CNN(conv_layers=1), training=Training(epochs=2)), (Stage("lr", {"training.lr": (0.1, 0.2)}),)
)


class Notes:
    """Stands for the Tracker and the display: it notes what it is told."""

    def __init__(self):
        self.said = []

    def __getattr__(self, name):
        note = SimpleNamespace(remote=lambda *told: self.said.append((name, *told)))
        return note if name == "finish" else lambda *told: self.said.append((name, *told))


@pytest.fixture
def link():
    agenda = Agenda(STUDY, terms(images=100, early_stopping=False), lambda _: None)
    return scheduler._Link(agenda, Notes(), Notes(), {}, gpu=0.25)


def handle(actor):
    return SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: actor))


def begin(link, actor="a1"):
    """Start the next trial; return its config."""
    config = link.next_config()
    link.started(config["key"], handle(actor))
    return config


def test_a_trial_that_finds_no_room_runs_once_more_with_a_gpu_to_itself_and_then_fails(link):
    config = begin(link)
    assert config["gpu"] == 0.25
    assert link.found_no_room(config["key"])
    again = begin(link)
    assert (again["key"], again["gpu"]) == (config["key"], 1.0)
    assert again["trial"] == config["trial"]  # the same batch
    assert not link.found_no_room(config["key"])
    link.ended(config["key"], "OutOfMemoryError: CUDA out of memory")
    [outcome] = link.agenda.failed
    assert outcome.reason == "OutOfMemoryError: CUDA out of memory"
    assert outcome.restarts == ("it ran out of GPU memory beside others",)
    assert begin(link)["gpu"] == 0.25  # the other trial


def test_on_the_cpu_there_is_no_more_room_to_be_had(link):
    link.gpu = 0
    assert not link.found_no_room(begin(link)["key"])


def test_a_trial_is_hung_after_a_multiple_of_its_longest_epoch_and_its_process_is_killed(link, monkeypatch):
    now, killed = [0.0], []
    monkeypatch.setattr(scheduler.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray, "kill", killed.append)
    monkeypatch.setattr(scheduler, "PATIENCE", Patience(first=100, least=10, factor=3))
    key = begin(link)["key"]
    for at, dead in ((100, 0), (101, 1)):  # before its first epoch
        now[0] = at
        link.kill_what_hangs()
        assert len(killed) == dead
    now[0] = 106
    link.under_way[key].epoch()  # took 5 s
    for at, dead in ((106 + 15, 1), (106 + 15.1, 2)):
        now[0] = at
        link.kill_what_hangs()
        assert len(killed) == dead
    assert key in link.under_way
    link.lost(key)
    assert link.agenda.restarts[key] == ["it hung: 15 s without an epoch, its longest so far having taken 5.0 s"]


def test_what_ray_ends_with_one_trial_is_put_back_and_only_the_one_is_charged_with_it(link):
    first, second = begin(link, "a1")["key"], begin(link, "b2")["key"]
    for often in range(RESTARTS):
        link.crashed(ray.exceptions.OutOfMemoryError("killed: actor b2"))
        assert len(link.agenda.restarts[second]) == often + 1
        assert {begin(link, "a1")["key"], begin(link, "b2")["key"]} == {first, second}
        link.under_way[first].actor, link.under_way[second].actor = handle("a1"), handle("b2")
    link.crashed(ray.exceptions.OutOfMemoryError("killed: actor b2"))
    assert first not in link.agenda.restarts
    assert [(outcome.key, outcome.reason) for outcome in link.agenda.failed] == [
        (second, "its process was killed (OutOfMemoryError), again after 2 restarts")
    ]
