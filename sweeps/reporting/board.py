"""Where a command stands, as a file that others may read while it runs: `results/<study>/live.json` (`watch.py`).

A thread of its own writes it: a disk that is slow keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from sweeps.decisions.agenda import open_stages
from sweeps.decisions.records import Task
from sweeps.reporting.display import Display
from sweeps.reporting.feed import finite
from trainables.history import Record

VERSION = 1
FILE = "live.json"
PERIOD = 1.0  # seconds between two looks
MOST = 20  # warnings and restarts, the newest


class Board:
    """Writes where a command stands, about once a second, and at its end for the last time."""

    def __init__(self, display: Display, folder: Path, where: str, gpu: float) -> None:
        self.display, self.file = display, folder / FILE
        self.where, self.gpu = where, gpu  # on what trials run, in words; the share of a GPU that each has
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="board", daemon=True)

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def state(self) -> dict[str, Any]:
        """Return where the command stands now, as plain data."""
        display, agenda = self.display, self.display.agenda
        running, ledger = display.under_way(), agenda.ledger
        count = display.progress.count(running)
        best = ledger.best
        return {
            "version": VERSION,
            "study": agenda.study.name,
            "question": agenda.study.question,
            "written": time.time(),
            "process": os.getpid(),
            "over": self._over.is_set(),
            "where": self.where,
            "stages": {"decided": [each.stage.name for each in agenda.results], "open": open_stages(agenda)},
            "trials": {"done": count.done, "total": count.total, "share": count.share},
            "ended": {status.value: number for status, number in list(ledger.counts.items()) if number},
            "waiting": len(ledger.queue) + len(ledger.alone),
            "paused": len(ledger.waiting),
            "seconds_left": finite(display.progress.seconds_left(running)),
            "best": {"trial": ledger.name(best), "validation": best.score} if best else None,
            "running": [self._trial(*each) for each in list(display.running.values())],
            "restarts": [
                f"{agenda.tasks[key].name}: {reason}"
                for key, reasons in list(agenda.restarts.items())
                for reason in reasons
            ][-MOST:],
            "warnings": display.warnings[-MOST:],
            "closed": display.closing,
            "traffic": display.others(),
        }

    def _trial(self, task: Task, epoch: int, record: Record | None) -> dict[str, Any]:
        usage = self.display.usage.get(task.key)
        return {
            "key": task.key,
            "trial": task.name,
            "epoch": epoch,
            "epochs": task.cell.trial.training.epochs,
            "seeds": len(task.seeds),
            "workers": self.display.workers.get(task.key, 1),
            "train_loss": finite(record.train_loss) if record else None,
            "validation": finite(record.val_score) if record else None,
            "images_per_second": finite(record.images_per_second) if record else None,
            "host": usage.host if usage else None,
            "memory": usage.memory if usage else None,
            "gpu": self.gpu,
            "gpu_memory": usage.gpu_memory if usage else None,
        }

    def _follow(self) -> None:
        while not self._over.wait(PERIOD):
            self._write()

    def _write(self) -> None:
        draft = self.file.with_name(f".{FILE}")
        with contextlib.suppress(OSError):  # a disk that is full is said where the report is written
            draft.write_text(json.dumps(self.state()))
            draft.replace(self.file)  # not forced to the disk: after a power cut nothing runs
