from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda, to_come
from sweeps.decisions.records import Known, Task
from sweeps.decisions.status import Status
from sweeps.reporting import progress
from sweeps.reporting.progress import Progress
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import expected, history, terms
from trainables.config import CNN, Training, Trial
from trainables.plan import effort, plan

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=4))
LR = Stage("lr", {"training.lr": (0.1, 0.2)})
FIND = Search("find", Space({"training.lr": Choice((0.1, 0.2, 0.3))}), trials=3, sampler="random", confirm=1, seeds=2)
FULL = [0.5] * 4


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def agenda_of(*stages, seeds=(0,), known=None) -> Agenda:
    return Agenda(Study("s", BASE, stages), terms(seeds, early_stopping=False), lambda _: None, known)


def end(agenda, task, *replicates):
    agenda.finish(task.key, history(*replicates))
    agenda.advance()


def an_epoch_in(clock, agenda) -> tuple[Progress, Task]:
    """Return the progress of an agenda whose first trial has run an epoch in ten seconds, and the trial."""
    counted, task = Progress(agenda), agenda.next()
    counted.begin()
    clock.now += 10
    counted.note(task)
    return counted, task


def test_trials_are_counted_with_the_parts_that_are_under_way():
    agenda = agenda_of(LR, Stage("width", {"model.channels": (4, 8)}))
    counted = Progress(agenda)
    assert counted.count({}) == (0, 4, 0)
    first, second = agenda.next(), agenda.next()
    assert counted.count({first.key: (first, 3), second.key: (second, 1)}) == (0, 4, (0.75 + 0.25) / 4)
    end(agenda, first, FULL)
    assert counted.count({second.key: (second, 5)}) == (1, 4, 2 / 4)  # of a study whose epochs were lowered
    end(agenda, second, FULL)
    assert counted.count({}) == (2, 3, 2 / 3)  # width 4 is the winner itself


def test_what_earlier_runs_have_done_counts_as_done():
    key = terms().key(BASE.with_values({"training.lr": 0.1}))
    agenda = agenda_of(LR, known={key: Known(Status.DONE, history(FULL), "run")})
    assert Progress(agenda).count({}) == (1, 2, 0.5)


def test_a_search_counts_what_it_draws_and_then_what_it_confirms():
    agenda = agenda_of(FIND)
    counted = Progress(agenda)
    totals = []
    while not agenda.over:
        totals.append(counted.count({})[:2])
        task = agenda.next()
        totals.append(counted.count({task.key: (task, 0)})[:2])
        full = {seed: history(FULL).records[0] for seed in {0, *task.seeds}}
        agenda.finish(task.key, replace(history(), records=full))
        agenda.advance()
    assert totals == [(0, 4), (0, 4), (1, 4), (1, 4), (2, 4), (2, 4), (3, 4), (3, 4)]


def test_the_time_left_is_the_work_ahead_at_the_pace_so_far(clock):
    agenda = agenda_of(LR, seeds=(0, 1))
    counted = Progress(agenda)
    task = agenda.next()
    counted.begin()
    assert counted.seconds_left({task.key: (task, 0)}) is None  # before the first epoch nobody knows
    clock.now = 110.0
    counted.note(task)
    assert counted.seconds_left({task.key: (task, 1)}) == pytest.approx(70)  # three epochs and four of the other
    clock.now = 120.0
    counted.begin()  # of another trial
    counted.note(task)
    assert counted.seconds_left({task.key: (task, 2)}) == pytest.approx(60)


def test_a_trial_that_is_laid_aside_keeps_what_it_has_run(clock):
    agenda = agenda_of(LR)
    counted, task = an_epoch_in(clock, agenda)
    before = counted.count({task.key: (task, 1)}), counted.seconds_left({task.key: (task, 1)})
    agenda.lay_aside(task.key, history([0.5]))
    assert (counted.count({}), counted.seconds_left({})) == before == ((0, 2, 0.125), pytest.approx(70))


def test_seeds_count_each(clock):
    agenda = agenda_of(LR, FIND, seeds=(0, 1))  # the search screens with one seed, and confirms with two
    counted, task = an_epoch_in(clock, agenda)  # with two seeds
    grid, search = 3 + 4, (3 * 4 + 1 * 2 * 4) / 2
    assert counted.seconds_left({task.key: (task, 1)}) == pytest.approx(10 * (grid + search))


def test_a_trial_that_a_search_screens_is_in_the_search_s_own_estimate(clock):
    agenda = agenda_of(FIND)
    counted, task = an_epoch_in(clock, agenda)
    agenda.goes_on(task.key, 1, 0.5)
    assert counted.seconds_left({task.key: (task, 1)}) == pytest.approx(10 * (3 + 2 * 4 + 2 * 4))


def test_the_work_of_a_trial_is_its_network_s():
    counted = Progress(agenda_of(LR))
    wide = BASE.with_values({"model.channels": 16})
    assert counted.work(wide) == counted.work(wide) == effort(plan(wide.model, (3, 32, 32), 10), 64)


def test_the_time_left_is_right_as_the_queue_changes(clock):
    """It is not gone through each time: it must be where a trial comes back, or a stage opens."""
    width = Stage("width", {"model.channels": (4, 8)}, start="lr")
    agenda = agenda_of(Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}), width)
    counted, first = an_epoch_in(clock, agenda)
    work = counted.work(BASE)

    def by_hand() -> float:
        return pytest.approx(sum(counted.work(each) * 4 for each in expected(agenda)) / work * 10)

    assert counted.seconds_left({}) == by_hand()
    second = agenda.next()
    assert counted.seconds_left({}) == by_hand()
    agenda.put_back(first.key)
    assert (counted.seconds_left({}), len(expected(agenda))) == (by_hand(), 4)
    agenda.put_back(second.key, alone=True)
    assert (counted.seconds_left({}), len(expected(agenda))) == (by_hand(), 5)
    assert to_come(agenda) is to_come(agenda)
    for task in (agenda.next(alone=True), agenda.next(), agenda.next()):
        end(agenda, task, FULL)
        assert counted.seconds_left({}) == by_hand()
    assert [each.model.channels for each in expected(agenda)] == [8]  # the stage is open, and 4 is known


def test_a_rest_is_no_part_of_the_pace(clock):
    agenda = agenda_of(LR)
    pace, task = Progress(agenda), agenda.next()
    pace.rest(5.0)  # before the first trial there is none
    pace.begin()
    clock.now += 10
    pace.note(task)
    before = pace.seconds_left({})
    clock.now += 290
    pace.rest(290.0)
    assert pace.seconds_left({}) == before
