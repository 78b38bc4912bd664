"""Asking finished models: analyses as Ray tasks, their findings kept in MLflow and in the results folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console

from analysis.finding import Arrays, Finding
from analysis.job import Job, WrongOption
from analysis.report import Section
from analysis.subject import Subject, subject
from sweeps.execution import cluster
from sweeps.execution.machines import Machines
from sweeps.reporting.results import keep
from sweeps.tracking.finished import folder_name, model_name
from sweeps.tracking.store import Store, StoredTrial
from trainables import checkpoint
from trainables.datasets import Dataset
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
    """What came of a question: a finding in its folder, or the reason why there is none."""

    question: Question
    folder: Path | None = None
    finding: Finding | None = None
    impossible: str | None = None  # the job says that it cannot be done on this model or data
    failed: str | None = None


def ask(
    trials: Sequence[StoredTrial],
    jobs: Sequence[Job],
    data: Dataset,
    store: Store,
    folder: Path,
    machines: Machines,
    console: Console,
    *,
    fresh: bool = False,
    insisted: Collection[str] = (),
) -> list[Answer]:
    """Do the jobs on the finished trials and return the answers, in the order of the questions.

    A question that has an answer in MLflow already is not asked again, unless `fresh`. One that fails costs
    only itself. Findings go to `folder`/<models>/<job>/ and to the MLflow run of the examined model (of the first,
    where there are several). Raises WrongOption, before anything is computed, where an option of one of the jobs
    `insisted` on fits none of the models.
    """
    asked = [question for job in jobs for question in _questions(job, trials)]
    attached = [{} if fresh else store.attached(question.trials[0].run_id, question.folder) for question in asked]
    known = {number: _keep(asked[number], files, folder) for number, files in enumerate(attached) if LAST in files}
    if known:
        console.print(f"analyses done already, and not done again: {len(known)}", highlight=False)
    missing = {number: question for number, question in enumerate(asked) if number not in known}
    if missing:
        pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        try:
            with cluster.connect(machines):
                workers = _workers(trials, store, data, machines)
                counted = {number: pool.submit(workers.count, question) for number, question in missing.items()}
                _refuse_wrong_options(asked, counted, insisted)
                waiting = {pool.submit(workers.conduct, missing[at], parts): at for at, parts in counted.items()}
                for done in as_completed(waiting):
                    known[waiting[done]] = answer = _answer(missing[waiting[done]], done, store, folder)
                    console.print(_said(answer), highlight=False, soft_wrap=True)
        finally:
            # after Ray: where this was interrupted, threads wait for tasks that are no more
            pool.shutdown(cancel_futures=True)
    return [known[number] for number in range(len(asked))]


def _refuse_wrong_options(
    asked: Sequence[Question], counted: Mapping[int, Future[list[int]]], insisted: Collection[str]
) -> None:
    """Raise WrongOption where an option of a job `insisted` on fits none of the models that it is asked of."""
    for name in insisted:
        numbers = [number for number, question in enumerate(asked) if question.job.name == name]
        causes = [_cause(counted[number].exception()) if number in counted else None for number in numbers]
        if causes and all(isinstance(cause, WrongOption) for cause in causes):
            raise WrongOption(f"{name}: {causes[0]}")


def _questions(job: Job, trials: Sequence[StoredTrial]) -> list[Question]:
    return [Question(job, tuple(trials))] if job.together else [Question(job, (trial,)) for trial in trials]


def _workers(trials: Sequence[StoredTrial], store: Store, data: Dataset, machines: Machines) -> Workers:
    """Put the trials' checkpoints and the data where tasks find them."""
    resources = cluster.trial_resources(machines)
    device = "cuda" if resources.get("gpu") else "cpu"
    shared = ray.put(data)
    models = {}
    for trial in trials:
        files = store.checkpoint(trial.run_id)
        checkpoint.load(files)  # whole, or refused here in one line
        models[trial.run_id] = Model(trial.run_id, model_name(trial), ray.put(files), shared, device)
    return Workers(models, {"num_cpus": resources["cpu"], "num_gpus": resources.get("gpu", 0)})


@dataclass(frozen=True)
class Workers:
    """Where questions are answered: models by run, and what each task takes.

    The methods run in threads of the driver, which only wait for tasks.
    """

    models: Mapping[str, Model]
    resources: Mapping[str, float]

    def count(self, question: Question) -> list[int]:
        """Return the number of parts of each model, checked. Raises what the job's check() does."""
        return ray.get([self._task(_parts, model, question.job) for model in self._of(question)])

    def conduct(self, question: Question, counted: Future[list[int]]) -> dict[str, bytes]:
        """Return a finding's files, once the parts are counted."""
        pairs = zip(self._of(question), counted.result(), strict=True)
        computed = [self._task(_compute, model, question.job, part) for model, count in pairs for part in range(count)]
        return ray.get(self._task(_finding, self._of(question), question.job, *computed))

    def _of(self, question: Question) -> list[Model]:
        return [self.models[trial.run_id] for trial in question.trials]

    def _task(self, task: Any, *arguments: Any) -> Any:
        """Start a task and return the reference to what it will return."""
        return task.options(**self.resources).remote(*arguments)


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
    """Return the answers as sections of a report: findings, and for the others why there is none."""
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


# --- on the workers


@dataclass(frozen=True)
class Model:
    """A finished trial as tasks get it: by references to what Ray's object store holds of it."""

    run_id: str
    name: str
    files: Any  # the checkpoint's
    data: Any
    device: str


_SUBJECTS: dict[str, Subject] = {}  # of this process, by run: a model and its logits serve all its tasks here


def _subject(model: Model) -> Subject:
    if model.run_id not in _SUBJECTS:
        torch.set_num_threads(1 if model.device == "cpu" else torch.get_num_threads())
        loaded = checkpoint.load(ray.get(model.files))
        _SUBJECTS[model.run_id] = subject(loaded, ray.get(model.data), model.name, torch.device(model.device))
    return _SUBJECTS[model.run_id]


@ray.remote
def _parts(model: Model, job: Job) -> int:
    return job.parts(_subject(model))


@ray.remote
def _compute(model: Model, job: Job, part: int) -> Arrays:
    return job.compute(_subject(model), part)


@ray.remote
def _finding(models: Sequence[Model], job: Job, *computed: Arrays) -> dict[str, bytes]:
    return job.finding([_subject(model) for model in models], computed).files()
