"""What comes of the acts that are asked for while trials run; without Ray, MLflow and training."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sweeps.decisions.acts import Act, Steered
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.execution.bound import Bound
from sweeps.execution.dispatcher import Dispatcher
from sweeps.execution.messages import NewRecords, Progress
from sweeps.execution.steering import Steering
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.study import Stage, Study
from tests.sweeps.decisions.cluster import search
from tests.sweeps.outcomes import record, terms
from trainables.config import CNN, Training, Trial
from trainables.footprint import Images

BASE = Trial(model=CNN(conv_layers=1), training=Training(epochs=8))
GRID = Study("s", BASE, (Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}),))
SEARCH = Study("s", BASE, (search(4),))


class Notes:
    """Stands for the Tracker's actor and for the display: notes the calls."""

    def __init__(self):
        self.calls = []
        self.finish = SimpleNamespace(remote=lambda *arguments: self.calls.append(("finish", *arguments)))

    def __getattr__(self, name):
        return lambda *arguments, **_: self.calls.append((name, *arguments))


class Rudder:
    """Stands for the helm."""

    def __init__(self):
        self.waiting, self.answers, self.taken = [], [], []

    @property
    def steered(self):
        return Steered.of(self.taken)

    def asked(self):
        waiting, self.waiting = self.waiting, []
        return waiting

    def answer(self, act, answer, effect=None):
        self.answers.append(answer)
        self.taken.append(act.answered(answer, effect))


class Scene:
    """A study under way on one worker, trained by hand, and its steering."""

    def __init__(self, study, bound=None, steered=None):
        agenda = Agenda(study, terms(early_stopping=False), lambda _: None, steered=steered)
        images = Images((3, 32, 32), 10, 100)
        self.dispatcher = Dispatcher(agenda, TrackerActor(Notes()), Notes(), {}, 0.0, images, bound=bound or Bound())
        self.steering = Steering(self.dispatcher, Rudder())
        self.agenda = agenda

    def ask(self, what, argument=""):
        """Return the answer to an act."""
        self.steering.helm.waiting.append(Act(what, argument, "maria", time=0.0))
        self.steering.heed()
        return self.steering.helm.answers[-1]

    @property
    def effect(self):
        return self.steering.helm.taken[-1].effect

    def begin(self):
        """Start the next trial; return its key."""
        order = self.dispatcher.next(self.dispatcher.place([]))
        actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: order.key))
        self.dispatcher.started(order.key, actor)
        return order.key

    def train(self, key, epochs, score=0.5):
        """Train a trial up to so many epochs, and end it where it does not go on; return whether it does."""
        for epoch in range(len(self.dispatcher.histories.of(key).records.get(0, ())) + 1, epochs + 1):
            new = NewRecords(epoch - 1, (record(score),))
            self.dispatcher.progressed(key, Progress(epoch, score, True, (), {0: new}))
            if not self.agenda.goes_on(key, epoch, score) or epoch == 8:
                self.dispatcher.ended(key, None)
                return False
        return True

    def status(self, key):
        return self.agenda.outcomes[key].status if key in self.agenda.outcomes else None


def name(scene, key):
    return scene.agenda.tasks[key].name


def test_stop_has_what_is_under_way_end_with_its_epoch_and_gives_nothing_more_out():
    scene = Scene(GRID)
    key = scene.begin()
    assert scene.ask("stop") == "1 trial under way ends with its epoch; the same command goes on from there"
    assert scene.dispatcher.place([]) is None
    assert not scene.train(key, 1)
    assert (scene.agenda.at_rest, scene.agenda.over, scene.steering.again) == (True, False, False)
    act, answer = scene.steering.helm.taken[0], scene.steering.helm.answers[0]
    assert ("steered", replace(act, answer=None, effect=None), answer) in scene.dispatcher.display.calls
    assert scene.ask("stop") == "not done: it ends already"


def test_a_pause_frees_all_places_and_the_same_trials_go_on_first_and_from_where_they_were():
    scene = Scene(GRID)
    key = scene.begin()
    assert scene.train(key, 2)
    assert scene.ask("pause") == "1 trial under way ends with its epoch; `resume` has it go on"
    assert not scene.train(key, 3)
    assert scene.agenda.at_rest
    assert scene.ask("pause") == "not done: it is paused already"
    assert scene.ask("resume") == "it goes on"
    assert not scene.agenda.at_rest
    assert scene.begin() == key
    assert scene.dispatcher.histories.of(key).epochs == 3
    assert not scene.train(key, 8)
    assert scene.status(key) == Status.DONE
    assert scene.ask("resume") == "not done: it is not paused"


def test_a_pause_that_is_over_before_the_epoch_is_costs_nothing():
    scene = Scene(GRID)
    key = scene.begin()
    scene.ask("pause")
    assert not scene.agenda.goes_on(key, 1, 0.5)
    scene.ask("resume")
    scene.dispatcher.ended(key, None)
    assert scene.begin() == key


def test_while_it_is_paused_it_waits_for_acts_and_for_its_bound(monkeypatch):
    scene = Scene(GRID)
    scene.ask("pause")
    monkeypatch.setattr("time.sleep", lambda _: scene.steering.helm.waiting.append(Act("resume", "", "maria")))
    scene.steering.wait()
    assert not scene.steering.paused
    limited = Scene(GRID, Bound(seconds=1e-9))
    limited.ask("pause")
    limited.steering.wait()
    assert limited.agenda.at_rest


def test_a_trial_that_has_not_begun_is_dropped_at_once_and_never_given_out():
    scene = Scene(GRID)
    scene.begin()
    task = scene.agenda.ledger.queue[0]
    assert scene.ask("drop", task.name) == f"{task.name} is dropped"
    assert scene.effect == {"dropped": task.key}
    assert scene.status(task.key) == Status.DROPPED
    assert scene.agenda.outcomes[task.key].reason == "maria, 1970-01-01 00:00 UTC"
    assert scene.begin() != task.key
    assert scene.ask("drop", task.name) == f"not done: {task.name} is dropped already"


def test_a_trial_under_way_is_dropped_after_its_epoch_by_the_beginning_of_its_key():
    scene = Scene(GRID)
    key = scene.begin()
    assert scene.train(key, 1)
    assert scene.ask("drop", key[:6]) == f"{name(scene, key)} is dropped, and ends with its epoch"
    assert not scene.train(key, 2)
    assert (scene.status(key), scene.agenda.outcomes[key].history.epochs) == (Status.DROPPED, 2)
    called, *rest = scene.dispatcher.tracker.handle.calls[-1]
    assert (called, rest[:3]) == ("finish", [key, Status.DROPPED, "maria, 1970-01-01 00:00 UTC"])


def test_a_stage_is_decided_without_those_dropped_and_they_are_not_ranked():
    scene = Scene(GRID)
    best, *others = (scene.begin() for _ in range(3))
    assert scene.train(best, 1, 0.9)
    scene.ask("drop", name(scene, best))
    scene.train(best, 2, 0.9)
    for key in others:
        scene.train(key, 8)
    [result] = scene.agenda.results
    assert result.winner.outcome.key in others
    assert best not in {outcome.key for outcome in result.winner.contest.compared}
    assert not scene.agenda.failed


def test_what_has_ended_is_not_dropped():
    scene = Scene(GRID)
    key = scene.begin()
    scene.train(key, 8)
    assert scene.ask("drop", name(scene, key)) == f"not done: {name(scene, key)} has ended already"


def test_a_name_that_is_none_is_answered_with_the_nearest():
    scene = Scene(GRID)
    assert scene.ask("drop", "lr: 0.4") == "not done: there is no trial 'lr: 0.4'; did you mean 'lr: 0.3'?"
    assert scene.ask("drop", "abc").startswith("not done: there is no trial 'abc'")


def test_the_next_command_drops_them_too():
    first = Scene(GRID)
    task = first.agenda.ledger.queue[0]
    again = Scene(GRID, steered=Steered(dropped={task.key: "maria"}))
    assert task.key not in {each.key for each in again.agenda.ledger.queue}
    assert (again.status(task.key), again.agenda.outcomes[task.key].reason) == (Status.DROPPED, "maria")


@pytest.mark.parametrize(
    ("what", "argument", "answer", "effect"),
    [
        ("seeds", "3", "each trial has 3 seeds", {"seeds": 3}),
        ("epochs", "12", "each trial has 12 epochs", {"epochs": 12}),
        ("add", "8", "find has 12 trials", {"trials": 12}),
    ],
)
def test_another_plan_closes_the_agenda_for_the_command_to_begin_again(what, argument, answer, effect):
    scene = Scene(SEARCH)
    key = scene.begin()
    said = f"{answer}; 1 trial under way ends with its epoch, and then it begins again with that"
    assert (scene.ask(what, argument), scene.effect) == (said, effect)
    assert not scene.train(key, 1)
    assert (scene.agenda.at_rest, scene.steering.again) == (True, True)
    assert scene.ask("pause") == "not done: it ends, or begins again, already"


def test_one_that_comes_during_a_pause_waits_for_its_end_and_after_a_stop_for_the_next_command():
    scene = Scene(GRID)
    scene.ask("pause")
    assert scene.ask("seeds", "2") == "each trial has 2 seeds when it goes on"
    assert scene.ask("resume") == "it begins again, as was asked meanwhile"
    assert (scene.agenda.at_rest, scene.steering.again) == (True, True)
    stopped = Scene(GRID)
    stopped.ask("stop")
    assert stopped.ask("seeds", "2") == "each trial has 2 seeds when it goes on"
    assert not stopped.steering.again
    both = Scene(GRID)
    both.ask("seeds", "2")
    both.ask("stop")
    assert not both.steering.again


@pytest.mark.parametrize(
    ("what", "argument", "why"),
    [
        ("seeds", "1", "seeds is 1, but must be above 1, which each trial has"),
        ("epochs", "8", "epochs is 8, but must be above 8, which each trial has"),
        ("add", "8", "no search is under way or to come"),
        ("first", "lr=0.1", "no search is under way"),
    ],
)
def test_what_changes_nothing_or_cannot_be_is_refused(what, argument, why):
    scene = Scene(GRID)
    assert scene.ask(what, argument) == f"not done: {why}"
    assert (scene.effect, scene.agenda.ledger.closed, scene.steering.again) == (None, False, False)


def test_a_number_is_held_against_what_was_asked_for_before():
    scene = Scene(GRID)
    scene.ask("seeds", "3")
    assert scene.ask("seeds", "2") == "not done: seeds is 2, but must be above 3, which each trial has"


def test_epochs_stay_where_the_schedule_counts_on_them():
    cosine = GRID.changed({"training.schedule": "cosine"})
    answer = Scene(cosine).ask("epochs", "12")
    assert answer == "not done: the cosine schedule counts on 8: `--epochs 12` trains everything anew"


def test_a_point_that_is_asked_for_is_drawn_next_and_is_otherwise_as_the_best_so_far():
    scene = Scene(SEARCH)
    keys = [scene.begin() for _ in range(2)]
    for key, score in zip(keys, (0.4, 0.6), strict=True):
        scene.train(key, 1, score)
    best = scene.agenda.tasks[keys[1]].drawn.values
    assert scene.ask("first", "lr=0.05 batch_size=16") == "find draws that next"
    assert scene.effect == {"stage": "find", "values": {**best, "training.lr": 0.05, "training.batch_size": 16}}
    orders = [scene.begin() for _ in range(2)]
    drawn = [scene.agenda.tasks[key].drawn for key in orders]
    assert scene.effect["values"] in [each.values for each in drawn if each.number == 2]
    again = scene.ask("first", "lr=0.05 batch_size=16")
    assert re.match(r"not done: (find cannot draw that: the same network|all 4 trials of find are drawn)", again)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ("lr=5", "training.lr is 5, but must be 0.001..0.1"),
        ("depth=2", "the search space has no field 'depth'"),
        ("conv_layers=9", "model.conv_layers is 9, but must be 1..4"),
    ],
)
def test_a_point_outside_the_space_is_refused(values, why):
    scene = Scene(SEARCH)
    scene.train(scene.begin(), 1)
    assert why in scene.ask("first", values)


def test_a_search_s_trial_that_waits_to_run_on_is_dropped_and_neither_runs_on_nor_is_confirmed():
    scene = Scene(Study("s", BASE, (search(4, rule="none"),)))
    keys = [scene.begin() for _ in range(4)]
    for key, score in zip(keys[:3], (0.9, 0.6, 0.5), strict=True):
        scene.train(key, 8, score)
    assert scene.ask("drop", name(scene, keys[0])) == f"{name(scene, keys[0])} is dropped"
    scene.train(keys[3], 8, 0.4)
    confirmed = {scene.begin(), scene.begin()}
    assert confirmed == {keys[1], keys[2]}
    assert scene.agenda.ready() == 0


def test_one_that_waits_to_be_confirmed_is_dropped_before_it_begins():
    scene = Scene(Study("s", BASE, (search(4, rule="none"),)))
    keys = [scene.begin() for _ in range(4)]
    for key, score in zip(keys, (0.9, 0.6, 0.5, 0.4), strict=True):
        scene.train(key, 8, score)
    assert scene.agenda.ready() == 2  # the best two
    scene.ask("drop", name(scene, keys[0]))
    assert scene.begin() == keys[1]
    again = Scene(Study("s", BASE, (search(4, rule="none"),)), steered=Steered(dropped={keys[0]: "maria"}))
    drawn = [again.begin() for _ in range(4)]
    assert drawn == keys  # it is drawn as before, and ends with its first epoch
    assert not again.train(keys[0], 1, 0.9)
    assert again.status(keys[0]) == Status.DROPPED


def test_a_search_that_goes_on_remembers_whom_somebody_dropped():
    study = Study("s", BASE, (search(4, rule="none", confirm=1, seeds=1),))
    scene = Scene(study)
    keys = [scene.begin() for _ in range(4)]
    for key, score in zip(keys, (0.9, 0.6, 0.5, 0.4), strict=True):
        scene.train(key, 8, score)
    tasks = scene.agenda.tasks
    known = {key: Known(Status.DONE, scene.dispatcher.histories.of(key), "run") for key in keys}
    drawn = {"find": [tasks[key].drawn for key in keys]}
    again = Agenda(
        study, terms(early_stopping=False), lambda _: None, known, drawn, steered=Steered(dropped={keys[0]: "jo"})
    )
    assert again.next().key == keys[1]
