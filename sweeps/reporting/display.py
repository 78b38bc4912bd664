"""What a user sees while trials run: one live panel in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeps.decisions.agenda import Agenda
from sweeps.decisions.outcome import Outcome
from sweeps.decisions.records import Task
from sweeps.decisions.status import Status
from trainables.config import Trial
from trainables.history import Record
from trainables.plan import flops, plan

QUIET_SECONDS = 30.0  # without a terminal: the longest time without a line


class Display:
    """Follows the trials. Its methods only note what happened; the panel is drawn by a thread of its own."""

    def __init__(self, agenda: Agenda, console: Console) -> None:
        self.agenda, self.console = agenda, console
        self.began = self.spoken = time.monotonic()
        self.running: dict[str, tuple[Task, int, Record | None]] = {}  # key → epochs done, its newest record
        self.worked = 0.0  # floating-point operations of the epochs seen so far, per image of the data set
        self.live = Live(get_renderable=self._panel, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_interactive:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def started(self, task: Task) -> None:
        """Note that a worker has taken up a trial."""
        self.running.setdefault(task.key, (task, task.known.history.epochs if task.known else 0, None))

    def progressed(self, task: Task, epoch: int, record: Record) -> None:
        """Note that a trial has trained an epoch: its number, and the record of one replicate."""
        self.running[task.key] = (task, epoch, record)
        self.worked += self._work(task.cell.trial)
        if not self.console.is_interactive and time.monotonic() - self.spoken > QUIET_SECONDS:
            self._say(self._summary())

    def noted(self, task: Task, note: str) -> None:
        """Say what the user is to know of how a trial is trained."""
        self._say(f"warning: {task.name}: {note}")

    def restarted(self, task: Task, reason: str, often: int, at_most: int) -> None:
        """Note that a trial starts again."""
        self._say(f"{task.name}: {reason}; it starts again from its last snapshot ({often} of at most {at_most})")

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Note a trial's end."""
        self.running.pop(task.key, None)
        self._say(f"{task.name}: {describe(outcome)}")

    def laid_aside(self, task: Task) -> None:
        """Note that a trial waits until others have come as far."""
        self.running.pop(task.key, None)

    def _say(self, line: str) -> None:
        self.spoken = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=True)

    def _panel(self) -> Any:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self.running))
        table.add_column("trial")
        for column in ("epoch", "train loss", "validation", "images/s"):
            table.add_column(column, justify="right", style="dim")
        for task, epoch, record in list(self.running.values()):
            numbers = _numbers(record) if record else ()
            table.add_row(task.name, f"{epoch}/{task.cell.trial.training.epochs}", *numbers)
        return Group(Text(self._summary(), style="bold"), table)

    def _summary(self) -> str:
        stage = next((task.stage for task, _, _ in self.running.values()), "")
        ended = Counter(outcome.status for outcome in list(self.agenda.outcomes.values()))
        speed = sum(record.images_per_second for _, _, record in list(self.running.values()) if record)
        counts = (
            f"{ended[Status.DONE]} done · {len(self.running)} running · {ended[Status.CENSORED]} censored · "
            f"{ended[Status.FAILED]} failed"
        )
        again = sum(map(len, list(self.agenda.restarts.values())))
        restarts, rate = f"{again} restarts" if again else "", f"{speed:,.0f} images/s" if speed else ""
        parts = [stage, counts, restarts, rate, self._time_left(), self._best()]
        return " · ".join(filter(None, parts))

    def _best(self) -> str:
        full = [outcome for outcome in list(self.agenda.outcomes.values()) if outcome.status == Status.DONE]
        best = max(full, key=lambda outcome: outcome.score, default=None)
        return f"best so far {100 * best.score:.1f} % ({best.cell.label})" if best else ""

    def _time_left(self) -> str:
        """Estimate it from the floating-point operations still ahead if no trial is stopped early."""
        expected = self.agenda.expected()
        if not self.worked or expected is None:
            return ""
        ahead = sum(self._work(trial) * trial.training.epochs for trial in expected)
        for task, done, _ in list(self.running.values()):
            ahead += self._work(task.cell.trial) * (task.cell.trial.training.epochs - done)
        return f"at most {span(ahead / self.worked * (time.monotonic() - self.began))} left"

    def _work(self, trial: Trial) -> float:
        terms = self.agenda.terms
        return float(flops(plan(trial.model, trial.training.input_shape(terms.image_shape), terms.classes)))


def _numbers(record: Record) -> tuple[str, ...]:
    return f"{record.train_loss:.3f}", f"{100 * record.val_score:.1f} %", f"{record.images_per_second:,.0f}"


def describe(outcome: Outcome) -> str:
    """Say in a line what a trial came to."""
    if outcome.status == Status.FAILED:
        return f"failed: {outcome.reason}"
    found = f"validation {100 * outcome.score:.1f} %, test {100 * float(outcome.chosen('test_score').mean()):.1f} %"
    epochs = outcome.history.epochs
    if outcome.status == Status.CENSORED:
        return f"stopped early after {epochs} of {outcome.cell.trial.training.epochs} epochs: {found}"
    return f"done, {epochs} epochs: {found}"


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d}"
