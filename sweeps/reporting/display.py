"""What a user sees while trials run: one live panel in a terminal, plain lines elsewhere.

Colours are the terminal's own green, yellow and red, as it has chosen them for its background: done, stopped early and
started again, failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.decisions.acts import Act
from sweeps.decisions.agenda import Agenda, searches
from sweeps.decisions.ahead import is_screened, of_study
from sweeps.decisions.labels import counted, span
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Task
from sweeps.decisions.status import Status
from sweeps.reporting.feed import Feed
from sweeps.reporting.progress import Progress, Running
from trainables.history import Record
from trainables.memory import Usage

QUIET_SECONDS = 30.0  # without a terminal: the longest time without a line
FAR = 1000.0  # a loss that has no use for decimals
WIDEST_BAR = 30  # columns
COLOURS = {Status.DONE: "green", Status.CENSORED: "yellow", Status.FAILED: "red", Status.DROPPED: "yellow"}
WORDS = {Status.DONE: "done", Status.CENSORED: "stopped early", Status.FAILED: "failed", Status.DROPPED: "dropped"}


class Display:
    """Follows the trials. Its methods only note what happened; the panel is drawn by a thread of its own."""

    def __init__(self, agenda: Agenda, console: Console, feed: Feed | None = None) -> None:
        self.agenda, self.console, self.feed = agenda, console, feed or Feed()
        self.spoken = time.monotonic()
        self.running: dict[str, tuple[Task, int, Record | None]] = {}  # key → epochs done, its newest record
        self.progress = Progress(agenda)
        self.live = Live(get_renderable=self._panel, console=console, refresh_per_second=2, transient=True)
        self._announced: set[str] = set()  # stages whose question was said
        self._aside: dict[str, tuple[int, Record | None]] = {}  # likewise, where trials are that wait
        self.workers: dict[str, int] = {}  # by key, how many train a trial, where that is several
        self.usage: dict[str, Usage] = {}  # by key, where a trial runs, and what it takes there
        self.warnings: list[str] = []
        self.closing: str | None = None  # why nothing more begins
        self.goes_on = False  # whether this command begins again then
        self.others: Callable[[], list[dict[str, Any]]] = list  # what studies on the same cluster want and may have

    def __enter__(self) -> Display:
        if self.console.is_interactive:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()
        if self.agenda.ledger.closed and not (self.agenda.over or self.goes_on):
            self._say(self._left())

    def started(self, task: Task) -> None:
        """Note that a worker has taken up a trial."""
        self.progress.begin()
        self.workers.pop(task.key, None)
        known = task.known.history.epochs if task.known else 0
        epoch, record = self._aside.pop(task.key, (known, None))
        self.running.setdefault(task.key, (task, epoch, record))
        self.feed.started(task, self.running[task.key][1])
        question = next((each.question for each in self.agenda.study.all_stages if each.name == task.stage), "")
        if question and task.stage not in self._announced:
            self._say(Text.assemble((f"{task.stage}: ", "bold"), question))
        self._announced.add(task.stage)

    def shared(self, task: Task, workers: int) -> None:
        """Note that so many workers train a trial from its next epoch on."""
        self.workers[task.key] = workers

    def progressed(self, task: Task, epoch: int, record: Record, usage: Usage | None = None) -> None:
        """Note that a trial has trained an epoch: its number, and the record of one replicate; and where."""
        if usage:
            self.usage[task.key] = usage
        self.running[task.key] = (task, epoch, record)
        self.progress.note(task)
        self.feed.epoch(task, epoch, record)
        if not self.console.is_interactive and time.monotonic() - self.spoken > QUIET_SECONDS:
            self._say(self._summary())

    def noted(self, task: Task, note: str) -> None:
        """Say what the user is to know of how a trial is trained."""
        self.warnings.append(f"{task.name}: {note}")
        self.feed.tell("warning", key=task.key, text=note)
        self._say(Text.assemble(("warning", "yellow"), f": {task.name}: {note}"))

    def restarted(self, task: Task, reason: str, often: int, at_most: int) -> None:
        """Note that a trial starts again."""
        self.feed.tell("restarted", key=task.key, reason=reason, times=often)
        again = f"{reason}; it starts again from its last snapshot ({often} of at most {at_most})"
        self._say(Text.assemble(f"{task.name}: ", (again, "yellow")))

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Note a trial's end."""
        self.running.pop(task.key, None)
        self.feed.ended(task, outcome)
        word = WORDS[outcome.status]
        rest = describe(outcome).removeprefix(word)
        if task.drawn and outcome.status == Status.DONE:  # a search runs its best twice, and ranks the second run
            word = "screened" if is_screened(task.seeds) else f"confirmed with {counted(len(task.seeds), 'seed')}"
        self._say(Text.assemble(f"{task.name}: ", (word, COLOURS[outcome.status]), rest))

    def laid_aside(self, task: Task) -> None:
        """Note that a trial waits until others have come as far, or for another command."""
        if task.key in self.running:
            _, epoch, record = self.running.pop(task.key)
            self._aside[task.key] = epoch, record
        self.feed.tell("paused", key=task.key)

    def closed(self, reason: str) -> None:
        """Note that no trial begins any more, nor any further epoch."""
        self._close(reason)
        self._say(Text.assemble((reason, "yellow"), "; what is under way ends with its epoch"))

    def steered(self, act: Act, answer: str, *, goes_on: bool = False) -> None:
        """Note that something that somebody asked for is done: so trials may begin no more, or begin again. `goes_on`:
        this command does, by another plan.
        """
        self.goes_on = goes_on
        if self.agenda.ledger.closed and self.closing is None:
            self._close(f"{act.asked} ({act.by})")
        elif not self.agenda.ledger.closed:
            self.closing = None
        self.feed.tell("act", act=act.what, argument=act.argument, user=act.user, reason=act.reason, answer=answer)
        self._say(Text.assemble((act.asked, "yellow"), f" ({act.by}): {answer}"))

    def rested(self, seconds: float) -> None:
        """Note that for so long nothing was to be run."""
        self.progress.rest(seconds)

    def _close(self, reason: str) -> None:
        self.closing = reason
        self.feed.tell("closed", reason=reason)

    def _say(self, line: Text) -> None:
        self.spoken = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True)

    def _panel(self) -> Any:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self.running))
        table.add_column("trial")
        for column in ("epoch", "train loss", "validation", "images/s"):
            table.add_column(column, justify="right", style="dim")
        for task, epoch, record in list(self.running.values()):
            numbers = _numbers(record) if record else ()
            together = f" ({workers} workers)" if (workers := self.workers.get(task.key)) else ""
            table.add_row(task.name + together, f"{epoch}/{task.cell.trial.training.epochs}", *numbers)
        count = self.progress.count(self.under_way())
        width = max(1, min(WIDEST_BAR, self.console.width // 4))
        bar = ProgressBar(1.0, count.share, width, style="bright_black", complete_style="green", finished_style="green")
        head = Table.grid(padding=(0, 2, 0, 0))
        done = Text(f"{count.done} of {counted(count.total, 'trial')}")
        head.add_row(bar, _joined(done, self._time_left(), self._rate()))
        return Group(head, _joined(self._stage(), *self._counts(), self._best()), table)

    def _summary(self) -> Text:
        count = self.progress.count(self.under_way())
        done = Text(f"{count.done} of {counted(count.total, 'trial')}")
        return _joined(self._stage(), done, *self._counts(), self._rate(), self._time_left(), self._best())

    def under_way(self) -> Running:
        """Return the trials under way, and the epochs that they have run."""
        return {key: (task, epoch) for key, (task, epoch, _) in list(self.running.items())}

    def _stage(self) -> Text:
        return Text(next((task.stage for task, _, _ in list(self.running.values())), ""), "bold")

    def _counts(self) -> list[Text]:
        """Return how many trials have come to what, in their colours; what there is none of is left out."""
        ended = self.agenda.ledger.counts
        again = sum(map(len, list(self.agenda.restarts.values())))
        counts = [Text(f"{ended[each]} {word}", COLOURS[each]) for each, word in WORDS.items() if ended[each]]
        running = [Text(f"{len(self.running)} running")] if self.running else []
        return [*counts[:1], *running, *counts[1:], Text(counted(again, "restart") if again else "", "yellow")]

    def _rate(self) -> Text:
        speed = sum(record.images_per_second for _, _, record in list(self.running.values()) if record)
        return Text(f"{speed:,.0f} images/s" if speed else "", "dim")

    def _best(self) -> Text:
        best = self.agenda.ledger.best
        return Text(f"best so far {100 * best.score:.1f} % ({self.agenda.ledger.name(best)})" if best else "")

    def _left(self) -> Text:
        """Tell what another command would go on with."""
        left, how = of_study(self.agenda), "about" if searches(self.agenda) else "at most"
        seconds = self.progress.seconds_left({})
        self.feed.tell("left", trials=left.trials, epochs=round(left.work), seconds=seconds)
        time_left = "" if seconds is None else f", {how} {span(seconds)}"
        of = f"{counted(left.trials, 'trial')} with {how} {counted(round(left.work), 'epoch')}{time_left}"
        return Text(f"left: {of}; the same command goes on from here")

    def _time_left(self) -> Text:
        """Say how long the rest takes: with a search about, else at most, as trials may stop early."""
        seconds = self.progress.seconds_left(self.under_way())
        how = "about" if searches(self.agenda) else "at most"
        return Text("" if seconds is None else f"{how} {span(seconds)} left")


def _joined(*parts: Text) -> Text:
    return Text(" · ").join(part for part in parts if part)


def _numbers(record: Record) -> tuple[str, ...]:
    loss = f"{record.train_loss:{'.3f' if record.train_loss < FAR else '.2g'}}"
    return loss, f"{100 * record.val_score:.1f} %", f"{record.images_per_second:,.0f}"


def describe(outcome: Outcome) -> str:
    """Say in a line what a trial came to."""
    if outcome.status in (Status.FAILED, Status.DROPPED):
        return f"{WORDS[outcome.status]}: {outcome.reason}"
    found = f"validation {100 * outcome.score:.1f} %, test {100 * float(outcome.chosen('test_score').mean()):.1f} %"
    epochs = outcome.history.epochs
    if outcome.status == Status.CENSORED:
        return f"stopped early after {epochs} of {outcome.cell.trial.training.epochs} epochs: {found}"
    return f"done, {epochs} epochs: {found}"
