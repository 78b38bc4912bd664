import inspect
from types import SimpleNamespace

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler

from sweeps.decisions.agenda import Agenda
from sweeps.execution.early_stopping import EarlyStopping, grace_period
from sweeps.execution.messages import NewRecords, Progress, Stopped, nothing_to_do
from sweeps.execution.orders import order
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import record, terms
from trainables.config import CNN, Training, Trial

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=8))
GO_ON, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


class Actor:
    """A worker, which is told to wind up."""

    def __init__(self):
        self.told, self.wind_up = 0, self

    def remote(self):
        self.told += 1


class Trials:
    """A stage's trials as Tune shows them to its scheduler."""

    def __init__(self, *stages, early_stopping=True, rule="asha"):
        self.agenda = Agenda(
            Study("s", BASE, stages), terms((0,), 1000, (3, 32, 32), early_stopping, rule), lambda _: None
        )
        self.stopping = EarlyStopping(self.agenda)

    def next(self):
        return self.begin(order(self.agenda.next(), "cpu", {}), "1")

    def begin(self, made, number):
        """Return the order as a trial of Tune's, `number` being the how manieth of its key."""
        state = SimpleNamespace(ray_actor=Actor())
        trial = SimpleNamespace(
            trial_id=made.key + number, config={}, status="RUNNING", runtime_metadata=None, temporary_state=state
        )
        self.stopping.on_trial_add(None, trial)  # it is nobody's yet
        made.put_into(trial.config)
        self.stopping.begin(trial)
        return trial

    def report(self, trial, epoch, score, earlier=(), kept=True):
        news = Progress(epoch, score, False, earlier, {0: NewRecords(epoch - 1, (record(score),))}, kept)
        return self.stopping.on_trial_result(None, trial, news.to_result())


@pytest.mark.parametrize(("epochs", "grace"), [(1, 1), (2, 1), (4, 1), (8, 2), (15, 4), (100, 25)])
def test_every_trial_gets_a_quarter_of_the_epochs(epochs, grace):
    assert grace_period(epochs) == grace


def test_at_a_rung_the_worse_half_of_a_stage_stops():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2, 0.3, 0.4)}))
    first, second, third, fourth = (trials.next() for _ in range(4))
    for trial in (first, second, third, fourth):
        assert trials.report(trial, 1, 0.0) == GO_ON  # no rung before the grace period's end
    assert trials.report(first, 2, 0.5) == GO_ON
    assert trials.report(second, 2, 0.4) == STOP
    assert trials.report(third, 2, 0.6) == GO_ON
    assert trials.report(fourth, 2, 0.52) == GO_ON  # above the median of the three, below their best quarter


def told(trial):
    return trial.temporary_state.ray_actor.told


def counts(trials, stage="lr"):
    """Return how many trials each rung has counted, the lowest first."""
    return [len(recorded) for _, recorded in reversed(trials.stopping.stages[stage]._brackets[0]._rungs)]


def two_of_a_stage():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}))
    first, second = trials.next(), trials.next()
    assert trials.report(first, 2, 0.5) == GO_ON
    return trials, second


def test_a_trial_that_is_to_stop_winds_up_first_where_its_snapshot_is_yet_to_come():
    trials, trial = two_of_a_stage()
    assert trials.report(trial, 1, 0.4, kept=False) == GO_ON
    assert told(trial) == 0
    assert trials.report(trial, 2, 0.4, kept=False) == GO_ON
    assert told(trial) == 1
    trials.stopping.on_trial_complete(None, trial, Stopped().to_result())
    assert counts(trials) == [2, 0, 0]
    third = trials.next()
    assert trials.report(third, 2, 0.3) == STOP
    assert told(third) == 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_trial_that_loses_its_process_while_it_winds_up_stops_where_it_was_to_stop(kept):
    trials, trial = two_of_a_stage()
    trials.report(trial, 2, 0.4, kept=False)
    trials.stopping.on_trial_error(None, trial)
    trials.stopping.on_trial_add(None, trial)
    trial.temporary_state.ray_actor = Actor()
    assert trials.report(trial, 1, 0.3, kept=kept) == GO_ON
    assert trials.report(trial, 2, 0.4, kept=kept) == (STOP if kept else GO_ON)
    assert told(trial) == (not kept)
    assert counts(trials) == [2, 0, 0]


def test_a_trial_that_tune_has_a_second_time_counts_once():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}))
    first, second, third = trials.next(), trials.next(), trials.next()
    trials.report(first, 2, 0.5)
    trials.report(second, 2, 0.9)
    again = trials.begin(second.config["order"], "2")
    assert trials.report(again, 2, 0.9) == GO_ON
    assert counts(trials) == [2, 0, 0]
    assert trials.report(third, 2, 0.75) == GO_ON  # above the median of two; of three it would be below


def test_a_search_s_trial_winds_up_likewise():
    trials = Trials(Search("find", Space({"training.lr": Choice((0.1, 0.2, 0.3, 0.4))}), trials=4, sampler="random"))
    trials.agenda.goes_on = lambda *_: False
    trial = trials.next()
    assert trials.report(trial, 1, 0.5, kept=False) == GO_ON
    assert told(trial) == 1
    assert trials.report(trial, 1, 0.5) == STOP


def test_each_stage_has_rungs_of_its_own():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2)}), Stage("width", {"model.channels": (2, 3)}, start=BASE))
    found = [trials.next() for _ in range(4)]
    assert trials.report(found[0], 2, 0.9) == GO_ON
    assert trials.report(found[2], 2, 0.1) == GO_ON  # the first of its stage
    assert set(trials.stopping.stages) == {"lr", "width"}


@pytest.mark.parametrize("kept", [True, False])
def test_by_default_the_stage_itself_is_asked_and_what_it_stops_winds_up_first(kept):
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2, 0.3, 0.4)}), rule="behind")
    first, second, third, fourth = (trials.next() for _ in range(4))
    for trial, score in ((first, 0.9), (second, 0.91), (third, 0.1)):
        assert trials.report(trial, 2, score, earlier=(score,)) == GO_ON
    assert trials.report(first, 3, 0.9) == trials.report(second, 3, 0.9) == GO_ON
    assert trials.report(third, 3, 0.1, kept=kept) == (STOP if kept else GO_ON)
    assert told(third) == (not kept)
    assert trials.report(fourth, 3, 0.89, earlier=(0.88, 0.89)) == GO_ON
    assert trials.stopping.stages == {}


def test_a_worker_without_a_trial_is_let_be():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2)}))
    idle = SimpleNamespace(trial_id="idle", config={}, status="RUNNING")
    assert trials.stopping.on_trial_result(None, idle, nothing_to_do()) == GO_ON
    trials.stopping.on_trial_complete(None, idle, nothing_to_do())
    assert trials.stopping.stages == {}


def test_when_it_is_off_nothing_stops():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2)}), early_stopping=False)
    first, second = trials.next(), trials.next()
    assert [trials.report(first, 2, 0.9), trials.report(second, 2, 0.1)] == [GO_ON, GO_ON]
    assert trials.stopping.stages == {}


def test_a_search_is_asked_about_every_score_also_those_of_epochs_before():
    trials = Trials(Search("find", Space({"training.lr": Choice((0.1, 0.2, 0.3, 0.4))}), trials=4, sampler="random"))
    asked = []
    trials.agenda.goes_on = lambda key, epoch, score: asked.append((key, epoch, score)) or epoch < 3
    trial = trials.next()
    key = trial.config["order"].key
    assert trials.report(trial, 2, 0.6, earlier=(0.5,)) == GO_ON
    assert trials.report(trial, 3, 0.7) == STOP
    assert asked == [(key, 1, 0.5), (key, 2, 0.6), (key, 3, 0.7)]


@pytest.mark.parametrize("rule", ["asha", "behind"])
def test_once_closed_every_trial_stops_with_its_epoch_whoever_decides(rule):
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2)}), rule=rule)
    first, second = trials.next(), trials.next()
    assert trials.report(first, 1, 0.5) == GO_ON
    trials.agenda.close()
    assert trials.report(second, 1, 0.5) == STOP
    assert trials.report(first, 2, 0.5, kept=False) == GO_ON  # its snapshot is to come
    assert told(first) == 1


def test_a_worker_that_is_kept_for_the_next_trial_is_let_go_where_others_want_its_place():
    ended = []
    tune_s = SimpleNamespace(get_trials=list, _cleanup_cached_actors=lambda force_all: ended.append(force_all))
    agenda = Trials(Stage("lr", {"training.lr": (0.1, 0.2)})).agenda
    EarlyStopping(agenda).choose_trial_to_run(tune_s)
    assert ended == []
    EarlyStopping(agenda, lambda: True).choose_trial_to_run(tune_s)
    assert ended == [True]


def test_tune_has_what_that_needs():
    assert inspect.signature(TuneController._cleanup_cached_actors).parameters.keys() == {"self", "force_all"}
