"""A small study as a real process that can be hurt, and what it comes to in MLflow and in its results folder."""

import csv
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeps.tracking.store import Store
from tests.conftest import make_dataset

ROOT = Path(__file__).resolve().parents[2]
TIMINGS = ("images_per_second", "seconds")  # of a record: all else is the same, bit by bit, in every run of a trial
# of every test here; the warning is MLflow 3.17's own, on SQLAlchemy 2.1
FAULT = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]
TRAINING = ".train"  # in the title of a worker's process at work
TRIALS = 4  # three learning rates, and one more width

SCRIPT = """
import sweeps.execution.watchdog
from sweeps.main import main
from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial

base = Trial("folder:{images}", CNN(conv_layers=2, channels=8, fc_layers=1), Training(epochs={epochs}, batch_size=4))
rates, widths = Stage("lr", {{"training.lr": (0.001, 0.01, 0.05)}}), Stage("width", {{"model.channels": (8, 12)}})
STUDY = Study("hurt", base, (rates, widths))

{before}
if __name__ == "__main__":
    main(STUDY)
"""


class Site:
    """A folder with images, a study of four trials on them, and, at `uri`, MLflow."""

    def __init__(self, folder: Path, uri: str | None = None, epochs: int = 12, before: str = ""):
        folder.mkdir(exist_ok=True)
        self.folder, self.uri = folder, uri or f"sqlite:///{folder / 'mlflow.db'}"
        self.results = folder / "results" / "hurt"
        self.spool = self.results / ".spool"
        self.images = folder / "images"
        draw(self.images)
        self.script = folder / "hurt.py"
        self.script.write_text(SCRIPT.format(images=self.images, epochs=epochs, before=before))
        self.said = folder / "said.txt"

    def command(self, *flags: str) -> list[str]:
        """Return the study's command."""
        places = ("--output", str(self.folder / "results"), "--tracking-uri", self.uri)
        return [sys.executable, str(self.script), "--no-early-stopping", "--num-cpus", "2", *places, *flags]

    def start(self, *flags: str, said: str = "said.txt", **environment: str) -> subprocess.Popen:
        """Start the study's command. What it says goes to the file `said` in the folder."""
        variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment
        variables.pop("RAY_ADDRESS", None)
        with (self.folder / said).open("w") as file:
            return subprocess.Popen(
                self.command(*flags),
                cwd=self.folder,
                env=variables,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen, timeout: float = 480, said: str = "said.txt") -> tuple[int, str]:
        """Wait for the command's end and return its exit status and what it said."""
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return status, (self.folder / said).read_text()

    def run(self, *flags: str, **environment: str) -> tuple[int, str]:
        """Run the command to its end and return its exit status and what it said."""
        return self.end(self.start(*flags, **environment))

    def processes(self, driver: subprocess.Popen, title: str) -> list[int]:
        """Return the ids of the processes below a running driver whose title or command line has `title` in it."""
        lines = subprocess.run(
            ["ps", "-wweo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[1:]
        parents = {int(pid): (int(parent), words) for pid, parent, words in (line.split(None, 2) for line in lines)}

        def below(pid: int) -> bool:
            return pid == driver.pid or (pid in parents and below(parents[pid][0]))

        return sorted(pid for pid, (_, words) in parents.items() if title in words and below(pid))

    def trained(self) -> int:
        """Return the number of epochs that MLflow (sqlite) and the spool have of all trials."""
        in_spool = sum(path.read_text().count("\n") for path in self.spool.glob("*/metrics.jsonl") if path.exists())
        return max(in_spool, self.delivered())

    def delivered(self) -> int:
        """Return the number of epochs that MLflow (sqlite) has of all trials."""
        database = Path(self.uri.removeprefix("sqlite:///"))
        if not database.exists():
            return 0
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            try:
                return connection.execute("select count(*) from metrics where key = 'val_accuracy'").fetchone()[0]
            except sqlite3.OperationalError:  # there are no tables yet
                return 0

    def outcome(self) -> dict[str, Any]:
        """Return what a study came to, as far as every run of it must come to the same.

        Per trial, by key: its name, its status, each record without timings. Of every MLflow run of a trial: name,
        MLflow's status, the steps that have a validation accuracy. Of every stage its table's scores.
        """
        store = Store(self.uri)
        found = store.trials(store.trials(None))
        experiment = store.client.get_experiment_by_name("hurt").experiment_id
        runs = store.client.search_runs([experiment], "tags.key LIKE '%'")  # trials', not stages'
        steps = {
            run.info.run_id: [each.step for each in store.client.get_metric_history(run.info.run_id, "val_accuracy")]
            for run in runs
        }
        return {
            "trials": {key: (trial.name, trial.status, _records(trial.curves)) for key, trial in found.items()},
            "runs": sorted((run.info.run_name, run.info.status, steps[run.info.run_id]) for run in runs),
            "tables": {stage: self.scores(stage) for stage in ("lr", "width")},
        }

    def scores(self, stage: str) -> list[tuple[str, ...]]:
        """Return of a stage's table what no timing is in, a tuple per trial; nothing of a stage that is not decided."""
        table = self.results / f"{stage}.csv"
        rows = csv.DictReader(table.read_text().splitlines() if table.exists() else [])
        return [
            tuple(row[name] for name in (stage, "status", "epochs", "validation acc %", "chosen epoch", "key"))
            for row in rows
        ]


class Server:
    """An MLflow server on a free port of the loopback, which can be killed and started again."""

    def __init__(self, folder: Path):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start the server, and return when it answers."""
        places = (
            "--backend-store-uri",
            f"sqlite:///{self.folder / 'server.db'}",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        )
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--workers",
            "1",
            "--port",
            str(self.port),
            "--serve-artifacts",
            *places,
        ]
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.txt").open("a") as log:
            self._process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        until(self._answers)

    def kill(self) -> None:
        """Kill the server with all its processes, as a power cut would."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):  # noqa: S310
                return True
        except OSError:
            return False


def command(script: str, *arguments: str, timeout: float = 480) -> tuple[int, str]:
    """Run one of the commands beside the studies, and return its exit status and what it said."""
    words = [sys.executable, str(ROOT / "sweeps" / script), *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    variables.pop("RAY_ADDRESS", None)
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def draw(folder: Path) -> None:
    """Write a tiny data set as class folders."""
    data = make_dataset(count=900)
    for part, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            path = folder / part / data.class_names[label] / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def until(true: Callable[[], object], seconds: float = 240, pause: float = 0.1) -> float:
    """Wait until `true()`; return how long it took. Fails after so many seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(pause)
    return time.monotonic() - began


def _records(curves: dict[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    seeds = curves["seeds"] if curves else {}  # a trial that never came to an epoch has none
    return {
        seed: [{name: row[name] for name in row if name not in TIMINGS} for row in rows] for seed, rows in seeds.items()
    }
