import gc
import pickle
import weakref

import pytest
import ray

from sweeps.execution import hosts
from sweeps.execution.shared_data import SharedData
from tests.conftest import make_dataset
from tests.trainables.datasets.builders import same, write_classes
from trainables import memory
from trainables.datasets import Dataset, load


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


@pytest.fixture
def mapped(tmp_path) -> Dataset:
    """A data set that is mapped from its decoded images."""
    return load(write_classes(tmp_path / "own", 10), tmp_path)


def carried(shared: SharedData, monkeypatch) -> tuple[int, Dataset]:
    """Return how many bytes Ray carries, and what a worker gets."""
    sent = []
    monkeypatch.setattr(ray, "put", lambda data: sent.append(pickle.dumps(data)))
    shared.reference()
    return len(sent[0]), pickle.loads(sent[0])  # noqa: S301


def test_decoded_images_that_are_few_are_put_as_any_others(mapped, monkeypatch):
    size, found = carried(SharedData(mapped), monkeypatch)
    assert size > mapped.size
    assert (found.mapped, found.digest) == (None, mapped.digest)


def test_of_many_only_the_place_is_carried_and_each_worker_maps_them(mapped, monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "total", lambda: mapped.size)
    monkeypatch.setattr(hosts, "check_all_have", asked.append)
    size, found = carried(SharedData(mapped), monkeypatch)
    assert size < 1000
    assert asked == [mapped.mapped]
    assert (found.mapped, found.name, found.digest) == (mapped.mapped, mapped.name, mapped.digest)
    assert same(found, mapped)
    assert not found.train.images.flags.owndata


def test_images_in_memory_are_put_however_many_they_are(monkeypatch):
    data = make_dataset()
    monkeypatch.setattr(memory, "total", lambda: 1)
    assert carried(SharedData(data), monkeypatch)[0] > data.size
