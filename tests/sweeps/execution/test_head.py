import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sweeps.execution import last_word

ROOT = Path(__file__).resolve().parents[3]
LINE = f"Ray on this machine has ended (its {{}} is gone): {last_word.GO_ON}\n"
BEGIN = """
import os, signal, subprocess, sys, time
from sweeps.execution.head import watched
raylet, gcs = (subprocess.Popen(["sleep", "30"], stdout=-3, stderr=-3) for _ in range(2))
processes = {"raylet": raylet, "gcs_server": gcs}
print("before")
"""


def end(code: str) -> tuple[int, str, str]:
    """Return the exit status, standard output and standard error of a program that watches two processes."""
    whole = BEGIN + textwrap.dedent(code) + "\nfor each in processes.values():\n    each.kill()\n"
    variables = {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", whole]
    how = {"capture_output": True, "text": True, "timeout": 60, "env": variables, "start_new_session": True}
    ended = subprocess.run(command, check=False, **how)
    return ended.returncode, ended.stdout, ended.stderr


def test_what_ends_well_ends_in_silence():
    assert end("with watched(processes):\n    time.sleep(0.1)\nraylet.kill()\ntime.sleep(0.1)") == (0, "before\n", "")


def test_an_error_goes_its_own_way():
    status, _, said = end("with watched(processes):\n    1 / 0")
    assert status == 1
    assert said.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "Ray" not in said


def test_each_process_s_end_is_the_command_s_with_a_line_after_what_was_said():
    for name in ("raylet", "gcs_server"):
        code = f"with watched(processes):\n    processes['{name}'].kill()\n    time.sleep(30)"
        assert end(code) == (1, "before\n", LINE.format(name))


def test_two_ends_are_one_line():
    code = "with watched(processes):\n    raylet.kill()\n    gcs.kill()\n    time.sleep(30)"
    assert end(code) in [(1, "before\n", LINE.format(name)) for name in ("raylet", "gcs_server")]


@pytest.mark.parametrize(
    "how",
    [
        "os._exit(1)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "signal.signal(signal.SIGINT, signal.SIG_IGN); os.killpg(0, signal.SIGINT); os._exit(1)",  # as Ctrl-C does
    ],
)
def test_an_end_that_leaves_no_time_for_a_word_has_its_line_all_the_same(how):
    """As Ray's C++ part ends a process, and SIGKILL."""
    status, _, said = end(f"with watched(processes):\n    {how}")
    assert status in (1, -9)
    assert said == last_word.LINE


def test_a_reader_that_has_stopped_reading_delays_the_end_by_seconds_only():
    code = """
    import threading
    reader, writer = os.pipe()
    sys.stdout = open(writer, "w", buffering=2**20)
    sys.stdout.write("x" * 2**19)
    with watched(processes):
        raylet.kill()
        time.sleep(30)
    """
    status, _, said = end(code)
    assert (status, said) == (1, LINE.format("raylet"))
