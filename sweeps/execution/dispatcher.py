"""Gives the agenda's trials out, and takes in what comes of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps.decisions.agenda import Agenda, certainty, drop, threads
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Task
from sweeps.decisions.status import Status
from sweeps.execution.bound import Bound
from sweeps.execution.helpers import Helpers
from sweeps.execution.histories import Histories
from sweeps.execution.messages import Failure, Help, Order, Place, Progress
from sweeps.execution.orders import entry, order
from sweeps.execution.sharing import gigabytes
from sweeps.execution.tracker_actor import TrackerActor
from sweeps.execution.traffic import Lane
from sweeps.execution.unsaved import Unsaved
from sweeps.execution.watchdog import Watchdog
from sweeps.reporting.display import Display
from sweeps.tracking.summary import summary
from sweeps.tracking.tracker import Tracker
from trainables.footprint import Images, footprint

RESTARTS = 2  # of a trial whose process or node was lost, or that hung


@dataclass
class Dispatcher(Unsaved):
    """Tells the agenda, the Tracker and the display how each trial fares, and counts restarts. Nothing here waits."""

    agenda: Agenda
    tracker: TrackerActor
    display: Display
    tags: Mapping[str, str]  # of all MLflow runs
    gpu: float  # a trial's share of a GPU; 0: the CPU
    images: Images  # that trials are trained on
    cores: int = 1  # of the machine that has most
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by stage, the tags of its MLflow runs
    bound: Bound = field(default_factory=Bound)
    lane: Lane | None = None  # on a cluster that others may use
    histories: Histories = field(default_factory=Histories)
    watchdog: Watchdog = field(default_factory=Watchdog)
    noted: set[str] = field(default_factory=set)  # what workers had to say: others have the same, and it is said once
    pending: list[str] = field(default_factory=list)  # the keys of trials that wait for another worker

    def __post_init__(self) -> None:
        self.helpers = Helpers(self.histories)

    def place(self, asked: Collection[Place]) -> Place | None:
        """Return a place to ask for beside those `asked` for already; None where they are enough."""
        if self.agenda.ledger.closed or self.is_crowded(len(asked)):
            return None
        if self.agenda.ready(alone=True) > sum(each.alone for each in asked):
            return Place(1.0, alone=True)
        others = sum(not each.alone for each in asked)
        if self.agenda.ready() + (not self.gpu and self.helpers.wanted()) > others:
            return Place(self.gpu, cores=1 if self.gpu else min(self.cores, threads(self.agenda, others)))
        return None

    def is_crowded(self, more: int = 0) -> bool:
        """Tell whether others want the room that so many more trials would take."""
        return self.lane is not None and self.lane.is_full(len(self.watchdog.under_way()) + more)

    def next(self, place: Place) -> Order | Help | None:
        """Return the trial for a worker, or the part that it has in another one's; None where there is nothing to do
        before a running one ends.
        """
        self._let_go()
        task = self.agenda.next(alone=place.alone)
        _copy_taken(self)
        if task:
            return order(task, place.device, _tags(self, task))
        return None if place.gpu or self.agenda.ledger.closed else self.helpers.send(place.device)

    def close_at_bound(self) -> None:
        """Give nothing more out where the command has come to its limits."""
        ledger = self.agenda.ledger
        under_way = sum(len(ledger.tasks[key].seeds) for key in ledger.running)
        if not ledger.closed and (reached := self.bound.reached(under_way)):
            self.agenda.close()
            self.display.closed(reached)

    def drop(self, task: Task, why: str) -> bool:
        """Have a trial run no more, as somebody asks; return whether it has ended now. Raises UserError."""
        if outcome := drop(self.agenda, task, why):
            self._told(outcome)
        return outcome is not None

    def started(self, key: str, actor: Any) -> None:
        """Note that a worker has taken up a trial."""
        task = self.agenda.tasks[key]
        self._not_pending(key)
        self.watchdog.watch(key, actor)
        self.helpers.begin(task, actor)
        self.histories.begin(key, task.known.history if task.known else None)
        self.display.started(task)

    def helps(self, job: Help, actor: Any) -> None:
        """Note that a worker has begun to help with a trial."""
        self.watchdog.watch(job.name, actor)
        self.display.shared(self.agenda.tasks[job.key], 1 + len(self.helpers.names(job.key)))

    def helped(self, job: Help) -> None:
        """Note that a worker helps no more. A trial that still wants it goes on from its last snapshot, alone."""
        self.watchdog.leave(job.name)
        reason = self.watchdog.reason(job.name)
        if self.helpers.lost(job):
            self._again(job.key, f"of a worker that helped, {reason}")

    def progressed(self, key: str, progress: Progress) -> None:
        """Note that a trial has trained an epoch."""
        for name in (key, *self.helpers.names(key)):
            self.watchdog.note_epoch(name)
        for note in progress.notes:
            if note not in self.noted:
                self.noted.add(note)
                self.display.noted(self.agenda.tasks[key], note)
        if progress.last:  # whoever was to give way has come to the end
            self.agenda.ledger.cut.discard(key)
        self.bound.trained += progress.trained
        newest = self.histories.add(key, progress)
        self.display.progressed(self.agenda.tasks[key], progress.epoch, newest, progress.usage)

    def lost(self, key: str, failure: Failure | None = None) -> None:
        """Note that a trial lost its process, and that Tune starts it again; `failure` is why, where it said so."""
        if failure:
            self.watchdog.blame(key, failure.reason)
        self._lost(key)
        self.pending.append(key)

    def crashed(self, error: Exception) -> None:
        """Take back what Tune's broken run had.

        It is a restart of those trials under way that the error names, or else of all under way.
        """
        for key in reversed(self.pending):
            self.agenda.put_back(key)
        self.pending.clear()
        named = self.watchdog.named_in(error)
        for key in self.watchdog.under_way():
            if key not in self.agenda.tasks:  # a worker that helped with another one
                self.watchdog.leave(key)
                continue
            if named and key not in named:
                self._leave(key)
                self.agenda.put_back(key)
                continue
            self.watchdog.blame(key, f"its process was killed ({type(error).__name__})")
            if len(self.agenda.restarts.get(key, ())) == RESTARTS:
                self.given_up(key)
            else:
                self._lost(key)
                self.agenda.put_back(key)

    def given_up(self, key: str, failure: Failure | None = None) -> None:
        """End a trial that has had all its restarts; `failure` is why its last process is gone, where it said so."""
        reason = failure.reason if failure else self.watchdog.reason(key)
        self._ended(key, f"{reason}, again after {RESTARTS} restarts", failure)

    def ended(self, key: str, failure: Failure | None) -> None:
        """End a trial, or lay it aside where it waits for others.

        One that found no room on a GPU runs once more, with a GPU to itself.
        """
        if failure and failure.out_of_memory and 0 < self.gpu < 1 and not self.agenda.tasks[key].alone:
            self._leave(key)
            self._again(key, "it ran out of GPU memory beside others")
            self.agenda.put_back(key, alone=True)
        elif not failure and self.agenda.waits(key):
            self._lay_aside(key)
        elif failure:
            more = _estimate(self.agenda.tasks[key], self.images) if failure.out_of_memory else ""
            self._ended(key, failure.reason + more, failure)
        else:
            self._ended(key)

    def interrupted(self) -> None:
        """Note for the store what was under way; after an ordinary end nothing is."""
        for key in self.histories.keys() - self.agenda.outcomes.keys():
            self.tracker.call(Tracker.finish, key, Status.INTERRUPTED)

    def _again(self, key: str, reason: str) -> None:
        often = self.agenda.ledger.restarted(key, reason)
        self.display.restarted(self.agenda.tasks[key], reason, often, RESTARTS)

    def _lost(self, key: str) -> None:
        self._leave(key)  # until it starts again
        self._again(key, self.watchdog.reason(key))

    def _leave(self, key: str) -> None:
        """Have nobody work at a trial any more."""
        self.watchdog.leave(key)
        self.helpers.dismiss(key)

    def _not_pending(self, key: str) -> None:
        self.pending = [each for each in self.pending if each != key]

    def _lay_aside(self, key: str) -> None:
        """Keep a trial for later. In the store it goes on running, and is interrupted if the command ends before."""
        self._not_pending(key)
        self._leave(key)
        self.agenda.lay_aside(key, self.histories.of(key))
        self.display.laid_aside(self.agenda.tasks[key])
        self._let_go()

    def _let_go(self) -> None:
        """End the trials that need wait no longer, and move on."""
        for key in self.agenda.let_go():
            self._told(self.agenda.outcomes[key])
        self.agenda.advance()

    def _ended(self, key: str, reason: str | None = None, failure: Failure | None = None) -> None:
        self._not_pending(key)
        self._leave(key)
        outcome = self.agenda.finish(key, self.histories.of(key), reason=reason)
        self._told(outcome, {"error.txt": failure.traceback.encode()} if failure else None)
        self._let_go()

    def _told(self, outcome: Outcome, files: Mapping[str, bytes] | None = None) -> None:
        """Tell Tracker and display what a trial came to."""
        if self.bound.score is not None and outcome.status == Status.DONE and outcome.score > self.bound.score:
            self.bound.take(self.agenda.tasks[outcome.key].name, outcome.score, certainty(self.agenda, outcome))
        scores = summary(outcome, self.agenda.terms.yardstick.metric)
        self.tracker.call(Tracker.finish, outcome.key, outcome.status, outcome.reason, files, scores)
        self.display.ended(self.agenda.tasks[outcome.key], outcome)


def _copy_taken(to: Dispatcher) -> None:
    """Have runs of the study's own for the trials that a search has taken over from other studies."""
    ledger, metric = to.agenda.ledger, to.agenda.terms.yardstick.metric
    while ledger.taken:
        task = ledger.taken.pop(0)
        outcome = ledger.outcome(task.cell, task.key, task.history, task.seeds)
        scores = summary(outcome, metric)
        to.tracker.call(Tracker.copy, task.key, entry(task, _tags(to, task)), outcome.status, scores)


def _tags(of: Dispatcher, task: Task) -> Mapping[str, str]:
    return {**of.tags, **of.parents.get(task.stage, {})}


def _estimate(task: Task, images: Images) -> str:
    size = footprint(task.cell.trial, images, len(task.seeds)).total
    return f"; it was estimated to take {gigabytes(size)} at most"
