from concurrent.futures import Future

import pytest

from analysis.job import WrongOption
from analysis.jobs import make
from analysis.jobs.contact_sheet import ContactSheet
from sweeps.execution.questions import LAST, Answer, Question, _answer, _refuse_wrong_options, _said, sections
from sweeps.tracking.store import StoredTrial
from trainables.errors import UserError

TRIAL = StoredTrial("0" * 64, "run", "study", "lr: 0.1", "done", None, None)
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
    other = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", "done", None, None)
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
        ({1: ended(error=WRONG)}, {"contact_sheet"}, False),  # it did: there is a finding already
        ({0: ended(error=WRONG), 1: ended(error=UserError("no convolutions"))}, {"contact_sheet"}, False),
        ({0: ended(error=WRONG), 1: ended(error=RuntimeError("disk"))}, {"contact_sheet"}, False),
    ],
)
def test_a_wrong_option_is_refused_where_the_user_gave_it_and_it_fits_no_model(counted, insisted, refused):
    asked = [QUESTION, Question(ContactSheet(), (TRIAL, TRIAL))]
    if not refused:
        _refuse_wrong_options(asked, counted, insisted)
        return
    with pytest.raises(WrongOption, match=r"^contact_sheet: no layer 'x'$"):
        _refuse_wrong_options(asked, counted, insisted)


def test_the_terminal_has_a_line_for_each_answer():
    assert _said(Answer(QUESTION)) == "contact_sheet of study, lr: 0.1: done"
    assert _said(Answer(QUESTION, failed="x")) == "contact_sheet of study, lr: 0.1: failed: x"
    assert _said(Answer(QUESTION, impossible="x")) == "contact_sheet of study, lr: 0.1: not possible: x"
