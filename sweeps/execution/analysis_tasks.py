"""What workers do for an analysis, as Ray tasks: its parts, one by one, and the finding made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ray
import torch

from analysis.finding import Arrays
from analysis.job import Job
from analysis.subject import Subject, subject
from trainables import checkpoint


@dataclass(frozen=True)
class SharedModel:
    """A finished trial as tasks get it: by references to what Ray's object store holds of it."""

    run_id: str
    name: str
    files: ray.ObjectRef  # of the checkpoint
    data: ray.ObjectRef
    device: str


_SUBJECTS: dict[str, Subject] = {}  # this process's, by run: a model and its logits serve all its tasks here


def _subject(model: SharedModel) -> Subject:
    if model.run_id not in _SUBJECTS:
        if model.device == "cpu":
            torch.set_num_threads(1)
        loaded = checkpoint.load(ray.get(model.files))
        _SUBJECTS[model.run_id] = subject(loaded, ray.get(model.data), model.name, torch.device(model.device))
    return _SUBJECTS[model.run_id]


@ray.remote
def parts(model: SharedModel, job: Job) -> int:
    """Return how many parts the job has on a model."""
    return job.parts(_subject(model))


@ray.remote
def compute(model: SharedModel, job: Job, part: int) -> Arrays:
    """Return what one part computes."""
    return job.compute(_subject(model), part)


@ray.remote
def finding(models: Sequence[SharedModel], job: Job, *computed: Arrays) -> dict[str, bytes]:
    """Return the files of the finding that the parts make: name → content."""
    return job.finding([_subject(model) for model in models], computed).files()
