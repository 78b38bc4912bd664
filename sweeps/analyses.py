"""Asking finished models: analyses fanned out over Ray as tasks, their findings kept in MLflow and in the results folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from rich.console import Console

from analysis.finding import Arrays, Finding, Job
from analysis.report import Section
from analysis.subject import Subject, subject
from sweeps.finished import folder_name
from sweeps.results import keep
from sweeps.tracking import Store, StoredTrial
from trainables import checkpoint
from trainables.datasets import Dataset
from trainables.errors import UserError

SIDE_BY_SIDE = 16  # jobs under way at once; each of their parts is a task that waits for a free core or GPU


@dataclass(frozen=True)
class Model:
    """A finished trial as tasks get it: what Ray's object store holds of it, and its name."""

    run_id: str
    name: str
    files: Any  # reference to the checkpoint's files
    data: Any  # reference to the data set
    device: str


@dataclass(frozen=True)
class Question:
    """One job on one model, or on several side by side."""

    job: Job
    models: tuple[Model, ...]

    @property
    def folder(self) -> str:
        """Its folder's name: the same options on the same models have the same."""
        asked = json.dumps([asdict(self.job), [model.run_id for model in self.models]], sort_keys=True)  # type: ignore[call-overload]
        return f"{self.job.name}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """What it is called on screen."""
        return f"{self.job.name} of {' and '.join(model.name for model in self.models)}"


@dataclass(frozen=True)
class Answer:
    """What came of a question: a finding in its folder, or the reason why there is none."""

    question: Question
    folder: Path | None = None
    finding: Finding | None = None
    known: bool = False  # MLflow had it already
    impossible: str | None = None  # the job says that it cannot be done on this model or data
    failed: str | None = None

    @property
    def words(self) -> str:
        """The answer's end in a word, or its reason."""
        if self.impossible:
            return f"not possible: {self.impossible}"
        return f"failed: {self.failed}" if self.failed else "done before" if self.known else "done"


def ask(
    trials: Sequence[StoredTrial],
    jobs: Sequence[Job],
    data: Dataset,
    store: Store,
    folder: Path,
    resources: Mapping[str, float],
    console: Console,
    fresh: bool = False,
) -> list[Answer]:
    """Do the jobs on the finished trials and return the answers, in the order of the questions.

    A question that has an answer in MLflow already is not asked again, unless `fresh`. One that fails costs only itself. Findings go to
    `folder`/<model>/<job>/ and to the MLflow run of the examined model (of the first, where there are several).
    """
    shared, device = ray.put(data), "cuda" if resources.get("gpu") else "cpu"
    models = [_model(trial, store, shared, device) for trial in trials]
    asked = list(_questions(jobs, models))
    answers: dict[int, Answer] = {}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        waiting = {pool.submit(_answer, question, store, resources, fresh): number for number, question in enumerate(asked)}
        for done in as_completed(waiting):
            number = waiting[done]
            answers[number] = answer = _kept(asked[number], done.result(), store, folder)
            console.print(f"{asked[number].name}: {answer.words}", highlight=False, soft_wrap=True)
    return [answers[number] for number in range(len(asked))]


def _model(trial: StoredTrial, store: Store, data: Any, device: str) -> Model:
    files = {f"checkpoint/{name}": content for name, content in store.attached(trial.run_id, "checkpoint").items()}
    checkpoint.load(files)  # whole, or refused here in one line
    return Model(trial.run_id, f"{trial.experiment}, {trial.name}", ray.put(files), data, device)


def _questions(jobs: Sequence[Job], models: Sequence[Model]) -> Iterator[Question]:
    for job in jobs:
        if job.together:
            yield Question(job, tuple(models))
        else:
            yield from (Question(job, (model,)) for model in models)


@dataclass(frozen=True)
class _Done:
    files: dict[str, bytes]
    known: bool = False  # MLflow had it already


def _answer(question: Question, store: Store, resources: Mapping[str, float], fresh: bool) -> _Done | Exception:
    """Conduct a question's tasks; runs in a thread of the driver, which only waits."""
    try:
        known = {} if fresh else store.attached(question.models[0].run_id, f"analysis/{question.folder}")
        if "finding.json" in known:
            return _Done(known, known=True)
        how = {"num_cpus": resources["cpu"], "num_gpus": resources.get("gpu", 0)}
        counts = [ray.get(_parts.options(**how).remote(model, question.job)) for model in question.models]
        parts = [(model, part) for model, count in zip(question.models, counts, strict=True) for part in range(count)]
        computed = [_compute.options(**how).remote(model, question.job, part) for model, part in parts]
        return _Done(ray.get(_finding.options(**how).remote(question.models, question.job, *computed)))
    except Exception as error:  # whatever it is, it costs this question alone, and is told
        return error


def _kept(question: Question, outcome: _Done | Exception, store: Store, folder: Path) -> Answer:
    if isinstance(outcome, Exception):
        cause = outcome.cause if isinstance(outcome, ray.exceptions.RayTaskError) else outcome
        line = " ".join(str(cause).split())
        if isinstance(cause, UserError):
            return Answer(question, impossible=line)
        return Answer(question, failed=f"{type(cause).__name__}: {line}")
    finding = Finding.from_files(outcome.files)
    if not outcome.known:
        store.attach(question.models[0].run_id, f"analysis/{question.folder}", outcome.files)
    place = folder / folder_name(" ".join(model.name for model in question.models)) / question.job.name
    return Answer(question, keep(place, outcome.files), finding, outcome.known)


def sections(answers: Sequence[Answer]) -> list[Section]:
    """Return the answers as sections of a report: findings, and for the others why there is none."""
    return [_section(answer) for answer in answers]


def _section(answer: Answer) -> Section:
    if answer.finding is None or answer.folder is None:
        return Section(answer.question.name, (f"{answer.words}.".capitalize(),))
    finding = answer.finding
    drawn = tuple((answer.folder / f"{stem}.png", figure.caption) for stem, figure in finding.figures.items())
    models = " and ".join(model.name for model in answer.question.models)
    return Section(f"{finding.title}: {models}", finding.text, tuple(finding.tables.values()), drawn)


# --- on the workers

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
