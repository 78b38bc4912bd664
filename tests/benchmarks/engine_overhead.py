"""Seconds per trivial trial of the engine against plain Ray Tune, in one run: python -m tests.benchmarks.engine_overhead [--trials N]

Both get a few trials and many trials on the same cores; the difference, per trial, leaves out what is paid once (Ray, first workers). Ours
includes a step of training, evaluation, checkpoint and MLflow (sqlite), all delivered; the peer is tune.Tuner with its defaults over a
grid of functions that report one number.
"""

import argparse
import io
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
from ray import tune
from rich.console import Console

from sweeps import cluster, scheduler
from sweeps.agenda import Agenda
from sweeps.display import Display
from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial
from trainables.datasets import Dataset, Split

FEW = 4


def tiny_data() -> Dataset:
    rng = np.random.default_rng(0)
    part = Split(rng.integers(0, 256, (32, 8, 8, 3), dtype=np.uint8), np.arange(32) % 2)
    return Dataset("noise", ("a", "b"), part, part, part, "0" * 64, (0.5,) * 3, (0.25,) * 3)


def ours(count: int, folder: Path) -> float:
    base = Trial(model=CNN(conv_layers=0, fc_layers=1), training=Training(epochs=1))
    study = Study("overhead", base, (Stage("lr", {"training.lr": tuple(0.001 * (n + 1) for n in range(count))}),))
    data = tiny_data()
    begin = time.perf_counter()
    agenda = Agenda(study, (0,), data.digest, len(data.val), False, {}, lambda _: None)
    tracker = cluster.start_tracker(f"sqlite:///{folder / f'{count}.db'}", study.name, folder / f"spool{count}")
    with Display(agenda, data.image_shape, data.classes, Console(file=io.StringIO())) as display:
        scheduler.run(agenda, data, tracker, display, {"cpu": 1}, {})
    took = time.perf_counter() - begin
    assert ray.get(tracker.drain.remote(60.0)) == []
    assert len(agenda.outcomes) == count
    print(f"  engine, {count} trials: {took:.1f} s, {time.perf_counter() - begin:.1f} s with all of it in MLflow", flush=True)
    ray.kill(tracker)
    return took


def plain(count: int, folder: Path) -> float:
    def trivial(config: dict) -> None:
        tune.report({"loss": config["n"]})

    for name in scheduler.TUNE_SETTINGS:
        os.environ.pop(name, None)
    begin = time.perf_counter()
    tuner = tune.Tuner(
        trivial,
        param_space={"n": tune.grid_search(list(range(count)))},
        run_config=tune.RunConfig(storage_path=str(folder / f"plain{count}"), verbose=0),
    )
    assert not tuner.fit().errors
    took = time.perf_counter() - begin
    print(f"  plain Tune, {count} trials: {took:.1f} s", flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=24)
    many = parser.parse_args().trials
    ray.init("local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        per_trial = {}
        for who, run in (("engine", ours), ("plain Tune", plain)):
            few, lots = run(FEW, Path(name)), run(many, Path(name))
            per_trial[who] = (lots - few) / (many - FEW)
    print(f"per trial: engine {per_trial['engine']:.3f} s, plain Tune {per_trial['plain Tune']:.3f} s")
    print(f"ratio {per_trial['engine'] / per_trial['plain Tune']:.3f}")


if __name__ == "__main__":
    main()
