"""Trials on GPUs that only Ray believes in: it places them as on real ones, and they train on the CPU."""

import io
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from ray import cloudpickle
from rich.console import Console

from sweeps.engine import run_study
from sweeps.execution import gpus, messages, scheduler, worker
from sweeps.execution.analysis_tasks import SharedModel, compute
from sweeps.execution.cluster import connect
from sweeps.execution.machines import Machines
from sweeps.execution.running import Running
from sweeps.execution.worker import Worker
from sweeps.options import RunOptions
from sweeps.study import Stage, Study
from trainables.checkpoint import pack
from trainables.config import CNN, Training, Trial
from trainables.replicate import replicate
from trainables.train import train

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

BESIDE = 3  # trials on the one GPU
FAULT = "CUDA error: device-side assert triggered"
FOLDER, MPS = "CNN_SWEEPS_TEST_NOTES", "CUDA_MPS_PIPE_DIRECTORY"
# learning rates, by which trials are told apart, and what happens to them
WELL, FULL, KILLED, POISON = 0.01, 0.02, 0.03, 0.04


class Hurt(Running):
    """A trial under way that notes when it runs, and where; and meets what its learning rate says."""

    def __init__(self, order, bench):
        self.folder, self.lr = Path(os.environ[FOLDER]), order.trial.training.lr
        super().__init__(order, bench)
        self.attempts = len(list(self.folder.glob(f"{self.lr}-*")))
        self.note = self.folder / f"{self.lr}-{self.attempts}"
        self.note.write_text(f"{os.getpid()} {ray.get_gpu_ids()} {os.environ[MPS]} {time.monotonic()}")

    def step(self):
        first = self.attempts == 0
        if first:
            self.wait_for_others()
            self.note_the_time()  # one that is killed next was here until now
        try:
            self.meet(first)
            return super().step()
        finally:
            self.note_the_time()

    def note_the_time(self):
        with self.note.open("a") as note:
            note.write(f" {time.monotonic()}")

    def wait_for_others(self):
        """Wait until as many trials as the GPU has room for have been here."""
        until = time.monotonic() + 120
        while len(list(self.folder.iterdir())) < BESIDE and time.monotonic() < until:
            time.sleep(0.05)

    def meet(self, first):
        if self.lr == FULL and first:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if self.lr == KILLED and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.lr == POISON:
            raise torch.AcceleratorError(f"{FAULT}\nCompile with …")


class HurtWorker(Worker):
    def setup(self, config, **shared):
        worker.Running = Hurt
        super().setup(config, **shared)


class Note:
    """What one attempt at a trial noted."""

    def __init__(self, path: Path):
        pid, self.gpu, self.mps, begun, *steps = path.read_text().split()
        self.pid, self.begun = int(pid), float(begun)
        self.ended = max(map(float, steps), default=self.begun)


class Poisons:
    """A job that poisons the first process it comes to."""

    def __init__(self, folder):
        self.folder = folder

    def compute(self, _subject, _part):
        first = not list(self.folder.iterdir())
        (self.folder / str(os.getpid())).touch()
        if first:
            raise torch.AcceleratorError(FAULT)
        return {"process": np.array(os.getpid())}


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """A Ray with one GPU in its books, whose processes write into this folder."""
    import tests.sweeps.execution.test_pretended_gpus as here

    cloudpickle.register_pickle_by_value(here)
    folder = tmp_path_factory.mktemp("notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        patch.setenv(MPS, "/run/mps")
        patch.setattr(scheduler, "Worker", here.HurtWorker)
        patch.setattr(messages.Place, "device", "cpu")  # which the driver writes into orders
        patch.setattr(gpus, "count", lambda: 1)
        patch.setattr(gpus, "memory", lambda _: 80 * 10**9)
        with connect(Machines(num_gpus=1, num_cpus=BESIDE + 1)):
            yield folder
    cloudpickle.unregister_pickle_by_value(here)


def run(folder: Path) -> tuple[int, str]:
    base = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=2, batch_size=256))
    study = Study("hurt", base, (Stage("lr", {"training.lr": (WELL, FULL, KILLED, POISON)}),))
    options = RunOptions(
        output=folder, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", early_stopping=False, trials_per_gpu=BESIDE
    )
    text = io.StringIO()
    return run_study(study, options, Console(file=text, width=250)), text.getvalue()


def within(seconds: float, holds) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.1)
    return holds()


def test_trials_share_a_gpu_and_each_fault_costs_what_it_must(notes, tmp_path):
    status, said = run(tmp_path)
    of = {lr: [Note(path) for path in sorted(notes.glob(f"{lr}-*"))] for lr in (WELL, FULL, KILLED, POISON)}
    attempts = [each for found in of.values() for each in found]

    # three trials at once have the GPU, a third each, and never four
    at_once = [sum(other.begun <= each.begun <= other.ended for other in attempts) for each in attempts]
    assert max(at_once) == BESIDE
    assert {each.gpu for each in attempts} == {"[0]"}
    shared = r"trials run on 1 GPU \(all that torch sees\): 3 share each: at most \d\.\d GB each of 80\.0 GB"
    assert re.search(shared, said)

    # what finds no room runs again once it has the GPU to itself, in full
    [_, alone] = of[FULL]
    assert [each for each in attempts if each.begun < alone.ended and alone.begun < each.ended] == [alone]
    assert "lr: 0.02: it ran out of GPU memory beside others; it starts again" in said

    # a lost process's share is free again
    assert len(of[KILLED]) == 2
    assert within(30, lambda: ray.available_resources().get("GPU") == 1)

    # a poisoned process is not used again, and the reason reaches the user
    for failed in of[POISON]:
        assert [each for each in attempts if each.pid == failed.pid and each.begun > failed.begun] == []
    assert len(of[POISON]) == 3
    assert status == 1
    assert [line for line in said.splitlines() if line.startswith("failed: ")] == [
        f"failed: lr: 0.04: AcceleratorError: {FAULT}, again after 2 restarts"
    ]
    assert all(f"lr: {lr}: done, 2 epochs" in said for lr in (WELL, FULL, KILLED))

    # and processes know where NVIDIA's MPS is, if the user's shell does
    assert {each.mps for each in attempts} == {"/run/mps"}


@pytest.mark.usefixtures("notes")
def test_a_task_of_an_analysis_that_poisons_its_process_is_done_again_in_another(tiny, tmp_path):
    trial = Trial("tiny", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=1, batch_size=16))
    members = [replicate(trial, tiny, 0, torch.device("cpu"))]
    list(train(trial, tiny, members, torch.device("cpu")))
    model = SharedModel("run", "small", ray.put(pack(trial, tiny, members)), ray.put(tiny), "cpu")
    task = compute.options(num_cpus=1, num_gpus=1 / BESIDE).remote(model, Poisons(tmp_path), 0)
    last = int(ray.get(task, timeout=120)["process"])
    [first] = {int(path.name) for path in tmp_path.iterdir()} - {last}
    assert within(20, lambda: not Path(f"/proc/{first}").exists())
