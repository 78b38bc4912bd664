"""What snapshots cost of training, when due and after every epoch, in one run: python -m tests.benchmarks.snapshots
[--epochs N] [--seconds S]

A trial of 3 replicates with momentum, of an R0-sized network and of a large one, hands its epochs to a Tracker in a
process of its own, with MLflow on sqlite. An epoch is a pause of S seconds, as long as a GPU takes, so that only what
keeps a worker from training is counted: packing, handing over, and waiting for the Tracker. The share is that time
against the time trained. The peer is a snapshot after every epoch. Also: packing, against the same with zipfile's own
way into memory.
"""

import argparse
import contextlib
import hashlib
import io
import logging
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray
import torch

from sweeps.execution import snapshots, tracker_actor
from sweeps.execution.messages import Order
from sweeps.execution.outbox import Outbox
from sweeps.execution.running import Bench, Running
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.study import Watch
from sweeps.tracking.entry import Entry
from sweeps.tracking.tracker import Tracker
from trainables import checkpoint
from trainables.config import CNN, Training, Trial
from trainables.datasets import Dataset, Split
from trainables.files import zipped
from trainables.history import Epoch

SEEDS = (0, 1, 2)
NETWORKS = {
    "R0, 32-64-256": CNN(conv_layers=3, channels=(32, 64, 256), fc_layers=2, fc_widths=128),
    "large, 256-512-512": CNN(conv_layers=3, channels=(256, 512, 512), fc_layers=2, fc_widths=32),
}


def noise() -> Dataset:
    rng = np.random.default_rng(0)
    part = Split(rng.integers(0, 256, (32, 32, 32, 3), dtype=np.uint8), np.arange(32) % 10)
    return Dataset("noise", tuple("abcdefghij"), part, part, part, "0" * 64, (0.5,) * 3, (0.25,) * 3)


def begun(model: CNN, epochs: int, data: Dataset, tracker: TrackerActor, seconds: float) -> Running:
    """Return a trial that has trained an epoch, so that its optimizers have something to keep, and rests since."""
    trial = Trial(model=model, training=Training(epochs=epochs, batch_size=32, momentum=0.9))
    key = hashlib.sha256(os.urandom(8)).hexdigest()
    running = Running(Order(key, "s", trial, SEEDS, "cpu", Entry("s: x")), Bench(data, {}, Watch(), Outbox(tracker)))
    first = next(running.epochs)

    def resting() -> Iterator[Epoch]:
        for number in range(1, epochs + 1):
            time.sleep(seconds)
            for member in running.replicates[: len(SEEDS) if number > 1 else 0]:
                member.records.append(replace(member.records[-1]))
            yield replace(first, number=number)

    running.epochs = resting()
    return running


def share(running: Running, seconds: float) -> tuple[float, int]:
    """Run the trial to its end; return the share of what is not training, and the number of snapshots."""
    began, steps = time.perf_counter(), [running.step()]
    while not steps[-1].last:
        steps.append(running.step())
    trained = len(steps) * seconds
    return (time.perf_counter() - began - trained) / trained, sum(step.kept for step in steps)


def plainly_zipped(files: dict[str, bytes]) -> bytes:
    """Zip as zipfile does into memory, with the checksum after it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    body = buffer.getvalue()[:-2] + b"\x40\x00"
    return body + hashlib.sha256(body).hexdigest().encode()


def packing(running: Running, how: Callable[[dict[str, bytes]], bytes]) -> float:
    checkpoint.zipped = how
    began = time.perf_counter()
    running._snapshot()
    return time.perf_counter() - began


@contextlib.contextmanager
def after_every_epoch() -> Iterator[None]:
    snapshots.SHARE, before = 0.0, snapshots.SHARE
    try:
        yield
    finally:
        snapshots.SHARE = before


def report(name: str, model: CNN, options: argparse.Namespace, tracker: TrackerActor) -> None:
    data = noise()
    running = begun(model, options.epochs, data, tracker, options.seconds)
    size = sum(map(len, running._snapshot().values())) / 2**20
    times = {how: [] for how in (plainly_zipped, zipped)}
    for _ in range(options.rounds):
        for how, taken in times.items():
            taken.append(packing(running, how))
    plain, ours = (statistics.median(taken) for taken in times.values())
    print(f"{name}: {size:.1f} MiB; packed in {1000 * ours:.0f} ms, plainly {1000 * plain:.0f} ms, {ours / plain:.2f}")
    due, count = share(running, options.seconds)
    print(f"  when due:          {100 * due:5.1f} % of training, {count} snapshots in {options.epochs} epochs")
    with after_every_epoch():
        each, count = share(begun(model, options.epochs, data, tracker, options.seconds), options.seconds)
    print(
        f"  after every epoch: {100 * each:5.1f} % of training, {count} snapshots; ratio {due / each:.3f}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=0.3, help="an epoch's")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        tracker = tracker_actor.start(f"sqlite:///{folder}/mlflow.db", "snapshots", Path(folder) / "spool")
        for name, model in NETWORKS.items():
            report(name, model, options, tracker)
        tracker.ask(Tracker.close)
    ray.shutdown()


if __name__ == "__main__":
    main()
