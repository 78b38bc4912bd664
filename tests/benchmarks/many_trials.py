"""A study of very many trials: the memory of driver, workers and Tracker over time, the time of a start that finds all
done, and MLflow's answers to its own UI.

    python -m tests.benchmarks.many_trials [--trials 1000]

The trials are trivial (64 images, one epoch). MLflow is a server on sqlite, as `mlflow server` starts it, on this
machine.
"""

import argparse
import contextlib
import io
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests
from PIL import Image
from rich.console import Console

from sweeps import engine
from sweeps.options import RunOptions
from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial


def draw(folder: Path) -> None:
    """Write two classes of noise."""
    rng = np.random.default_rng(0)
    for number in range(64):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def serve(folder: Path) -> tuple[subprocess.Popen, str]:
    """Start MLflow's server and return it with its address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *store]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if requests.get(f"{address}/health", timeout=2).ok:
                return server, address
        except requests.ConnectionError:
            time.sleep(0.5)
    raise TimeoutError("MLflow does not answer")


def timed_run(study: Study, options: RunOptions) -> tuple[float, str]:
    text, begin = io.StringIO(), time.perf_counter()
    assert engine.run_study(study, options, Console(file=text, width=200)) == 0, text.getvalue()
    return time.perf_counter() - begin, text.getvalue()


class Memory(threading.Thread):
    """Looks once a second at the memory that each process of the study has for itself, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, list[float]] = {}  # by process, over time
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(1.0):
            for folder in Path("/proc").glob("[1-9]*"):
                with contextlib.suppress(OSError):  # it has ended
                    title = (folder / "cmdline").read_bytes().partition(b"\0")[0].decode()
                    driver = folder.name == str(os.getpid())
                    if driver or title.startswith(("ray::Tracker", "ray::ResourceTrainable")):
                        who = "driver" if driver else f"{title.split('.')[0]} {folder.name}"
                        self.seen.setdefault(who, []).append(_own(folder))

    def report(self) -> str:
        """Return, for each process, its memory at five moments of its life."""
        lines = []
        for who, seen in self.seen.items():
            moments = [seen[round(part * (len(seen) - 1) / 4)] for part in range(5)]
            lines.append(f"  {who}: {', '.join(f'{each:.0f}' for each in moments)} MB in {len(seen)} s")
        return "\n".join(lines)


def _own(folder: Path) -> float:
    lines = (folder / "smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=1000)
    count = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "images")
        server, address = serve(folder)
        try:
            base = Trial(f"folder:{folder / 'images'}", CNN(conv_layers=0, fc_layers=1), Training(epochs=1))
            rates = tuple(round(0.001 + 0.0001 * number, 6) for number in range(count))
            study = Study("many", base, (Stage("lr", {"training.lr": rates}),))
            options = RunOptions(output=folder / "results", tracking_uri=address, early_stopping=False)
            watch = Memory()
            watch.start()
            seconds, _ = timed_run(study, options)
            watch.over.set()
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{count} trials: {seconds:.0f} s, all of it in MLflow; the driver's memory at most {memory:.0f} MB",
                flush=True,
            )
            print(watch.report(), flush=True)
            seconds, said = timed_run(study, options)
            assert "nothing to run" in said
            print(f"the same command again: {seconds:.1f} s", flush=True)
            api = f"{address}/api/2.0/mlflow"
            experiment = requests.get(
                f"{api}/experiments/get-by-name", params={"experiment_name": "many"}, timeout=60
            ).json()
            ask = {
                "experiment_ids": [experiment["experiment"]["experiment_id"]],
                "max_results": 100,
                "order_by": ["metrics.val_accuracy DESC"],
            }
            begin = time.perf_counter()
            page = requests.post(f"{api}/runs/search", json=ask, timeout=60).json()
            print(
                f"MLflow: {len(page['runs'])} runs, sorted by a metric, in {time.perf_counter() - begin:.2f} s",
                flush=True,
            )
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
