"""A worker between Tune and the trial that it runs, without either."""

import gc
from unittest.mock import Mock

import pytest
import torch

from sweeps.execution import worker
from sweeps.execution.desk import Closed
from sweeps.execution.messages import Failure, Help, Order, Place, Poisoned, Progress, Stopped, message
from sweeps.execution.worker import Worker
from sweeps.study import Watch
from sweeps.tracking.entry import Entry
from trainables.config import CNN, Training, Trial
from trainables.footprint import CONTEXT
from trainables.replicate import replicate
from trainables.train import train

PROGRESS = Progress(1, 0.5, False, (), {})


class Trained:
    """Stands for a trial under way: gives back what was set for its steps."""

    begun: list
    steps: list
    joined: list

    def __init__(self, order, bench):
        assert bench.data.name == "tiny"
        self.begun.append(order.key)

    def step(self):
        end = self.steps.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def wind_up(self):
        return Stopped()

    def join(self, job):
        self.joined.append((job, len(self.steps)))


class Tracker:
    """Stands for the Tracker's actor; nothing is ever on its way to it."""


def order(key="a"):
    return Order(key * 64, "lr", Trial(), (0,), "cpu", Entry("lr: 0.1"))


@pytest.fixture
def at_work(monkeypatch, tiny):
    monkeypatch.setattr(worker, "Running", Trained)
    Trained.begun, Trained.steps, Trained.joined = [], [], []
    made = Worker.__new__(Worker)  # Tune's own constructor wants a session
    made.setup(Place(0.0).to_config(), tiny, {}, Watch(), Tracker())
    made.take(order())
    return made


@pytest.mark.parametrize(("share", "kept"), [(1.0, []), (0.25, [(0.25, CONTEXT)])])
def test_it_stays_within_its_share_of_a_gpu(share, kept, monkeypatch, tiny):
    told = []
    monkeypatch.setattr(worker, "keep_within", lambda *given: told.append(given))
    Worker.__new__(Worker).setup(Place(share).to_config(), tiny, {}, Watch(), Tracker())
    assert told == kept


def test_a_trial_begins_with_its_first_step_and_then_goes_on(at_work):
    assert Trained.begun == []
    Trained.steps = [PROGRESS, PROGRESS]
    assert [message(at_work.step()), message(at_work.step())] == [PROGRESS, PROGRESS]
    assert Trained.begun == ["a" * 64]


def test_an_error_is_the_trial_s_result_and_its_memory_is_let_go(at_work):
    Trained.steps = [PROGRESS, torch.OutOfMemoryError("no room")]
    at_work.step()
    result = at_work.step()
    failure = message(result)
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.out_of_memory, result["done"]) == ("OutOfMemoryError: no room", True, True)
    assert at_work.running is None


SMALL = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=2, batch_size=16))


class OnTheCpu:
    """Stands for a trial under way: trains, and knows no Tracker."""

    def __init__(self, _order, bench):
        cpu = torch.device("cpu")
        self.replicates = [replicate(SMALL, bench.data, 0, cpu)]
        self.epochs = train(SMALL, bench.data, self.replicates, cpu, None, bench.kept)

    def step(self):
        return Progress(next(self.epochs).number, 0.5, False, (), {})


@pytest.fixture
def tensors():
    """Return how many tensors there are beside those before the test; garbage is not collected meanwhile."""

    def count():
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    before = count()
    yield lambda: count() - before
    gc.enable()


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, ValueError])
def test_all_that_a_failed_trial_had_is_free_at_once(kind, at_work, monkeypatch, tensors):
    """Else it lay on the GPU until the next collection of garbage, to which the GPU's memory is nothing."""
    emptied = []
    monkeypatch.setattr(worker, "empty_cache", lambda: emptied.append(tensors()))
    monkeypatch.setattr(worker, "Running", OnTheCpu)
    at_work.step()
    assert tensors() > 10  # weights, images, labels

    def failing(*_):  # all that a step needs is in memory
        raise kind

    monkeypatch.setattr("trainables.lane.loss", failing)
    assert isinstance(message(at_work.step()), Failure)
    assert tensors() == 0
    assert emptied == [0, 0]  # before it, and once it was free, so that others can have it


def test_all_that_a_stopped_trial_had_is_free_before_the_next(at_work, monkeypatch, tensors):
    emptied = []
    monkeypatch.setattr(worker, "empty_cache", lambda: emptied.append(tensors()))
    monkeypatch.setattr(worker, "Running", OnTheCpu)
    at_work.step()
    at_work.reset_config(Place(0.0).to_config())
    at_work.take(order("b"))
    at_work.step()
    assert emptied == [0, 6]  # before each: images and labels of three parts stay, as the next one needs them too


def test_where_the_gpu_failed_between_two_trials_the_second_starts_again(at_work, monkeypatch):
    """Tune would fail it at once for an error in reset_config()."""
    Trained.steps = [PROGRESS]
    at_work.step()
    monkeypatch.setattr(worker, "empty_cache", Mock(side_effect=torch.AcceleratorError("CUDA error: unknown error")))
    assert at_work.reset_config(Place(0.0).to_config())
    at_work.take(order("b"))
    with pytest.raises(Poisoned):
        at_work.step()


def test_where_the_gpu_failed_the_process_is_given_up_with_the_reason(at_work):
    Trained.steps = [PROGRESS, torch.AcceleratorError("CUDA error: device-side assert triggered\nCompile with …")]
    at_work.step()
    with pytest.raises(Poisoned) as raised:
        at_work.step()
    assert raised.value.failure.reason == "AcceleratorError: CUDA error: device-side assert triggered"
    assert "Compile with" in raised.value.failure.traceback
    assert at_work.running is None
    at_work.cleanup()  # as Tune does


def test_the_same_process_takes_up_another_trial(at_work):
    Trained.steps = [PROGRESS, PROGRESS]
    at_work.step()
    assert at_work.reset_config(Place(0.0).to_config())
    assert at_work.running is None
    at_work.take(order("b"))
    at_work.step()
    assert Trained.begun == ["a" * 64, "b" * 64]
    at_work.cleanup()
    assert at_work.running is None


def test_a_trial_that_is_wound_up_ends_with_the_next_step_and_the_one_after_it_does_not(at_work):
    Trained.steps = [PROGRESS, PROGRESS]
    at_work.step()
    at_work.wind_up()
    result = at_work.step()
    assert (message(result), result["done"], len(Trained.steps)) == (Stopped(), True, 1)
    at_work.reset_config(Place(0.0).to_config())
    at_work.take(order("b"))
    assert message(at_work.step()) == PROGRESS


def test_helpers_are_let_in_before_the_next_epoch_and_once(at_work):
    Trained.steps = [PROGRESS] * 3
    at_work.step()
    at_work.join("one")
    at_work.join("two")
    at_work.step()
    at_work.step()
    assert Trained.joined == [("one", 2), ("two", 2)]
    at_work.join("late")
    at_work.reset_config(Place(0.0).to_config())
    at_work.take(order("b"))
    Trained.steps = [PROGRESS]
    at_work.step()
    assert len(Trained.joined) == 2


@pytest.mark.parametrize("winding_up", [False, True])
def test_where_a_helper_has_gone_the_trial_goes_on_from_its_last_snapshot(at_work, winding_up, monkeypatch):
    Trained.steps = [PROGRESS, PROGRESS]
    at_work.step()
    if winding_up:
        monkeypatch.setattr(Trained, "wind_up", Mock(side_effect=Closed))
        at_work.wind_up()
    else:
        Trained.steps.insert(0, Closed())
    assert message(at_work.step()) == PROGRESS
    assert Trained.begun == ["a" * 64] * 2
    assert not at_work.winding_up  # the driver decides anew, after an epoch that it has seen


def test_it_helps_until_that_is_over_and_ends_without_a_message(at_work, monkeypatch):
    job, helped = Help("n", "k", Trial(), "cpu", None), []

    def assist(*given):
        helped.append(given)
        raise Closed

    monkeypatch.setattr(worker, "assist", assist)
    at_work.take(job)
    result = at_work.step()
    assert (message(result), result["done"]) == (None, True)
    assert helped == [(job, at_work.bench)]
    assert Trained.begun == []


def test_without_an_order_it_ends_at_once(at_work):
    at_work.take(None)
    result = at_work.step()
    assert (message(result), result["done"]) == (None, True)
    at_work.take(order())
    at_work.reset_config(Place(0.0).to_config())  # what it had before is not run again
    assert at_work.step() == result
    assert Trained.begun == []


def test_on_the_cpu_a_trial_has_one_thread(monkeypatch, tiny):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    Worker.__new__(Worker).setup(Place(1.0).to_config(), tiny, {}, Watch(), Tracker())
    assert threads == []
    Worker.__new__(Worker).setup(Place(0.0).to_config(), tiny, {}, Watch(), Tracker())
    assert threads == [1]
