import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.report import Column, Section, Table
from sweeps.decisions.agenda import Agenda
from sweeps.decisions.planning import plan_study
from sweeps.decisions.records import Known
from sweeps.decisions.status import Status
from sweeps.reporting import album as album_module
from sweeps.reporting import results, stage_report
from sweeps.reporting.album import Album
from sweeps.reporting.drawn import LIST
from sweeps.reporting.material import DataSummary
from sweeps.reporting.results import keep, markdown, prepare, write, write_findings
from sweeps.reporting.tables import Facts
from sweeps.reporting.verdicts import TITLE
from sweeps.study import Choice, Claim, Published, Search, Space, Stage, Study
from tests.analysis.page.test_writing import Parsed
from tests.sweeps.outcomes import history, terms
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.history import History

BASE = Trial("shapes", CNN(conv_layers=1, channels=4, fc_layers=1), Training(epochs=2))
LR = Stage("lr", {"training.lr": (0.1, 0.2, 1000.0)}, published={0.1: Published(0.5, 61, 2)}, note="A *note*.")
STUDY = Study("small", BASE, (LR, Stage("width", {"model.channels": (4, 6)})), question="What helps?")
DATA = DataSummary("folder:cats", ("cat", "dog"), train=1234, val=137, test=300, multi_label=False)
TERMS = terms(images=137, early_stopping=False)
CLAIM = Claim("lr", 0.1, (0.2,), source="R9.1")
PNG = b"\x89PNG"


def decided(histories: list[History | None], study=STUDY) -> Agenda:
    """Return the agenda once the first stage's trials have these histories; None: it diverged after an epoch."""
    agenda = Agenda(study, TERMS, lambda _: None)
    for each in histories:
        key, reason = agenda.next().key, None if each else "Diverged: the training loss became nan in epoch 2 (seed 0)"
        agenda.finish(key, each or history([0.3]), reason=reason)
    agenda.advance()
    return agenda


@pytest.fixture
def agenda() -> Agenda:
    return decided([history([0.5, 0.7]), history([0.6, 0.5]), None])


def facts(agenda) -> Facts:
    return Facts(DATA.class_names, (3, 32, 32), TERMS.yardstick, {key: f"run of {key}" for key in agenda.outcomes})


def rows(folder, stage):
    return list(csv.DictReader((folder / f"{stage}.csv").read_text().splitlines()))


@pytest.mark.parametrize(
    ("values", "where"),
    [((False,), None), ((True,), "With vary_split each"), ((True, False), "In trials with vary_split each")],
)
def test_it_is_said_where_each_seed_has_a_split_of_its_own(tmp_path, values, where):
    study = Study("small", BASE, (Stage("split", {"training.vary_split": values}),))
    found = decided([history([0.5])] * len(values), study)
    write(tmp_path, found, facts(found), DATA)
    [intro] = json.loads((tmp_path / "report.json").read_text())["intro"]
    assert (f" {where} seed has its own split" in intro) == (where is not None)
    assert ("vary_split" in intro) == (where is not None)


def test_what_several_parts_of_a_report_show_is_made_once(tmp_path, monkeypatch):
    made = []
    for module, name in ((stage_report, "stage_table"), (stage_report, "effects_table"), (results, "claims_section")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, real=real, name=name: made.append(name) or real(*given))
    found = decided([history([0.5, 0.7]), history([0.6, 0.5]), None], replace(STUDY, claims=(CLAIM,)))
    write(tmp_path, found, facts(found), DATA)
    # of each decided or open stage with trials: lr and width
    assert sorted(made) == ["claims_section", *["effects_table"] * 2, *["stage_table"] * 2]


def test_a_decided_stage_has_a_table_and_figures_and_one_report_is_over_all(tmp_path, agenda):
    write(tmp_path, agenda, facts(agenda), DATA)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("lr.csv", "width.csv", "report.html", "report.json", LIST),  # a trial of width ran in lr: it is on its way
        *(f"lr-{name}.{end}" for name in ("effects", "learning", "loss", "accuracy") for end in ("png", "svg")),
        *(f"width-{name}.{end}" for name in ("learning", "loss", "accuracy") for end in ("png", "svg")),
    }
    assert (tmp_path / "lr-loss.png").read_bytes().startswith(PNG)
    table = rows(tmp_path, "lr")
    assert [(row["lr"], row["status"], row["epochs"]) for row in table] == [
        ("0.1", "done", "2"),
        ("0.2", "done", "2"),
        ("1000.0", "failed", "1"),
    ]
    assert [float(row["validation acc %"]) for row in table] == pytest.approx([70, 60, 30])
    assert [row["chosen epoch"] for row in table] == ["2", "1", "1"]
    assert all(row["MLflow run"] == f"run of {row['key']}" for row in table)


def test_the_report_says_what_was_measured_how_and_what_is_missing(tmp_path, agenda):
    finding = Section("Mistakes: small, lr: 0.1", ("Three.",))
    write(tmp_path, agenda, facts(agenda), DATA, [finding])
    report = json.loads((tmp_path / "report.json").read_text())
    about, undecided = report["intro"]
    assert about.startswith("folder:cats: 1,234 training, 137 validation and 300 test images of 3×32×32 ")
    assert " One seed per trial; all trials run in full. Winners are chosen on validation, " in about
    assert (report["state"], report["question"]) == ("1 of 2 stages decided, 3 trials ended", "What helps?")
    assert undecided == "Not decided yet: width. The same command continues."
    stage, last = report["sections"]
    assert (stage["title"], last["title"], last["text"]) == ("lr", "Mistakes: small, lr: 0.1", ["Three."])
    assert stage["text"][0] == "A *note*."
    assert stage["text"][1] == "Winner on validation (137 images): lr = 0.1 at 70.0 % accuracy (1 seed)."
    assert stage["text"][2].startswith("Not compared: lr = 0.1 and 0.2, as no results per image were kept")
    assert stage["text"][3] == "Each effect holds for the values that the other factors have in this stage."
    assert stage["text"][4:] == ["Failed: lr = 1000.0: Diverged: the training loss became nan in epoch 2 (seed 0)."]
    assert [Path(figure["file"]).stem for figure in stage["figures"]] == [
        *("lr-effects", "lr-learning", "lr-loss", "lr-accuracy")
    ]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") == 4 + 3
    assert "Three." in page


def test_once_all_is_decided_nothing_is_said_to_be_missing(tmp_path):
    agenda = decided([history([0.5, 0.7])], replace(STUDY, stages=(Stage("lr", {"training.lr": (0.1,)}),)))
    write(tmp_path, agenda, facts(agenda), DATA)
    assert len(json.loads((tmp_path / "report.json").read_text())["intro"]) == 1


def test_a_recheck_is_missing_until_it_is_decided_and_then_has_its_files(tmp_path):
    study = replace(STUDY, recheck=True)
    begun = decided([history([0.5, 0.7]), history([0.6, 0.5]), None], study)
    write(tmp_path, begun, facts(begun), DATA)
    assert "Not decided yet: width, recheck." in (tmp_path / "report.html").read_text()
    ended = decided([history([0.5, 0.7]), history([0.6, 0.5]), None], study)
    while not ended.over:
        ended.finish(ended.next().key, history([0.5, 0.8]))
        ended.advance()
    write(tmp_path, ended, facts(ended), DATA)
    assert [row["recheck"] for row in rows(tmp_path, "recheck")] == ["final winner", "lr 0.2", "width 4"]
    assert "Final winner on validation (137 images): lr 0.1, width 6" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "recheck-accuracy.png").exists()


def test_a_trial_without_an_epoch_has_no_curve_and_a_stage_of_such_no_figure(tmp_path):
    agenda = Agenda(STUDY, TERMS, lambda _: None)
    for _ in range(3):
        agenda.finish(agenda.next().key, History({}), reason="it broke")
    agenda.advance()
    write(tmp_path, agenda, facts(agenda), DATA)
    assert list(tmp_path.glob("*.png")) == []
    assert [row["status"] for row in rows(tmp_path, "lr")] == ["failed"] * 3
    skipped = json.loads((tmp_path / "report.json").read_text())["sections"][1]
    assert skipped["text"] == ["Not run: stage lr has no winner to start from."]
    assert not (tmp_path / "width.csv").exists()


def test_on_multi_label_data_the_report_says_what_a_map_is(tmp_path):
    agenda = Agenda(STUDY, TERMS, lambda _: None)
    write(tmp_path, agenda, facts(agenda), replace(DATA, multi_label=True))
    [about, _] = json.loads((tmp_path / "report.json").read_text())["intro"]
    rule = STUDY.baseline.training.ap_rule
    assert about.endswith(f" mAP: the mean over classes of the average precision, {rule} rule.")


def test_the_chapters_stand_in_the_order_of_the_questions_that_a_reader_has(tmp_path):
    study = replace(STUDY, claims=(Claim("lr", 0.1, source="R0"),))
    agenda = decided([history([0.5, 0.7]), history([0.6, 0.5]), None], study)
    write(tmp_path, agenda, facts(agenda), DATA, [Section("Seen: small", ("It sees.",))])
    found = Parsed((tmp_path / "report.html").read_text())
    assert found.texts("h1") == ["small"]
    assert found.texts("h2") == [
        *("Answers so far", "Setup", "lr = 0.1 leads; its lead cannot be tested"),
        *("width (channels): 1 trial has ended so far", "The best model so far", "What it has learned"),
        *(TITLE, "Limits", "How to reproduce it", "Appendix"),
    ]
    assert found.texts("p")[:2] == ["What helps?", "folder:cats · 1 of 2 stages decided, 3 trials ended"]
    assert found.all("a", "href") == [f"#section-{at}" for at in range(1, 11)]


def test_the_same_study_is_written_as_the_same_bytes(tmp_path, agenda):
    pages = []
    for name in ("one", "other"):
        write(tmp_path / name, agenda, facts(agenda), DATA)
        pages.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert pages[0] == pages[1]


def test_a_stage_that_is_open_is_shown_as_far_as_it_has_come(tmp_path):
    agenda = Agenda(STUDY, TERMS, lambda _: None)
    agenda.finish(agenda.next().key, history([0.5, 0.7]))
    write(tmp_path, agenda, facts(agenda), DATA)
    found = Parsed((tmp_path / "report.html").read_text())
    assert "lr: 1 trial has ended so far" in found.texts("h2")
    assert "No stage is decided yet." in found.texts("p")
    assert [row["lr"] for row in rows(tmp_path, "lr")] == ["0.1"]
    assert not any(text.startswith(("Winner", "No winner")) for text in found.texts("p"))
    assert json.loads((tmp_path / "report.json").read_text())["sections"] == []


def test_what_has_not_changed_is_not_drawn_again(tmp_path, monkeypatch):
    agenda, album, drawn = Agenda(STUDY, TERMS, lambda _: None), Album(tmp_path), []
    whole = album_module.write_whole
    monkeypatch.setattr(
        album_module, "write_whole", lambda path, content: (drawn.append(path.stem), whole(path, content))
    )
    for often in (6, 0):  # three figures, each as PNG and SVG; then the same again
        if often:
            agenda.finish(agenda.next().key, history([0.5, 0.7]))
        write(tmp_path, agenda, facts(agenda), DATA, album=album)
        assert len(drawn) == often
        drawn.clear()
    agenda.finish(agenda.next().key, history([0.6, 0.5]))
    write(tmp_path, agenda, facts(agenda), DATA, album=album)
    assert set(drawn) == {"lr-learning", "lr-loss", "lr-accuracy"}


def test_the_plan_is_written_before_anything_runs(tmp_path):
    folder = prepare(tmp_path / "a" / "small", plan_study(STUDY, (3, 32, 32), 10))
    plan = json.loads((folder / "plan.json").read_text())
    assert [(stage["stage"], stage["starts_from"]) for stage in plan] == [
        ("lr", "the baseline"),
        ("width", "the winner of lr"),
    ]
    first = plan[0]["trials"][0]
    assert (first["value"], first["config"]["training"]["lr"]) == ("0.1", 0.1)
    assert first["parameters"] == (27 * 4 + 4) + (
        4 * 15 * 15 * 10 + 10
    )  # a 3×3 convolution, pooled 30 → 15; a head of ten


def test_a_place_that_cannot_be_written_to_is_the_user_s_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    for make in (lambda: prepare(tmp_path / "file" / "small", []), lambda: keep(tmp_path / "file", {"a.csv": b""})):
        with pytest.raises(
            UserError, match=r"^the results cannot be written to .*/file.*: (File exists|Not a directory)$"
        ):
            make()


def test_files_are_kept_in_their_folders(tmp_path):
    assert keep(tmp_path / "new", {"a.csv": b"1", "deep/b.png": b"2"}) == tmp_path / "new"
    assert (tmp_path / "new" / "deep" / "b.png").read_bytes() == b"2"


def test_findings_have_a_report_of_their_own(tmp_path):
    table = Table("t", (Column("class"), Column("flips")), (("cat", 3),))
    path = write_findings(tmp_path, "small", [Section("Ablation: small, lr: 0.1", ("Without it …",), (table,))])
    assert path == tmp_path / "analysis.html"
    assert "<h1>small: analyses</h1>" in path.read_text()
    assert json.loads((tmp_path / "analysis.json").read_text())["sections"][0]["tables"][0]["rows"] == [["cat", 3]]


def test_the_summary_for_mlflow_begins_with_the_question_and_has_each_stage_s_words(agenda):
    agenda.study = replace(agenda.study, question="What does *lr* bring?")
    question, title, note, winner, _, _, failed = markdown(agenda).split("\n\n")
    assert (question, title, note) == (r"What does \*lr\* bring?", "**lr**", r"A \*note\*.")
    assert winner.startswith("Winner on validation (137 images): lr = 0.1 at ")
    assert failed.startswith("Failed: lr = 1000.0: Diverged")
    agenda.study = replace(agenda.study, question="")
    assert markdown(agenda).startswith("**lr**")


def test_a_search_that_is_not_decided_yet_keeps_its_decisions_from_start_to_start(tmp_path):
    """The second start goes on after what the first one decided; a third that decides nothing changes nothing."""
    find = Search("find", Space({"training.batch_size": Choice((16, 32, 64))}), trials=3, sampler="random", confirm=1)
    study = replace(STUDY, stages=(find,))
    first = Agenda(study, TERMS, lambda _: None)
    task = first.next()
    write(tmp_path, first, facts(first), DATA)
    place = tmp_path / "find-decisions.jsonl"
    [line] = place.read_text().splitlines()
    decision = json.loads(line)
    assert (decision["decision"], decision["number"]) == ("first", 0)

    known = {task.key: Known(Status.INTERRUPTED, history([0.5]), "run")}
    again = Agenda(study, TERMS, lambda _: None, known, {"find": [task.drawn]}, {"find": [decision]})
    write(tmp_path, again, facts(again), DATA)
    assert place.read_text().splitlines() == [line]
    again.next()
    write(tmp_path, again, facts(again), DATA)
    lines = [json.loads(each) for each in place.read_text().splitlines()]
    assert [each["decision"] for each in lines] == ["first", "resumed", "first"]
