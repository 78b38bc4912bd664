"""Fashion-MNIST against the published files where they are, else against small ones of the same layout."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from tests.trainables.datasets.builders import md5, refusal
from trainables.datasets import fashion_mnist, load


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """A small Fashion-MNIST, packed."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    counts, sums = {"train": 60, "t10k": 20}, {}
    for part, count in counts.items():
        images = struct.pack(">4I", 2051, count, 28, 28) + rng.bytes(count * 784)
        labels = struct.pack(">2I", 2049, count) + bytes(n % 10 for n in range(count))
        for name, content in ((f"{part}-images-idx3-ubyte.gz", images), (f"{part}-labels-idx1-ubyte.gz", labels)):
            packed = gzip.compress(content, mtime=0)
            (raw / name).write_bytes(packed)
            sums[name] = md5(packed)
    monkeypatch.setattr(fashion_mnist, "COUNTS", counts)
    monkeypatch.setattr(fashion_mnist, "MD5", sums)
    return tmp_path


def unpack(folder: Path) -> None:
    for path in folder.glob("FashionMNIST/raw/*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def test_classes_and_md5s_are_torchvision_s():
    published = pytest.importorskip("torchvision.datasets").FashionMNIST
    assert published.resources == list(fashion_mnist.MD5.items())
    assert tuple(published.classes) == fashion_mnist.CLASS_NAMES


def test_images_and_labels_are_the_files_bytes(fashion):
    data = load("fashion_mnist", fashion)
    raw = gzip.decompress((fashion / "FashionMNIST/raw/t10k-images-idx3-ubyte.gz").read_bytes())
    assert data.test.images[3, 5, 7, 0] == raw[16 + 3 * 784 + 5 * 28 + 7]
    assert data.test.labels.tolist() == [n % 10 for n in range(20)]
    assert data.test.images.flags.writeable


def test_fashion_mnist_packed_and_unpacked_are_the_same(fashion):
    packed = load("fashion_mnist", fashion)
    unpack(fashion)
    assert load("fashion_mnist", fashion).digest == packed.digest
    assert packed.image_shape == (1, 28, 28)
    assert packed.classes == 10
    assert packed.class_names[9] == "Ankle boot"


def test_a_corrupt_packed_file_is_named_with_its_md5(fashion):
    path = fashion / "FashionMNIST/raw/t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    message = refusal("fashion_mnist", fashion)
    assert path.name in message
    assert "md5" in message


def test_a_truncated_unpacked_file_is_named_with_its_size(fashion):
    unpack(fashion)
    path = fashion / "FashionMNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    assert "train-images-idx3-ubyte has 47,055 bytes, must have 47,056" in refusal("fashion_mnist", fashion)


def test_a_file_with_another_header_is_named(fashion):
    unpack(fashion)
    path = fashion / "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    assert "t10k-labels-idx1-ubyte is not an idx file of shape (20,)" in refusal("fashion_mnist", fashion)


def test_a_label_out_of_range_is_named(fashion):
    unpack(fashion)
    path = fashion / "FashionMNIST/raw/train-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[8 + 17] = 10
    path.write_bytes(content)
    assert "label 10 of image 17 is out of range 0..9" in refusal("fashion_mnist", fashion)


def test_the_real_fashion_mnist(real_data):
    data = load("fashion_mnist", real_data)
    assert [len(data.train), len(data.val), len(data.test)] == [54_000, 6_000, 10_000]
    assert data.mean == pytest.approx((0.2860,), abs=0.001)  # published, of all 60,000
    assert data.sd == pytest.approx((0.3530,), abs=0.001)
