from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from sweeps.decisions.agenda import Agenda
from sweeps.execution.early_stopping import EarlyStopping, grace_period
from sweeps.execution.messages import NewRecords, Progress, nothing_to_do
from sweeps.execution.orders import order
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import record, terms
from trainables.config import CNN, Training, Trial

BASE = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=8))
GO_ON, STOP = TrialScheduler.CONTINUE, TrialScheduler.STOP


class Trials:
    """A stage's trials as Tune shows them to its scheduler."""

    def __init__(self, *stages, early_stopping=True):
        self.agenda = Agenda(Study("s", BASE, stages), terms(early_stopping=early_stopping), lambda _: None)
        self.stopping = EarlyStopping(self.agenda)

    def next(self):
        made = order(self.agenda.next(), "cpu", {})
        trial = SimpleNamespace(trial_id=made.key, config={}, status="RUNNING", runtime_metadata=None)
        self.stopping.on_trial_add(None, trial)  # it is nobody's yet
        made.put_into(trial.config)
        self.stopping.begin(trial)
        return trial

    def report(self, trial, epoch, score, earlier=()):
        news = Progress(epoch, score, False, earlier, {0: NewRecords(epoch - 1, (record(score),))})
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


def test_each_stage_has_rungs_of_its_own():
    trials = Trials(Stage("lr", {"training.lr": (0.1, 0.2)}), Stage("width", {"model.channels": (2, 3)}, start=BASE))
    found = [trials.next() for _ in range(4)]
    assert trials.report(found[0], 2, 0.9) == GO_ON
    assert trials.report(found[2], 2, 0.1) == GO_ON  # the first of its stage
    assert set(trials.stopping.stages) == {"lr", "width"}


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
    assert trials.report(trial, 2, 0.6, earlier=(0.5,)) == GO_ON
    assert trials.report(trial, 3, 0.7) == STOP
    assert asked == [(trial.trial_id, 1, 0.5), (trial.trial_id, 2, 0.6), (trial.trial_id, 3, 0.7)]
