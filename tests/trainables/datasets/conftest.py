"""The embedded data set, drawn once."""

from pathlib import Path

import pytest

from trainables.datasets import Dataset, load


@pytest.fixture(scope="session")
def drawn() -> Dataset:
    return load("shapes", Path())
