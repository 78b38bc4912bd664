"""Asking finished models: analyses as Ray tasks, their findings kept in MLflow and in the results folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from analysis.finding import Finding
from analysis.job import Job, WrongOption
from analysis.report import Section
from sweeps.execution import analysis_tasks, cluster
from sweeps.execution.analysis_tasks import SharedModel
from sweeps.execution.machines import Machines
from sweeps.execution.shared_data import SharedData
from sweeps.reporting.results import keep
from sweeps.tracking.finished import folder_name, model_name
from sweeps.tracking.store import Store, StoredTrial
from trainables import checkpoint
from trainables.errors import UserError

LAST = "finding.json"  # sent after all other files of a finding: where it is, the others are
SIDE_BY_SIDE = 16  # jobs under way at once; each of their parts is a task that waits for a free core or GPU


@dataclass(frozen=True)
class Question:
    """One job on one finished trial, or on several side by side."""

    job: Job
    trials: tuple[StoredTrial, ...]

    @property
    def folder(self) -> str:
        """Its folder's name among a run's artifacts: the same options on the same models have the same."""
        asked = json.dumps([asdict(self.job), [trial.run_id for trial in self.trials]], sort_keys=True)
        return f"analysis/{self.job.name}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"

    @property
    def models(self) -> str:
        """The names of its models."""
        return " and ".join(map(model_name, self.trials))


@dataclass(frozen=True)
class Answer:
    """What came of a question: a finding in its folder, or why it has none."""

    question: Question
    folder: Path | None = None
    finding: Finding | None = None
    impossible: str | None = None  # the job says that it cannot be done on this model or data
    failed: str | None = None


def about(jobs: Sequence[Job], trials: Sequence[StoredTrial]) -> list[Question]:
    """Return the questions of these jobs: one on all trials for a job that compares them, else one on each trial."""
    return [
        Question(job, asked)
        for job in jobs
        for asked in ([tuple(trials)] if job.together else [(trial,) for trial in trials])
    ]


def ask(
    questions: Sequence[Question],
    data: SharedData,
    store: Store,
    folder: Path,
    machines: Machines,
    console: Console,
    *,
    fresh: bool = False,
    insisted: Collection[str] = (),
) -> list[Answer]:
    """Return the answers, in the order of the questions.

    A question that has an answer in MLflow already is not asked again, unless `fresh`. One that fails costs only
    itself. Findings go to `folder`/<models>/<job>/ and to the MLflow run of the examined model (of the first, where
    there are several). Raises WrongOption, before anything is computed, where an option of one of the jobs `insisted`
    on fits none of its models.
    """
    attached = [{} if fresh else store.attached(question.trials[0].run_id, question.folder) for question in questions]
    answers = {at: _keep(questions[at], files, folder) for at, files in enumerate(attached) if LAST in files}
    if answers:
        console.print(f"analyses done already, and not done again: {len(answers)}", highlight=False)
    missing = {at: question for at, question in enumerate(questions) if at not in answers}
    if missing:
        fitting = {questions[at].job.name for at in answers}  # what has been answered once
        answers |= _asked(missing, data, store, folder, machines, console, set(insisted) - fitting)
    return [answers[at] for at in range(len(questions))]


def _asked(
    questions: Mapping[int, Question],
    data: SharedData,
    store: Store,
    folder: Path,
    machines: Machines,
    console: Console,
    insisted: Collection[str],
) -> dict[int, Answer]:
    """Have the questions answered side by side, and say what came of each as it ends."""
    answers = {}
    with cluster.connect(machines):
        workers = _workers(questions.values(), store, data, machines)
        pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        try:
            counted = {at: pool.submit(workers.count, question) for at, question in questions.items()}
            _refuse_wrong_options(questions, counted, insisted)
            waiting = {pool.submit(workers.conduct, questions[at], parts): at for at, parts in counted.items()}
            for done in as_completed(waiting):
                answer = answers[waiting[done]] = _answer(questions[waiting[done]], done, store, folder)
                console.print(_said(answer), highlight=False, soft_wrap=True)
        finally:
            workers.stop()  # a thread that still waited for a task once Ray is left would wait for ever
            pool.shutdown(cancel_futures=True)
    return answers


def _refuse_wrong_options(
    questions: Mapping[int, Question], counted: Mapping[int, Future[list[int]]], insisted: Collection[str]
) -> None:
    """Raise WrongOption where an option of a job `insisted` on fits none of the models that it is asked of."""
    for name in insisted:
        causes = [_cause(counted[at].exception()) for at, question in questions.items() if question.job.name == name]
        if causes and all(isinstance(cause, WrongOption) for cause in causes):
            raise WrongOption(f"{name}: {causes[0]}")


def _workers(questions: Iterable[Question], store: Store, data: SharedData, machines: Machines) -> Workers:
    """Put the trials' checkpoints and the data where tasks find them."""
    resources = cluster.trial_resources(machines)
    device = "cuda" if resources.get("gpu") else "cpu"
    trials = {trial.run_id: trial for question in questions for trial in question.trials}
    models = {}
    for run_id, trial in trials.items():
        files = store.checkpoint(run_id)
        checkpoint.load(files)  # whole, or refused here in one line
        models[run_id] = SharedModel(run_id, model_name(trial), ray.put(files), data.reference(), device)
    return Workers(models, {"num_cpus": resources["cpu"], "num_gpus": resources.get("gpu", 0)})


@dataclass(frozen=True)
class Workers:
    """Where questions are answered: models by run, and what each task takes.

    The methods run in threads of the driver, which only wait for tasks.
    """

    models: Mapping[str, SharedModel]
    resources: Mapping[str, float]
    tasks: list[ray.ObjectRef] = field(default_factory=list)  # all that were started
    stopped: threading.Event = field(default_factory=threading.Event)
    starting: threading.Lock = field(default_factory=threading.Lock)

    def stop(self) -> None:
        """Start no more tasks, and cancel those under way; whoever waits for one gets an error."""
        with self.starting:
            self.stopped.set()
        for task in self.tasks:
            ray.cancel(task, force=True)

    def count(self, question: Question) -> list[int]:
        """Return the number of parts of each model. Raises what the job raises."""
        return ray.get([self._task(analysis_tasks.parts, model, question.job) for model in self._of(question)])

    def conduct(self, question: Question, counted: Future[list[int]]) -> dict[str, bytes]:
        """Return a finding's files, once the parts are counted."""
        pairs = zip(self._of(question), counted.result(), strict=True)
        parts = [(model, part) for model, count in pairs for part in range(count)]
        computed = [self._task(analysis_tasks.compute, model, question.job, part) for model, part in parts]
        return ray.get(self._task(analysis_tasks.finding, self._of(question), question.job, *computed))

    def _of(self, question: Question) -> list[SharedModel]:
        return [self.models[trial.run_id] for trial in question.trials]

    def _task(self, task: Any, *arguments: Any) -> Any:
        """Start a task and return the reference to what it will return. Raises RuntimeError once stop() was called."""
        with self.starting:
            if self.stopped.is_set():
                raise RuntimeError("the analyses were stopped")
            self.tasks.append(task.options(**self.resources).remote(*arguments))
            return self.tasks[-1]


def _answer(question: Question, done: Future[dict[str, bytes]], store: Store, folder: Path) -> Answer:
    cause = _cause(done.exception())
    if cause is None:
        files = done.result()
        for part in ({name: content for name, content in files.items() if name != LAST}, {LAST: files[LAST]}):
            store.attach(question.trials[0].run_id, question.folder, part)
        return _keep(question, files, folder)
    line = " ".join(str(cause).split())
    if isinstance(cause, UserError):
        return Answer(question, impossible=line)
    return Answer(question, failed=f"{type(cause).__name__}: {line}")


def _cause(error: BaseException | None) -> BaseException | None:
    """Return what went wrong, in a task or in the thread that waited for it."""
    return error.cause if isinstance(error, ray.exceptions.RayTaskError) else error


def _said(answer: Answer) -> str:
    """Return the line for the terminal."""
    how = "done"
    if answer.failed:
        how = f"failed: {answer.failed}"
    elif answer.impossible:
        how = f"not possible: {answer.impossible}"
    return f"{answer.question.job.name} of {answer.question.models}: {how}"


def _keep(question: Question, files: Mapping[str, bytes], folder: Path) -> Answer:
    # the names of several could be longer than a folder's may be
    several = f"{len(question.trials)} models {question.folder.rpartition('-')[2]}"
    models = question.models if len(question.trials) == 1 else several
    place = keep(folder / folder_name(models) / question.job.name, files)
    return Answer(question, place, Finding.from_files(files))


def sections(answers: Sequence[Answer]) -> list[Section]:
    """Return the answers as sections of a report: findings, or why a question has none."""
    return [_section(answer) for answer in answers]


def _section(answer: Answer) -> Section:
    if answer.finding is None or answer.folder is None:
        problem = f"Not possible: {answer.impossible}." if answer.impossible else f"Failed: {answer.failed}."
        return Section(f"{answer.question.job.name}: {answer.question.models}", (problem,))
    finding = answer.finding
    drawn = tuple((answer.folder / f"{stem}.png", figure.caption) for stem, figure in finding.figures.items())
    return Section(
        f"{finding.title}: {answer.question.models}",
        finding.text,
        tuple(finding.tables.values()),
        drawn,
        captioned=True,
    )
