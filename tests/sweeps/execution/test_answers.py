"""Answers in a real sqlite store, a spool and a results folder. No Ray, no server."""

import errno
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from analysis.finding import Figure, Finding
from analysis.jobs import make
from analysis.jobs.compare import Compare
from analysis.jobs.contact_sheet import ContactSheet
from analysis.report import Column, Table
from sweeps.decisions.status import Status
from sweeps.execution import answers
from sweeps.execution.answers import Answer, Answers, Question, sections
from sweeps.tracking.findings import advice, deliver_findings, findings_in, keep, waiting
from sweeps.tracking.store import StoredTrial

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

TRIAL = StoredTrial("0" * 64, "run", "study", "lr: 0.1", Status.DONE, None, None)
QUESTION = Question(ContactSheet(), (TRIAL,))


def drawn() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(content, "PNG")
    return content.getvalue()


FINDING = Finding(
    "contact_sheet", "Found", ("words",), {"t": Table("t", (Column("a"),), ((1,),))}, {"p": Figure(drawn(), "caption")}
)
FILES = FINDING.files()


class Desk:
    """Questions on one run of a real store, and where their answers are kept."""

    def __init__(self, store, folder: Path):
        self.store, self.results = store, folder / "results" / "study"
        self.spool = self.results / ".spool"
        experiment = store.experiment_id("study")
        self.run_id = store.client.create_run(experiment, tags={"key": "0" * 64}).info.run_id
        self.said: list[str] = []

    def question(self, seed: int = 0) -> Question:
        return Question(ContactSheet(seed=seed), (replace(TRIAL, run_id=self.run_id),))

    def answers(self) -> Answers:
        """Return what a command of its own has."""
        return Answers(self.store, self.results, self.said.append)

    def stored(self, seed: int = 0) -> dict[str, bytes]:
        return self.store.attached(*self.question(seed).place)

    def artifacts(self, seed: int = 0) -> Path:
        """Return where MLflow has the finding of a question."""
        root = self.store.database.parent / "mlruns" / "study" / self.run_id / "artifacts"
        return root / self.question(seed).folder


@pytest.fixture
def desk(store, tmp_path) -> Desk:
    return Desk(store, tmp_path)


@pytest.fixture
def away(desk, monkeypatch):
    """Have the store take nothing, until this is called."""
    tried = []

    def attach(*place):
        tried.append(place)
        raise MlflowException("API request failed: connection refused")

    monkeypatch.setattr(desk.store, "attach", attach)

    def back() -> int:
        monkeypatch.undo()
        return len(tried)

    return back


def test_other_options_or_models_are_other_questions():
    other = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None)
    asked = {
        QUESTION,
        Question(ContactSheet(seed=1), (TRIAL,)),
        Question(ContactSheet(), (other,)),
        Question(ContactSheet(), (TRIAL, other)),
    }
    assert len({question.folder for question in asked}) == 4


def test_stored_findings_are_found_again():
    """A folder is named after job, options and models: names of this list are in users' stores, and must stay."""
    known = (
        "contact_sheet-4d4f4afa",
        "filters_drawn-ef3f6c6a",
        "feature_maps-2dafd8e8",
    )
    jobs = make({name.partition("-")[0]: {} for name in known})
    assert [Question(job, (TRIAL,)).folder for job in jobs] == [f"analysis/{name}" for name in known]
    [feature_maps] = make({"feature_maps": {"layers": ("conv1", "conv2")}})
    assert Question(feature_maps, (TRIAL,)).folder == "analysis/feature_maps-4bd816fc"


def test_findings_of_a_later_edition_are_of_the_model_as_it_is_now(monkeypatch):
    """What is stored of before says less; and a run may have gone on since, to more epochs or seeds."""
    first = QUESTION.folder
    monkeypatch.setattr(ContactSheet, "edition", 2)
    runs = [replace(TRIAL, curves={"seeds": seeds}) for seeds in ({"0": [{}]}, {"0": [{}, {}]}, {"0": [{}], "1": [{}]})]
    assert len({first, *(Question(ContactSheet(), (run,)).folder for run in (TRIAL, *runs))}) == 5
    assert Question(ContactSheet(), (runs[0],)).folder == Question(ContactSheet(), (replace(runs[0]),)).folder


@pytest.mark.parametrize(
    ("end", "said", "settled"),
    [
        ({}, "done", True),
        ({"failed": "x"}, "failed: x", False),
        ({"impossible": "y"}, "not possible: y", True),
        ({"waiting": Path("x")}, "done", False),
    ],
)
def test_each_end_is_a_line(end, said, settled):
    answer = Answer(QUESTION, **end)
    assert (str(answer), answer.settled) == (f"contact_sheet of study, lr = 0.1: {said}", settled)


def test_a_finding_goes_to_mlflow_and_to_the_results(desk):
    kept = desk.answers()
    answer = kept.keep(desk.question(), FILES)
    assert desk.stored() == FILES
    assert answer.folder == desk.results / "analysis" / "study_lr_0.1" / "contact_sheet"
    assert {path.name: path.read_bytes() for path in answer.folder.iterdir()} == FILES
    [settled] = kept.settle([answer])
    assert settled.settled
    assert (desk.said, findings_in(desk.spool)) == ([], [])
    [known] = desk.answers().known([desk.question()]).values()
    assert (known.finding, known.settled) == (Finding.from_files(FILES), True)


def test_findings_that_mlflow_does_not_take_wait_in_the_spool_and_the_rest_goes_on(desk, away):
    kept = desk.answers()
    answers = [kept.keep(desk.question(seed), FILES) for seed in range(4)]
    settled = kept.settle(answers)
    assert [answer.finding.title for answer in settled] == ["Found"] * 4  # for the report
    assert [answer.settled for answer in settled] == [False] * 4
    assert away() == 3  # one, and at the end two more: no wait for each
    first, error, last = desk.said
    assert first == f"MLflow does not take findings now: they are kept in {desk.spool}, and sent again at the end"
    assert error.endswith("MlflowException: API request failed: connection refused")
    assert last == advice(desk.spool, desk.store.uri)

    # the next start does none of it again, whether or not MLflow can be given it first
    known = desk.answers().known([desk.question(seed) for seed in range(5)])
    assert sorted(known) == [0, 1, 2, 3]
    assert not any(answer.settled for answer in known.values())
    desk.said.clear()
    assert all(answer.settled for answer in desk.answers().settle(list(known.values())))
    assert [desk.stored(seed) for seed in range(4)] == [FILES] * 4
    assert (desk.said, findings_in(desk.spool)) == ([], [])


def test_an_mlflow_that_comes_back_gets_everything_at_the_end(desk, away):
    kept = desk.answers()
    answers = [kept.keep(desk.question(seed), FILES) for seed in range(3)]
    away()
    assert all(answer.settled for answer in kept.settle(answers))
    assert [desk.stored(seed) for seed in range(3)] == [FILES] * 3
    assert len(desk.said) == 1


def test_what_an_earlier_command_found_is_delivered_first(desk):
    keep(desk.spool, desk.question().place, FILES)
    keep(desk.spool, ("0" * 32, "analysis/x"), FILES)
    desk.answers().deliver_earlier()
    assert desk.stored() == FILES
    [line] = desk.said
    assert line.startswith(f"warning: analysis/x of run {'0' * 32} is refused by MLflow and stays in ")


def test_one_that_mlflow_refuses_is_said_once_and_is_not_settled(desk):
    kept, gone = desk.answers(), Question(ContactSheet(), (replace(TRIAL, run_id="0" * 32),))
    answers = [kept.keep(gone, FILES), kept.keep(desk.question(), FILES)]
    assert [answer.settled for answer in kept.settle(answers)] == [False, True]
    assert ["is refused by MLflow" in line for line in desk.said] == [True, False]


DAMAGES = {
    "cut": lambda folder: (folder / "finding.json").write_bytes(FILES["finding.json"][:-20]),
    "nested": lambda folder: (folder / "finding.json").write_bytes(b"[" * 100_000),
    "of another": lambda folder: (folder / "finding.json").write_bytes(b'{"a": 1}'),
    "no picture": lambda folder: (folder / "p.png").write_bytes(b"<html>502</html>"),
    "lost": lambda folder: (folder / "t.csv").unlink(),
    "a link": lambda folder: ((folder / "t.csv").unlink(), (folder / "t.csv").symlink_to("/etc/passwd")),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_finding_counts_as_not_there_is_said_and_replaced(desk, how):
    desk.store.attach(*desk.question().place, FILES)
    desk.store.attach(*desk.question(1).place, FILES)
    DAMAGES[how](desk.artifacts())
    kept = desk.answers()
    questions = [desk.question(), desk.question(1)]
    assert list(kept.known(questions)) == [1]
    [line] = desk.said
    assert line.startswith("contact_sheet of study, lr = 0.1: its stored finding is damaged and is made again (")
    assert "\n" not in line
    if how == "a link":
        return  # whoever made it must remove it: MLflow writes through none
    assert kept.settle([kept.keep(questions[0], FILES)])[0].settled
    assert desk.stored() == FILES
    assert list(kept.known(questions)) == [0, 1]
    assert len(desk.said) == 1


def test_a_delivery_that_broke_off_is_no_answer_and_no_damage(desk):
    desk.store.attach(*desk.question().place, {"t.csv": FILES["t.csv"]})
    assert desk.answers().known([desk.question()]) == {}
    assert desk.said == []


def test_an_answer_that_mlflow_cannot_give_now_fails_alone_and_is_not_made_again(desk, monkeypatch):
    desk.store.attach(*desk.question(1).place, FILES)
    of = answers.findings._found_in

    def found_in(store, run_id):
        if run_id == "other":
            raise MlflowException("API request failed: timed out")
        return of(store, run_id)

    monkeypatch.setattr(answers.findings, "_found_in", found_in)
    other = Question(ContactSheet(), (replace(TRIAL, run_id="other"),))
    failed, known = desk.answers().known([other, desk.question(1), desk.question()]).values()
    assert failed.failed == "what MLflow has of it cannot be read: MlflowException: API request failed: timed out"
    assert known.finding is not None


def test_what_a_job_gives_that_is_no_finding_fails(desk):
    answer = desk.answers().keep(desk.question(), {**FILES, "p.png": b"x"})
    assert (answer.failed, answer.waiting) == ("p.png is not what was written", None)
    assert desk.stored() == {}


def test_where_the_disk_is_full_a_finding_is_sent_from_memory(desk, monkeypatch, away):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(answers.findings, "keep", full)
    lost = desk.answers().keep(desk.question(), FILES)
    assert lost.failed.startswith(
        "the finding is lost: not kept, OSError: [Errno 28] No space left on device; not sent"
    )
    away()
    monkeypatch.setattr(answers.findings, "keep", full)
    answer = desk.answers().keep(desk.question(), FILES)
    assert (answer.settled, desk.stored()) == (True, FILES)


def test_results_that_cannot_be_written_cost_only_the_question(desk):
    desk.results.mkdir(parents=True)
    (desk.results / "analysis").write_text("a file in the folder's place")
    kept = desk.answers()
    answer = kept.settle([kept.keep(desk.question(), FILES)])[0]
    assert answer.failed.startswith(f"the results cannot be written to {desk.results / 'analysis'}")
    assert desk.stored() == FILES  # it is not lost
    [again] = desk.answers().known([desk.question()]).values()
    assert again.failed == answer.failed


def test_what_is_written_already_is_not_written_again(desk):
    kept = desk.answers()
    folder = kept.keep(desk.question(), FILES).folder
    (folder / "t.csv").write_bytes(b"another's")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    kept.known([desk.question()])
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"t.csv"}
    assert (folder / "t.csv").read_bytes() == FILES["t.csv"]


def test_a_newer_answer_takes_the_place_of_one_that_waits(desk, away):
    kept = desk.answers()
    newer = replace(FINDING, title="Newer").files()
    for files in (FILES, newer):
        kept.keep(desk.question(), files)
    away()
    assert waiting(desk.spool, desk.question().place)[1] == newer
    deliver_findings(desk.store, findings_in(desk.spool))
    assert desk.stored() == newer


def test_a_failed_and_an_impossible_answer_are_sections_of_the_report():
    failed, impossible = sections([Answer(QUESTION, failed="disk full"), Answer(QUESTION, impossible="no layer")])
    assert (failed.title, failed.text) == ("contact_sheet: study, lr = 0.1", ("Failed: disk full.",))
    assert impossible.text == ("Not possible: no layer.",)


def test_a_finding_is_a_section_with_its_pictures(desk):
    answer = desk.answers().keep(desk.question(), FILES)
    [section] = sections([answer])
    assert (section.title, section.text) == ("Found", ("words",))
    assert section.figures == ((answer.folder / "p.png", "caption"),)


def test_of_several_models_each_section_names_its_own(desk):
    answer = desk.answers().keep(desk.question(), FILES)
    other = replace(answer, question=Question(ContactSheet(), (replace(TRIAL, name="lr: 0.2"),)))
    together = replace(answer, question=Question(Compare(), (TRIAL, replace(TRIAL, name="lr: 0.2"))))
    titles = [section.title for section in sections([answer, other, together])]
    assert titles == ["Found (study, lr = 0.1)", "Found (study, lr = 0.2)", "Found"]
    assert [section.title for section in sections([answer, together])] == ["Found", "Found"]
