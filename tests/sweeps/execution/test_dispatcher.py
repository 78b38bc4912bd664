"""What the dispatcher makes of trials that train, end, hang, die or find no room on a GPU; without Ray and GPU."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import ray

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.others import Other
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.execution.bound import Bound
from sweeps.execution.dispatcher import RESTARTS, Dispatcher
from sweeps.execution.messages import Failure, NewRecords, Place, Progress
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.study import Choice, Search, Space, Stage, Study
from tests.sweeps.outcomes import history, record, terms
from trainables.config import CNN, Training, Trial
from trainables.footprint import Images
from trainables.marks import Marks, Right

STUDY = Study(
    "s", Trial(model=CNN(conv_layers=1), training=Training(epochs=2)), (Stage("lr", {"training.lr": (0.1, 0.2)}),)
)
SHARED = Place(0.25)
NO_ROOM = Failure("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "Traceback", out_of_memory=True)

SCORES = {  # of epochs with 0.5 and 0.6 on validation, as MLflow gets them
    "best_val_accuracy": 0.6,
    "best_test_accuracy": 0.5,
    "chosen_val_accuracy": 0.6,
    "chosen_test_accuracy": 0.5,
    "best_test_epoch": 1,
    "chosen_epoch": 2,
}


class Notes:
    """Stands for the Tracker's actor and for the display: notes the calls."""

    def __init__(self):
        self.calls = []
        self.finish, self.copy = self._remote("finish"), self._remote("copy")

    def _remote(self, name):
        return SimpleNamespace(remote=lambda *arguments: self.calls.append((name, *arguments)))

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
def dispatcher():
    agenda = Agenda(STUDY, terms(images=100, early_stopping=False), lambda _: None)
    return Dispatcher(
        agenda, TrackerActor(Notes()), Notes(), {"study": "s"}, gpu=0.25, images=Images((3, 32, 32), 10, 100)
    )


def handle(actor):
    return SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: actor))


def begin(dispatcher, actor="a1"):
    """Start the next trial; return its order."""
    order = dispatcher.next(dispatcher.place([]))
    dispatcher.started(order.key, handle(actor))
    return order


def train(dispatcher, order, *scores):
    for number, score in enumerate(scores, start=1):
        new = NewRecords(number - 1, (record(score),))
        dispatcher.progressed(order.key, Progress(number, score, number == 2, (), {0: new}))


def test_a_trial_from_its_order_to_its_outcome(dispatcher):
    order = begin(dispatcher)
    train(dispatcher, order, 0.5, 0.6)
    dispatcher.ended(order.key, None)
    outcome = dispatcher.agenda.outcomes[order.key]
    assert (outcome.status, outcome.history) == (Status.DONE, history([0.5, 0.6]))
    assert dispatcher.tracker.handle.calls == [("finish", order.key, Status.DONE, None, None, SCORES)]
    task = dispatcher.agenda.tasks[order.key]
    assert dispatcher.display.calls == [
        ("started", task),
        ("progressed", task, 1, record(0.5), None),
        ("progressed", task, 2, record(0.6), None),
        ("ended", task, outcome),
    ]


def test_the_study_goes_on_as_trials_end_and_is_over_at_last(dispatcher):
    for _ in range(2):
        order = begin(dispatcher)
        train(dispatcher, order, 0.5, 0.6)
        dispatcher.ended(order.key, None)
    assert dispatcher.agenda.over
    assert dispatcher.place([]) is None
    assert dispatcher.next(SHARED) is None


def judging(study):
    agenda = Agenda(study, terms(), lambda _: None)
    return Dispatcher(
        agenda, TrackerActor(Notes()), Notes(), {"study": "s"}, gpu=0.0, images=Images((3, 32, 32), 10, 100)
    )


ROWS = Study(
    "s", Trial(model=CNN(conv_layers=1), training=Training(epochs=8)), (Stage("lr", {"training.lr": (0.1, 0.2, 0.3)}),)
)


def reach(dispatcher, order, scores, after=0):
    """Report epochs; end the trial where it is not to go on, or is done."""
    for number, score in enumerate(scores, start=after + 1):
        new = NewRecords(number - 1, (record(score),))
        dispatcher.progressed(order.key, Progress(number, score, number == 8, (), {0: new}))
        if number == 8 or not dispatcher.agenda.goes_on(order.key, number, score):
            dispatcher.ended(order.key, None)
            break


def test_a_trial_that_waits_has_not_ended_and_goes_on_where_it_was():
    dispatcher = judging(ROWS)
    first = begin(dispatcher)
    reach(dispatcher, first, [0.8] * 3)
    assert dispatcher.watchdog.under_way() == []
    assert dispatcher.agenda.outcomes == {}
    assert dispatcher.tracker.handle.calls == []
    assert dispatcher.display.calls[-1] == ("laid_aside", dispatcher.agenda.tasks[first.key])
    second = begin(dispatcher)
    reach(dispatcher, second, [0.7] * 3)
    third = begin(dispatcher)
    assert begin(dispatcher).key == first.key
    reach(dispatcher, first, [0.8] * 3, after=3)
    assert begin(dispatcher).key == second.key
    reach(dispatcher, second, [0.7] * 3, after=3)
    assert begin(dispatcher).key == first.key
    reach(dispatcher, first, [0.8] * 2, after=6)
    assert dispatcher.agenda.outcomes[first.key].history == history([0.8] * 8)
    dispatcher.interrupted()
    ended = [call[1:3] for call in dispatcher.tracker.handle.calls]
    assert ended[0] == (first.key, Status.DONE)
    assert set(ended[1:]) == {(second.key, Status.INTERRUPTED), (third.key, Status.INTERRUPTED)}


def test_a_trial_that_waits_ends_once_two_others_are_ahead():
    dispatcher = judging(ROWS)
    first = begin(dispatcher)
    reach(dispatcher, first, [0.3] * 3)
    second, third = begin(dispatcher), begin(dispatcher)
    for order in (second, third):
        reach(dispatcher, order, [0.8] * 3)
    assert dispatcher.next(Place(0.0)) is None
    outcome = dispatcher.agenda.outcomes[first.key]
    assert (outcome.status, outcome.history) == (Status.CENSORED, history([0.3] * 3))
    assert dispatcher.tracker.handle.calls == [("finish", first.key, Status.CENSORED, None, None, {})]
    assert dispatcher.display.calls[-1] == ("ended", dispatcher.agenda.tasks[first.key], outcome)
    for order in (second, third):
        reach(dispatcher, order, [0.8] * 5, after=3)
    assert dispatcher.agenda.over
    assert dispatcher.place([]) is None


def test_the_last_trial_that_waits_may_end_the_stage():
    dispatcher = judging(ROWS)
    first = begin(dispatcher)
    reach(dispatcher, first, [0.3] * 3)
    second, third = begin(dispatcher), begin(dispatcher)
    reach(dispatcher, second, [0.8] * 5)
    reach(dispatcher, third, [0.8] * 8)  # at the sixth epoch it would wait for the first
    assert dispatcher.agenda.waits(third.key)
    assert dispatcher.agenda.outcomes.keys() == {first.key}
    assert begin(dispatcher).key == third.key
    reach(dispatcher, third, [0.8] * 2, after=6)
    reach(dispatcher, second, [0.8] * 3, after=5)
    assert dispatcher.agenda.over


def test_a_failure_is_kept_with_its_traceback(dispatcher):
    order = begin(dispatcher)
    dispatcher.ended(order.key, Failure("Diverged: nan", "Traceback …", out_of_memory=False))
    assert [outcome.reason for outcome in dispatcher.agenda.failed] == ["Diverged: nan"]
    files = {"error.txt": "Traceback …".encode()}
    assert dispatcher.tracker.handle.calls == [("finish", order.key, Status.FAILED, "Diverged: nan", files, {})]


def test_what_workers_have_to_say_is_said_once(dispatcher):
    order = begin(dispatcher)
    for number, notes in ((1, ("slow", "odd")), (2, ("slow",))):
        new = NewRecords(number - 1, (record(0.5),))
        dispatcher.progressed(order.key, Progress(number, 0.5, number == 2, (), {0: new}, notes=notes))
    task = dispatcher.agenda.tasks[order.key]
    assert [call for call in dispatcher.display.calls if call[0] == "noted"] == [
        ("noted", task, "slow"),
        ("noted", task, "odd"),
    ]


def test_a_trial_that_finds_no_room_runs_once_more_with_a_gpu_to_itself_and_then_fails(dispatcher):
    assert dispatcher.place([]) == SHARED
    order = begin(dispatcher)
    assert order.device == "cuda"
    dispatcher.ended(order.key, NO_ROOM)
    assert dispatcher.place([]) == Place(1.0, alone=True)
    again = begin(dispatcher)
    assert again.key == order.key
    assert again.trial == order.trial  # the same batch
    dispatcher.ended(order.key, NO_ROOM)
    [outcome] = dispatcher.agenda.failed
    assert outcome.reason == (
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.; it was estimated to take 1.1 GB at most"
    )
    assert outcome.restarts == ("it ran out of GPU memory beside others",)
    assert dispatcher.place([]) == SHARED  # for the other trial


def test_as_many_places_are_asked_for_as_trials_are_ready(dispatcher):
    assert dispatcher.place([SHARED]) == SHARED
    assert dispatcher.place([SHARED, SHARED]) is None
    key = dispatcher.next(SHARED).key
    assert dispatcher.place([SHARED]) is None
    dispatcher.agenda.put_back(key, alone=True)
    assert dispatcher.place([SHARED]) == Place(1.0, alone=True)
    assert dispatcher.place([SHARED, Place(1.0, alone=True)]) is None
    assert dispatcher.next(SHARED).key != key
    assert dispatcher.next(Place(1.0, alone=True)).key == key


@pytest.mark.parametrize("gpu", [0.0, 1.0])
def test_on_the_cpu_or_with_whole_gpus_there_is_no_more_room_to_be_had(gpu, dispatcher):
    dispatcher.gpu = gpu
    dispatcher.ended(begin(dispatcher).key, NO_ROOM)
    assert len(dispatcher.agenda.failed) == 1


def test_a_lost_process_is_a_restart_and_one_too_many_is_a_failure(dispatcher):
    order = begin(dispatcher)
    for often in range(1, RESTARTS + 1):
        dispatcher.lost(order.key)
        assert dispatcher.display.calls[-1][2:] == ("its process was lost", often, RESTARTS)
        assert dispatcher.watchdog.under_way() == []
        dispatcher.started(order.key, handle("b2"))
    dispatcher.given_up(order.key)
    assert [outcome.reason for outcome in dispatcher.agenda.failed] == ["its process was lost, again after 2 restarts"]


def test_a_worker_that_gave_itself_up_said_why(dispatcher):
    order = begin(dispatcher)
    fault = Failure("AcceleratorError: CUDA error: device-side assert triggered", "Traceback …", out_of_memory=False)
    dispatcher.lost(order.key, fault)
    dispatcher.started(order.key, handle("b2"))
    dispatcher.lost(order.key)  # for another reason, or none
    assert dispatcher.agenda.restarts[order.key] == [fault.reason, "its process was lost"]
    dispatcher.started(order.key, handle("c3"))
    dispatcher.given_up(order.key, fault)
    reason = "AcceleratorError: CUDA error: device-side assert triggered, again after 2 restarts"
    assert [outcome.reason for outcome in dispatcher.agenda.failed] == [reason]
    files = {"error.txt": "Traceback …".encode()}
    assert dispatcher.tracker.handle.calls == [("finish", order.key, Status.FAILED, reason, files, {})]


def test_a_hung_trial_s_loss_has_the_watchdog_s_reason(dispatcher):
    order = begin(dispatcher)
    dispatcher.watchdog.blame(order.key, "it hung: 15 s without an epoch")
    dispatcher.lost(order.key)
    assert dispatcher.agenda.restarts[order.key] == ["it hung: 15 s without an epoch"]


def test_what_was_to_start_again_when_tunes_run_broke_is_given_out_again(dispatcher):
    key = begin(dispatcher).key
    dispatcher.lost(key)
    dispatcher.crashed(ray.exceptions.OutOfMemoryError("killed: actor x"))
    assert dispatcher.next(SHARED).key == key
    assert dispatcher.agenda.restarts[key] == ["its process was lost"]


def test_what_ray_ends_with_one_trial_is_put_back_and_only_the_one_is_charged_with_it(dispatcher):
    first, second = begin(dispatcher, "a1").key, begin(dispatcher, "b2").key
    for often in range(RESTARTS):
        dispatcher.crashed(ray.exceptions.OutOfMemoryError("killed: actor b2"))
        assert len(dispatcher.agenda.restarts[second]) == often + 1
        again = {dispatcher.next(SHARED).key, dispatcher.next(SHARED).key}
        assert again == {first, second}
        dispatcher.started(first, handle("a1"))
        dispatcher.started(second, handle("b2"))
    dispatcher.crashed(ray.exceptions.OutOfMemoryError("killed: actor b2"))
    assert first not in dispatcher.agenda.restarts
    assert [(outcome.key, outcome.reason) for outcome in dispatcher.agenda.failed] == [
        (second, "its process was killed (OutOfMemoryError), again after 2 restarts")
    ]


def test_an_error_that_names_no_trial_is_charged_to_all(dispatcher):
    keys = {begin(dispatcher, "a1").key, begin(dispatcher, "b2").key}
    dispatcher.crashed(ray.exceptions.OutOfMemoryError("killed"))
    assert dispatcher.agenda.restarts.keys() == keys


def test_what_was_under_way_at_the_end_is_interrupted(dispatcher):
    done, under_way = begin(dispatcher), begin(dispatcher, "b2")
    train(dispatcher, done, 0.5, 0.6)
    dispatcher.ended(done.key, None)
    dispatcher.tracker.handle.calls.clear()
    dispatcher.interrupted()
    assert dispatcher.tracker.handle.calls == [("finish", under_way.key, Status.INTERRUPTED)]


def replicated():
    """Return a dispatcher of a study with three seeds on the CPU, whose desk closes nothing."""
    agenda = Agenda(STUDY, terms(seeds=(0, 1, 2), images=100, early_stopping=False), lambda _: None)
    made = Dispatcher(agenda, TrackerActor(Notes()), Notes(), {}, gpu=0.0, images=Images((3, 32, 32), 10, 100))
    made.helpers._start = lambda: SimpleNamespace(close=lambda *_: None)
    return made


def lead(dispatcher, actor, seconds=60.0):
    """Start the next trial on a worker, and report its first epoch; return its key, and the jobs it was told of."""
    jobs = []
    order = dispatcher.next(Place(0.0))
    dispatcher.started(order.key, SimpleNamespace(**vars(handle(actor)), join=SimpleNamespace(remote=jobs.append)))
    new = NewRecords(0, (replace(record(0.5), seconds=seconds),))
    dispatcher.progressed(order.key, Progress(1, 0.5, False, (), dict.fromkeys((0, 1, 2), new)))
    return order.key, jobs


def test_a_worker_with_nothing_to_run_helps_with_the_longest_trial():
    dispatcher = replicated()
    cpu = Place(0.0)
    _, short = lead(dispatcher, "a1", seconds=4.0)
    assert dispatcher.place([cpu]) == cpu  # one for the other trial, and one to help
    key, long = lead(dispatcher, "b2")
    assert dispatcher.place([]) == cpu
    assert dispatcher.place([cpu]) is None  # one at a time
    job = dispatcher.next(cpu)
    assert (short, long) == ([], [job])
    dispatcher.helps(job, handle("c3"))
    assert set(dispatcher.watchdog.under_way()) == {*dispatcher.agenda.tasks, job.name}
    dispatcher.ended(key, None)
    dispatcher.helped(job)
    assert job.name not in dispatcher.watchdog.under_way()
    assert not dispatcher.agenda.restarts


def test_a_trial_s_epoch_is_a_sign_of_life_of_those_that_help(monkeypatch):
    dispatcher = replicated()
    lead(dispatcher, "a1", seconds=3.0)
    key, _ = lead(dispatcher, "b2")
    job = dispatcher.next(Place(0.0))
    dispatcher.helps(job, handle("c3"))
    signs = []
    monkeypatch.setattr(dispatcher.watchdog, "note_epoch", signs.append)
    new = NewRecords(1, (record(0.5),))
    dispatcher.progressed(key, Progress(2, 0.5, True, (), dict.fromkeys((0, 1, 2), new)))
    assert signs == [key, job.name]


def test_a_lost_helper_is_a_restart_of_its_trial_which_goes_on_alone():
    dispatcher = replicated()
    lead(dispatcher, "a1", seconds=3.0)
    key, _ = lead(dispatcher, "b2")
    job = dispatcher.next(Place(0.0))
    dispatcher.helps(job, handle("c3"))
    dispatcher.watchdog.blame(job.name, "it hung: 15 s without an epoch")
    dispatcher.helped(job)
    assert dispatcher.agenda.restarts == {key: ["of a worker that helped, it hung: 15 s without an epoch"]}
    assert dispatcher.place([]) is None
    assert dispatcher.next(Place(0.0)) is None
    assert set(dispatcher.watchdog.under_way()) == set(dispatcher.agenda.tasks)


def test_where_tunes_run_broke_helpers_are_forgotten():
    dispatcher = replicated()
    lead(dispatcher, "a1", seconds=3.0)
    lead(dispatcher, "b2")
    job = dispatcher.next(Place(0.0))
    dispatcher.helps(job, handle("c3"))
    dispatcher.crashed(ray.exceptions.OutOfMemoryError("killed: actor c3"))
    assert dispatcher.watchdog.under_way() == []
    assert {dispatcher.next(Place(0.0)).key for _ in range(2)} == set(dispatcher.agenda.tasks)
    assert not dispatcher.agenda.restarts
    assert dispatcher.next(Place(0.0)) is None


def test_on_a_gpu_nobody_helps():
    agenda = Agenda(STUDY, terms(seeds=(0, 1, 2), images=100, early_stopping=False), lambda _: None)
    dispatcher = Dispatcher(agenda, TrackerActor(Notes()), Notes(), {}, gpu=0.25, images=Images((3, 32, 32), 10, 100))
    for actor in ("a1", "b2"):
        order = begin(dispatcher, actor)
        new = NewRecords(0, (replace(record(0.5), seconds=60.0),))
        dispatcher.progressed(order.key, Progress(1, 0.5, False, (), dict.fromkeys((0, 1, 2), new)))
    assert dispatcher.place([]) is None
    assert dispatcher.next(SHARED) is None


def test_a_place_has_the_cores_that_its_trial_has_threads_or_as_many_as_there_are():
    base = STUDY.baseline.with_values({"training.threads": 3})
    study = Study("s", base, (Stage("threads", {"training.threads": (2, 8)}),))
    agenda = Agenda(study, terms(early_stopping=False), lambda _: None)
    ahead = [task.cell.trial.training.threads for task in agenda.ledger.queue]
    made = Dispatcher(agenda, TrackerActor(Notes()), Notes(), {}, gpu=0.0, images=Images((3, 32, 32), 10, 100), cores=6)
    first = made.place([])
    second = made.place([first])
    assert [first, second] == [Place(0.0, cores=min(6, number)) for number in ahead]
    assert made.place([first, second]) is None
    made.gpu = 0.5
    assert made.place([]) == Place(0.5)
    made.gpu = 0.0
    made.helpers.wanted = lambda: True
    assert made.place([first, second]) == Place(0.0, cores=3)  # as the baseline: whom it will help is not known yet


def test_at_its_bound_it_gives_nothing_more_out_and_what_is_under_way_waits_for_another_command():
    dispatcher = judging(ROWS)
    dispatcher.bound = Bound(epochs=4)
    first, second = begin(dispatcher), begin(dispatcher)
    reach(dispatcher, first, [0.5])
    dispatcher.close_at_bound()  # one epoch is trained, and two are under way
    reach(dispatcher, second, [0.5])
    assert "closed" not in [call[0] for call in dispatcher.display.calls]
    for _ in range(2):
        dispatcher.close_at_bound()
    assert dispatcher.display.calls[-1] == ("closed", "the budget (4 epochs) is spent")
    assert [call[0] for call in dispatcher.display.calls].count("closed") == 1
    assert (dispatcher.place([]), dispatcher.next(Place(0.0)), dispatcher.agenda.at_rest) == (None, None, False)
    reach(dispatcher, first, [0.5], after=1)
    assert dispatcher.agenda.goes_on(first.key, 2, 0.5) is False  # as it was reported again
    reach(dispatcher, second, [0.5], after=1)
    assert dispatcher.bound.trained == 4
    assert dispatcher.agenda.at_rest
    assert not dispatcher.agenda.over
    waiting = {key: each.history.epochs for key, each in dispatcher.agenda.ledger.waiting.items()}
    assert waiting == {first.key: 2, second.key: 2}
    dispatcher.interrupted()
    ended = {call[1:3] for call in dispatcher.tracker.handle.calls}
    assert ended == {(first.key, Status.INTERRUPTED), (second.key, Status.INTERRUPTED)}


def test_a_trial_whose_last_epoch_is_under_way_at_the_bound_ends_as_always(dispatcher):
    order = begin(dispatcher)
    train(dispatcher, order, 0.5)
    dispatcher.bound = Bound(epochs=1)
    dispatcher.close_at_bound()
    assert dispatcher.agenda.goes_on(order.key, 2, 0.6)
    train(dispatcher, order, 0.5, 0.6)
    dispatcher.ended(order.key, None)
    assert dispatcher.agenda.outcomes[order.key].status == Status.DONE
    assert dispatcher.agenda.at_rest


def test_a_trial_that_is_lost_at_the_bound_is_under_way_until_it_is_put_back(dispatcher):
    order = begin(dispatcher)
    dispatcher.agenda.close()
    dispatcher.lost(order.key)
    assert not dispatcher.agenda.at_rest
    dispatcher.agenda.put_back(order.key)
    assert dispatcher.agenda.at_rest
    assert dispatcher.agenda.next() is None


def test_a_score_that_is_surely_above_the_one_wanted_is_enough():
    agenda = Agenda(STUDY, terms((0, 1), images=100, early_stopping=False), lambda _: None)
    dispatcher = Dispatcher(agenda, TrackerActor(Notes()), Notes(), {}, 0.25, Images((3, 32, 32), 10, 100))
    dispatcher.bound = Bound(score=0.5)
    right = [np.arange(100) < number for number in (90, 91)]
    order = begin(dispatcher)
    records = {seed: NewRecords(0, (record(0.6), record(0.9 + seed / 100))) for seed in (0, 1)}
    marks = {seed: Marks(2, Right.of(right[seed]), Right.of(right[seed])) for seed in (0, 1)}
    dispatcher.progressed(order.key, Progress(2, 0.9, True, (), records, marks=marks))
    dispatcher.close_at_bound()
    assert not agenda.ledger.closed
    dispatcher.ended(order.key, None)
    dispatcher.close_at_bound()
    assert agenda.ledger.closed
    [said] = [each[1] for each in dispatcher.display.calls if each[0] == "closed"]
    assert re.fullmatch(r"lr: 0\.1 has 90\.5 \[[78]\d\.\d, 9\d\.\d\] % on validation, above the 50 % of --until", said)


def test_of_one_seed_no_score_is_sure(dispatcher):
    dispatcher.bound = Bound(score=0.1)
    order = begin(dispatcher)
    train(dispatcher, order, 0.5, 0.6)
    dispatcher.ended(order.key, None)
    dispatcher.close_at_bound()
    assert not dispatcher.agenda.ledger.closed


def test_who_is_to_give_way_with_its_last_epoch_ends_as_always(dispatcher):
    order = begin(dispatcher)
    dispatcher.agenda.ledger.cut.add(order.key)
    train(dispatcher, order, 0.5, 0.6)
    dispatcher.ended(order.key, None)
    assert dispatcher.agenda.outcomes[order.key].status == Status.DONE


def test_what_a_search_takes_over_from_another_study_gets_a_run_of_its_own_and_no_worker():
    base, space = STUDY.baseline, Space({"training.lr": Choice((0.1, 0.2))})
    find = Search("find", space, trials=2, sampler="grid", confirm=1, rule="none")
    key = terms().key(base.with_values({"training.lr": 0.1}))
    known = Known(Status.DONE, history([0.5, 0.6]), "run 7", study="grid")
    others = [Other(key, {"training.lr": 0.1}, known)]
    agenda = Agenda(Study("s", base, (find,)), terms(images=100), lambda _: None, others=lambda *_: others)
    parents = {"find": {"parent": "run 1"}}
    dispatcher = Dispatcher(
        agenda,
        TrackerActor(Notes()),
        Notes(),
        {"study": "s"},
        gpu=0.0,
        images=Images((3, 32, 32), 10, 100),
        parents=parents,
    )
    order = begin(dispatcher)
    assert order.trial.training.lr == 0.2  # the other one
    [(call, copied, made, *rest)] = dispatcher.tracker.handle.calls
    assert (call, copied, rest) == ("copy", key, [Status.DONE, SCORES])
    assert (made.run_id, made.source, made.name) == (None, "run 7", "find: #0")
    tags = {name: made.tags[name] for name in ("study", "parent", "stage", "number", "taken")}
    assert tags == {"study": "s", "parent": "run 1", "stage": "find", "number": "0", "taken": "2"}
    assert (agenda.ledger.taken, agenda.reused) == ([], [key])
