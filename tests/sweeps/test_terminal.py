"""What a terminal cannot show, or does not take."""

import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.terminal import NEAR, Outlet, busy, console, endure, near, printable

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(ROOT / "sweeps" / "part_a.py")


def run(*command: str, where: str = "", **variables: str) -> subprocess.CompletedProcess:
    """Run Python with these arguments, and the shell's redirections."""
    line = ["bash", "-c", f'"$0" "$@" {where}; exit ${{PIPESTATUS[0]}}', sys.executable, *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(line, capture_output=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("3×32×32 → 10 · 77.0 ± 0.3 % “best”", "ascii", '3x32x32 > 10 - 77.0 +- 0.3 % "best"'),
        ("3×32×32 → 10 · 77.0 ± 0.3 % “best”", "latin-1", '3×32×32 > 10 · 77.0 ± 0.3 % "best"'),
        ("Zürich ½ ﬁ x² 学", "ascii", "Zurich 12 fi x2 ?"),
        ("caf\udce9", "utf-8", "caf?"),
    ],
)
def test_what_an_encoding_lacks_is_replaced_by_what_is_near(text, encoding, shown):
    endure()
    assert text.encode(encoding, "near").decode(encoding) == shown


def test_every_form_is_ascii_and_what_is_decoded_is_not_repaired():
    assert "".join(NEAR.values()).isascii()
    with pytest.raises(UnicodeDecodeError):
        near(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "wrong"))


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def broken() -> int:
    read, write = os.pipe()
    os.close(read)
    return write


def hung_up() -> int:
    ours, theirs = pty.openpty()
    os.close(ours)
    return theirs


@pytest.mark.parametrize("opened", [full, broken, hung_up])
def test_what_is_not_taken_is_lost(opened):
    descriptor = opened()
    with io.TextIOWrapper(io.BufferedWriter(Outlet(descriptor)), "utf-8") as stream:
        stream.write("lost\n" * 100_000)
        stream.flush()
    os.close(descriptor)


def test_a_pipe_that_does_not_block_gets_everything():
    read, write = os.pipe()
    os.set_blocking(write, False)
    stream = io.TextIOWrapper(io.BufferedWriter(Outlet(write)), "utf-8")
    got = []

    def reader() -> None:
        while content := os.read(read, 4096):
            got.append(content)

    thread = threading.Thread(target=reader)
    thread.start()
    stream.write("x" * 1_000_000)
    stream.flush()
    os.close(write)
    thread.join()
    os.close(read)
    assert len(b"".join(got)) == 1_000_000


def test_the_streams_of_whoever_replaced_them_are_kept():
    before = sys.stdout, sys.stderr
    endure()
    assert (sys.stdout, sys.stderr) == before


def test_text_commands_no_terminal():
    assert printable("a\x1b[2J\tb\r\nc\u202e\udce9") == "a [2J b \nc  "


def test_the_console_shows_text_as_it_stands():
    shown = console()
    with shown.capture() as text:
        shown.print("[/] :smile: [red]x[/red]", highlight=False)
    assert text.get() == "[/] :smile: [red]x[/red]\n"


def test_names_command_no_terminal_wherever_the_console_shows_them():
    shown, table = console(), Table("a\x1b[2Jb")
    table.add_row("c\x1b]0;d\x07")
    shown.file = io.StringIO()
    shown.print("e\x1b[1m", Text("f\u202e"), table, sep="\n")
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.file.getvalue())
    assert "e [1m\nf" in shown.file.getvalue()


LATIN, ASCII, C = (
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)


@pytest.mark.parametrize("columns", ["0", "1"])
def test_any_width_will_do(columns):
    end = run(PROGRAM, "--help", COLUMNS=columns)
    assert (end.returncode, end.stderr) == (0, b"")
    assert b"usage:" in end.stdout


def test_a_width_of_nothing_is_an_unknown_one(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert console().width == 80
    monkeypatch.setenv("COLUMNS", "1")
    assert console().width == 1


@pytest.mark.parametrize("how", [LATIN, ASCII, C])
def test_help_can_be_shown_in_any_encoding(how):
    end = run(PROGRAM, "--help", **how)
    assert (end.returncode, end.stderr) == (0, b"")
    assert re.search(r"76.9 ±\s+0.3" if how is LATIN else r"76.9 \+-\s+0.3", end.stdout.decode("latin-1"))


def test_so_can_a_plan():
    end = run(PROGRAM, "--dry-run", **ASCII)
    assert (end.returncode, end.stderr) == (0, b"")
    assert b"| 3072 > 256 > 128 > 10 " in end.stdout
    question, _, rest = end.stdout.partition(b"?\n")
    assert question.startswith(b"Which architecture choices")
    assert b"?" not in rest


@pytest.mark.parametrize("where", [">/dev/full", "<&- >&- 2>&-", "2>/dev/full", "2>&-", "| true"])
@pytest.mark.parametrize(("flag", "status"), [("--help", 0), ("--mistake", 2)])
def test_an_output_that_takes_nothing_changes_no_exit_status(where, flag, status):
    end = run(PROGRAM, flag, where=where)
    assert end.returncode == status
    assert [line for line in end.stderr.decode().splitlines() if not line.startswith("error: unknown argument")] == []


def test_no_file_gets_what_is_printed_where_the_output_is_closed(tmp_path):
    code = f"""
import sys
__import__("sweeps.terminal").terminal.endure()
with open({str(tmp_path / "kept")!r}, "w") as file:
    print("said"); print("complained", file=sys.stderr)
    sys.exit(file.fileno() < 3)
"""
    assert run("-c", code, where="<&- >&- 2>&-").returncode == 0
    assert (tmp_path / "kept").read_text() == ""


def test_nor_does_one_that_was_opened_before(tmp_path):
    code = f"""
import sys
file = open({str(tmp_path / "kept")!r}, "w")
__import__("sweeps.terminal").terminal.endure()
print("said")
sys.exit(file.fileno() != 1)
"""
    assert run("-c", code, where=">&-").returncode == 0
    assert (tmp_path / "kept").read_text() == ""


def test_warnings_and_logs_do_not_break_either():
    code = """
import logging, warnings
from sweeps import terminal
terminal.endure()
warnings.warn("±")
logging.getLogger("a").warning("“%s”", "\\udce9 \\x1b[2J")
"""
    for where in ("", "2>/dev/full", "2>&-"):
        end = run("-c", code, where=where, PYTHONIOENCODING="ascii")
        assert end.returncode == 0
        assert b"Traceback" not in end.stderr
    said = run("-c", code, PYTHONIOENCODING="ascii").stderr
    assert b"UserWarning: +-" in said
    assert said.endswith(b'"   [2J"\n')


def test_in_a_terminal_it_is_said_what_a_command_is_at_and_taken_away():
    text = io.StringIO()
    shown = Console(file=text, force_terminal=True, width=80, _environ={})
    with busy(shown, "reading folder:[/]"):
        assert "reading folder:[/] …" in text.getvalue()
        shown.print("said")
    assert text.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
    assert "said\n" in text.getvalue()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_elsewhere_nothing_is(environment):
    text = io.StringIO()
    with busy(Console(file=text, force_terminal=bool(environment), _environ=environment), "reading"):
        assert text.getvalue() == ""
    assert text.getvalue() == ""


def test_an_old_terminal_gets_a_spinner_that_it_can_show():
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, "ascii", "near")
    with busy(Console(file=stream, force_terminal=True, _environ={}), "reading"):
        stream.flush()
        assert content.getvalue().isascii()
        assert b"?" not in content.getvalue().replace(b"\x1b[?", b"")


def test_a_notebook_gets_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    shown = console()
    assert not shown.is_jupyter
    with busy(shown, "reading"):
        shown.print("said", highlight=False)
    assert capsys.readouterr().out == "said\n"


def test_a_command_s_first_word_comes_before_the_slow_imports(tmp_path):
    """In a terminal; and what goes into a pipe is text alone."""
    script = tmp_path / "mine.py"
    script.write_text(STUDY)
    shown = in_a_terminal([sys.executable, str(script), "--dry-run"], tmp_path)
    assert shown.index(b"mine: planning") < shown.index(b"Study mine on shapes")
    piped = run(str(script), "--dry-run")
    assert piped.stdout.startswith(b"How deep?\nStudy mine on shapes")
    assert b"\x1b" not in piped.stdout
    assert piped.stderr == b""


STUDY = """
from sweeps.study import Stage, Study
from trainables.config import Trial

STUDY = Study("mine", Trial("shapes"), (Stage("depth", {"model.conv_layers": (1, 2)}),), question="How deep?")

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
"""


def in_a_terminal(command: list[str], folder: Path) -> bytes:
    """Run a command in a terminal, and return what it shows."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while content := os.read(ours, 65536):
            shown += content
    except OSError:  # it has ended
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown


def test_aside_is_standard_error(capsys):
    console(aside=True).print("[bold]as it stands")
    console().print("asked for")
    assert capsys.readouterr() == ("asked for\n", "[bold]as it stands\n")
