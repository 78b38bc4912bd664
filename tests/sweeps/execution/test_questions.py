from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import ray
import torch
from mlflow.exceptions import MlflowException

from analysis.finding import Finding
from analysis.job import WrongOption
from analysis.jobs.compare import Compare
from analysis.jobs.contact_sheet import ContactSheet
from analysis.jobs.mistakes import Mistakes
from sweeps.decisions.status import Status
from sweeps.execution import analysis_tasks, cluster, gpus, questions
from sweeps.execution.answers import Answer, Question
from sweeps.execution.asking import about, ask
from sweeps.execution.machines import Machines
from sweeps.execution.messages import Failure, Poisoned
from sweeps.execution.questions import Workers, _answer, _refuse_wrong_options
from sweeps.execution.shared_data import SharedData
from sweeps.tracking.store import StoredTrial
from tests.conftest import make_dataset
from trainables.checkpoint import pack
from trainables.config import CNN, Training, Trial
from trainables.errors import UserError
from trainables.replicate import replicate
from trainables.snapshot import TRIAL as TRIAL_FILE
from trainables.snapshot import WEIGHTS
from trainables.train import train

TRIAL = StoredTrial("0" * 64, "run", "study", "lr: 0.1", Status.DONE, None, None)
OTHER = StoredTrial("1" * 64, "run 2", "study", "lr: 0.2", Status.DONE, None, None)
QUESTION = Question(ContactSheet(), (TRIAL,))


class Shelf:
    """Stands for Answers: what is known, what is kept, and what is said."""

    def __init__(self, known=(), store=None):
        self.there, self.store, self.kept, self.said = dict(known), store, [], []
        self.say = self.said.append

    def known(self, questions):
        return {at: self.there[question.place] for at, question in enumerate(questions) if question.place in self.there}

    def keep(self, question, files):
        self.kept.append((question, files))
        return Answer(question, finding=Finding("j", "Kept"))

    def settle(self, answers):
        return list(answers)


def ended(result=None, error=None) -> Future:
    future = Future()
    future.set_exception(error) if error else future.set_result(result)
    return future


def test_a_task_that_fails_is_told_with_its_reason_and_keeps_nothing():
    shelf = Shelf()
    answer = _answer(QUESTION, ended(error=RuntimeError("the disk\nis full")), shelf)
    assert (answer.failed, answer.impossible, shelf.kept) == ("RuntimeError: the disk is full", None, [])


def test_a_task_that_poisons_every_process_is_told_with_the_reason():
    fault = Failure("AcceleratorError: CUDA error: device-side assert triggered", "Traceback", out_of_memory=False)
    error = ray.exceptions.RayTaskError("compute", "Traceback", Poisoned(fault))
    assert _answer(QUESTION, ended(error=error), Shelf()).failed == fault.reason


def test_what_a_job_cannot_do_is_no_failure():
    answer = _answer(QUESTION, ended(error=UserError("there is no layer 'x'")), Shelf())
    assert (answer.failed, answer.impossible) == (None, "there is no layer 'x'")


def test_what_a_job_finds_is_kept():
    shelf = Shelf()
    assert _answer(QUESTION, ended({"x": b"1"}), shelf).finding.title == "Kept"
    assert shelf.kept == [(QUESTION, {"x": b"1"})]


def test_jobs_become_questions_on_each_trial_or_on_all_of_them():
    assert about([Mistakes(), Compare()], [TRIAL, OTHER]) == [
        Question(Mistakes(), (TRIAL,)),
        Question(Mistakes(), (OTHER,)),
        Question(Compare(), (TRIAL, OTHER)),
    ]


FOUND = Answer(QUESTION, finding=Finding("contact_sheet", "Found"))


@pytest.mark.parametrize("fresh", [False, True])
def test_what_is_answered_already_is_asked_again_only_where_all_is_to_be_fresh(fresh, monkeypatch):
    missing, shelf = [], Shelf({QUESTION.place: FOUND})
    monkeypatch.setattr(
        questions,
        "answered",
        lambda some, *_, **__: missing.append(some) or {at: Answer(some[at], failed="x") for at in some},
    )
    [answer] = ask([QUESTION], SharedData(make_dataset()), shelf, Machines(), fresh=fresh)
    if fresh:
        assert (missing, answer.failed, shelf.said) == ([{0: QUESTION}], "x", [])
    else:
        assert (missing, answer, shelf.said) == ([], FOUND, ["analyses done already, and not done again: 1"])


def test_an_answer_that_cannot_be_read_now_is_said_and_not_made_again(monkeypatch):
    monkeypatch.setattr(questions, "answered", None)
    failed = Answer(QUESTION, failed="MLflow is away")
    shelf = Shelf({QUESTION.place: failed})
    assert ask([QUESTION], SharedData(make_dataset()), shelf, Machines()) == [failed]
    assert shelf.said == ["contact_sheet of study, lr = 0.1: failed: MLflow is away"]


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
    workers = Workers({"run": "m", "run 2": "nn"}, {"num_cpus": 1, "num_gpus": 0.5})
    question = Question(Compare(), (OTHER, TRIAL))
    assert workers.count(question) == [2, 1]
    assert workers.conduct(question, ended([2, 1])) == {"f": (["nn", "m"], ("nn0", "nn1", "m0"))}


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
    monkeypatch.setattr(ray, "wait", lambda tasks, num_returns, **_: (tasks[:1], tasks[1:num_returns]))
    monkeypatch.setattr(ray, "cancel", lambda task, force: cancelled.append((task, force)))
    task = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *arguments: arguments))
    workers = Workers({}, {})
    assert [workers._task(task, "a"), workers._task(task, "b")] == [("a",), ("b",)]
    workers.stop()
    assert cancelled == [(("b",), True)]  # the first one has ended
    with pytest.raises(RuntimeError, match="the analyses were stopped"):
        workers._task(task, "c")


@pytest.mark.parametrize("answered", [False, True])
def test_what_fits_one_model_as_its_finding_shows_is_not_insisted_on(answered, monkeypatch):
    other = Question(ContactSheet(), (OTHER,))
    insisted = []

    def asked(some, *rest, **_):
        insisted.append(rest[-1])
        return {at: Answer(some[at], failed="x") for at in some}

    monkeypatch.setattr(questions, "answered", asked)
    shelf = Shelf({QUESTION.place: FOUND} if answered else {})
    ask([QUESTION, other], SharedData(make_dataset()), shelf, Machines(), insisted={"contact_sheet", "compare"})
    assert insisted == [{"compare"} if answered else {"contact_sheet", "compare"}]


@pytest.fixture
def no_ray(monkeypatch):
    """Have nothing started: tasks are never run, and what is put is itself."""
    monkeypatch.setattr(cluster, "connect", lambda *_: nullcontext(Machines(0)))
    monkeypatch.setattr(ray, "put", lambda content: content)
    monkeypatch.setattr(Workers, "count", lambda *_: [1])
    monkeypatch.setattr(Workers, "conduct", lambda *_: {"x": b"1"})


def whole(tiny) -> dict[str, bytes]:
    """Return the checkpoint of a small trained model."""
    trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1))
    members = [replicate(trial, tiny, 0, torch.device("cpu"))]
    list(train(trial, tiny, members, torch.device("cpu")))
    return {name: content for name, content in pack(trial, tiny, members).items() if name.startswith("checkpoint/")}


def lost(run_id):
    raise MlflowException(f"no such artifact of {run_id}")


@pytest.mark.usefixtures("no_ray")
def test_on_a_gpu_each_task_takes_its_share_and_that_is_said(monkeypatch, tiny):
    monkeypatch.setattr(cluster, "connect", lambda asked, _: nullcontext(asked.with_gpus(1)))
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    monkeypatch.setattr(gpus, "count", lambda: 1)
    monkeypatch.setattr(gpus, "memory", lambda _: 80 * 10**9)
    monkeypatch.setattr(gpus, "mps", lambda: False)
    seen = []
    monkeypatch.setattr(Workers, "count", lambda workers, _: seen.append(workers) or [1])
    shelf = Shelf(store=SimpleNamespace(checkpoint=lambda _: whole(tiny)))
    ask(about([ContactSheet()], [TRIAL]), SharedData(tiny), shelf, Machines(num_cpus=8))
    assert seen[0].resources == {"num_cpus": 1, "num_gpus": 1 / 3}
    assert seen[0].models["run"].device == "cuda"
    assert shelf.said[0].startswith("analyses run on 1 GPU (all that torch sees): 3 share each, the most without MPS: ")


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _: {}, "the checkpoint has no checkpoint/weights.safetensors; it has nothing"),
        (lambda files: files | {WEIGHTS: files[WEIGHTS][:-9]}, "checkpoint/weights.safetensors is not whole: "),
        (lambda files: files | {TRIAL_FILE: b"[" * 100_000}, "checkpoint/trial.json "),
        (lambda _: lost("run 2"), "MlflowException: no such artifact of run 2"),
    ],
)
def test_a_model_that_cannot_be_had_costs_the_questions_on_it_alone(spoil, why, tiny):
    files = whole(tiny)
    store = SimpleNamespace(checkpoint=lambda run_id: spoil(files) if run_id == "run 2" else files)
    shelf = Shelf(store=store)
    asked = [*about([ContactSheet()], [TRIAL, OTHER]), Question(Compare(), (TRIAL, OTHER))]
    good, *bad = ask(asked, SharedData(tiny), shelf, Machines(), insisted={"contact_sheet"})
    assert good.finding.title == "Kept"
    assert [
        answer.failed.startswith(f"run run 2 (lr: 0.2) has no model that can be read: {why}") for answer in bad
    ] == [True, True]
    assert all("\n" not in line for line in shelf.said)
    assert sorted(["analyses run on the CPU", *map(str, (good, *bad))]) == sorted(shelf.said)
