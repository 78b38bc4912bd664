"""How a program ends that is a command, before main() begins."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from sweeps.command import fail, is_a_command
from trainables.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
# as every shipped study is written: its words first, main last
STUDY_FILE = """
from sweeps.study import Stage, Study
from trainables.config import Trial

STUDY = Study("mine", Trial("shapes"), (Stage("depth", {{"model.{field}": (1, 2)}}),))

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
"""


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(script), *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.parent, env=environment)


def written(folder: Path, text: str) -> Path:
    script = folder / "mine.py"
    script.write_text(textwrap.dedent(text))
    return script


def test_fail_prints_what_can_be_printed(capsys):
    assert fail(UserError("a\x1b[2Jb")) == 2
    assert capsys.readouterr().err == "error: a [2Jb\n"


def test_a_mistyped_field_in_a_study_is_one_line_though_main_comes_last(tmp_path):
    end = run(written(tmp_path, STUDY_FILE.format(field="conv_layer")))
    assert (end.returncode, end.stdout) == (2, "")
    assert end.stderr == "error: a trial has no field 'model.conv_layer'; did you mean 'model.conv_layers'?\n"


def test_a_mistyped_field_in_a_shipped_study_is_one_line(tmp_path):
    shipped = (ROOT / "sweeps" / "part_a.py").read_text()
    script = written(tmp_path, shipped.replace('"model.pooling": ("max", "none")', '"model.poling": ("max", "none")'))
    end = run(script, "--dry-run")
    assert end.returncode == 2
    assert end.stderr == "error: a trial has no field 'model.poling'; did you mean 'model.pooling'?\n"


def test_every_shipped_study_and_command_is_known_as_one():
    scripts = [path for path in (ROOT / "sweeps").glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert len(scripts) > 8
    assert all(is_a_command(path) for path in scripts)
    assert not any(is_a_command(ROOT / "sweeps" / name) for name in ("options.py", "engine.py", "no such file"))


def test_a_study_without_a_mistake_runs(tmp_path):
    assert run(written(tmp_path, STUDY_FILE.format(field="conv_layers")), "--dry-run").returncode == 0


def test_another_error_in_a_study_s_file_keeps_its_traceback(tmp_path):
    end = run(written(tmp_path, "from sweeps.main import main\nfrom sweeps.study import Study\n1 / 0\n"))
    assert end.returncode == 1
    assert end.stderr.startswith("Traceback")


def test_whoever_imports_the_words_as_a_library_keeps_the_traceback(tmp_path):
    text = """
        import sys
        from sweeps.study import Study
        print(sys.excepthook is sys.__excepthook__)
        Study("", 0, ())
    """
    end = run(written(tmp_path, text))
    assert (end.returncode, end.stdout) == (1, "True\n")
    assert end.stderr.startswith("Traceback")


def test_a_program_s_own_hook_is_kept(tmp_path):
    text = """
        import sys
        sys.excepthook = lambda kind, error, trace: print("own:", error)
        from sweeps.study import Study
        Study("", 0, ())
        from sweeps.main import main
    """
    assert run(written(tmp_path, text)).stdout.startswith("own: the name of a study is ''")
