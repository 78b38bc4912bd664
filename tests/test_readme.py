"""What the READMEs show works: every block of Python runs, every command names a file and flags that exist."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from sweeps.options import parse

ROOT = Path(__file__).parent.parent
READMES = sorted(
    path for path in ROOT.glob("**/README.md") if not {"data", "results"} & set(path.relative_to(ROOT).parts)
)
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}:{number}")
    for path in READMES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE), 1)
]
COMMANDS = sorted(
    {
        (path.relative_to(ROOT).as_posix(), command.partition("#")[0].strip())
        for path in READMES
        for command in re.findall(r"python (sweeps/\w+\.py[^\n`]*)", path.read_text())
    }
)
# files that a reader is told to write, and commands that are no study's
TO_WRITE = {"sweeps/depth.py", "sweeps/dropout.py", "sweeps/x.py"}
OTHERS = {
    f"sweeps/{name}.py" for name in ("part_b", "analyse", "evaluate", "export", "report", "steer", "sync", "watch")
}


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_of_python_runs(block, tmp_path):
    """It is run as a file of its own would be imported, so that a study in it is checked but not started."""
    file = tmp_path / "block.py"
    file.write_text(block)
    runpy.run_path(str(file))


@pytest.mark.parametrize(("readme", "command"), COMMANDS)
def test_every_command_names_a_file_and_flags_that_exist(readme, command, monkeypatch):
    file, *arguments = shlex.split(command)
    if file in TO_WRITE:
        return
    assert (ROOT / file).is_file(), readme
    monkeypatch.setattr(sys, "argv", [file])
    if file not in OTHERS and arguments != ["…"]:
        parse(arguments, description="", stages=())
