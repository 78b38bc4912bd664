"""A trial for a Tracker, and what MLflow has of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sweeps.tracking.artifacts import folder_of
from sweeps.tracking.entry import Entry
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker
from trainables.files import zipped
from trainables.history import History, Record
from trainables.snapshot import STATE

NOBODY = "http://127.0.0.1:1"  # refuses connections
KEY, OTHER = "a" * 64, "b" * 64
RECORD = Record(1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.1, 1000.0, 1.0, (0.5, None))
# As it was written before a trial's words had types, and before workers were told apart.
OLD_TRIAL = (
    '{"about": {"key": "' + KEY + '", "experiment": "study", "name": "depth=2", "params": {"depth": "2"}, "tags": '
    '{"stage": "depth"}, "run_id": null, "time": 1700000000000}, "outcome": {"status": "failed", "reason": '
    '"out of memory", "time": 1700000060000}}'
)


def snapshot(epochs: int, weights: bytes = bytes(range(256))) -> dict[str, bytes]:
    curves = json.dumps(History({0: (RECORD,) * epochs}).to_dict()).encode()
    return {
        "curves.json": curves,
        "checkpoint/weights.safetensors": weights,
        STATE: zipped({"curves.json": curves, "weights": weights}),
    }


class Shelf:
    """A run's files without MLflow, for thousands of readings in a second: what Artifacts asks of a repository."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.folder, self.files = folder, files
        folder.mkdir(exist_ok=True)

    def list_artifacts(self, folder: str | None) -> list[Any]:
        inside = [(name, content) for name, content in self.files.items() if folder_of(name) == (folder or "")]
        return [SimpleNamespace(path=name, is_dir=False, file_size=len(content)) for name, content in inside]

    def download_artifacts(self, path: str, _: str) -> str:
        (self.folder / "file").write_bytes(self.files[path])
        return str(self.folder / "file")


FILES = snapshot(1)


def in_mlflow(files: dict[str, bytes], slot: str = "a", **others: bytes) -> dict[str, bytes]:
    """Return what Store.files shows of the newest snapshot."""
    states = {f"state/{slot}.zip": files[STATE]} | {f"state/{name}.zip": content for name, content in others.items()}
    return {name: content for name, content in files.items() if name != STATE} | states


def start(tracker: Tracker, key: str = KEY, worker: str = "", **changes: Any) -> None:
    entry = {
        "name": "depth=2",
        "params": {"depth": 2, "lr": 0.1, "skip": True},
        "tags": {"study": "study", "stage": "depth"},
    }
    tracker.start(key, Entry(**(entry | changes)), worker)


def run_of(store: Store, key: str = KEY) -> Any:
    experiment = store.experiment_id("study")
    (run,) = store.client.search_runs([experiment], f"tags.key = '{key}'")
    return run


def points(store: Store, name: str, key: str = KEY) -> list[tuple[int, float]]:
    return sorted(
        (each.step, each.value) for each in store.client.get_metric_history(run_of(store, key).info.run_id, name)
    )


def folders(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "spool").iterdir() if path.is_dir()]
