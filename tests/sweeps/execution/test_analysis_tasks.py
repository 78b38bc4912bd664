"""A worker's part in an analysis, called in this process."""

import os
import threading
from types import SimpleNamespace

import pytest
import ray
import torch

from analysis.finding import Finding
from analysis.jobs.mistakes import Mistakes
from sweeps.execution import analysis_tasks
from sweeps.execution.analysis_tasks import TIME_TO_ANSWER, SharedModel, compute, finding, parts
from sweeps.execution.messages import Poisoned
from trainables.checkpoint import pack
from trainables.config import CNN, Training, Trial
from trainables.replicate import replicate
from trainables.train import train

TRIAL = Trial("tiny", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=1, batch_size=16))


@pytest.fixture
def fetched(monkeypatch):
    """Counts what is fetched from Ray's object store, whose references are the objects themselves here."""
    fetched = []
    monkeypatch.setattr(ray, "get", lambda reference: fetched.append(reference) or reference)
    monkeypatch.setattr(analysis_tasks, "_SUBJECTS", {})
    return fetched


def test_a_job_is_done_part_by_part_on_a_model_that_is_fetched_once(tiny, fetched):
    replicates = [replicate(TRIAL, tiny, 0, torch.device("cpu"))]
    list(train(TRIAL, tiny, replicates, torch.device("cpu")))
    files, job = pack(TRIAL, tiny, replicates), Mistakes()
    model = SharedModel("run", "small, lr: 0.1", files, tiny, "cpu")
    count = parts._function(model, job)
    computed = [compute._function(model, job, part) for part in range(count)]
    made = Finding.from_files(finding._function([model], job, *computed))
    assert count == 1
    assert made.title
    assert fetched == [files, tiny]


class Failing:
    """Stands for a job whose parts meet an error."""

    def __init__(self, error):
        self.error = error

    def compute(self, _subject, _part):
        raise self.error


@pytest.fixture
def timers(monkeypatch):
    """What is to be done after how many seconds, in place of doing it."""
    timers = []
    monkeypatch.setattr(threading, "Timer", lambda *what: SimpleNamespace(start=lambda: timers.append(what)))
    monkeypatch.setattr(analysis_tasks, "_ENDING", threading.Event())
    monkeypatch.setattr(analysis_tasks, "_SUBJECTS", {"run": "a model"})
    return timers


MODEL = SharedModel("run", "small, lr: 0.1", None, None, "cuda")


def test_a_process_on_which_the_gpu_failed_ends_once_it_has_said_so_and_takes_no_task_more(timers, monkeypatch):
    with pytest.raises(Poisoned) as raised:
        compute._function(MODEL, Failing(torch.AcceleratorError("CUDA error: unspecified launch failure")), 0)
    assert raised.value.failure.reason == "AcceleratorError: CUDA error: unspecified launch failure"
    assert timers == [(TIME_TO_ANSWER, os._exit, (1,))]
    waits = []
    monkeypatch.setattr(threading, "Event", lambda: SimpleNamespace(wait=lambda: waits.append(True)))
    with pytest.raises(Poisoned):  # where the end does not come, as here
        compute._function(MODEL, Failing(torch.AcceleratorError("CUDA error: unspecified launch failure")), 0)
    assert waits == [True]


def test_a_task_that_finds_no_room_gives_back_what_its_process_holds(timers):
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        compute._function(MODEL, Failing(torch.OutOfMemoryError("no room")), 0)
    assert (analysis_tasks._SUBJECTS, timers) == ({}, [])


def test_an_error_of_the_job_s_own_costs_it_alone(timers):
    with pytest.raises(ValueError, match="not mine"):
        compute._function(MODEL, Failing(ValueError("not mine")), 0)
    assert (analysis_tasks._SUBJECTS, timers) == ({"run": "a model"}, [])
