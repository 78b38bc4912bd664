from dataclasses import replace

import pytest

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Known
from sweeps.decisions.urgency import Urgency
from sweeps.study import Search, Space, Stage, Study, Whole
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial
from trainables.plan import effort, plan

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=2, batch_size=32))
WIDTH = Stage("width", {"model.channels": (4, 8, 64)})
POOL = Stage("pool", {"model.pooling": ("max", "none")})
ALONE = Stage("alone", {"model.channels": (16, 256)}, start=BASE)
STUDY = Study("s", BASE, (WIDTH, POOL, ALONE))


def took(seconds, epochs=2):
    """Return a history of one seed whose epochs took so long."""
    each = history([0.5] * epochs)
    return replace(each, records={0: tuple(replace(row, seconds=seconds) for row in each.records[0])})


def order(study=STUDY, known=None, seeds=(0,)):
    return [task.name for task in Agenda(study, terms(seeds), lambda _: None, known).ledger.queue]


def epoch(**model):
    config = replace(BASE.model, **model)
    return effort(plan(config, (3, 32, 32), 10), 32)


def test_trials_that_others_wait_for_come_first_then_the_longest():
    """Behind width waits a trial without pooling, which is longer than any but the widest."""
    without_pooling = epoch(pooling="none")
    left = {f"width: {channels}": epoch(channels=channels) + without_pooling for channels in (4, 8, 64)}
    left |= {f"alone: {channels}": epoch(channels=channels) for channels in (16, 256)}
    assert left["alone: 256"] > left["width: 8"] > left["width: 4"] > left["alone: 16"]
    assert order() == sorted(left, key=left.get, reverse=True)


def test_equal_trials_stay_in_their_order():
    rates = Stage("rates", {"training.lr": (0.3, 0.1, 0.2)})
    assert order(Study("s", BASE, (rates,))) == ["rates: 0.3", "rates: 0.1", "rates: 0.2"]


def test_a_trial_is_as_urgent_as_the_stage_that_more_waits_for():
    """The start of both is one trial, and the first of all as the second stage is what others wait for."""
    own = Stage("own", {"training.lr": (0.05, 0.1)})
    width = Stage("width", {"model.channels": (4, 5)}, start=BASE)
    study = Study("s", BASE, (own, width, Stage("pool", {"model.pooling": ("max", "none")}, start="width")))
    assert order(study) == ["width: 5", "own: 0.05", "own: 0.1"]


def test_what_a_trial_took_counts_for_more_than_its_plan():
    wide, narrow = (BASE.with_values({"model.channels": channels}) for channels in (64, 8))
    known = {
        trial.key({}): Known("interrupted", took(seconds, epochs=1), "run")
        for trial, seconds in ((wide, 1), (narrow, 9))
    }
    study = Study("s", BASE, (replace(WIDTH, vary={"model.channels": (8, 64)}),))
    assert order(study) == ["width: 64", "width: 8"]
    assert order(study, known) == ["width: 8", "width: 64"]


def test_what_a_trial_has_run_already_is_not_ahead_of_it():
    rates = Study("s", BASE, (Stage("rates", {"training.lr": (0.3, 0.1)}),))
    first = BASE.with_values({"training.lr": 0.3})
    known = {first.key({}): Known("interrupted", took(1, epochs=1), "run")}
    assert order(rates, known) == ["rates: 0.1", "rates: 0.3"]
    known = {first.key({}): Known("done", took(1), "run")}
    assert order(rates, known, seeds=(0, 1)) == ["rates: 0.1", "rates: 0.3"]


def test_the_pace_of_what_is_measured_is_that_of_the_rest():
    urgency = Urgency(STUDY, terms())
    wide = BASE.with_values({"model.channels": 64})
    urgency.learn(wide, took(12))
    urgency.learn(wide, took(99))  # the first counts
    urgency.learn(BASE, history())
    assert urgency._epoch(wide) == pytest.approx(12)
    assert urgency._epoch(BASE) == pytest.approx(12 * epoch() / epoch(channels=64))


def test_what_cannot_be_built_from_the_baseline_is_not_foreseen():
    """A search comes before it, whose winner it starts from: a 33×33 window fits no image."""
    find = Search("find", Space({"model.channels": Whole(4, 8)}))
    study = Study("s", BASE, (find, Stage("kernel", {"model.kernel": (3, 33)}), POOL))
    urgency = Urgency(study, terms())
    assert urgency.foreseen["kernel"] == {}
    assert len(urgency.foreseen["pool"]) == 2
