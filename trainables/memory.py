"""How much memory this machine has."""

from __future__ import annotations

import os
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
