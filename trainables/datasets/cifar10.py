"""CIFAR-10: 60,000 photographs, 32×32 RGB, from torchvision's folder or the official binary one.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np

from trainables.datasets.dataset import Source, Split
from trainables.datasets.published import download, verified

CLASS_NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORDS = 10_000  # in each file
# The published md5 of each file, training batches first and the test batch last.
BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def read(data_dir: Path) -> tuple[Split, Split]:
    """Return the training and the test images. Raises UserError for a missing or damaged file."""
    binary, python = data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"
    if not binary.is_dir() and not python.is_dir():
        download("CIFAR10", data_dir, f"neither {binary.name} nor {python.name}")
    if binary.is_dir():
        batches = [_binary_batch(binary / name, md5) for name, md5 in BINARY.items()]
    else:
        batches = [_python_batch(python / name, md5) for name, md5 in PYTHON.items()]
    return _join(batches[:-1]), _join(batches[-1:])


def _binary_batch(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 3072) uint8 and labels (N,): a record is a label byte and the red, green and blue planes."""
    content = verified(path, md5, RECORDS * 3073)
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return records[:, 1:], records[:, 0]


def _python_batch(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 3072) uint8 and labels (N,), planes as in the binary layout."""
    content = verified(path, md5)  # before unpickling: a pickle from elsewhere could run anything
    with warnings.catch_warnings():
        # NumPy ≥ 2.4 deprecates the way in which the published files, pickled in 2009, write a dtype
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        batch = pickle.loads(content, encoding="latin1")  # noqa: S301
    return batch["data"], np.asarray(batch["labels"])


def _join(batches: list[tuple[np.ndarray, np.ndarray]]) -> Split:
    """Put batches together, planes (N, 3·32·32) to channels last (N, 32, 32, 3)."""
    images = np.empty((sum(len(labels) for _, labels in batches), 32, 32, 3), np.uint8)
    start = 0
    for pixels, labels in batches:
        images[start : start + len(labels)] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        start += len(labels)
    return Split(images, np.concatenate([labels for _, labels in batches]).astype(np.int64))


SOURCE = Source(read, (3, 32, 32), CLASS_NAMES, counts=(50_000, 10_000))
