"""Which checkout a program gets that lies in the sweeps/ of one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WHERE = """
import trainables.config, analysis.report, sweeps.main
print(*(module.__file__ for module in (sweeps.main, trainables.config, analysis.report)), sep="\\n")
"""


@pytest.fixture
def other(tmp_path) -> Path:
    """Return a second checkout, beside the one that is installed."""
    for package in ("sweeps", "trainables", "analysis"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "other"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a script of another checkout where this one is what Python finds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.anchor, env=environment)


def program(folder: Path, text: str) -> Path:
    (folder / "where.py").write_text(text)
    return folder / "where.py"


def test_a_study_of_a_second_checkout_uses_that_checkout(other):
    end = run(program(other / "sweeps", f"import sweeps.study\n{WHERE}"))
    expected = ("sweeps/main.py", "trainables/config.py", "analysis/report.py")
    assert (end.stdout.splitlines(), end.stderr) == ([str(other / file) for file in expected], "")


def test_so_do_the_processes_that_it_starts(other):
    text = f"import subprocess, sys, sweeps.study\nsubprocess.run([sys.executable, '-c', {WHERE!r}], cwd='/')\n"
    assert run(program(other / "sweeps", text)).stdout.splitlines()[0] == str(other / "sweeps" / "main.py")


def test_a_shipped_study_of_it_runs_with_its_own_code(other):
    config = other / "sweeps" / "options.py"
    config.write_text(config.read_text().replace("print the plan and stop", "print the other plan and stop"))
    assert "print the other plan and stop" in run(other / "sweeps" / "part_a.py", "--help").stdout


def test_two_checkouts_are_never_mixed(other):
    end = run(program(other / "sweeps", "import trainables.config\nimport sweeps.study\n"))
    assert end.returncode == 2
    assert end.stderr == (
        f"error: {other / 'sweeps' / 'where.py'} imports trainables or analysis before sweeps, and so gets those of "
        f"another checkout; import sweeps first, or set PYTHONPATH={other}\n"
    )


@pytest.mark.usefixtures("other")
def test_a_program_elsewhere_gets_what_is_installed(tmp_path):
    for folder in (tmp_path, tmp_path / "sweeps"):  # a folder of that name need not be a checkout's
        folder.mkdir(exist_ok=True)
        end = run(program(folder, f"import sweeps.study\n{WHERE}"))
        assert end.stdout.splitlines()[0] == str(ROOT / "sweeps" / "main.py")
