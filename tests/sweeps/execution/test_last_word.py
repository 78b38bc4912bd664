import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.execution import last_word

COMMAND = [sys.executable, "-I", "-S", last_word.__file__]
LINE = (
    b"Ray on this machine, or this command with it, was killed: finished epochs are kept; the same command goes on "
    b"from there\n"
)


@pytest.mark.parametrize(("said", "line"), [(b"", LINE), (b".", b"")])
def test_the_line_is_said_where_the_command_has_said_nothing(said, line):
    end = subprocess.run(COMMAND, input=said, capture_output=True, check=True)
    assert (end.stdout, end.stderr) == (b"", line)


def test_signals_are_the_command_s_to_answer():
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    while not ignored(process.pid) >= signals:
        time.sleep(0.01)
    for each in signals:
        process.send_signal(each)
    assert process.communicate()[1] == LINE
    assert process.returncode == 0


def ignored(pid: int) -> set[int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}
