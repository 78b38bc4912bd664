import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from rich.console import Console

from sweeps.watch import run
from trainables.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path):
    for name in ("part_a", "part_a_quick", "depth_quick"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.json").write_text("[]")
    (tmp_path / "other").mkdir()
    return tmp_path


def once(output, study):
    console = Console(file=io.StringIO(), width=100)
    assert run([study, "--output", str(output), "--once"], console) == 0
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("study", "found"), [("part_a", "part_a"), ("part_a_quick", "part_a_quick"), ("depth", "depth_quick")]
)
def test_a_study_is_found_by_its_name_or_as_quick_has_it(study, found, output):
    assert once(output, study) == f"{found}: no command has run it here since its folder was made\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["other"], "has no study 'other'; known: depth_quick, part_a, part_a_quick"),
        (["part_b"], "has no study 'part_b'; did you mean 'part_a'?"),
        (["../part_a"], "has no study '../part_a'"),
        (["part_a", "--port", "70000"], "--port is 70000, but must be 0..65535"),
    ],
)
def test_a_mistake_is_a_line(arguments, said, output):
    with pytest.raises(UserError, match=re.escape(said)):
        run([*arguments, "--output", str(output)], Console(file=io.StringIO()))


def test_the_page_is_served_until_interrupted(output):
    command = [sys.executable, str(ROOT / "sweeps" / "watch.py"), "part_a", "--output", str(output), "--port", "0"]
    environment = os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as watch:
        address = re.fullmatch(r"part_a: (http://127\.0\.0\.1:\d+) \(Ctrl-C ends\)\n", watch.stdout.readline())[1]
        with urlopen(address, timeout=30) as page:  # noqa: S310  it is of this machine
            assert page.status == 200
        watch.send_signal(signal.SIGINT)
        said, wrong = watch.communicate(timeout=30)
    assert (watch.returncode, said, wrong) == (0, "", "")
