"""An MLflow store of a test's own, and signals that a test may take."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps import interruption
from sweeps.tracking.store import Store


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty MLflow database: creating one takes a second, copying it nothing."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Store(f"sqlite:///{path}").trials([])
    return path


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Store:
    return Store(f"sqlite:///{shutil.copy(template, tmp_path / 'mlflow.db')}")


@pytest.fixture
def own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a test be a command, which takes signals: they are given back afterwards."""
    monkeypatch.setattr(interruption, "_here", interruption._Interruption())
    before = {each: signal.getsignal(each) for each in interruption.SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)
