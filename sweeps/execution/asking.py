"""Asking finished models what is not answered yet. How that is done: questions.py; where findings are kept: answers.py.

Importing this module imports neither Ray nor torch: a command that finds all answered does without.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from analysis.job import Job
from sweeps.execution.answers import Answer, Answers, Question
from sweeps.execution.background import Background
from sweeps.execution.machines import Machines
from sweeps.execution.shared_data import SharedData
from sweeps.interruption import held
from sweeps.tracking.store import StoredTrial


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
    kept: Answers,
    machines: Machines,
    here: Background | None = None,
    *,
    fresh: bool = False,
    insisted: Collection[str] = (),
) -> list[Answer]:
    """Return the answers, in the order of the questions; they are kept where `kept` says, and sent to MLflow.

    `here` is a Ray on this machine that may have been started. A question that has an answer already is not asked
    again, unless `fresh`. One that fails costs only itself. Raises WrongOption, before anything is computed, where an
    option of one of the jobs `insisted` on fits none of its models.
    """
    answers = {} if fresh else kept.known(questions)
    for answer in answers.values():
        if answer.failed:
            kept.say(str(answer))
    done = [answer.question.job.name for answer in answers.values() if answer.finding]
    if done:
        kept.say(f"analyses done already, and not done again: {len(done)}")
    missing = {at: question for at, question in enumerate(questions) if at not in answers}
    if missing:
        with held():  # imports Ray and torch, which takes seconds
            from sweeps.execution import cluster
            from sweeps.execution.questions import answered

        rest = set(insisted) - set(done)  # what is done fits one model
        with cluster.connect(machines, here) as found:
            answers |= answered(missing, data, kept, found, rest, all_of_them=machines.num_gpus is None)
    return kept.settle([answers[at] for at in range(len(questions))])
