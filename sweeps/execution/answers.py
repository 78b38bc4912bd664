"""Questions, their answers, and where answers are kept.

That is MLflow, the spool until MLflow has them (sweeps/tracking/findings.py), and the results folder for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from analysis.finding import Finding
from analysis.job import Job
from analysis.report import Section
from sweeps.reporting.results import keep
from sweeps.tracking import findings
from sweeps.tracking.artifacts import Unreadable
from sweeps.tracking.connection import one_line
from sweeps.tracking.findings import ANALYSES, LAST, Kept, Left, Place
from sweeps.tracking.finished import folder_name, folder_of, model_name
from sweeps.tracking.store import Store, StoredTrial
from trainables.errors import UserError


@dataclass(frozen=True)
class Question:
    """One job on one finished trial, or on several side by side."""

    job: Job
    trials: tuple[StoredTrial, ...]

    @property
    def folder(self) -> str:
        """Its folder's name among a run's artifacts: the same options on the same models have the same.

        A run that has gone on since, to more epochs or seeds, has other models. (Findings of a first edition are named
        without them, as earlier versions named theirs.)
        """
        runs: list[Any] = [trial.run_id for trial in self.trials]
        if self.job.edition > 1:
            runs = [self.job.edition, *([trial.run_id, _trained(trial)] for trial in self.trials)]
        asked = json.dumps([asdict(self.job), runs], sort_keys=True)
        return f"{ANALYSES}/{self.job.name}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"

    @property
    def place(self) -> Place:
        """Where MLflow has its answer: in the run of the examined model (of the first, where there are several)."""
        return self.trials[0].run_id, self.folder

    @property
    def models(self) -> str:
        """The names of its models."""
        return " and ".join(map(model_name, self.trials))

    def __str__(self) -> str:
        return f"{self.job.name} of {self.models}"


@dataclass(frozen=True)
class Answer:
    """What came of a question: a finding in its folder, or why it has none."""

    question: Question
    folder: Path | None = None
    finding: Finding | None = None
    impossible: str | None = None  # the job says that it cannot be done on this model or data
    failed: str | None = None
    waiting: Path | None = None  # the finding in the spool, as long as MLflow does not have it

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do: it has not failed, and MLflow has what was found."""
        return self.failed is None and self.waiting is None

    def __str__(self) -> str:
        how = "done"
        if self.failed:
            how = f"failed: {self.failed}"
        elif self.impossible:
            how = f"not possible: {self.impossible}"
        return f"{self.question}: {how}"


class Answers:
    """Where answers are kept: in MLflow and, of one study, in its spool and in its results folder, for people.

    There each model has a folder in `analysis`, and each job one in that.
    """

    def __init__(self, store: Store, results: Path, say: Callable[[str], None]) -> None:
        self.store, self.say = store, say
        self.spool, self.folder = results / ".spool", results / "analysis"
        self._away = False  # whether MLflow did not take the last finding
        self._warned: set[str] = set()

    def deliver_earlier(self) -> None:
        """Send what an earlier command found and MLflow did not take."""
        left = findings.deliver_findings(self.store, findings.findings_in(self.spool))
        self._warn([*left.away, *left.refused, *left.damaged])

    def known(self, questions: Sequence[Question]) -> dict[int, Answer]:
        """Return, by the question's number, the answers there are, and failures where that cannot be found out.

        What is damaged is said, and counts as not there.
        """
        kept = {question.place: findings.waiting(self.spool, question.place) for question in questions}
        stored = findings.stored(self.store, [place for place, found in kept.items() if found is None])
        answers = {}
        for at, question in enumerate(questions):
            if found := kept[question.place]:
                answer = self._read(question, found[1])
                answer = answer and replace(answer, waiting=found[0])
            else:
                answer = self._downloaded(question, stored[question.place])
            if answer:
                answers[at] = answer
        return answers

    def keep(self, question: Question, files: Mapping[str, bytes]) -> Answer:
        """Keep what was found, on disk first, and send it to MLflow, unless that did not answer the last time."""
        try:
            finding = Finding.from_files(files)
        except ValueError as error:
            return Answer(question, failed=str(error))
        try:
            kept = findings.keep(self.spool, question.place, files)
        except OSError as error:  # a full disk: then MLflow alone can keep it
            return self._sent_from_memory(question, files, finding, error)
        answer = replace(self._written(question, files, finding), waiting=kept)
        if not self._away and self._deliver([answer]).away:
            self.say(f"MLflow does not take findings now: they are kept in {self.spool}, and sent again at the end")
        return answer

    def settle(self, answers: Sequence[Answer]) -> list[Answer]:
        """Send what MLflow has not got yet, and return the answers as they stand then; say what is left."""
        left = self._deliver(answers)
        self._warn(left.away[:1])  # the others say the same
        there = set(findings.findings_in(self.spool))
        settled = [answer if answer.waiting in there else replace(answer, waiting=None) for answer in answers]
        if any(answer.waiting for answer in settled):
            self.say(findings.advice(self.spool, self.store.uri))
        return settled

    def _deliver(self, answers: Sequence[Answer]) -> Left:
        left = findings.deliver_findings(self.store, [answer.waiting for answer in answers if answer.waiting])
        self._warn([*left.refused, *left.damaged])
        self._away = bool(left.away)
        return left

    def _warn(self, lines: Iterable[str]) -> None:
        """Say what was not said before."""
        for line in lines:
            if line not in self._warned:
                self.say(f"warning: {line}")
            self._warned.add(line)

    def _downloaded(self, question: Question, found: Future[dict[str, bytes]]) -> Answer | None:
        try:
            files = found.result()
        except Unreadable as error:
            self._say_damaged(question, error)
            return None
        except Exception as error:  # whatever keeps MLflow from telling, it costs this question alone
            return Answer(question, failed=f"what MLflow has of it cannot be read: {one_line(error)}")
        # without its last file a delivery has not come to its end
        return self._read(question, files) if LAST in files else None

    def _read(self, question: Question, files: Mapping[str, bytes]) -> Answer | None:
        try:
            finding = Finding.from_files(files)
        except ValueError as error:
            self._say_damaged(question, error)
            return None
        return self._written(question, files, finding)

    def _say_damaged(self, question: Question, error: ValueError) -> None:
        self.say(f"{question}: its stored finding is damaged and is made again ({error!s:.200})")

    def _written(self, question: Question, files: Mapping[str, bytes], finding: Finding) -> Answer:
        """Write a finding where people look for it."""
        # the names of several could be longer than a folder's may be
        several = folder_name(f"{len(question.trials)} models {question.folder.rpartition('-')[2]}")
        models = folder_of(question.trials[0]) if len(question.trials) == 1 else several
        place = self.folder / models / question.job.name
        try:
            keep(place, {name: content for name, content in files.items() if not _is_in(place / name, content)})
        except UserError as error:
            return Answer(question, failed=str(error))
        return Answer(question, place, finding)

    def _sent_from_memory(
        self, question: Question, files: Mapping[str, bytes], finding: Finding, disk: OSError
    ) -> Answer:
        try:
            Kept(question.place, files).send(self.store)
        except Exception as error:
            lost = f"the finding is lost: not kept, {one_line(disk)}; not sent, {one_line(error)}"
            return Answer(question, failed=lost)
        return self._written(question, files, finding)


def _trained(trial: StoredTrial) -> dict[str, int]:
    """Return how many epochs each seed of a trial has run; empty where its curves are not known."""
    return {seed: len(records) for seed, records in trial.curves["seeds"].items()} if trial.curves else {}


def _is_in(path: Path, content: bytes) -> bool:
    """Whether a file holds this already: a start that finds everything done writes nothing."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:  # it is not there, or will be replaced
        return False


def sections(answers: Sequence[Answer]) -> list[Section]:
    """Return the answers as sections of a report: findings, or why a question has none."""
    several = len({answer.question.models for answer in answers if len(answer.question.trials) == 1}) > 1
    return [_section(answer, several) for answer in answers]


def _section(answer: Answer, several: bool) -> Section:
    """Return an answer as a section, called by what was found; and by its model where there are `several`."""
    if answer.finding is None or answer.folder is None:
        problem = f"Not possible: {answer.impossible}." if answer.impossible else f"Failed: {answer.failed}."
        return Section(f"{answer.question.job.name}: {answer.question.models}", (problem,))
    finding = answer.finding
    drawn = tuple((answer.folder / f"{stem}.png", figure.caption) for stem, figure in finding.figures.items())
    whose = f" ({answer.question.models})" if several and not answer.question.job.together else ""
    return Section(
        f"{finding.title}{whose}",
        finding.text,
        tuple(finding.tables.values()),
        drawn,
        captioned=True,
    )
