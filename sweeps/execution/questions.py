"""Analyses of finished models as Ray tasks, side by side. Whoever asks them: sweeps/execution/asking.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import ray

from analysis.job import WrongOption
from sweeps.execution import analysis_tasks
from sweeps.execution.analysis_tasks import SharedModel
from sweeps.execution.answers import Answer, Answers, Question
from sweeps.execution.machines import Machines
from sweeps.execution.messages import Poisoned
from sweeps.execution.shared_data import SharedData
from sweeps.execution.sharing import largest_examined, share_out
from sweeps.tracking.connection import one_line
from sweeps.tracking.finished import model_name
from sweeps.tracking.store import Store
from trainables import checkpoint
from trainables.config import Trial
from trainables.errors import UserError
from trainables.footprint import Images

SIDE_BY_SIDE = 16  # jobs under way at once; each of their parts is a task that waits for a free core or GPU


def answered(
    questions: Mapping[int, Question],
    data: SharedData,
    kept: Answers,
    machines: Machines,
    insisted: Collection[str],
    *,
    all_of_them: bool,
) -> dict[int, Answer]:
    """Have the questions answered side by side, and say what came of each as it ends."""
    answers = {}
    models, trials, broken = _models(questions.values(), kept.store, data, "cuda" if machines.num_gpus else "cpu")
    workers = Workers(models, _resources(machines, trials, data, kept.say, all_of_them=all_of_them))
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        for at, question in questions.items():
            if reasons := [broken[trial.run_id] for trial in question.trials if trial.run_id in broken]:
                answers[at] = Answer(question, failed="; ".join(reasons))
                kept.say(str(answers[at]))
        rest = {at: question for at, question in questions.items() if at not in answers}
        counted = {at: pool.submit(workers.count, question) for at, question in rest.items()}
        _refuse_wrong_options(questions, counted, insisted)
        waiting = {pool.submit(workers.conduct, questions[at], parts): at for at, parts in counted.items()}
        for done in as_completed(waiting):
            answer = answers[waiting[done]] = _answer(questions[waiting[done]], done, kept)
            kept.say(str(answer))
    finally:
        workers.stop()  # a thread that still waited for a task once Ray is left would wait for ever
        pool.shutdown(cancel_futures=True)
    return answers


def _refuse_wrong_options(
    questions: Mapping[int, Question], counted: Mapping[int, Future[list[int]]], insisted: Collection[str]
) -> None:
    """Raise WrongOption where an option of a job `insisted` on fits none of the models that it is asked of."""
    for name in insisted:
        causes = [_cause(parts.exception()) for at, parts in counted.items() if questions[at].job.name == name]
        if causes and all(isinstance(cause, WrongOption) for cause in causes):
            raise WrongOption(f"{name}: {causes[0]}")


def _models(
    questions: Iterable[Question], store: Store, data: SharedData, device: str
) -> tuple[dict[str, SharedModel], dict[str, Trial], dict[str, str]]:
    """Put the trials' checkpoints and the data where tasks find them.

    Returns the models by run, the trials that they are of by name, and by run why a model cannot be had.
    """
    models, trials, broken = {}, {}, {}
    for run_id, trial in {trial.run_id: trial for question in questions for trial in question.trials}.items():
        try:
            files = store.checkpoint(run_id)
            trials[f"{model_name(trial)} (run {run_id})"] = checkpoint.load(files).trial
        except Exception as error:  # damaged or lost, or MLflow is away: it costs the questions on this model alone
            why = str(error) if isinstance(error, UserError) else one_line(error)
            broken[run_id] = f"run {run_id} ({trial.name}) has no model that can be read: {why}"
        else:
            models[run_id] = SharedModel(run_id, model_name(trial), ray.put(files), data.reference(), device)
    return models, trials, broken


def _resources(
    machines: Machines, trials: Mapping[str, Trial], data: SharedData, say: Callable[[str], None], *, all_of_them: bool
) -> dict[str, float]:
    """Return what a task on the models of these trials takes, and say where it runs."""
    if not trials:
        return {}
    sharing = share_out(
        machines, lambda: largest_examined(trials, Images.of(ray.get(data.reference()))), all_of_them=all_of_them
    )
    say(f"analyses run {sharing.words}")
    for line in sharing.warnings:
        say(f"warning: {line}")
    return {"num_cpus": 1, "num_gpus": sharing.resources.get("gpu", 0)}


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
        # those alone: Ray's C++ part aborts where it is asked to cancel a task in the moment in which that ends
        for task in self._under_way():
            ray.cancel(task, force=True)

    def _under_way(self) -> list[ray.ObjectRef]:
        if not self.tasks:
            return []
        return ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0, fetch_local=False)[1]

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


def _answer(question: Question, done: Future[dict[str, bytes]], kept: Answers) -> Answer:
    cause = _cause(done.exception())
    if cause is None:
        return kept.keep(question, done.result())
    if isinstance(cause, Poisoned):
        return Answer(question, failed=cause.failure.reason)
    line = " ".join(str(cause).split())
    if isinstance(cause, UserError):
        return Answer(question, impossible=line)
    return Answer(question, failed=f"{type(cause).__name__}: {line}")


def _cause(error: BaseException | None) -> BaseException | None:
    """Return what went wrong, in a task or in the thread that waited for it."""
    return error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
