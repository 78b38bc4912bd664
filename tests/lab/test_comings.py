"""A cluster that changes while a study runs on it: a worker joins, and the head starts again. Some five minutes."""

import subprocess
import time

import yaml

from tests.lab.hosts import HEAD, NEEDS_LAB, Lab, until

pytestmark = NEEDS_LAB
WORKERS = 1
WIDE = "python tests/lab/wide.py --no-early-stopping --output /root/results --epochs"
TRAINING = "ResourceTrainable"  # the name of a process that trains
NEW = ("n3", "10.77.0.13")


def epochs(lab: Lab) -> dict[str, list[int]]:
    """Return the epochs that MLflow has of each trial that has begun."""
    return {run["name"]: run["steps"] for run in lab.told("wide") if run["steps"]}


def test_a_worker_that_joins_while_a_study_runs_gets_its_trials(lab):
    """It has the packages and the token of the others, and is started as they are.

    One address more in the file and `ray up --no-restart` do not do: Ray 2.60's autoscaler takes the addresses of
    `provider: local` once, as it starts.
    """
    lab.submit(f"{WIDE} 400", name="study")
    until(lambda: lab.processes(TRAINING) == ["n2"])
    lab("add", NEW[0])
    config = yaml.safe_load((lab.folder / "cluster.yaml").read_text())
    token = lab.head("cat ~/.ray/auth_token").strip()
    start = "; ".join(config["worker_start_ray_commands"])
    lab("run", NEW[0], f"umask 077; mkdir .ray; echo {token} > .ray/auth_token; export RAY_HEAD_IP={HEAD}; {start}")
    lab.hosts[NEW[0]] = lab.workers[NEW[0]] = NEW[1]
    seconds = until(lambda: lab.processes(TRAINING) == ["n2", "n3"], 300)
    print(f"the worker that joined trains after {seconds:.0f} s")
    until(lambda: len(epochs(lab)) == 2)
    lab.operator("ray job stop study; ray job delete study")
    begun = epochs(lab)
    assert all(steps == list(range(1, len(steps) + 1)) for steps in begun.values())


def test_the_head_starts_again_and_the_same_job_goes_on_with_what_the_workers_had_done(lab):
    """Its processes end at once, as when a machine is started again: its disk stays."""
    lab.submit(f"{WIDE} 20 --fresh", name="study")
    spool = "cat ~/results/wide/.spool/*/metrics.jsonl || true"
    until(lambda: lab.head(spool).count('"step": 5,') >= 1, 300)
    lab.head("pkill -9 -f '[r]ay|[m]lflow|[w]ide' || true")
    down = time.monotonic()
    lab.operator(f"ray up -y {lab.folder / 'cluster.yaml'}")
    tunnel = lab.start(
        "run",
        "op",
        f"exec ray exec {lab.folder / 'cluster.yaml'} -p 8265 -p 5000 'sleep 1d'",
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: f"{1 + WORKERS} local.cluster.node" in lab.head("ray status"), 300)
        until(lambda: "Ray" in lab("run", "op", "curl -s http://127.0.0.1:8265/ || true"))
        seconds = time.monotonic() - down
        said = lab.submit(f"{WIDE} 20", timeout=900)
        assert "6 trials run, 0 taken from earlier runs" in said
        # an epoch that was trained again would have come after that
        assert max(run["pause"] for run in lab.told("wide")) >= seconds
        assert epochs(lab) == {f"lr: {lr}": list(range(1, 21)) for lr in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06)}
    finally:
        tunnel.kill()
        tunnel.wait(10)
