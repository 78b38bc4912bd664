"""A data set small enough to train on in a fraction of a second, and the real ones where they are."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sweeps import interruption
from sweeps.decisions.rules import ASHA
from trainables.datasets import Dataset, Split

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script it is ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as this is under nohup


def make_dataset(count: int = 96, size: int = 12, classes: int = 3, seed: int = 0) -> Dataset:
    """Return images whose class is the channel that is brightest, with noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)

    def split(n: int) -> Split:
        labels = np.arange(n) % classes
        images = rng.integers(0, 120, (n, size, size, 3), dtype=np.uint8)
        images[np.arange(n), :, :, labels % 3] += 60
        return Split(images, labels.astype(np.int64))

    names = tuple(f"class{n}" for n in range(classes))
    return Dataset(
        "tiny", names, split(count), split(24), split(30), f"{seed:064x}", (0.3, 0.3, 0.3), (0.15, 0.15, 0.15)
    )


def with_several_labels(data: Dataset, seed: int = 2) -> Dataset:
    """Return the data with random labels, each absent, present or unknown."""
    rng = np.random.default_rng(seed)

    def split(part: Split) -> Split:
        return replace(part, labels=rng.integers(-1, 2, (len(part), data.classes)).astype(np.int8))

    return replace(data, train=split(data.train), val=split(data.val), test=split(data.test))


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    return make_dataset()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real data sets' folder, or a skip that says how to name one."""
    folder = Path(os.environ.get("CNN_SWEEPS_DATA", Path.home() / ".cache" / "cnn-sweeps-data"))
    if not (folder / "cifar-10-batches-bin").is_dir():
        pytest.skip(f"no real data in {folder}; CNN_SWEEPS_DATA names another folder")
    return folder


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test be a command, which takes signals and has an end: both are taken back."""
    monkeypatch.setattr(interruption, "_here", interruption._Interruption())
    before = {each: signal.getsignal(each) for each in interruption.SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def thirds(monkeypatch):
    """Have ASHA run a third on at each rung, and the best to the end: what it does then can be worked out by hand."""
    monkeypatch.setattr(ASHA, "ETA", 3)
    monkeypatch.setattr(ASHA, "PART", 1)
