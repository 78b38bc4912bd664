"""What GPUs this machine has; the answers of driver and torch are set here, MPS's socket is a real one."""

import ctypes
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sweeps.execution import gpus


@pytest.fixture
def machine(monkeypatch):
    """A machine with an NVIDIA driver and two GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: {"libcuda.so.1": "the driver"}[name])
    monkeypatch.setattr(gpus, "AMD_DRIVER", Path("/nowhere"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def no_driver(name):
    raise OSError(f"{name}: cannot open shared object file: No such file or directory")


@pytest.mark.usefixtures("machine")
def test_those_count_that_torch_sees():
    assert gpus.count() == 2


@pytest.mark.usefixtures("machine")
def test_no_gpu_is_visible_where_the_user_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("torch is not to be asked"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.count() == 0


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("amd", [False, True])
def test_without_a_driver_torch_is_not_asked(amd, monkeypatch, tmp_path):
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    if amd:
        monkeypatch.setattr(gpus, "AMD_DRIVER", tmp_path)
    else:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("torch is not to be asked"))
    assert gpus.count() == (2 if amd else 0)


def test_without_a_gpu_nothing_slow_is_imported():
    code = "import sys; from sweeps.execution import gpus; print(gpus.count(), 'torch' in sys.modules)"
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": "", "PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout == "0 False\n"


def test_the_smallest_gpu_s_memory_counts_of_those_in_use(monkeypatch):
    sizes = (80, 40, 16)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda at: SimpleNamespace(total_memory=sizes[at]))
    assert [gpus.memory(number) for number in (1, 2, 3)] == [80, 40, 16]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    return tmp_path


def test_mps_runs_where_its_daemon_answers(folder):
    # its socket is of the kind that NVIDIA's daemon of CUDA 13.0 opens: another one refuses to connect
    assert not gpus.mps()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as daemon:
        daemon.bind(str(folder / "control"))
        assert not gpus.mps()
        daemon.listen()
        assert gpus.mps()
    assert (folder / "control").exists()  # what a daemon that has ended leaves behind
    assert not gpus.mps()


def test_what_is_no_socket_is_no_daemon(folder):
    (folder / "control").touch()
    assert not gpus.mps()
    (folder / "control").unlink()
    (folder / "control").mkdir()
    assert not gpus.mps()


def test_mps_is_looked_for_where_nvidia_puts_it(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    assert gpus.MPS_FOLDER == "/tmp/nvidia-mps"  # noqa: S108 of nvidia-cuda-mps-control(1)
    monkeypatch.setattr(gpus, "MPS_FOLDER", str(tmp_path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as daemon:
        daemon.bind(str(tmp_path / "control"))
        daemon.listen()
        assert gpus.mps()
