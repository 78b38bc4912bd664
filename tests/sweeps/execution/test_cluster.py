import subprocess
import sys

import pytest
import torch

from sweeps.execution.cluster import connect, trial_resources
from sweeps.execution.machines import Machines
from trainables.errors import UserError


def test_a_trial_takes_a_core_and_its_share_of_a_gpu():
    assert trial_resources(Machines()) == {"cpu": 1}
    assert trial_resources(Machines(num_gpus=2, trials_per_gpu=4)) == {"cpu": 1, "gpu": 0.25}
    assert trial_resources(Machines(num_gpus=1, num_cpus=3)).get("gpu", 0) >= 1 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Machines(num_gpus=torch.cuda.device_count() + 1),
            "--num-gpus is .*, but this machine has .* that torch can use",
        ),
        (Machines(address="127.0.0.1:9"), "no Ray cluster answers at 127.0.0.1:9: "),
        (Machines(address="ray://127.0.0.1:head"), "no Ray cluster answers at ray://127.0.0.1:head: "),
    ],
)
def test_what_is_not_there_is_said_at_once(options, message):
    with pytest.raises(UserError, match=message), connect(options):
        pass


def test_a_driver_that_is_told_to_stop_is_interrupted():
    code = """
import os, signal, sys, time
from sweeps.main import guarded

def command():
    from sweeps.execution.cluster import connect
    from sweeps.execution.machines import Machines
    with connect(Machines(num_cpus=1)):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

sys.exit(guarded(command))
"""
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (end.returncode, end.stdout) == (130, "")
    assert end.stderr == "interrupted: finished epochs are kept; the same command goes on from there\n"
