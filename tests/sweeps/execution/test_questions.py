import io
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import ray
from rich.console import Console

from analysis.job import WrongOption
from analysis.jobs import make
from analysis.jobs.compare import Compare
from analysis.jobs.contact_sheet import ContactSheet
from analysis.jobs.mistakes import Mistakes
from sweeps.decisions.status import Status
from sweeps.execution import analysis_tasks, questions
from sweeps.execution.machines import Machines
from sweeps.execution.questions import (
    LAST,
    Answer,
    Question,
    Workers,
    _answer,
    _refuse_wrong_options,
    _said,
    about,
    ask,
    sections,
)
from sweeps.execution.shared_data import SharedData
from sweeps.tracking.store import StoredTrial
from tests.conftest import make_dataset
from trainables.errors import UserError

TRIAL = StoredTrial("0" * 64, "run", "study", "lr: 0.1", Status.DONE, None, None)
QUESTION = Question(ContactSheet(), (TRIAL,))


class Sent:
    """Stands for the store: notes what is attached."""

    def __init__(self):
        self.files = []

    def attach(self, run_id, folder, files):
        self.files.append((run_id, folder, sorted(files)))


def ended(result=None, error=None) -> Future:
    future = Future()
    future.set_exception(error) if error else future.set_result(result)
    return future


def test_a_task_that_fails_is_told_with_its_reason_and_sends_nothing(tmp_path):
    store = Sent()
    answer = _answer(QUESTION, ended(error=RuntimeError("the disk\nis full")), store, tmp_path)
    assert (answer.failed, answer.impossible, store.files) == ("RuntimeError: the disk is full", None, [])
    [section] = sections([answer])
    assert (section.title, section.text) == (
        "contact_sheet: study, lr: 0.1",
        ("Failed: RuntimeError: the disk is full.",),
    )


def test_what_a_job_cannot_do_is_no_failure(tmp_path):
    answer = _answer(QUESTION, ended(error=UserError("there is no layer 'x'")), Sent(), tmp_path)
    assert (answer.failed, answer.impossible) == (None, "there is no layer 'x'")


def test_the_file_that_says_it_is_whole_is_sent_last(tmp_path):
    store = Sent()
    files = {LAST: b'{"job": "j", "title": "t", "text": [], "tables": {}, "captions": {}}', "j.npz": b"", "a.csv": b""}
    answer = _answer(QUESTION, ended(files), store, tmp_path)
    assert [sent for _, _, sent in store.files] == [["a.csv", "j.npz"], [LAST]]
    assert answer.folder == tmp_path / "study_lr_0.1" / "contact_sheet"
    assert (answer.folder / "a.csv").is_file()


def test_other_options_or_models_are_other_questions():
    other = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None)
    asked = {
        QUESTION,
        Question(ContactSheet(seed=1), (TRIAL,)),
        Question(ContactSheet(), (other,)),
        Question(ContactSheet(), (TRIAL, other)),
    }
    assert len({question.folder for question in asked}) == 4


def test_jobs_become_questions_on_each_trial_or_on_all_of_them():
    other = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None)
    assert about([Mistakes(), Compare()], [TRIAL, other]) == [
        Question(Mistakes(), (TRIAL,)),
        Question(Mistakes(), (other,)),
        Question(Compare(), (TRIAL, other)),
    ]


FINDING = b'{"job": "j", "title": "Found", "text": [], "tables": {}, "captions": {}}'


def attached(run_id, folder):
    assert (run_id, folder) == ("run", QUESTION.folder)
    return {LAST: FINDING, "a.csv": b"1"}


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_answered_already_is_asked_again_only_where_all_is_to_be_fresh(fresh, tmp_path, monkeypatch):
    missing = []
    monkeypatch.setattr(
        questions, "_asked", lambda some, *_: missing.append(some) or {at: Answer(some[at], failed="x") for at in some}
    )
    console, data = Console(file=io.StringIO()), SharedData(make_dataset())
    [answer] = ask([QUESTION], data, SimpleNamespace(attached=attached), tmp_path, Machines(), console, fresh=fresh)
    if fresh:
        assert (missing, answer.failed) == ([{0: QUESTION}], "x")
    else:
        assert (missing, answer.finding.title) == ([], "Found")
        assert (answer.folder / "a.csv").read_bytes() == b"1"
        assert console.file.getvalue() == "analyses done already, and not done again: 1\n"


def test_a_question_s_parts_are_computed_on_each_model_and_put_together_in_order(monkeypatch):
    """Tasks are run here and at once; a reference is the result itself."""

    class Task:
        def __init__(self, function):
            self.function = function

        def options(self, **resources):
            assert resources == {"num_cpus": 1, "num_gpus": 0.5}
            return SimpleNamespace(remote=self.function)

    monkeypatch.setattr(ray, "get", lambda reference: reference)
    monkeypatch.setattr(analysis_tasks, "parts", Task(lambda model, _: len(model)))
    monkeypatch.setattr(analysis_tasks, "compute", Task(lambda model, _, part: f"{model}{part}"))
    monkeypatch.setattr(analysis_tasks, "finding", Task(lambda models, _, *computed: {"f": (models, computed)}))
    other = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None)
    workers = Workers({"run": "m", "run 2": "nn"}, {"num_cpus": 1, "num_gpus": 0.5})
    question = Question(Compare(), (other, TRIAL))
    assert workers.count(question) == [2, 1]
    assert workers.conduct(question, ended([2, 1])) == {"f": (["nn", "m"], ("nn0", "nn1", "m0"))}


@pytest.mark.parametrize(
    ("end", "said"), [({}, "done"), ({"failed": "x"}, "failed: x"), ({"impossible": "y"}, "not possible: y")]
)
def test_each_end_is_a_line(end, said):
    assert _said(Answer(QUESTION, **end)) == f"contact_sheet of study, lr: 0.1: {said}"


def test_stored_findings_are_found_again():
    """A folder is named after job, options and models: names of this list are in users' stores, and must stay."""
    known = (
        "contact_sheet-4d4f4afa",
        "mistakes-c57747d6",
        "occlusion-74984147",
        "grad_cam-9ea98b6a",
        "filters-be5e58d8",
        "ablation-d69d1a56",
        "filters_drawn-ef3f6c6a",
        "feature_maps-2dafd8e8",
        "neighbours-92e9674c",
        "tsne-debc8274",
        "compare-43bc800f",
    )
    jobs = make({name.partition("-")[0]: {} for name in known})
    assert [Question(job, (TRIAL,)).folder for job in jobs] == [f"analysis/{name}" for name in known]
    [occlusion, ablation] = make(
        {"occlusion": {"windows": (5, 9), "stride": 2}, "ablation": {"filters": "conv1:2,0-1", "each_of": "conv2"}}
    )
    assert Question(occlusion, (TRIAL,)).folder == "analysis/occlusion-d51f0277"
    assert Question(ablation, (TRIAL,)).folder == "analysis/ablation-c4b7cb59"


WRONG = WrongOption("no layer 'x'")


@pytest.mark.parametrize(
    ("counted", "insisted", "refused"),
    [
        ({0: ended(error=WRONG), 1: ended(error=WRONG)}, {"contact_sheet"}, True),
        ({0: ended(error=WRONG), 1: ended(error=WRONG)}, {"compare"}, False),  # the job's own options, or a study's
        ({0: ended(error=WRONG), 1: ended([1])}, {"contact_sheet"}, False),  # it fits one of the models
        ({0: ended(error=WRONG), 1: ended(error=UserError("no convolutions"))}, {"contact_sheet"}, False),
        ({0: ended(error=WRONG), 1: ended(error=RuntimeError("disk"))}, {"contact_sheet"}, False),
    ],
)
def test_a_wrong_option_is_refused_where_the_user_gave_it_and_it_fits_no_model(counted, insisted, refused):
    asked = {0: QUESTION, 1: Question(ContactSheet(), (TRIAL, TRIAL))}
    if not refused:
        _refuse_wrong_options(asked, counted, insisted)
        return
    with pytest.raises(WrongOption, match=r"^contact_sheet: no layer 'x'$"):
        _refuse_wrong_options(asked, counted, insisted)


def test_once_stopped_what_is_under_way_is_cancelled_and_nothing_more_is_started(monkeypatch):
    cancelled = []
    monkeypatch.setattr(ray, "cancel", lambda task, force: cancelled.append((task, force)))
    task = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *arguments: arguments))
    workers = Workers({}, {})
    assert [workers._task(task, "a"), workers._task(task, "b")] == [("a",), ("b",)]
    workers.stop()
    assert cancelled == [(("a",), True), (("b",), True)]
    with pytest.raises(RuntimeError, match="the analyses were stopped"):
        workers._task(task, "c")


@pytest.mark.parametrize("answered", [False, True])
def test_what_fits_one_model_as_its_finding_shows_is_not_insisted_on(answered, tmp_path, monkeypatch):
    other = Question(ContactSheet(), (StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None),))
    insisted = []

    def asked(some, *rest):
        insisted.append(rest[-1])
        return {at: Answer(some[at], failed="x") for at in some}

    monkeypatch.setattr(questions, "_asked", asked)
    store = SimpleNamespace(attached=lambda run_id, _: {LAST: FINDING} if answered and run_id == "run" else {})
    places = (SharedData(make_dataset()), store, tmp_path, Machines(), Console(file=io.StringIO()))
    ask([QUESTION, other], *places, insisted={"contact_sheet", "compare"})
    assert insisted == [{"compare"} if answered else {"contact_sheet", "compare"}]
