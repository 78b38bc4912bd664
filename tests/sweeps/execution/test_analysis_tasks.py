"""A worker's part in an analysis, called in this process."""

import pytest
import ray
import torch

from analysis.finding import Finding
from analysis.jobs.mistakes import Mistakes
from sweeps.execution import analysis_tasks
from sweeps.execution.analysis_tasks import SharedModel, compute, finding, parts
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
