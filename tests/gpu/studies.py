"""A whole study: part A with three seeds, as a plain loop over its trials and through Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import Terms
from sweeps.part_a import STUDY
from tests.gpu.hardware import ROOT
from tests.gpu.rows import FAST, RATE, LeftOut, Result, Setting, row
from tests.gpu.workload import dataset, members_of
from trainables.datasets import Dataset, load
from trainables.history import History
from trainables.kept import Kept
from trainables.train import train

SEEDS = (0, 1, 2)
GOAL = "goal: 180 s"


def data_of(setting: Setting) -> Dataset:
    """Return CIFAR-10 where its folder was named, else images of its shape and number."""
    if setting.data_dir:
        return load("cifar10", setting.data_dir)
    return dataset(setting.size(45_000, 20), setting.size(5_000, 10))


@row("part-a", FAST, 240, turn=3)
def part_a(setting: Setting) -> Result:
    """Part A with three seeds, its trials one after another in one process, without snapshots."""
    data, device, kept = data_of(setting), setting.device, Kept()
    study = STUDY.changed({"training.epochs": 1, "training.batch_size": 8}).only(("stride",)) if setting.tiny else STUDY
    seeds = SEEDS[:1] if setting.tiny else SEEDS
    yardstick = Yardstick("accuracy", len(data.val))
    terms = Terms(seeds, {study.baseline.dataset: data.digest}, yardstick, data.image_shape, data.classes, False)
    agenda = Agenda(study, terms, lambda *_: None)
    start, images, trials = time.perf_counter(), 0, 0
    while task := agenda.next():
        trial = task.cell.trial
        members = members_of(trial, data, seeds, device)
        for _ in train(trial, data, members, device, kept=kept):
            images += len(data.train) * len(seeds)
        trials += 1
        agenda.finish(task.key, History({each.seed: tuple(each.records) for each in members}))
        agenda.advance()
    taken = time.perf_counter() - start
    values = {"seconds": taken, "trials": trials, RATE: images / taken, "data": data.name}
    return Result(None if agenda.over else False, values, GOAL)


@row("part-a-ray", FAST, 240, turn=7, needs=("gpu", "ray", "mlflow", "rich", "matplotlib"))
def part_a_with_ray(setting: Setting) -> Result:
    """python sweeps/part_a.py --num-gpus 1 --seeds 3 from its start to its end."""
    if setting.tiny:
        raise LeftOut("not with --tiny")
    with tempfile.TemporaryDirectory() as folder:
        places = ["--output", folder, "--tracking-uri", f"sqlite:///{folder}/mlflow.db"]
        places += ["--data-dir", str(setting.data_dir)] if setting.data_dir else ["--dataset", "shapes"]
        command = [sys.executable, "sweeps/part_a.py", "--num-gpus", "1", "--seeds", "3", *places]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        log, start = Path(folder) / "log", time.perf_counter()
        with log.open("w") as said:
            process = subprocess.Popen(
                command, cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = process.wait()
            finally:  # also where its time is up: with all that it started
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        taken = time.perf_counter() - start
        end = log.read_text().strip().splitlines()[-1:]
    values = {"seconds": taken, "data": "CIFAR-10" if setting.data_dir else "shapes"}
    return Result(status == 0, values, GOAL if status == 0 else f"status {status}: {' '.join(end)[-200:]}")
