from concurrent.futures import Future

from analysis.jobs.contact_sheet import ContactSheet
from sweeps.execution.questions import LAST, Question, _answer, sections
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
