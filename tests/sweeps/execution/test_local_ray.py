"""Ray on this machine, in processes of their own: what the suite runs beside it stays out of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants

from sweeps.execution import local_ray
from sweeps.execution.machines import Machines
from trainables.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
IN_A_NOTEBOOK = """
import os
from pathlib import Path
import ray  # first, so that it has read its settings before
before = dict(os.environ)
from sweeps.execution import local_ray
from sweeps.execution.machines import Machines
for home in ("/nowhere", "/proc"):
    os.environ["HOME"] = home
    with local_ray.running(Machines(num_cpus=1)):
        print(ray.nodes()[0]["NodeManagerAddress"], ray.get(ray.remote(os.getenv).remote("MINE")))
ours = local_ray._doors(Path()) | local_ray.DEFAULTS
print([name for name in ours if os.environ.get(name) != before.get(name)])
print(local_ray.ray_constants.ENABLE_RAY_CLUSTER)
"""


def test_it_runs_twice_on_the_loopback_whatever_was_imported_before_and_leaves_no_setting():
    """Where HOME is not there, or cannot be written, TMPDIR is longer than a socket's path, and the user's settings
    are others.
    """
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MINE": "mine"}
    variables |= {"TMPDIR": f"/{'x' * 110}", "RAY_AUTH_MODE": "disabled", "RAY_memory_monitor_refresh_ms": "0"}
    command = [sys.executable, "-c", IN_A_NOTEBOOK]
    end = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert (end.returncode, end.stderr) == (0, "")
    assert end.stdout.splitlines() == ["127.0.0.1 mine", "127.0.0.1 mine", "[]", "True"]
    assert not Path("/nowhere").exists()


def test_what_keeps_ray_from_starting_is_one_line(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no room\nfor it")

    monkeypatch.setattr(ray, "init", refuse)
    before = dict(os.environ)
    with (
        pytest.raises(UserError, match=r"^Ray does not start on this machine: no room for it$"),
        local_ray.running(Machines()),
    ):
        pass
    assert dict(os.environ) == before
    assert ray_constants.ENABLE_RAY_CLUSTER


def test_ray_s_processes_do_not_end_with_a_terminal(monkeypatch):
    def masked(*_, **__):
        assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        raise OSError("seen")

    monkeypatch.setattr(ray, "init", masked)
    with pytest.raises(UserError, match="seen"), local_ray.running(Machines()):
        pass
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_it_starts_no_process_that_nobody_needs_and_leaves_ray_as_it_was():
    code = """
import ray
from ray._private import node, utils
from sweeps.execution import local_ray
from sweeps.execution.machines import Machines
before = [getattr(node.Node, name) for name in local_ray.SPARED]
with local_ray.running(Machines(num_cpus=1)):
    assert before == [getattr(node.Node, name) for name in local_ray.SPARED]
    assert utils.get_dashboard_dependency_error() is None
    for each in ray._private.worker._global_node.all_processes:
        print(each)
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=variables)
    assert (end.returncode, end.stderr) == (0, "")
    assert sorted(end.stdout.split()) == ["gcs_server", "raylet"]


def test_each_start_has_a_token_of_its_own(tmp_path):
    tokens = {local_ray._doors(tmp_path)["RAY_AUTH_TOKEN"] for _ in range(3)}
    assert {len(token) for token in tokens} == {64}
    assert len(tokens) == 3


def test_too_few_descriptors_are_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(local_ray.resource, "getrlimit", lambda _: (32, 64))
    message = r"^a process may have 64 files open here \(ulimit -Hn\), but Ray on 3 cores needs 65$"
    with pytest.raises(UserError, match=message), local_ray.running(Machines(num_cpus=3)):
        pass
    local_ray._check_descriptors(2)  # seen to be enough
    monkeypatch.setattr(local_ray.resource, "getrlimit", lambda _: (32, local_ray.resource.RLIM_INFINITY))
    local_ray._check_descriptors(1000)


def test_what_has_a_file_of_its_folder_open_ends_and_nothing_else(tmp_path):
    def reader(folder):
        folder.mkdir()
        (folder / "log").touch()
        with (folder / "log").open() as file:
            return subprocess.Popen(["sleep", "60"], stdin=file)

    one, other = reader(tmp_path / "a"), reader(tmp_path / "ab")
    try:
        with (tmp_path / "a" / "log").open():  # this process's own
            local_ray._end_all_in(tmp_path / "a")
        assert one.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
