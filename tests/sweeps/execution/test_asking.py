"""What is asked, and what is answered already: tests/sweeps/execution/test_questions.py goes through all of it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_command_that_finds_all_answered_imports_neither_ray_nor_torch():
    code = """
import sys
from types import SimpleNamespace
from analysis.jobs import make
from sweeps.execution.answers import Answer
from sweeps.execution.asking import about, ask
from sweeps.execution.machines import Machines
[question] = about(make({"mistakes": {}}), [SimpleNamespace(run_id="run")])
there = lambda asked: {0: Answer(asked[0], folder="there", finding="found")}
kept = SimpleNamespace(known=there, say=print, settle=lambda answers: answers)
[answer] = ask([question], None, kept, Machines())
print(answer.finding, {"ray", "torch", "matplotlib"} & sys.modules.keys())
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    end = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert end.stdout == "analyses done already, and not done again: 1\nfound set()\n", end.stderr
