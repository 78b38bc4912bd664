import io
from pathlib import Path

import pytest
from rich.console import Console

from sweeps import course, report
from sweeps.part_a import STUDY
from sweeps.reporting.provenance import Provenance
from sweeps.tracking.notes import write_note
from trainables.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

TEXT = """
from sweeps.study import Stage, Study
from trainables.config import Trial

STUDY = Study("own", Trial(), (Stage("lr", {"training.lr": (0.1,)}),))
"""


@pytest.fixture
def asked(monkeypatch):
    """Return what would be written: the study and the options of each call."""
    calls = []
    monkeypatch.setattr(course, "write_report", lambda study, options, _: calls.append((study, options)) or 0)
    return calls


def run(store, *arguments):
    return report.run([*arguments, "--tracking-uri", store.uri], Console(file=io.StringIO()))


def test_a_study_s_name_is_enough_and_its_last_command_s_flags_count(store, asked, tmp_path):
    command = "python sweeps/part_a.py --seeds 3 --no-early-stopping --fresh --data-dir elsewhere --output there"
    write_note(store, "part_a", Provenance(command=command).to_json())
    assert run(store, "part_a", "--output", str(tmp_path)) == 0
    [(study, options)] = asked
    assert study == STUDY
    assert (options.seeds, options.early_stopping, options.fresh) == (3, False, False)
    assert (options.data_dir, options.output, options.tracking_uri) == (Path("elsewhere"), tmp_path, store.uri)


@pytest.mark.usefixtures("asked")
def test_in_a_terminal_it_is_said_what_it_is_at(store):
    text = io.StringIO()
    shown = Console(file=text, force_terminal=True, width=80, _environ={})
    report.run(["part_a", "--tracking-uri", store.uri], shown)
    assert "looking for part_a …" in text.getvalue()


def test_flags_that_are_given_count_in_place_of_those(store, asked):
    write_note(store, "part_a", Provenance(command="python sweeps/part_a.py --seeds 3 --quick").to_json())
    run(store, "part_a", "--seeds", "2", "--stages", "stride")
    [(_, options)] = asked
    assert (options.seeds, options.stages, options.quick) == (2, ("stride",), False)


def test_a_quick_study_goes_by_its_own_name_also_where_nothing_is_noted(store, asked):
    run(store, "part_a_quick")
    [(study, options)] = asked
    assert (study, options.quick) == (STUDY, True)


def test_a_study_of_one_s_own_goes_by_its_file_or_by_the_file_of_its_last_command(store, asked, tmp_path):
    (tmp_path / "mine.py").write_text(TEXT)
    run(store, str(tmp_path / "mine.py"))
    write_note(store, "own", Provenance(command=f"python {tmp_path / 'mine.py'} --epochs 2").to_json())
    run(store, "own")
    assert [(study.name, options.epochs) for study, options in asked] == [("own", None), ("own", 2)]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("nobody", "there is no study 'nobody' here; name its file, as in sweeps/part_a.py"),
        ("engine", "there is no study 'engine' here; name its file, as in sweeps/part_a.py"),
        ("../x", "there is no study '../x' here; name its file, as in sweeps/part_a.py"),
        ("gone.py", "there is no file gone.py"),
        ("sweeps/engine.py", "sweeps/engine.py has no STUDY"),
    ],
)
def test_what_is_no_study_is_refused_in_one_line(store, asked, what, line):
    with pytest.raises(UserError) as refused:
        run(store, what)
    assert str(refused.value) == line
    assert asked == []
    with pytest.raises(UserError, match="unknown argument '--sedes'; did you mean '--seeds'"):
        run(store, "part_a", "--sedes", "3")


def test_a_store_that_is_not_there_is_refused_and_not_made(tmp_path):
    missing = tmp_path / "x.db"
    with pytest.raises(UserError, match=f"^there is no database {missing}; "):
        report.run(["part_a_quick", "--tracking-uri", f"sqlite:///{missing}"], Console(file=io.StringIO()))
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_a_trial_of_the_study_takes_no_report_s_place(store, tmp_path):
    place = tmp_path / "part_a_quick" / "report.html"
    place.parent.mkdir()
    place.write_text("of before")
    with pytest.raises(UserError, match=r"has no trial of part_a_quick on this data$"):
        run(store, "part_a_quick", "--output", str(tmp_path))
    assert place.read_text() == "of before"
