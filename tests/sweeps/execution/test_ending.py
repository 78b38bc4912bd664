from types import SimpleNamespace

import pytest
import ray

from sweeps.execution import analysis_tasks, ending


@pytest.fixture
def tasks(monkeypatch):
    """Stands for Ray: what was asked for, and what comes of it."""
    did = SimpleNamespace(ready=0, exported=[], get=lambda task: task)

    def get_ready():
        did.ready += 1

    monkeypatch.setattr(analysis_tasks, "get_ready", SimpleNamespace(remote=get_ready))
    monkeypatch.setattr(analysis_tasks, "exported", SimpleNamespace(remote=lambda files: did.exported.append(files)))
    monkeypatch.setattr(ending.ray, "get", lambda task: did.get(task))
    return did


@pytest.mark.parametrize(("jobs", "cores", "processes"), [(0, 4, 0), (1, 4, 0), (2, 4, 1), (12, 4, 3)])
def test_as_many_processes_get_ready_beside_the_one_that_exports_as_are_used_at_least(
    tasks, monkeypatch, jobs, cores, processes
):
    monkeypatch.setattr(ending.os, "cpu_count", lambda: cores)
    ending.get_ready(jobs)
    assert tasks.ready == processes


def test_the_program_is_waited_for_only_as_it_is_asked_for(tasks):
    tasks.get = lambda _: pytest.fail("nobody has asked yet")
    program = ending.exporting(SimpleNamespace(checkpoint=lambda run: {run: b"weights"}), "run")
    assert tasks.exported == [{"run": b"weights"}]
    tasks.get = lambda _: b"program"
    assert program() == b"program"


def test_what_keeps_it_from_being_made_is_left_to_whoever_makes_it_then(tasks):
    def lost(_):
        raise ray.exceptions.WorkerCrashedError

    tasks.get = lost
    store = SimpleNamespace(checkpoint=lambda _: {})
    assert ending.exporting(store, "run")() is None
    store.checkpoint = lambda run: [][run]
    assert ending.exporting(store, 1)() is None
