"""A study in the hands of a program that knows nothing of it but its commands and their JSON: the contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_program_plans_a_study_runs_it_steers_it_and_reads_what_came_out(tmp_path):
    """It runs as a newcomer's command does, in a process and with a Ray of its own."""
    study = [str(ROOT / "sweeps" / "simple_cnn.py"), "--quick", "--epochs", "2", "--num-cpus", "2", "--num-gpus", "0"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    }
    command = [sys.executable, str(ROOT / "tests" / "program.py"), "--drop", "activation: none", *study]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    report = tmp_path / "results" / "simple_cnn_quick" / "report.html"
    first, answer, *ends, won, last = ran.stdout.splitlines()
    assert (first, last) == ("simple_cnn_quick: 2 trials", f"complete: {report}")
    assert answer.startswith("simple_cnn_quick: drop activation: none: activation: none is dropped")
    found = sorted(re.sub(r"[0-9.]+ %", "… %", end) for end in ends)
    assert found == ["activation: none: dropped", "activation: relu: … %"]
    assert won == "activation: relu wins"
    assert "Dropped, and not ranked: activation = none (" in report.read_text()
    assert ": not wanted)." in report.read_text()
