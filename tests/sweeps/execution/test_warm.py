import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.execution import local_ray, warm
from sweeps.execution.tracker_actor import LIGHT

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("light", [False, True])
def test_a_worker_loads_what_trials_need_and_the_tracker_no_torch(light):
    code = f"import sys, {warm.__name__}; print(*('torch' in sys.modules, 'sweeps.execution.worker' in sys.modules))"
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | ({LIGHT: "1"} if light else {})
    end = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert end.stdout.split() == [str(not light)] * 2


def test_ray_imports_this_module():
    assert local_ray.DEFAULTS["RAY_preload_python_modules"] == warm.__name__


def test_what_ray_tune_runs_takes_up_a_worker_that_has_loaded_it_and_the_tracker_has_one_of_its_own(tmp_path):
    """Processes are started for neither of the two trials' workers: those are taken that Ray starts with."""
    code = f"""
import os, subprocess, sys, time
import ray
from ray import tune
from sweeps.execution import local_ray, scheduler, tracker_actor
from sweeps.execution.machines import Machines

class Asks(tune.Trainable):
    def step(self):
        return dict(pid=os.getpid(), warm="sweeps.execution.worker" in sys.modules, done=True)

class Tracker:
    def pid(self):
        return os.getpid(), "torch" in sys.modules

def waiting():
    raylet = ray._private.worker._global_node.all_processes["raylet"][0].process.pid
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(raylet)], capture_output=True, text=True)
    lines = (line.split() for line in found.stdout.splitlines())
    return [int(pid) for pid, title, *_ in lines if title.startswith("ray::IDLE")]

with local_ray.running(Machines(num_cpus=1)):
    tracker = ray.remote(Tracker).options(num_cpus=0, runtime_env=tracker_actor.own_process()).remote()
    pid, torch = ray.get(tracker.pid.remote())
    time.sleep(3)  # as long as MLflow may take: Ray looks every 0.2 s for processes that have waited for one
    before = waiting()
    scheduler.send_no_variables()
    [result] = tune.Tuner(Asks, run_config=tune.RunConfig(storage_path={str(tmp_path)!r}, verbose=0)).fit()
    print(torch, pid in before, result.metrics["warm"], [result.metrics["pid"]] == before)
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AIR_NEW_OUTPUT": "0"}
    end = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert end.stdout.splitlines()[-1:] == ["False False True True"], end.stderr
