"""A study in the hands of a program that knows nothing of it but its commands and their JSON: the contract."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_program_plans_a_study_runs_it_in_parts_steers_it_and_reads_what_came_out(tmp_path):
    study = [str(ROOT / "sweeps" / "simple_cnn.py"), "--quick", "--epochs", "2", "--num-cpus", "2", "--num-gpus", "0"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    }

    def program(*flags, first=()):
        command = [sys.executable, str(ROOT / "tests" / "program.py"), *first, *study, *flags]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return ran.stdout.splitlines()

    report = tmp_path / "results" / "simple_cnn_quick" / "report.html"
    assert program("--budget", "1") == ["simple_cnn_quick: 2 trials", f"unfinished: {report}"]
    first, answer, *ends, won, last = program(first=("--drop", "activation: none"))
    assert (first, last) == ("simple_cnn_quick: 2 trials", f"complete: {report}")
    assert answer.startswith("simple_cnn_quick: drop activation: none: activation: none is dropped")
    found = sorted(re.sub(r"[0-9.]+ %", "… %", end) for end in ends)
    assert found == ["activation: none: dropped", "activation: relu: … %"]
    assert won == "activation: relu wins"
    assert "(not wanted)" not in report.read_text()  # the reason comes with who and when
    assert "not wanted" in report.read_text()
