"""What is hostile, in names, files and texts, is refused in one line or shown as it stands."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ray.tune.execution import class_cache
from rich.console import Console

from analysis import figures
from analysis.page import Page, of_section, write_page
from analysis.report import Column, Section, Table, write_json
from sweeps import terminal
from sweeps.command import fail
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Yardstick
from sweeps.decisions.records import StageResult, Terms
from sweeps.decisions.winner import choose
from sweeps.engine import run_study
from sweeps.main import status
from sweeps.options import RunOptions
from sweeps.reporting.album import Album
from sweeps.reporting.display import Display
from sweeps.reporting.material import DataSummary, Material
from sweeps.reporting.provenance import Provenance
from sweeps.reporting.results import markdown
from sweeps.reporting.stage_figures import StageFigures
from sweeps.reporting.stage_report import report_on
from sweeps.reporting.tables import Facts, stage_table
from sweeps.study import Stage, Study
from sweeps.tracking.finished import folder_name
from sweeps.tracking.store import Store
from tests.sweeps.outcomes import outcome
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError

ROOT = Path(__file__).parent.parent
BY = Yardstick("accuracy", 100)
TERMS = Terms((0,), {"shapes": "0" * 64}, BY, (3, 32, 32), 5, early_stopping=False)
STUDY = Study("names", Trial("shapes"), (Stage("first", {"training.lr": (0.1, 0.2)}),))
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[x](javascript:alert(1))",
    "![x](http://example.com/x.png)",
    "**bold** `code` _it_ ~~no~~ # h | t",
    "[red]x[/red]",
    "[/]",
    "[/nothing]",
    ":smile:",
    r"$\frac{",
    "$a$ and $b",
    r"\$x\$",
    "%s {0} {",
    "_underscored",
    "x" + "$" * 90,
)
BAD_NAMES = (
    *(
        "",
        ".",
        "..",
        "../up",
        "/absolute",
        "a/b",
        "a\\b",
        "C:x",
        ".hidden",
        "-rf",
        "a\0b",
        "a\nb",
        "a.",
        "a b",
        "it's",
        'say "a"',
    ),
    *("<b>", "a,b", "x" * 81, "caf\udce9", "na\N{LATIN SMALL LETTER I WITH DIAERESIS}f", "a\n"),
)


# --- names


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_file_s_is_refused_where_it_is_written(name):
    for what, make in (
        ("study", lambda: replace(STUDY, name=name)),
        ("stage", lambda: replace(STUDY, stages=(Stage(name),))),
    ):
        with pytest.raises(UserError) as caught:
            make()
        message = str(caught.value)
        assert message.startswith(f"the name of a {what} is {name[:90]!r}, but must be 1 to 80 of")
        assert message.isprintable()


@pytest.mark.parametrize("name", ["a", "7", "conv_layers", "v1.2", "lr=0.1", "R0-b", "x" * 80])
def test_a_plain_name_is_its_folder_s(name):
    assert replace(STUDY, name=name, stages=(Stage(name),)).name == name == folder_name(name)


def test_a_study_s_own_file_that_is_wrong_ends_in_one_line(tmp_path):
    code = "from sweeps.main import main\nfrom sweeps.study import Stage, Study\nfrom trainables.config import Trial\n"
    script = tmp_path / "wrong.py"
    for mistake, answer in (
        ("Study('../up', Trial(), (Stage('a'),))", "error: the name of a study is '../up', but"),
        ("1 / 0", "Trace"),
    ):
        script.write_text(code + mistake)
        ended = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        )
        assert ended.stderr.startswith(answer)
        assert (
            (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
            if answer.startswith("error")
            else ended.returncode == 1
        )


@pytest.mark.parametrize("text", [*HOSTILE, *BAD_NAMES, "folder:../../etc", "x" * 5000])
def test_a_folder_s_name_is_safe_whatever_it_is_made_of(text, tmp_path):
    name = folder_name(text)
    assert re.fullmatch(r"[A-Za-z0-9=][A-Za-z0-9._=-]{0,119}", name)
    (tmp_path / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_long_names_that_begin_alike_stay_apart():
    assert len({folder_name("x" * 200 + end) for end in "abc"}) == 3


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_a_stage_or_a_run_that_is_asked_for_by_a_hostile_name_is_only_looked_up(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in ("../x", "a'b", "' OR 1=1 --", "first\nsecond", "%"):
        assert status(STUDY, ["--stages", name]) == 2
        assert capsys.readouterr().err.startswith("error: study names has no stage ")
        with pytest.raises(UserError, match=f"^{re.escape(repr(name))} is neither a run's id nor a study"):
            store.finished(name)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}


# --- texts


def hostile_result() -> StageResult:
    """Return a stage whose labels, note and reasons are all hostile."""
    ends = [outcome(text, [0.5, 0.6]) for text in HOSTILE]
    broken = [replace(outcome(f"{text} ", [0.5], status="failed"), reason=text) for text in HOSTILE]
    stage = Stage("first", {"training.lr": (0.1,)}, note="<b>note</b>\n# heading")
    return StageResult(stage, (*ends, *broken), choose(ends, BY))


def hostile_table() -> Table:
    facts = Facts((HOSTILE[0], HOSTILE[6]), (3, 32, 32), BY, {})
    return stage_table(hostile_result(), facts)


def test_a_written_report_holds_no_element_that_a_text_brought(tmp_path):
    picture = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(picture)
    section = Section(HOSTILE[1], HOSTILE, (hostile_table(),), tuple((picture, text) for text in HOSTILE))
    write_page(tmp_path / "report.html", Page(HOSTILE[0], [of_section(section)], HOSTILE[1], HOSTILE))
    write_json(tmp_path / "report.json", HOSTILE[0], HOSTILE, [section])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    own = (
        "html head meta title style body header h1 p b span nav ol li a section h2 div table caption thead tbody tr "
        "th td figure img figcaption details summary"
    )
    assert set(re.findall(r"<([a-z][a-z0-9]*)", page)) <= set(own.split())
    attributes = {name for tag in re.findall(r"<[a-z][^>]*>", page) for name in re.findall(r'([a-z-]+)="', tag)}
    known = "lang charset http-equiv content name aria-label href id class tabindex scope src alt width height"
    assert attributes <= set(known.split())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["title"] == HOSTILE[0]


def test_a_report_loads_nothing_and_says_so_to_the_browser(tmp_path):
    picture = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(picture)
    section = Section("s", (), (hostile_table(),), ((picture, "c"),))
    write_page(tmp_path / "report.html", Page("t", [of_section(section)]))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in re.findall(r'(?:src|href)="([^"]*)', page))
    assert "url(" not in page
    assert "@import" not in page


def test_markdown_for_mlflow_shows_the_texts_as_they_stand():
    agenda = Agenda(STUDY, TERMS, print)
    agenda._results["first"] = hostile_result()
    text = markdown(agenda)
    assert not re.search(r"[<>]", text)
    for mark in "*_[]`~|#":
        assert not re.search(rf"(?<!\\){re.escape(mark)}", text.removeprefix("**first (lr)**")), mark
    assert r"\[x\](javascript:alert(1))" in text
    assert "&lt;b&gt;note&lt;/b&gt; \\# heading" in text


def test_the_terminal_shows_the_texts_as_they_stand(monkeypatch):
    result, said = hostile_result(), io.StringIO()
    console = terminal.console()
    monkeypatch.setattr(console, "file", said)
    agenda = Agenda(STUDY, TERMS, print)
    display = Display(agenda, console)
    for end in result.outcomes:
        task = replace(next(iter(agenda.tasks.values())), stage=end.cell.label, cell=end.cell)
        display.running = {task.key: (task, 1, None)}
        console.print(display._panel(), soft_wrap=True)
        display.ended(task, end)
    console.print(stage_table(result, Facts(("a", "b"), (3, 32, 32), BY, {})).to_rich())
    for line in report_on(result).words(TERMS):
        console.print(line, highlight=False, soft_wrap=True)
    for text in HOSTILE:
        assert f"{text} : failed: {text}" in said.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_every_figure_draws_the_text_as_it_stands(text):
    rng = np.random.default_rng(0)
    image, said, two = np.zeros((4, 4, 3), np.uint8), {"title": text, "caption": text}, [text, ""]
    values = rng.random((1, 4))
    drawn = figures.curves.__wrapped__([figures.Curve(text, values)], ylabel=text, reference=[(text, 1, 0.5)], **said)
    legend = drawn.axes[0].get_legend().get_texts()[0]
    lines = legend.get_text().splitlines()
    assert "".join(legend._preprocess_math(line)[0] for line in lines).replace(" ", "") == text.replace(" ", "")
    assert not any(legend._preprocess_math(line)[1] for line in lines)
    points, classes = rng.random((6, 2)), np.array([0, 0, 0, 1, 1, 1])
    pictures = [
        figures.curves([figures.Curve(text, values, censored=True)], ylabel=text, **said),
        figures.panels(
            [[figures.Panel(image, text)], [figures.Panel(np.eye(3))]], row_labels=two, colour_label=text, **said
        ),
        figures.matrix(
            np.eye(2),
            row_labels=[text, ""],
            column_labels=[text, ""],
            xlabel=text,
            ylabel=text,
            text=[[text, text]] * 2,
            **said,
        ),
        figures.bars([text, "b"], {text: np.ones(2), "other": np.ones(2)}, ylabel=text, **said),
        figures.scatter([(text, points, classes)], class_names=[text, "b"], **said),
    ]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_a_stage_s_own_figures_are_drawn_with_hostile_labels(tmp_path):
    agenda = Agenda(STUDY, TERMS, print)
    agenda._results["first"] = result = hostile_result()
    facts = Facts((HOSTILE[0], HOSTILE[6]), (3, 32, 32), BY, {})
    data = DataSummary(HOSTILE[0], facts.class_names, 1, 1, 1, multi_label=False)
    material = Material(agenda, facts, data, Provenance())
    StageFigures(result, report_on(result), material, Album(tmp_path)).all()
    for end in ("png", "svg"):
        assert len(list(tmp_path.glob(f"*.{end}"))) == 4
    assert not any(b"<script" in path.read_bytes() for path in tmp_path.glob("*.svg"))


def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers():
    words = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", '=HYPERLINK("http://example.com")')
    numbers = ("-0.1", "+3", "-1e-5", "-inf", "5")
    table = Table("t", (Column("=name"), Column("x")), tuple((word, -0.5) for word in (*words, *numbers, "a\rb")))
    header, *rows = csv.reader(io.StringIO(table.to_csv(), newline=""))
    assert header == ["'=name", "x"]
    assert [row[0] for row in rows] == [*(f"'{word}" for word in words), *numbers, "a b"]
    assert {row[1] for row in rows} == {"-0.5"}
    assert table.text(0, 0) == "=1+1"  # for people, as it stands


def test_a_console_of_rich_s_own_would_stumble():
    with pytest.raises(Exception, match=r"closing tag"):
        Console(file=io.StringIO()).print("[/nothing]")


def test_a_mistake_is_answered_in_one_line_that_commands_no_terminal(capsys):
    assert fail(UserError("a\x1b]0;title\x07b\r\nc caf\udce9 \u202eend")) == 2
    assert capsys.readouterr().err == "error: a ]0;title b c caf end\n"


# --- data


class Secretive:
    """What Tune could make an actor of."""


def write_classes(root: Path, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 3)):
        for name in names:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                    root / part / name / f"{number}.png"
                )


def test_a_study_on_images_of_which_one_cannot_be_decoded_ends_in_one_line(tmp_path):
    write_classes(tmp_path / "images", ("cat", "dog"))
    (tmp_path / "images" / "train" / "dog" / "3.png").write_bytes(b"no image")
    command = [
        sys.executable,
        str(ROOT / "sweeps" / "blocks.py"),
        "--dataset",
        f"folder:{tmp_path / 'images'}",
        "--epochs",
        "1",
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 2
    assert re.fullmatch(
        r"error: .*train/dog/3\.png is not an image that we read \(AVIF, .*\); repair or remove it\n", ended.stderr
    )
    assert ended.stdout == ""


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
def test_a_whole_study_of_hostile_class_names(tmp_path, monkeypatch):
    """And of one secret, that Tune would send to workers, by way of logs and command lines."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    names = ("<img src=x onerror=alert(1)>", "=1+1", "[!]", "[x](javascript:alert(1))", r"$\frac{", "-rf", "_z")
    write_classes(tmp_path / "images", names)
    trial = Trial(
        f"folder:{tmp_path / 'images'}", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=1, batch_size=8)
    )
    note = "[/] <b> [y](javascript:alert(2))"
    study = Study("hostile", trial, (Stage("first", {"training.lr": (0.1,)}, note=note),))
    console, said = terminal.console(), io.StringIO()
    console.file = said
    options = RunOptions(
        num_cpus=2, output=tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}", early_stopping=False
    )
    assert run_study(study, options, console) == 0, said.getvalue()
    page = (tmp_path / "hostile" / "report.html").read_text(encoding="utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert set(re.findall(r"<img ([^>]*?)[;>]", page)) <= {'src="data:image/png', 'src="data:image/svg+xml'}
    with (tmp_path / "hostile" / "first.csv").open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    assert {"'=1+1", "'-rf", "_z"} <= set(header)
    assert note in said.getvalue()
    assert "hush" not in str(class_cache._ActorClassCache().get(Secretive)._default_options)
    assert {path.name for path in tmp_path.iterdir()} <= {"images", "hostile", "mlflow.db", ".mlflow.db.lock", "mlruns"}
