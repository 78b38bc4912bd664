import mmap
import os
import platform
from pathlib import Path

import pytest

from trainables import memory

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.max", "1000000\n", 1_000_000),
        ("memory.max", "max\n", PHYSICAL),
        ("memory/memory.limit_in_bytes", "2000000\n", 2_000_000),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", PHYSICAL),
        ("other", "1\n", PHYSICAL),
    ],
)
def test_a_container_s_limit_counts_where_there_is_one(name, text, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert memory.total() == expected


def test_it_is_what_the_kernel_says():
    kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
    assert memory.total() <= PHYSICAL == pytest.approx(1024 * kilobytes, rel=0.01)


def test_a_process_tells_where_it_runs_and_what_it_takes(monkeypatch):
    before = memory.usage("cpu")
    with mmap.mmap(-1, 100_000_000) as held:  # of the system, not of what the process has kept
        held[:: mmap.PAGESIZE] = b"x" * len(range(0, len(held), mmap.PAGESIZE))
        after = memory.usage("cpu")
    assert after.host == platform.node()
    assert 90_000_000 < after.memory - before.memory < 150_000_000
    assert after.gpu_memory is None
    monkeypatch.setattr(memory.Path, "read_text", lambda _: (_ for _ in ()).throw(FileNotFoundError()))
    assert memory.usage("cpu").memory is None
