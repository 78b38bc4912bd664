"""An MLflow store of a test's own."""

import shutil
from pathlib import Path

import pytest

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
