"""Seconds per trivial trial of the engine against plain Ray Tune, in one run: python -m
tests.benchmarks.engine_overhead [--trials N]

On the same cores, each gets the same number of trials; counted is the time between the end of an early one and the end
of the last, per trial, which leaves out what is paid once (Ray, the first workers). Ours includes a step of training,
evaluation, checkpoint and MLflow on sqlite; the peer is tune.Tuner with its defaults over a grid of functions that
report one number.
"""

import argparse
import io
import logging
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ray
from ray import tune
from rich.console import Console

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Outcome, Yardstick
from sweeps.decisions.records import Task, Terms
from sweeps.decisions.shares import Claim
from sweeps.execution import scheduler, tracker_actor
from sweeps.execution.bound import Bound
from sweeps.execution.shared_data import SharedData
from sweeps.reporting.display import Display
from sweeps.study import Stage, Study
from sweeps.tracking import origin
from sweeps.tracking.tracker import Tracker
from trainables.config import CNN, Training, Trial
from trainables.datasets import Dataset, Split
from trainables.footprint import Images

WARM = 4  # the trial whose end starts the count


def tiny_data() -> Dataset:
    rng = np.random.default_rng(0)
    part = Split(rng.integers(0, 256, (32, 8, 8, 3), dtype=np.uint8), np.arange(32) % 2)
    return Dataset("noise", ("a", "b"), part, part, part, "0" * 64, (0.5,) * 3, (0.25,) * 3)


class Clock:
    """Notes when trials end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def tick(self) -> None:
        self.ends.append(time.perf_counter())

    def per_trial(self) -> float:
        return (self.ends[-1] - self.ends[WARM - 1]) / (len(self.ends) - WARM)


class TimedDisplay(Display):
    clock: Clock

    def ended(self, task: Task, outcome: Outcome) -> None:
        self.clock.tick()
        super().ended(task, outcome)


class TimedCallback(tune.Callback):
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_trial_complete(self, **_: object) -> None:
        self.clock.tick()


def ours(count: int, folder: Path) -> float:
    base = Trial(model=CNN(conv_layers=0, fc_layers=1), training=Training(epochs=1))
    study = Study("overhead", base, (Stage("lr", {"training.lr": tuple(0.001 * (n + 1) for n in range(count))}),))
    data, clock = tiny_data(), Clock()
    by = Yardstick(data.metric, len(data.val))
    terms = Terms((0,), {base.dataset: data.digest}, by, data.image_shape, data.classes, early_stopping=False)
    agenda = Agenda(study, terms, lambda _: None)
    data_set = origin.data_set(data.name, data.digest, data.image_shape, {"training": len(data.train)})
    tracker = tracker_actor.start(f"sqlite:///{folder / 'mlflow.db'}", study.name, folder / "spool", data_set)
    with TimedDisplay(agenda, Console(file=io.StringIO())) as display:
        display.clock = clock
        trained = SharedData(data), Images.of(data), {}
        means = scheduler.Means(*trained, {"cpu": 1}, {}, {}, Bound(), Claim(study.name))
        scheduler.execute(agenda, means, tracker, display, SimpleNamespace(asked=list))
    begin = time.perf_counter()
    assert tracker.ask(Tracker.drain, 60.0) == []
    print(
        f"engine: {len(agenda.outcomes)} trials, all of it in MLflow {time.perf_counter() - begin:.1f} s after "
        "Tune's end",
        flush=True,
    )
    return clock.per_trial()


def plain(count: int, folder: Path) -> float:
    def trivial(config: dict) -> None:
        tune.report({"loss": config["n"]})

    for name in scheduler.TUNE_SETTINGS:
        os.environ.pop(name, None)
    clock = Clock()
    tuner = tune.Tuner(
        trivial,
        param_space={"n": tune.grid_search(list(range(count)))},
        run_config=tune.RunConfig(storage_path=str(folder / "plain"), verbose=0, callbacks=[TimedCallback(clock)]),
    )
    assert not tuner.fit().errors
    return clock.per_trial()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=24)
    count = parser.parse_args().trials
    ray.init(
        "local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    with tempfile.TemporaryDirectory() as name:
        engine, peer = ours(count, Path(name)), plain(count, Path(name))
    print(f"seconds per trial: engine {engine:.3f}, plain Ray Tune {peer:.3f}, ratio {engine / peer:.3f}")


if __name__ == "__main__":
    main()
