"""How much memory this machine has, and what this process takes of it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
# Where a container's limit is said, of cgroups' second and first version. "max", or more than there is: none.
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


def total() -> int:
    """Return the bytes of memory that this machine has, or the container that this process is in may take."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in LIMITS:
        limit = CGROUP / name
        if limit.is_file() and (text := limit.read_text().strip()).isdigit():
            found.append(int(text))
    return min(found)


@dataclass(frozen=True)
class Usage:
    """Where a process runs, and the bytes that it takes there, and of its GPU; None where the system does not tell."""

    host: str
    memory: int | None = None
    gpu_memory: int | None = None


def usage(device: str) -> Usage:
    """Return what this process takes; `device` is the kind that it trains on, in torch's words."""
    return Usage(platform.node(), _resident(), _on_gpu() if device == "cuda" else None)


def _resident() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:  # another system than Linux
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _on_gpu() -> int:
    import torch

    return torch.cuda.memory_reserved()
