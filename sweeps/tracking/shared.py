"""What the Tracker's two threads share: the trials, one lock, and what is wrong with them. Nothing else.

The Tracker's own thread (sweeps/tracking/tracker.py) fills the spool, the uploader's (sweeps/tracking/delivery.py)
empties it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from sweeps.tracking.connection import one_line, plain
from sweeps.tracking.spool import About, Spooled, Standing

log = logging.getLogger(__name__)


@dataclass
class Sent:
    """What of a trial MLflow has, as far as this process knows."""

    about: About | None = None
    standing: Standing | None = None
    files: dict[str, str] = field(default_factory=dict)  # name → SHA-256
    size: int = 0  # of the metrics, in bytes of the spool's file
    values: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)  # (metric, step) → newest, its time
    slot: str | None = None  # the artifact that is the newest state which MLflow has whole
    refused: set[str] = field(default_factory=set)  # the items that it did not take
    folder: str = ""  # the URI of the run's files
    others: bool = True  # whether the run may have a state beside that one


@dataclass(eq=False)
class Tracked:
    """One trial that the Tracker has: what of it is kept in the spool, and what of that was sent.

    The Tracker's thread writes `kept`, the uploader's all else. There are three exceptions: a start and a drain have a
    refused trial tried again (`retry_due`), a state read from MLflow says which slot holds it (`sent.slot`), and the
    uploader clears what is kept of a trial that is delivered, under the lock.
    """

    kept: Spooled
    sent: Sent = field(default_factory=Sent)
    run_id: str | None = None
    began: int = 0  # the run's start, in milliseconds
    files_due: float = 0.0  # the monotonic time before which files are not sent again while the trial runs
    retry_due: float = 0.0  # and before which a trial that MLflow refused is not tried again
    error: str | None = None  # why the last delivery did not succeed
    inherited: bool = False  # an earlier process left it, and none has taken it up again
    new: bool = False  # it was begun here, without a run to continue
    answered: set[str] = field(default_factory=set)  # what MLflow has taken or told in deliveries that are waited for

    @property
    def key(self) -> str:
        """The trial's key."""
        return self.kept.about.key

    @property
    def label(self) -> str:
        """The trial as messages name it, on one line whatever its name is."""
        return f"{plain(self.kept.about.name)} ({self.key[:12]})"

    @property
    def known_run(self) -> str | None:
        """The trial's MLflow run, if one is known: the one it has, else the one it was started with."""
        return self.run_id or self.kept.about.run_id

    @property
    def files_to_send(self) -> dict[str, str]:
        """The files of the newest snapshot that MLflow lacks: name → SHA-256."""
        return {name: digest for name, digest in self.kept.files.items() if self.sent.files.get(name) != digest}

    @property
    def delivered(self) -> bool:
        """Whether MLflow has all there is."""
        entered = self.sent.about is self.kept.about and self.sent.standing is self.kept.standing
        return entered and self.sent.size == self.kept.size and not self.files_to_send

    def retire(self) -> None:
        """Forget on disk what MLflow has.

        The trial stays known, so that a late epoch or a retry still finds its run.
        """
        self.kept.clear()
        self.sent.size = 0

    def let_go(self) -> None:
        """Forget what was left of it: nothing of it is to be delivered, as the run has it already."""
        self.retire()
        self.sent = Sent(about=self.kept.about, standing=self.kept.standing)

    def start_over(self) -> None:
        """Take nothing for delivered: MLflow has refused, the run may be gone.

        The next delivery looks for it, or creates it again.
        """
        self.sent = Sent()


class Shared:
    """The trials that the Tracker has, and one line for each thing that is wrong with them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # over trials and spool; held for disk work only, never while MLflow is asked
        self.trials: dict[str, Tracked] = {}  # by key
        self._waiting: dict[str, Tracked] = {}  # those that may not be delivered, the next one first
        self._notes: dict[tuple[str, str], str] = {}  # (key, item) → line

    def all(self) -> list[Tracked]:
        """Return the trials there are now."""
        with self.lock:
            return list(self.trials.values())

    def news(self, trial: Tracked) -> None:
        """Have a trial delivered: it is new, or there is more of it."""
        with self.lock:
            self.trials[trial.key] = self._waiting[trial.key] = trial

    def waiting(self) -> list[Tracked]:
        """Return the trials of which MLflow may not have everything, in the order in which they are delivered."""
        with self.lock:
            return list(self._waiting.values())

    def settle(self, trial: Tracked) -> None:
        """Let a trial wait no longer, unless there is more of it."""
        with self.lock:
            if trial.delivered:
                self._waiting.pop(trial.key, None)

    def to_the_end(self, trial: Tracked) -> None:
        """Have a trial delivered after all others."""
        with self.lock:
            self._waiting[trial.key] = self._waiting.pop(trial.key, trial)

    def note(self, trial: Tracked, item: str, what: str) -> None:
        """Note what is wrong with something of a trial; it replaces what was noted of it before."""
        line = f"{trial.label}: {plain(item)} {what}"
        if self._notes.get((trial.key, item)) != line:
            log.warning(line)
        self.put_down(trial.key, item, line)

    def put_down(self, key: str, item: str, line: str) -> None:
        """Note a line as it stands."""
        with self.lock:
            self._notes[key, item] = line

    def take_back(self, trial: Tracked, item: str) -> None:
        """Forget what was noted of an item: it is mended."""
        with self.lock:
            self._notes.pop((trial.key, item), None)

    @contextlib.contextmanager
    def keeping(self, trial: Tracked, item: str) -> Iterator[None]:
        """Note that the disk does not take something of a trial meanwhile, until it does."""
        try:
            yield
        except OSError as error:
            self.note(trial, item, f"is not kept: {one_line(error)}")
            raise
        self.take_back(trial, item)

    def damaged(self, trial: Tracked, what: str) -> None:
        """Note that a trial's checkpoint is damaged, and have its run tagged with it."""
        self.note(trial, "checkpoint:", what)
        with self.lock:
            about = trial.kept.about
            trial.kept.about = replace(about, tags={**about.tags, "checkpoint_damaged": what})
            self.news(trial)

    def notes(self) -> list[str]:
        """Return what was noted and not taken back."""
        with self.lock:
            return list(self._notes.values())
