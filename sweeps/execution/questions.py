"""Asking finished models: analyses fanned out over Ray as tasks, their findings kept in MLflow and in the results folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console

from analysis.finding import Arrays, Finding, Job
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
        asked = json.dumps([asdict(self.job), [trial.run_id for trial in self.trials]], sort_keys=True)  # type: ignore[call-overload]
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
) -> list[Answer]:
    """Do the jobs on the finished trials and return the answers, in the order of the questions.

    A question that has an answer in MLflow already is not asked again, unless `fresh`. One that fails costs
    only itself. Findings go to `folder`/<models>/<job>/ and to the MLflow run of the examined model (of the first,
    where there are several).
    """
    asked = [question for job in jobs for question in _questions(job, trials)]
    found = [{} if fresh else store.attached(question.trials[0].run_id, question.folder) for question in asked]
    known = {number: _keep(asked[number], files, folder) for number, files in enumerate(found) if LAST in files}
    if known:
        console.print(f"analyses done already, and not done again: {len(known)}", highlight=False)
    missing = [number for number in range(len(asked)) if number not in known]
    if not missing:
        return [known[number] for number in range(len(asked))]
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        with cluster.connect(machines):
            resources = cluster.trial_resources(machines)
            models = _models(trials, store, data, "cuda" if resources.get("gpu") else "cpu")
            waiting = {pool.submit(_conduct, asked[number], models, resources): number for number in missing}
            for done in as_completed(waiting):
                known[waiting[done]] = answer = _answer(asked[waiting[done]], done, store, folder)
                problem = (answer.failed and f"failed: {answer.failed}") or (
                    answer.impossible and f"not possible: {answer.impossible}"
                )
                console.print(
                    f"{answer.question.job.name} of {answer.question.models}: {problem or 'done'}",
                    highlight=False,
                    soft_wrap=True,
                )
    finally:
        pool.shutdown(
            cancel_futures=True
        )  # after Ray: where this was interrupted, threads wait for tasks that are no more
    return [known[number] for number in range(len(asked))]


def _questions(job: Job, trials: Sequence[StoredTrial]) -> list[Question]:
    return [Question(job, tuple(trials))] if job.together else [Question(job, (trial,)) for trial in trials]


def _models(trials: Sequence[StoredTrial], store: Store, data: Dataset, device: str) -> dict[str, Model]:
    """Put the trials' checkpoints and the data where tasks find them: run → model."""
    shared = ray.put(data)
    models = {}
    for trial in trials:
        files = store.checkpoint(trial.run_id)
        checkpoint.load(files)  # whole, or refused here in one line
        models[trial.run_id] = Model(trial.run_id, model_name(trial), ray.put(files), shared, device)
    return models


def _conduct(question: Question, models: Mapping[str, Model], resources: Mapping[str, float]) -> dict[str, bytes]:
    """Return a finding's files. Runs in a thread of the driver, which only waits for tasks."""
    how = {"num_cpus": resources["cpu"], "num_gpus": resources.get("gpu", 0)}
    wanted = [models[trial.run_id] for trial in question.trials]
    counts = ray.get([_parts.options(**how).remote(model, question.job) for model in wanted])
    parts = [(model, part) for model, count in zip(wanted, counts, strict=True) for part in range(count)]
    computed = [_compute.options(**how).remote(model, question.job, part) for model, part in parts]
    return ray.get(_finding.options(**how).remote(wanted, question.job, *computed))


def _answer(question: Question, done: Future[dict[str, bytes]], store: Store, folder: Path) -> Answer:
    error = done.exception()
    if error is None:
        files = done.result()
        for part in ({name: content for name, content in files.items() if name != LAST}, {LAST: files[LAST]}):
            store.attach(question.trials[0].run_id, question.folder, part)
        return _keep(question, done.result(), folder)
    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    line = " ".join(str(cause).split())
    if isinstance(cause, UserError):
        return Answer(question, impossible=line)
    return Answer(question, failed=f"{type(cause).__name__}: {line}")


def _keep(question: Question, files: Mapping[str, bytes], folder: Path) -> Answer:
    # the names of several could be longer than a folder's may be
    models = (
        question.models
        if len(question.trials) == 1
        else f"{len(question.trials)} models {question.folder.rpartition('-')[2]}"
    )
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
