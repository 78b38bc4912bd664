"""The machine: what every figure is to be read with."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sweeps.execution import gpus
from tests.gpu.rows import RIGHT, Result, Setting, row
from trainables.devices import computing_dtype, on_gpu

ROOT = Path(__file__).parents[2]
CONTROL = "nvidia-cuda-mps-control"
PACKAGES = ("torchvision", "numpy", "safetensors", "matplotlib", "ray", "mlflow")


def described(device: torch.device) -> dict[str, Any]:
    """Return hardware, driver, versions and date; None for what cannot be told."""
    form: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "device": str(device)}
    form |= {"commit": _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"), "processor": _processor()}
    form |= {"cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads(), "system": platform.platform()}
    form |= {"python": platform.python_version(), "torch": torch.__version__}
    form |= {name: _version(name) for name in PACKAGES}
    if on_gpu(device):
        form |= _gpu(device)
    return form


def _gpu(device: torch.device) -> dict[str, Any]:
    about = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "gpu": about.name,
        "capability": f"{about.major}.{about.minor}",
        "multiprocessors": about.multi_processor_count,
        "memory MiB": total // 2**20,
        "free MiB": free // 2**20,
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"),
        "clocks": _output("nvidia-smi", "--query-gpu=clocks.max.sm,power.limit", "--format=csv,noheader", "-i", "0"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "mps": mps(),
    }


def mps() -> str:
    """Tell whether NVIDIA's process sharing is there, and whether it runs."""
    if gpus.mps():
        return "running"
    return "installed" if shutil.which(CONTROL) else "not installed"


@row("hardware", RIGHT, 10, turn=0)
def hardware(setting: Setting) -> Result:
    """Device, driver, versions, MPS and free memory are told, and torch is 2.11 or later."""
    form = described(setting.device)
    major, minor = (int(part) for part in str(form["torch"]).split(".")[:2])
    names = ("gpu", "driver", "cuda", "cudnn", "mps", "free MiB") if on_gpu(setting.device) else ("processor",)
    told = {name: form[name] for name in (*names, "torch", "torchvision", "numpy")}
    dtype = str(computing_dtype(setting.device)).removeprefix("torch.")
    return Result((major, minor) >= (2, 11), told | {"computes": dtype})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str | None:
    """Return what a command prints, None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
