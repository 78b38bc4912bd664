"""Torchvision's sets, on small files in their own formats; nothing is downloaded."""

import bz2
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from tests.trainables.datasets.builders import md5, refusal
from trainables import datasets
from trainables.datasets import image_shape, load
from trainables.datasets.catalogue import CATALOGUE, FAILURES

torchvision = pytest.importorskip("torchvision.datasets")
PER_CLASS = {"train": 3, "test": 2}  # images
ROOT = Path(__file__).resolve().parents[3]
FORMATS = ["mnist", "qmnist", "kmnist", "emnist-letters", "emnist-balanced", "usps", "cifar100", "svhn", "stl10"]


def drawn(name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W, C) and labels of a small set, as they are to be read."""
    entry = CATALOGUE[name]
    channels, height, width = entry.shape
    rng = np.random.default_rng(len(part))
    labels = rng.permutation(np.tile(np.arange(len(entry.class_names)), PER_CLASS[part]))
    return rng.integers(0, 256, (len(labels), height, width, channels), dtype=np.uint8), labels


def idx(content: np.ndarray, kind: int = 8) -> bytes:
    """Return an idx file of unsigned bytes (8) or big-endian whole numbers (12)."""
    header = struct.pack(f">{1 + content.ndim}I", 256 * kind + content.ndim, *content.shape)
    return header + content.astype(np.uint8 if kind == 8 else ">i4").tobytes()


def write(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in content.items():
        (folder / name).write_bytes(file)


def write_idx(name: str, folder: Path, _: pytest.MonkeyPatch) -> None:
    entry = CATALOGUE[name]
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = drawn(name, part)
        pictures, numbers, suffix = images[..., 0], idx(labels + entry.first), "labels-idx1-ubyte"
        if entry.kind == "EMNIST":
            prefix, pictures = f"{name}-{part}", pictures.transpose(0, 2, 1)
        if entry.kind == "QMNIST":
            prefix, suffix = f"qmnist-{part}", "labels-idx2-int"
            numbers = idx(np.column_stack((labels, np.full((len(labels), 7), 300))), 12)
        files = {f"{prefix}-images-idx3-ubyte": idx(pictures), f"{prefix}-{suffix}": numbers}
        write(folder / entry.kind / "raw", files)


def write_usps(name: str, folder: Path, _: pytest.MonkeyPatch) -> None:
    for part, file in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        images, labels = drawn(name, part)
        rows = ((images.reshape(len(labels), -1) + 0.5) / 255 * 2 - 1).tolist()
        lines = [
            f"{label + 1} {' '.join(f'{at}:{value:.6f}' for at, value in enumerate(row, 1))}\n"
            for label, row in zip(labels, rows, strict=True)
        ]
        write(folder, {file: bz2.compress("".join(lines).encode())})


def write_cifar100(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    files = {"meta": pickle.dumps({"fine_label_names": list(CATALOGUE[name].class_names)})}
    for part in PER_CLASS:
        images, labels = drawn(name, part)
        pixels = images.transpose(0, 3, 1, 2).reshape(len(labels), -1)
        files[part] = pickle.dumps({"data": pixels, "fine_labels": labels.tolist()})
    write(folder / "cifar-100-python", files)
    for part in PER_CLASS:
        patch.setattr(torchvision.CIFAR100, f"{part}_list", [[part, md5(files[part])]])
    patch.setattr(torchvision.CIFAR100, "meta", torchvision.CIFAR100.meta | {"md5": md5(files["meta"])})


def write_svhn(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    from scipy.io import savemat

    parts = {}
    for part in PER_CLASS:
        images, labels = drawn(name, part)
        path = folder / f"{part}_32x32.mat"
        savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": np.where(labels == 0, 10, labels)[:, None]})
        parts[part] = ["http://nowhere", path.name, md5(path.read_bytes())]
    patch.setattr(torchvision.SVHN, "split_list", parts)


def write_stl10(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    files = {"unlabeled_X.bin": b""}
    for part in PER_CLASS:
        images, labels = drawn(name, part)
        files[f"{part}_X.bin"] = images.transpose(0, 3, 2, 1).tobytes()  # columns first
        files[f"{part}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
    write(folder / "stl10_binary", files)
    sums = {part: [[file, md5(files[file])] for file in files if file.startswith(part)] for part in PER_CLASS}
    patch.setattr(torchvision.STL10, "train_list", [*sums["train"], ["unlabeled_X.bin", md5(b"")]])
    patch.setattr(torchvision.STL10, "test_list", sums["test"])


WRITERS = {"USPS": write_usps, "CIFAR100": write_cifar100, "SVHN": write_svhn, "STL10": write_stl10}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Write a small set of this name, and return the data folder."""

    def no_network(*_, **__):
        raise URLError("Name or service not known")

    def written(name: str) -> Path:
        entry = CATALOGUE[name]
        WRITERS.get(entry.kind, write_idx)(name, tmp_path, monkeypatch)
        counts = (len(drawn(name, "train")[1]), len(drawn(name, "test")[1]))
        monkeypatch.setitem(datasets.SOURCES, name, replace(entry, counts=counts).source)
        return tmp_path

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    return written


def all_of(data: datasets.Dataset) -> dict[bytes, int]:
    """Return the training and validation images with their labels."""
    return {image.tobytes(): int(label) for image, label in zip(data.pool.images, data.pool.labels, strict=True)}


@pytest.mark.parametrize("name", FORMATS)
def test_images_labels_and_parts_are_the_files(name, small):
    data = load(name, small(name))
    images, labels = drawn(name, "train")
    assert all_of(data) == {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    images, labels = drawn(name, "test")
    assert np.array_equal(data.test.images, images)
    assert np.array_equal(data.test.labels, labels)
    assert len(data.val) == len(data.class_names)  # one of each class is held back
    assert (data.image_shape, data.classes) == image_shape(name, Path("nowhere"))
    assert data.name == name


@pytest.mark.parametrize("name", FORMATS)
def test_a_set_that_is_not_there_is_asked_of_the_network_and_then_of_the_user(name, small, tmp_path):
    assert small  # there is no network
    message = refusal(name, tmp_path)
    assert message.startswith(f"{CATALOGUE[name].kind} in {tmp_path} is missing or damaged, and could not be downloade")
    assert message.endswith("put the files there, delete damaged ones, or name their folder with --data-dir")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("kmnist", "KMNIST/raw/t10k-labels-idx1-ubyte"),
        ("emnist-letters", "EMNIST/raw/emnist-letters-test-images-idx3-ubyte"),
        ("qmnist", "QMNIST/raw/qmnist-train-labels-idx2-int"),
        ("usps", "usps.t.bz2"),
        ("cifar100", "cifar-100-python/test"),
        ("svhn", "train_32x32.mat"),
        ("stl10", "stl10_binary/test_y.bin"),
    ],
)
@pytest.mark.parametrize("left", [0.5, 0.0])
def test_a_truncated_file_is_refused(name, file, left, small):
    path = small(name) / file
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    assert refusal(name, path.parents[file.count("/")]).startswith(f"{CATALOGUE[name].kind} in ")


@pytest.mark.parametrize("name", ["cifar100", "svhn", "stl10"])
def test_a_byte_that_differs_is_refused_by_torchvision_s_md5(name, small):
    folder = small(name)
    path = next(each for each in sorted(folder.rglob("t*")) if each.is_file())
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert "is missing or damaged, and could not be downloaded" in refusal(name, folder)


def test_a_set_with_too_few_images_is_refused_with_both_numbers(small, monkeypatch):
    folder = small("mnist")
    monkeypatch.setitem(datasets.SOURCES, "mnist", replace(CATALOGUE["mnist"], counts=(30, 10_000)).source)
    assert "MNIST in" in (message := refusal("mnist", folder))
    assert "(it has 20 images, must have 10,000)" in message


def test_a_label_out_of_range_is_named(small):
    path = small("mnist") / "MNIST/raw/t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[8 + 17] = 10
    path.write_bytes(content)
    assert "mnist: label 10 of image 17 is out of range 0..9" in refusal("mnist", path.parents[2])


def test_names_parts_and_classes_are_torchvision_s():
    emnist = torchvision.EMNIST
    assert {f"emnist-{part}" for part in emnist.splits} == {name for name in CATALOGUE if name.startswith("emnist")}
    for part, classes in emnist.classes_split_dict.items():
        assert CATALOGUE[f"emnist-{part}"].class_names == tuple(name for name in classes if name != "N/A")
    assert CATALOGUE["kmnist"].class_names == tuple(torchvision.KMNIST.classes)
    assert len(CATALOGUE["cifar100"].class_names) == 100
    assert list(CATALOGUE["cifar100"].class_names) == sorted(CATALOGUE["cifar100"].class_names)
    assert all(hasattr(torchvision, entry.kind) for entry in CATALOGUE.values())


def test_all_of_them_are_known_by_name_and_shape_without_torchvision(tmp_path):
    code = """
import sys
from pathlib import Path
from trainables.datasets import image_shape, names
print({name: image_shape(name, Path("nowhere")) for name in names() if name != "folder:PATH"})
sys.exit("torchvision" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    shapes = eval(done.stdout)  # noqa: S307
    assert {name: shapes[name] for name in CATALOGUE} == {
        name: (entry.shape, len(entry.class_names)) for name, entry in CATALOGUE.items()
    }
    assert not list(tmp_path.iterdir())


def test_a_failure_without_words_is_named(small, monkeypatch):
    folder = small("mnist")

    def fails(*_, **__):
        raise AssertionError

    assert AssertionError in FAILURES
    monkeypatch.setattr(torchvision, "MNIST", fails)
    assert "could not be downloaded (AssertionError);" in refusal("mnist", folder)
