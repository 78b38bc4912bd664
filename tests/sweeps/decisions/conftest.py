import pytest

from sweeps.decisions.rules import ASHA


@pytest.fixture
def thirds(monkeypatch):
    """Have ASHA run a third on at each rung, and the best to the end: what it does then can be worked out by hand."""
    monkeypatch.setattr(ASHA, "ETA", 3)
    monkeypatch.setattr(ASHA, "PART", 1)
