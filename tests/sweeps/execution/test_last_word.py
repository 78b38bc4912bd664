import subprocess
import sys

import pytest

from sweeps.execution import last_word

COMMAND = [sys.executable, "-I", "-S", last_word.__file__]
LINE = (
    b"Ray on this machine, or this command with it, was killed: each trial's last snapshot is kept; the same command "
    b"goes on from there\n"
)


@pytest.mark.parametrize(("said", "line"), [(b"", LINE), (b".", b"")])
def test_the_line_is_said_where_the_command_has_said_nothing(said, line):
    end = subprocess.run(COMMAND, input=said, capture_output=True, check=True)
    assert (end.stdout, end.stderr) == (b"", line)
