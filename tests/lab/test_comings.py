"""A cluster that changes while a study runs on it: a worker joins, and the head starts again. Some five minutes."""

import subprocess
import time

import pytest
import yaml

from tests.lab.hosts import NEEDS_LAB, Lab, until

pytestmark = NEEDS_LAB
WORKERS = 1
WIDE = "python tests/lab/wide.py --no-early-stopping --output /root/results --epochs"
TRAINING = "ResourceTrainable"  # the name of a process that trains
NEW = ("n3", "10.77.0.13")


@pytest.fixture(autouse=True)
def _nothing_runs_afterwards(lab):
    yield
    lab.operator("ray job stop study; ray job delete study")


def ray_up(lab: Lab, *options: str) -> None:
    lab.operator(f"ray up -y {' '.join(options)} {lab.folder / 'cluster.yaml'}")


def epochs(lab: Lab) -> dict[str, list[int]]:
    """Return the epochs that MLflow has of each trial that has begun."""
    return {run["name"]: run["steps"] for run in lab.told("wide") if run["steps"]}


def test_a_worker_that_joins_while_a_study_runs_gets_its_trials(lab):
    """As the README says: one address more, and `ray up --no-restart`."""
    lab.submit(f"{WIDE} 400", name="study")
    until(lambda: lab.processes(TRAINING) == ["n2"])
    lab("add", NEW[0])
    file = lab.folder / "cluster.yaml"
    config = yaml.safe_load(file.read_text())
    config["provider"]["worker_ips"].append(NEW[1])
    file.write_text(yaml.safe_dump(config))
    ray_up(lab, "--no-restart")
    lab.hosts[NEW[0]] = lab.workers[NEW[0]] = NEW[1]
    seconds = until(lambda: lab.processes(TRAINING) == ["n2", "n3"], 300)
    print(f"the worker that joined trains after {seconds:.0f} s")
    lab.operator("ray job stop study")
    begun = epochs(lab)
    assert len(begun) >= 2
    assert all(steps == list(range(1, len(steps) + 1)) for steps in begun.values())


def test_the_head_starts_again_and_the_same_job_goes_on_with_what_the_workers_had_done(lab):
    """Its processes end at once, as when a machine is started again: its disk stays."""
    lab.submit(f"{WIDE} 60 --fresh", name="study")
    spool = "cat ~/results/wide/.spool/*/metrics.jsonl || true"
    until(lambda: lab.head(spool).count('"step": 5,') >= 1, 300)
    lab.head("pkill -9 -f 'ray|mlflow|wide' || true")
    down = time.monotonic()
    ray_up(lab)
    tunnel = lab.start(
        "run",
        "op",
        f"exec ray exec {lab.folder / 'cluster.yaml'} -p 8265 -p 5000 'sleep 1d'",
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: f"{len(lab.hosts)} local.cluster.node" in lab.head("ray status"), 300)
        until(lambda: "Ray" in lab("run", "op", "curl -s http://127.0.0.1:8265/ || true"))
        seconds = time.monotonic() - down
        said = lab.submit(f"{WIDE} 60", timeout=900)
        assert "6 trials run, 0 taken from earlier runs" in said
        # an epoch that was trained again would have come after that
        assert max(run["pause"] for run in lab.told("wide")) >= seconds
        assert epochs(lab) == {f"lr: {lr}": list(range(1, 61)) for lr in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)}
    finally:
        tunnel.kill()
