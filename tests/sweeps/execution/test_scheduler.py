"""What passes between Tune and the dispatcher; test_engine.py and tests/faults have the rest, with Ray."""

import os
import signal
from types import SimpleNamespace

import pytest
import ray
from ray import cloudpickle
from ray.tune.search import Searcher

from sweeps import interruption
from sweeps.execution.messages import Failure, Help, Order, Place, Poisoned, Progress, nothing_to_do
from sweeps.execution.scheduler import Listener, Places
from sweeps.tracking.entry import Entry
from trainables.config import Trial

ORDER = Order("0" * 64, "lr", Trial(), (0,), "cpu", Entry("lr: 0.1"))
PLACE = Place(0.0)
FAILURE = Failure("ValueError: x", "Traceback", out_of_memory=False)
PROGRESS = Progress(1, 0.5, False, (), {})


class Told:
    """Stands for the dispatcher, its agenda and watchdog, and for early stopping: notes the calls.

    It has `orders` to give out, one for each place.
    """

    def __init__(self, *orders):
        self.calls, self.orders, self.at_rest = [], list(orders), False
        self.agenda = self.watchdog = self
        self.lane = None

    def place(self, asked):
        return PLACE if len(self.orders) > len(asked) else None

    def next(self, place):
        assert place == PLACE
        return self.orders.pop(0) if self.orders else None

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


class Actor:
    """Stands for a worker: notes what it is to take up."""

    def __init__(self):
        self.taken = []
        self.take = SimpleNamespace(remote=self.taken.append)


def tune_s(config, last_result=None):
    return SimpleNamespace(
        trial_id="a",
        config=config,
        last_result=last_result,
        temporary_state=SimpleNamespace(ray_actor=Actor()),
        pickled_error_file=None,
    )


def with_order(last_result=None):
    trial = tune_s(PLACE.to_config(), last_result)
    ORDER.put_into(trial.config)
    return trial


def listening(dispatcher):
    steering = SimpleNamespace(dispatcher=dispatcher, heed=lambda: dispatcher.heed())
    return Listener(steering, Places(dispatcher), dispatcher)


def test_tune_is_asked_for_as_many_places_as_trials_are_ready_and_hears_of_the_end_at_last():
    dispatcher = Told(ORDER, ORDER)
    places = Places(dispatcher)
    assert [places.suggest(name) for name in "abc"] == [PLACE.to_config(), PLACE.to_config(), None]
    assert places.asked == {"a": PLACE, "b": PLACE}
    assert len(dispatcher.orders) == 2  # none is given out before a worker takes it
    dispatcher.at_rest = True
    assert places.suggest("d") == Searcher.FINISHED


def test_a_worker_that_starts_gets_the_trial_that_is_next_then_and_one_that_starts_again_the_same():
    dispatcher = Told(ORDER, "another")
    listener = listening(dispatcher)
    trial = tune_s(listener.places.suggest("a"))
    assert Order.of(trial.config) is None
    for _ in range(2):
        listener.on_trial_start(iteration=1, trials=[], trial=trial)
    assert Order.of(trial.config) == ORDER
    assert trial.temporary_state.ray_actor.taken == [ORDER, ORDER]
    assert listener.places.asked == {}
    began = ("started", ORDER.key, trial.temporary_state.ray_actor)
    assert dispatcher.calls == [("begin", trial), began, began]


def test_a_worker_for_which_nothing_is_left_is_told_so_and_nobody_else():
    dispatcher = Told(ORDER)
    listener = listening(dispatcher)
    trial = tune_s(listener.places.suggest("a"), nothing_to_do())
    dispatcher.orders.clear()
    for event in ("on_trial_start", "on_trial_recover", "on_trial_start", "on_trial_complete", "on_trial_error"):
        getattr(listener, event)(iteration=1, trials=[], trial=trial)
    listener.on_trial_result(iteration=1, trials=[], trial=trial, result=nothing_to_do())
    assert trial.temporary_state.ray_actor.taken == [None, None]
    assert dispatcher.calls == []


@pytest.mark.parametrize(("event", "call"), [("on_trial_recover", "lost"), ("on_trial_error", "given_up")])
def test_a_worker_that_cannot_even_start_is_the_next_trial_s_loss(event, call):
    dispatcher = Told(ORDER)
    listener = listening(dispatcher)
    trial = tune_s(listener.places.suggest("a"))
    getattr(listener, event)(iteration=1, trials=[], trial=trial)
    assert dispatcher.calls == [("begin", trial), (call, ORDER.key, None)]


@pytest.mark.parametrize(
    ("event", "result", "call"),
    [
        ("on_trial_recover", None, ("lost", ORDER.key, None)),
        ("on_trial_error", None, ("given_up", ORDER.key, None)),
        ("on_trial_complete", FAILURE.to_result(), ("ended", ORDER.key, FAILURE)),
        ("on_trial_complete", PROGRESS.to_result(), ("ended", ORDER.key, None)),
        ("on_trial_complete", {}, ("ended", ORDER.key, None)),
    ],
)
def test_each_event_of_tune_s_reaches_the_dispatcher(event, result, call):
    dispatcher = Told()
    getattr(listening(dispatcher), event)(iteration=1, trials=[], trial=with_order(result))
    assert dispatcher.calls == [call]


def test_a_worker_that_starts_may_get_to_help_and_the_dispatcher_hears_of_its_end_whatever_it_is():
    job = Help("n", "k", Trial(), "cpu", None)
    dispatcher = Told(job)
    listener = listening(dispatcher)
    trial = tune_s(listener.places.suggest("a"), nothing_to_do())
    listener.on_trial_start(iteration=1, trials=[], trial=trial)
    worker = trial.temporary_state.ray_actor
    assert worker.taken == [job]
    listener.on_trial_result(iteration=1, trials=[], trial=trial, result=nothing_to_do())
    for event in ("on_trial_complete", "on_trial_recover", "on_trial_error"):
        getattr(listener, event)(iteration=1, trials=[], trial=trial)
    assert dispatcher.calls == [("begin", trial), ("helps", job, worker), *[("helped", job)] * 3]


def task_error(cause):
    return ray.exceptions.RayTaskError("step", "Traceback:\n  File of the worker\nOSError: x", cause)


@pytest.mark.parametrize(("event", "call"), [("on_trial_recover", "lost"), ("on_trial_error", "given_up")])
def test_what_a_worker_raised_is_told_once_and_not_for_the_next_loss(event, call, tmp_path):
    """Tune keeps it in a file, which it leaves there where a process is lost for another reason."""
    dispatcher, trial = Told(), with_order()
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    for error, told in (
        (task_error(Poisoned(FAILURE)), FAILURE),
        (None, None),  # nothing new
        (ray.exceptions.RayActorError(), None),
    ):
        if error:
            (tmp_path / "error.pkl").write_bytes(cloudpickle.dumps(error))
        getattr(listening(dispatcher), event)(iteration=1, trials=[], trial=trial)
        assert dispatcher.calls.pop() == (call, ORDER.key, told)


def test_what_else_a_worker_raised_goes_by_its_own_name(tmp_path):
    dispatcher, trial = Told(), with_order()
    trial.pickled_error_file = str(tmp_path / "error.pkl")
    (tmp_path / "error.pkl").write_bytes(cloudpickle.dumps(task_error(OSError("no such object"))))
    listening(dispatcher).on_trial_recover(iteration=1, trials=[], trial=trial)
    [(_, _, failure)] = dispatcher.calls
    assert (failure.reason, "File of the worker" in failure.traceback) == ("OSError: no such object", True)


def test_only_progress_is_an_epoch():
    dispatcher = Told()
    for news in (PROGRESS, FAILURE):
        listening(dispatcher).on_trial_result(iteration=1, trials=[], trial=with_order(), result=news.to_result())
    assert dispatcher.calls == [("progressed", ORDER.key, PROGRESS)]


def test_acts_the_bound_and_the_watchdog_are_looked_at_with_every_step():
    dispatcher = Told()
    listening(dispatcher).on_step_begin(iteration=1, trials=[])
    assert dispatcher.calls == [("heed",), ("close_at_bound",), ("kill_what_hangs",)]


def test_a_request_to_stop_is_heard_between_two_steps():
    dispatcher = Told()
    interruption.listen()
    with interruption.tidy(), interruption.held():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            listening(dispatcher).on_step_begin(iteration=1, trials=[])
    assert dispatcher.calls == []
