"""A Tracker on a test's own store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.tracking import delivery
from sweeps.tracking.store import Store
from sweeps.tracking.tracker import Tracker


@pytest.fixture
def tracker(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Tracker]]:
    """Return a function that opens a Tracker on the one spool, as the next process would.

    The one before is closed, without a drain.
    """
    monkeypatch.setattr(delivery, "PAUSE", 0.05)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    opened: list[Tracker] = []

    def close() -> None:
        if opened:
            opened.pop().close()

    def open_next(uri: str = store.uri) -> Tracker:
        close()
        opened.append(Tracker(uri, "study", tmp_path / "spool"))
        return opened[0]

    yield open_next
    close()
