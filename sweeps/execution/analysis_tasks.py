"""What workers do for an analysis, as Ray tasks: its parts, one by one, and the finding made of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ray
import torch

from analysis.finding import Arrays
from analysis.job import Job
from analysis.subject import Subject, subject
from sweeps.execution.messages import Failure, Poisoned
from trainables import checkpoint
from trainables.gpu_errors import empty_cache, let_go, out_of_memory, poisons

TIME_TO_ANSWER = 1.0  # seconds from an error that poisons this process to its end


@dataclass(frozen=True)
class SharedModel:
    """A finished trial as tasks get it: by references to what Ray's object store holds of it."""

    run_id: str
    name: str
    files: ray.ObjectRef  # of the checkpoint
    data: ray.ObjectRef
    device: str


# This process's, by run: a model and its logits serve all its tasks here. It stays on the GPU of its first task,
# whatever Ray books for those after it: so there are as many processes on each GPU as it has shares.
_SUBJECTS: dict[str, Subject] = {}
_ENDING = threading.Event()  # whether this process is given up


def _subject(model: SharedModel) -> Subject:
    if model.run_id not in _SUBJECTS:
        if model.device == "cpu":
            torch.set_num_threads(1)
        loaded = checkpoint.load(ray.get(model.files))
        _SUBJECTS[model.run_id] = subject(loaded, ray.get(model.data), model.name, torch.device(model.device))
    return _SUBJECTS[model.run_id]


@contextmanager
def _guarded() -> Iterator[None]:
    """Keep an error on a GPU from spoiling the tasks that come after it in this process.

    Where the GPU had too little memory, give back what is held of it. Where it failed, give this process up and raise
    Poisoned: Ray does the task again in another one. So it does with a task that comes here before the end.
    """
    if _ENDING.is_set():
        threading.Event().wait()
    try:
        yield
    except Exception as error:
        let_go(error)
        if poisons(error):
            _ENDING.set()
            threading.Timer(TIME_TO_ANSWER, os._exit, (1,)).start()
            raise Poisoned(Failure.of(error)) from None
        if out_of_memory(error):
            _SUBJECTS.clear()
            empty_cache()
        raise


@ray.remote
def get_ready() -> None:
    """Have a process load what tasks need."""
    from analysis import figures  # noqa: F401


@ray.remote
def exported(files: Mapping[str, bytes]) -> bytes:
    """Return the program of a checkpoint that a logged model has."""
    from trainables import served

    return served.exported(checkpoint.load(files))


@ray.remote(retry_exceptions=[Poisoned])
def parts(model: SharedModel, job: Job) -> int:
    """Return how many parts the job has on a model."""
    with _guarded():
        return job.parts(_subject(model))


@ray.remote(retry_exceptions=[Poisoned])
def compute(model: SharedModel, job: Job, part: int) -> Arrays:
    """Return what one part computes."""
    with _guarded():
        return job.compute(_subject(model), part)


@ray.remote(retry_exceptions=[Poisoned])
def finding(models: Sequence[SharedModel], job: Job, *computed: Arrays) -> dict[str, bytes]:
    """Return the files of the finding that the parts make: name → content."""
    with _guarded():
        return job.finding([_subject(model) for model in models], computed).files()
