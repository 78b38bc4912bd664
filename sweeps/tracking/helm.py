"""Takes up what others ask of a running study, and answers them.

A thread of its own asks MLflow: trials wait for nobody.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.decisions.acts import Act, Steered
from sweeps.tracking import acts
from sweeps.tracking.store import Store

PERIOD = 1.5  # seconds between two looks
BEFORE = "not done: the command that runs it was about to begin; ask again"
AFTER = "not done: no trial runs now"

log = logging.getLogger(__name__)


class Helm:
    """The acts of one study, for the command that runs it; those that were carried out are added to `taken`. A `fresh`
    one begins without what was asked for in earlier ones.
    """

    def __init__(
        self, store: Store, study: str, taken: list[Act], say: Callable[[str], None], *, fresh: bool = False
    ) -> None:
        self._store, self.taken = store, taken
        self._experiment = store.patiently(lambda: store.experiment_id(study), say)
        known = store.patiently(lambda: self._known(say, fresh=fresh), say)
        taken += [act for act in known if act.effect is not None]
        self._seen = {act.id for act in known}
        self._asked: queue.SimpleQueue[Act] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Act] = queue.SimpleQueue()
        self._closed, self._over, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="helm", daemon=True)
        for act in known:
            if act.answer is None:
                self._answers.put(act.answered(BEFORE, None))

    def __enter__(self) -> Helm:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._over.set()
        self._wake.set()
        self._thread.join(5)

    @property
    def steered(self) -> Steered:
        """What all acts have set by now."""
        return Steered.of(self.taken)

    def asked(self) -> list[Act]:
        """Return what is newly asked for, without waiting. Each is to be answered."""
        found = []
        while True:
            try:
                found.append(self._asked.get_nowait())
            except queue.Empty:
                return found

    def answer(self, act: Act, answer: str, effect: Mapping[str, Any] | None = None) -> None:
        """Answer an act that was carried out, with what it has set; or that is refused."""
        act = act.answered(answer, effect)
        if effect is not None:
            self.taken.append(act)
        self._answers.put(act)
        self._wake.set()

    def close(self) -> None:
        """Carry nothing more out: whoever asks is told so."""
        self._closed.set()
        self._wake.set()

    def _known(self, say: Callable[[str], None], *, fresh: bool) -> list[Act]:
        """Return the acts so far; where all is to be done afresh, none, and no more."""
        found = acts.read(self._store, self._experiment, say)
        for act in found if fresh else ():
            acts.withdraw(self._store, self._experiment, act)
        return [] if fresh else found

    def _keep(self) -> None:
        while not self._over.is_set():
            self._wake.wait(PERIOD)
            self._wake.clear()
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            for act in acts.read(self._store, self._experiment):
                if act.answer is None and act.id not in self._seen:
                    self._seen.add(act.id)
                    self._asked.put(act)
            if self._closed.is_set():
                for act in self.asked():
                    self.answer(act, AFTER)
            self._send()
        except Exception as error:  # MLflow is away: the next look has it
            log.info("what is asked of the study is not known: %s", error)

    def _send(self) -> None:
        while not self._answers.empty():
            act = self._answers.get_nowait()
            try:
                acts.write(self._store, self._experiment, act)
            except Exception:
                self._answers.put(act)
                raise
