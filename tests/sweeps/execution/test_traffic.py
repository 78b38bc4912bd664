"""How studies on one cluster keep out of each other's way; without Ray, but for the last test."""

import time
from dataclasses import asdict

import pytest
import ray

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.shares import Claim
from sweeps.execution import traffic
from sweeps.execution.cluster import connect
from sweeps.execution.machines import Machines
from sweeps.execution.traffic import Lane, Traffic
from sweeps.study import Stage, Study
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial

STUDY = Study(
    "s",
    Trial(model=CNN(conv_layers=1), training=Training(epochs=4)),
    (Stage("lr", {"training.lr": (0.1, 0.2, 0.3, 0.4)}),),
)


def claimed(study, wants, **how):
    return asdict(Claim(study, wants=wants, **how))


def test_commands_hear_what_they_may_take_and_who_else_is_there():
    both = Traffic()
    assert both.report("1", claimed("a", 4), 4) == (4, [claimed("a", 4) | {"may": 4}])
    assert both.report("2", claimed("b", 4, priority=1), 4)[0] == 4
    may, others = both.report("1", claimed("a", 4), 4)
    assert (may, [(each["study"], each["may"]) for each in others]) == (0, [("a", 0), ("b", 4)])
    assert both.report("3", claimed("c", 2, kind="GPU"), 2)[0] == 2  # cores and GPUs do not mix
    both.leave("2")
    assert both.report("1", claimed("a", 4), 4)[0] == 4


def test_who_is_silent_is_forgotten(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(traffic.time, "monotonic", lambda: now[0])
    both = Traffic()
    both.report("1", claimed("a", 4), 4)
    assert both.report("2", claimed("b", 4), 4)[0] == 2
    now[0] = traffic.SILENT
    assert both.report("2", claimed("b", 4), 4)[0] == 4


def lane(may, size=1.0):
    made = Lane(Claim("s"), size)
    made._may = may
    return made


@pytest.mark.parametrize(
    ("may", "size", "places"),
    [(0.0, 1.0, 0), (0.5, 1.0, 1), (2.0, 1.0, 2), (2.9, 1.0, 2), (1.0, 0.25, 4), (0.3, 0.1, 3)],
)
def test_as_many_trials_may_be_under_way_as_have_room_and_one_where_there_is_any(may, size, places):
    assert [lane(may, size).is_full(under_way) for under_way in (places - 1, places)] == [False, True]


def test_before_anything_is_known_it_is_as_if_it_were_alone():
    assert not Lane(Claim("s"), 1.0).is_full(1000)


def test_who_began_last_gives_way_after_its_epoch_and_goes_on_first():
    agenda = Agenda(STUDY, terms(early_stopping=False), lambda _: None)
    first, second, third = (agenda.next().key for _ in range(3))
    lane(2.0).keep(agenda, [first, second, third])
    assert [agenda.goes_on(key, 1, 0.5) for key in (first, second, third)] == [True, True, False]
    assert agenda.waits(third)
    agenda.lay_aside(third, history([0.5]))
    assert agenda.next().key == third  # Dispatcher.place() asks for no place while there is no room
    lane(4.0).keep(agenda, [first, second, third])
    assert all(agenda.goes_on(key, 2, 0.5) for key in (first, second, third))


def test_what_is_wanted_is_what_is_under_way_and_what_could_be():
    agenda = Agenda(STUDY, terms(early_stopping=False), lambda _: None)
    own = lane(4.0, size=0.5)
    own.keep(agenda, [agenda.next().key, "a helper"])
    assert (own._claim.has, own._claim.wants) == (1.0, 2.5)


def test_without_any_room_all_give_way_and_a_helper_is_no_trial():
    agenda = Agenda(STUDY, terms(early_stopping=False), lambda _: None)
    key = agenda.next().key
    lane(0.0).keep(agenda, ["a helper", key])
    assert agenda.ledger.cut == {key}


def test_two_lanes_meet_in_an_actor_of_the_cluster(monkeypatch):
    monkeypatch.setattr(traffic, "PERIOD", 0.05)
    with connect(Machines(num_gpus=0, num_cpus=2)):
        low, high = Lane(Claim("low", "jo"), 1.0), Lane(Claim("high", "maria", priority=1), 1.0)
        agenda = Agenda(STUDY, terms(early_stopping=False), lambda _: None)
        low.keep(agenda, [])
        with low:
            until(lambda: low.others)
            assert not low.is_full(1)
            assert low.is_full(2)
            high.keep(agenda, [])
            with high:
                until(lambda: low.is_full(0))
                assert {each["study"]: each["may"] for each in low.others} == {"low": 0, "high": 2}
            until(lambda: not low.is_full(1))
        ray.kill(traffic._traffic())


def until(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
