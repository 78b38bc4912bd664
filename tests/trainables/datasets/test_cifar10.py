"""CIFAR-10 against the published files where they are, else against small ones of the same layouts."""

import pickle

import numpy as np
import pytest

from tests.trainables.datasets.builders import md5, refusal, same
from trainables.datasets import cifar10, load

RECORDS = 40  # in each of the small files


def as_python_2_wrote_it(batch: dict) -> bytes:
    """Pickle like the published files: protocol 0 or 2, numpy.core, and a dtype's flags as integers, not booleans."""
    text = pickle.dumps(batch, protocol=0).replace(b"numpy._core", b"numpy.core").replace(b"I00\nI01\n", b"I0\nI1\n")
    assert b"numpy.core" in text
    return text


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Both layouts of one small CIFAR-10, in folders `bin` and `py`, with their md5s in place of the published ones."""
    rng = np.random.default_rng(0)
    binary, python = tmp_path / "bin" / "cifar-10-batches-bin", tmp_path / "py" / "cifar-10-batches-py"
    binary.mkdir(parents=True)
    python.mkdir(parents=True)
    sums: dict[str, dict[str, str]] = {"BINARY": {}, "PYTHON": {}}
    for binary_name, python_name in zip(cifar10.BINARY, cifar10.PYTHON, strict=True):
        labels = rng.permutation(np.arange(RECORDS, dtype=np.uint8) % 10)
        pixels = rng.integers(0, 256, (RECORDS, 3072), dtype=np.uint8)
        content = np.hstack((labels[:, None], pixels)).tobytes()
        (binary / binary_name).write_bytes(content)
        sums["BINARY"][binary_name] = md5(content)
        content = as_python_2_wrote_it({"data": pixels, "labels": labels.tolist()})
        (python / python_name).write_bytes(content)
        sums["PYTHON"][python_name] = md5(content)
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)
    for name, value in sums.items():
        monkeypatch.setattr(cifar10, name, value)
    return tmp_path


def test_both_layouts_of_cifar10_give_the_same_data_set(cifar):
    binary, python = load("cifar10", cifar / "bin"), load("cifar10", cifar / "py")
    assert same(binary, python)
    assert binary.digest == python.digest
    assert binary.class_names[:2] == ("plane", "car")


def test_pixels_are_planes_in_the_file_and_channels_last_in_memory(cifar):
    test = load("cifar10", cifar / "bin").test
    record = np.frombuffer((cifar / "bin/cifar-10-batches-bin/test_batch.bin").read_bytes(), np.uint8)[3073 : 2 * 3073]
    assert test.labels[1] == record[0]
    row, column, green = 5, 7, 1
    assert test.images[1, row, column, green] == record[1 + green * 1024 + row * 32 + column]
    assert test.images.flags.c_contiguous
    assert test.labels.dtype == np.int64


def test_training_images_are_the_five_batches_in_order_and_test_images_the_sixth(cifar):
    files = [(cifar / "bin/cifar-10-batches-bin" / name).read_bytes() for name in cifar10.BINARY]
    records = np.frombuffer(b"".join(files), np.uint8).reshape(6 * RECORDS, 3073)
    train, test = cifar10.read(cifar / "bin")
    assert np.array_equal(np.concatenate([train.labels, test.labels]), records[:, 0])
    assert (len(train), len(test)) == (5 * RECORDS, RECORDS)
    assert np.array_equal(train.images[:, 31, 31, 2], records[: 5 * RECORDS, -1])


def test_the_published_md5s_are_torchvision_s():
    published = pytest.importorskip("torchvision.datasets").CIFAR10
    assert [tuple(pair) for pair in published.train_list + published.test_list] == list(cifar10.PYTHON.items())


def test_a_truncated_file_is_named_with_its_size(cifar):
    path = cifar / "bin/cifar-10-batches-bin/data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-10])
    message = refusal("cifar10", cifar / "bin")
    assert "data_batch_3.bin has 122,910 bytes, must have 122,920" in message
    assert "delete" in message


@pytest.mark.parametrize("file", ["bin/cifar-10-batches-bin/test_batch.bin", "py/cifar-10-batches-py/data_batch_2"])
def test_a_corrupt_file_is_named_with_its_md5(cifar, file):
    path = cifar / file
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    message = refusal("cifar10", cifar / file[: file.index("/")])
    assert path.name in message
    assert md5(bytes(content)) in message


def test_a_foreign_pickle_is_never_opened(cifar, monkeypatch):
    monkeypatch.setattr(cifar10.pickle, "loads", lambda *_, **__: pytest.fail("unpickled before it was verified"))
    (cifar / "py/cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps({"data": None}))
    assert "data_batch_1 is corrupt" in refusal("cifar10", cifar / "py")


def test_a_missing_file_is_named(cifar):
    (cifar / "py/cifar-10-batches-py/data_batch_4").unlink()
    assert "data_batch_4 is missing" in refusal("cifar10", cifar / "py")


def test_missing_data_is_downloaded_by_torchvision(cifar, tmp_path, monkeypatch):
    torchvision_datasets = pytest.importorskip("torchvision.datasets")

    def download(root, download):
        assert download
        (cifar / "py/cifar-10-batches-py").rename(root / "cifar-10-batches-py")

    monkeypatch.setattr(torchvision_datasets, "CIFAR10", download)
    (tmp_path / "new").mkdir()
    assert load("cifar10", tmp_path / "new").digest == load("cifar10", cifar / "bin").digest


def test_the_real_cifar10(real_data):
    data = load("cifar10", real_data)
    assert [len(data.train), len(data.val), len(data.test)] == [45_000, 5_000, 10_000]
    assert np.bincount(data.val.labels).tolist() == [500] * 10
    # the published figures are of all 50,000 training images
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.001)
    assert data.sd == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.001)
    assert data.class_names[data.test.labels[0]] == "cat"  # the test set's well-known first image
