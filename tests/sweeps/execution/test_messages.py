import pickle

import pytest
import ray
import torch

from sweeps.execution.messages import (
    FailedThere,
    Failure,
    Help,
    NewRecords,
    Order,
    Place,
    Poisoned,
    Progress,
    message,
    nothing_to_do,
)
from sweeps.tracking.entry import Entry
from tests.sweeps.outcomes import record
from trainables.config import Trial

ORDER = Order("0" * 64, "lr", Trial(), (0, 1), "cuda", Entry("lr: 0.1", {"lr": 0.1}, {"stage": "lr"}, "run"))


def test_tune_s_config_is_a_place_at_first_and_comes_to_an_order():
    place = Place(0.25)
    config = pickle.loads(pickle.dumps(place.to_config()))  # noqa: S301
    assert (Place.of(config), Order.of(config)) == (place, None)
    ORDER.put_into(config)
    again = pickle.loads(pickle.dumps(config))  # noqa: S301
    assert (Place.of(again), Order.of(again)) == (place, ORDER)


def test_a_place_may_come_to_help_instead():
    job = Help("name", "k", Trial(), "cpu", None)
    config = Place(0.0).to_config()
    assert Help.of(config) is None
    job.put_into(config)
    assert (Help.of(config), Order.of(config)) == (job, None)
    assert len({job.inbox, job.outbox, Help("other", "k", Trial(), "cpu", None).inbox}) == 3


@pytest.mark.parametrize(("gpu", "device"), [(0.0, "cpu"), (0.25, "cuda"), (1.0, "cuda")])
def test_a_trial_without_a_share_of_a_gpu_trains_on_the_cpu(gpu, device):
    assert Place(gpu).device == device


def test_a_worker_with_nothing_to_do_ends_without_a_message():
    assert nothing_to_do()["done"] is True
    assert message(nothing_to_do()) is None
    assert message({}) is None


def test_a_result_holds_the_progress_and_the_plain_values_that_tune_reads():
    progress = Progress(3, 0.7, True, (0.5, 0.6), {0: NewRecords(1, (record(0.6), record(0.7)))})
    result = progress.to_result()
    assert {name: value for name, value in result.items() if name != "message"} == {
        "epoch": 3,
        "val_score": 0.7,
        "done": True,
    }
    assert message(pickle.loads(pickle.dumps(result))) == progress  # noqa: S301


def test_scores_come_with_their_epochs():
    assert Progress(3, 0.7, False, (0.5, 0.6), {}).scores() == [(1, 0.5), (2, 0.6), (3, 0.7)]
    assert Progress(3, 0.7, False, (), {}).scores() == [(3, 0.7)]


def failure(error: Exception) -> Failure:
    try:
        raise error
    except Exception as caught:
        return Failure.of(caught)


def test_a_failure_is_one_line_and_the_traceback_and_ends_the_trial():
    found = failure(ValueError("too wide\nby far"))
    assert (found.reason, found.out_of_memory) == ("ValueError: too wide", False)
    assert found.traceback.startswith("Traceback")
    assert "too wide\nby far" in found.traceback
    result = found.to_result()
    assert (result["done"], message(result), len(result)) == (True, found, 2)


def test_an_error_of_an_actor_goes_by_its_own_name():
    inner = OSError("the disk is full")
    wrapped = ray.exceptions.RayTaskError("epoch", "Traceback of the actor", inner)
    assert failure(wrapped).reason == "OSError: the disk is full"


def test_why_a_worker_gave_its_process_up_reaches_the_driver_as_it_was():
    first = failure(RuntimeError("CUDA error: unspecified launch failure"))
    raised = pickle.loads(pickle.dumps(Poisoned(first)))  # noqa: S301
    assert Failure.of(ray.exceptions.RayTaskError("step", "Traceback of the actor", raised)) == first
    assert Failure.of(FailedThere(first)) == first


def test_out_of_memory_is_the_gpu_s():
    assert failure(torch.OutOfMemoryError("CUDA out of memory")).out_of_memory
    assert not failure(MemoryError()).out_of_memory


def test_an_epoch_counts_for_the_replicates_that_it_was_trained_with():
    """Of three replicates one had run all five epochs before, and reports nothing new, or all that it has."""
    new, old = NewRecords(1, (record(0.5),)), NewRecords(0, (record(0.5),) * 5)
    assert Progress(2, 0.5, False, (), {0: old, 1: new, 2: new}).trained == 2
    last = NewRecords(4, (record(0.5),))
    assert Progress(5, 0.5, True, (), {0: NewRecords(5, ()), 1: last, 2: last}).trained == 2
    assert Progress(2, 0.5, False, (0.5,), {1: NewRecords(0, (record(0.5),) * 2)}).trained == 1  # just taken up
