"""What a study of very many trials costs: a straight line through several sizes, for the command that runs them, for
the same command again, and for the processor time of each part; and the driver's memory.

    python -m tests.benchmarks.many_trials [--trials 300,1000] [--store postgresql+psycopg2://USER@HOST/DATABASE]

The trials are trivial (64 images, one epoch). MLflow is a server on sqlite, or on another store, which must be empty
and take one size, as `mlflow server` starts it, on this machine. Each command is a process of its own, as a user starts
it, so that its seconds have its start in them: a line's slope is a trial's cost. Where the machine has other work,
processor time tells more than seconds.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import requests
from PIL import Image

STUDY = """
from sweeps.study import Stage, Study
from trainables.config import CNN, Training, Trial

RATES = tuple(round(0.001 + 0.0001 * number, 6) for number in range({count}))
BASE = Trial("folder:{folder}", CNN(conv_layers=0, fc_layers=1), Training(epochs=1))
STUDY = Study(name="many", baseline=BASE, stages=(Stage("lr", {{"training.lr": RATES}}),))

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
"""
TICKS = os.sysconf("SC_CLK_TCK")
LOOK = 1.0  # seconds between looks at the processes
ROLES = {"Tracker": "ray::Tracker", "workers": "ray::ResourceTrainable"}  # by what a process's title begins with


@dataclass
class Cost:
    """What a command took: seconds, processor seconds by role, and the driver's highest memory, in MB."""

    seconds: float
    processor: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0


def draw(folder: Path) -> None:
    """Write two classes of noise."""
    rng = np.random.default_rng(0)
    for number in range(64):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


@contextmanager
def serve(folder: Path, backend: str) -> Iterator[tuple[int, str]]:
    """Have MLflow's server meanwhile; yield its process and its address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    backend = backend or f"sqlite:///{folder / 'mlflow.db'}"
    store = [f"--backend-store-uri={backend}", f"--artifacts-destination={folder / 'artifacts'}"]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port), *store]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                if requests.get(f"{address}/health", timeout=2).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.5)
        yield server.pid, address
    finally:
        server.terminate()
        server.wait(30)


def run(command: list[str], log: Path, server: int) -> Cost:
    """Run a command and return what it cost."""
    began, seen = time.perf_counter(), {each: _used(each) for each in _family(server)}
    at_first = sum(seen.values())
    with log.open("wb") as file:
        driver = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    roles, memory = dict.fromkeys(seen, "MLflow's server"), 0.0
    while driver.poll() is None:
        time.sleep(LOOK)
        memory = max(memory, _highest(driver.pid))
        for process in [*_family(driver.pid), *_family(server)]:
            role = _role(process, driver.pid, server)
            if role in ROLES or process not in roles:  # a worker has no title of its own before its first trial
                roles[process] = role
            seen[process] = _used(process) or seen.get(process, 0.0)
    assert driver.returncode == 0, log.read_text()
    processor: dict[str, float] = {}
    for process, used in seen.items():
        processor[roles[process]] = processor.get(roles[process], 0.0) + used
    processor["MLflow's server"] -= at_first
    return Cost(time.perf_counter() - began, processor, memory)


def _family(process: int) -> list[int]:
    """Return a process and all below it."""
    found = [process]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # it has ended
                continue
    return found


def _role(process: int, driver: int, server: int) -> str:
    if process == driver:
        return "driver"
    try:
        title = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "Ray's own"
    if "mlflow" in title or process == server:
        return "MLflow's server"
    return next((role for role, begin in ROLES.items() if title.startswith(begin)), "Ray's own")


def _used(process: int) -> float:
    """Return the seconds of processor time that a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _highest(process: int) -> float:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def measure(count: int, store: str = "") -> tuple[Cost, Cost]:
    """Return what so many trials cost, and what the same command costs again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder / "images")
        (folder / "many.py").write_text(STUDY.format(count=count, folder=folder / "images"))
        with serve(folder, store) as (server, address):
            command = [sys.executable, str(folder / "many.py"), "--no-early-stopping", "--tracking-uri", address]
            command += ["--output", str(folder / "results")]
            first = run(command, folder / "first.log", server)
            again = run(command, folder / "again.log", server)
            assert "nothing to run" in (folder / "again.log").read_text()
            print(f"{count} trials: {first.seconds:.0f} s, the driver's memory at most {first.memory:.0f} MB")
            print(f"  {_shares(first, count)}")
            print(f"the same command again: {again.seconds:.1f} s, at most {again.memory:.0f} MB")
            print(f"MLflow: 100 runs, sorted by a metric, in {_sorted(address):.2f} s", flush=True)
    return first, again


def _shares(cost: Cost, count: int) -> str:
    shares = sorted(cost.processor.items(), key=lambda each: -each[1])
    return "processor, ms a trial: " + ", ".join(f"{role} {1000 * used / count:.0f}" for role, used in shares)


def _sorted(address: str) -> float:
    api = f"{address}/api/2.0/mlflow"
    found = requests.get(f"{api}/experiments/get-by-name", params={"experiment_name": "many"}, timeout=60).json()
    number = found["experiment"]["experiment_id"]
    ask = {"experiment_ids": [number], "max_results": 100, "order_by": ["metrics.val_accuracy DESC"]}
    began = time.perf_counter()
    requests.post(f"{api}/runs/search", json=ask, timeout=60).raise_for_status()
    return time.perf_counter() - began


def fit(what: str, counts: list[int], values: list[float], unit: str) -> None:
    """Print the straight line through values at these numbers of trials, and how far they are from it."""
    slope, start = np.polyfit(counts, values, 1)
    off = np.abs(np.array(values) - (start + slope * np.array(counts))).max()
    print(f"{what}: {start:.1f} {unit} + {1000 * slope:.3g} m{unit} a trial, at most {off:.1f} {unit} off the line")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", default="300,1000", help="sizes, of several a line is fitted")
    parser.add_argument(
        "--store", default="", help="a database of MLflow's; without it a new sqlite file for each size"
    )
    options = parser.parse_args()
    counts = [int(each) for each in options.trials.split(",")]
    costs = [measure(count, options.store) for count in counts]
    if len(counts) < 2:
        return
    fit("all trials", counts, [first.seconds for first, _ in costs], "s")
    for role in costs[-1][0].processor:
        fit(f"  processor: {role}", counts, [first.processor.get(role, 0.0) for first, _ in costs], "s")
    fit("the same command again", counts, [again.seconds for _, again in costs], "s")
    fit("the driver's memory", counts, [first.memory / 1000 for first, _ in costs], "GB")


if __name__ == "__main__":
    main()
