"""How a command ends, whatever ends it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sweeps.main import _is_a_command, fail, guarded, main, status, terminal
from sweeps.study import Stage, Study
from trainables.config import Trial
from trainables.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
STUDY = Study("small", Trial(dataset="shapes"), (Stage("conv_layers", {"model.conv_layers": (0, 1)}),))
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


def interrupt() -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    pytest.fail("it was not interrupted")


def mistake() -> int:
    raise UserError("--epochs is 0,\nbut must be at least 1")


@pytest.fixture(autouse=True)
def own_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("command", "end", "said"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (mistake, 2, "error: --epochs is 0, but must be at least 1\n"),
        (interrupt, 130, "interrupted: finished epochs are kept; the same command goes on from there\n"),
    ],
)
def test_each_end_has_its_status_and_at_most_a_line(command, end, said, capsys):
    assert guarded(command) == end
    assert capsys.readouterr().err == said


def test_what_is_not_the_user_s_mistake_is_raised():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)


def test_a_mistake_in_a_flag_is_one_line(capsys):
    assert status(STUDY, ["--epoch", "3"]) == 2
    assert capsys.readouterr().err == "error: unknown argument '--epoch'; did you mean '--epochs'?\n"


def test_main_ends_the_process_with_the_status():
    with pytest.raises(SystemExit) as end:
        main(STUDY, ["--epochs", "0"])
    assert end.value.code == 2


def test_fail_prints_what_can_be_printed(capsys):
    assert fail(UserError("a\x1b[2Jb")) == 2
    assert capsys.readouterr().err == "error: a [2Jb\n"


def test_the_console_shows_text_as_it_stands():
    console = terminal()
    with console.capture() as shown:
        console.print("[/] :smile: [red]x[/red]", highlight=False)
    assert shown.get() == "[/] :smile: [red]x[/red]\n"


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
    assert all(_is_a_command(path) for path in scripts)
    assert not any(_is_a_command(ROOT / "sweeps" / name) for name in ("options.py", "engine.py", "no such file"))


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
