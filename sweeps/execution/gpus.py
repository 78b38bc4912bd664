"""What GPUs this machine has. Without one that is known in a moment: torch, slow to import, is asked only then."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path

DRIVER = "libcuda.so.1"  # NVIDIA's, in the loader's reach wherever a process can use its GPUs
AMD_DRIVER = Path("/dev/kfd")  # likewise
MPS_FOLDER = "/tmp/nvidia-mps"  # NVIDIA's default  # noqa: S108


def count() -> int:
    """Return how many GPUs torch can use here."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not _driver():
        return 0
    import torch

    return torch.cuda.device_count()


def memory(number: int) -> int:
    """Return the bytes that the smallest of the first so many GPUs has."""
    import torch

    return min(torch.cuda.get_device_properties(at).total_memory for at in range(number))


def mps() -> bool:
    """Tell whether NVIDIA's Multi-Process Service runs here: whether its daemon answers where CUDA asks for it.

    With it the kernels of different processes run side by side on a GPU, else in turn.
    """
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or MPS_FOLDER
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.settimeout(1.0)
        try:
            control.connect(f"{folder}/control")
        except OSError:  # none there, or one that has ended: its socket stays
            return False
    return True


def _driver() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return AMD_DRIVER.exists()
    return True
