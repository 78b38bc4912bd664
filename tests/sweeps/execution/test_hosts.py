"""The hosts of a cluster, asked by tasks that run here. Three hosts in namespaces: tests/lab."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from sweeps.execution import hosts
from sweeps.execution.hosts import Host
from sweeps.execution.machines import Machines
from sweeps.execution.memory import Demand
from trainables.errors import UserError

GB = 10**9


@pytest.fixture
def cluster(monkeypatch):
    """Stands for Ray: returns what says which hosts there are, with cores, and what they answer (None: nothing)."""
    asked = []

    def have(**answers):
        names = {name.encode().hex().ljust(56, "0"): name for name in answers}

        def options(scheduling_strategy):
            node = names[scheduling_strategy.node_id]
            return SimpleNamespace(remote=lambda place: asked.append((node, place)) or node)

        nodes = [{"NodeID": node, "Alive": name != "gone", "Resources": {"CPU": 2.0}} for node, name in names.items()]
        monkeypatch.setattr(ray, "nodes", lambda: [*nodes, {"NodeID": "head", "Alive": True, "Resources": {}}])
        monkeypatch.setattr(ray, "remote", lambda **_: lambda _: SimpleNamespace(options=options))
        monkeypatch.setattr(ray, "wait", lambda them, **_: ([one for one in them if answers[one]], []))
        monkeypatch.setattr(ray, "get", answers.get)
        return asked

    return have


def test_a_host_that_does_not_see_the_images_is_named(cluster):
    asked = cluster(a=Host("alpha", GB, True), b=Host("beta", GB, False))
    with pytest.raises(UserError) as caught:
        hosts.check_all_have(Path("/data/x"))
    assert str(caught.value) == (
        "beta does not see /data/x: images that are too many for memory must lie where every host of the cluster finds "
        "them; name a shared folder with --data-dir"
    )
    assert asked == [("a", Path("/data/x")), ("b", Path("/data/x"))]


def test_where_all_see_them_or_do_not_answer_nothing_is_said(cluster):
    asked = cluster(a=Host("alpha", GB, True), b=None, gone=Host("gone", 0, False))
    hosts.check_all_have(Path("/data/x"))
    assert [name for name, _ in asked] == ["a", "b"]


def test_each_host_is_held_against_its_own_memory_and_cores(cluster):
    demand = Demand(0, False, (GB, GB, GB), "lr", Machines(0, address="a:1"))
    cluster(a=Host("alpha", 4 * GB, True), b=Host("beta", 4 * GB, True))
    hosts.check_memory(demand)
    cluster(a=Host("alpha", 4 * GB, True), b=Host("beta", 3 * GB, True))
    with pytest.raises(UserError, match=r"but beta has 3\.0 GB \(the data; 2 trials at once"):
        hosts.check_memory(demand)


def test_a_host_says_its_memory_and_whether_it_sees_a_folder(tmp_path):
    assert hosts._look(tmp_path).has
    found = hosts._look(tmp_path / "nowhere")
    assert not found.has
    assert found.memory > GB
