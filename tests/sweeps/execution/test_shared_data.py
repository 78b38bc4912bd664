import gc
import weakref

import pytest
import ray

from sweeps.execution.shared_data import SharedData
from tests.conftest import make_dataset


@pytest.fixture
def store(monkeypatch):
    """Stands for Ray's object store: what is put there is counted, and not kept."""
    put = []
    monkeypatch.setattr(ray, "put", lambda data: put.append(data.name) or f"reference {len(put)}")
    return put


def test_data_is_put_once_and_the_driver_lets_go_of_its_own(store):
    data = make_dataset()
    images = weakref.ref(data.train.images)
    shared = SharedData(data)
    del data
    assert (store, images() is not None) == ([], True)  # where nothing is to be run, it is never put
    assert [shared.reference(), shared.reference()] == ["reference 1", "reference 1"]
    gc.collect()
    assert (store, images()) == (["tiny"], None)
