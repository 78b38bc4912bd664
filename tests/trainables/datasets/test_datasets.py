"""Reading, splitting and refusing data: against the published files where they are, else against small ones of the same layout."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from trainables import datasets
from trainables.datasets import image_shape, load
from trainables.errors import UserError

RECORDS = 40  # in each of the small CIFAR-10 files


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def refusal(name: str, data_dir: Path, **options: float) -> str:
    """Return the one line with which loading is refused."""
    with pytest.raises(UserError) as caught:
        load(name, data_dir, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def same(a: datasets.Dataset, b: datasets.Dataset) -> bool:
    pairs = [(getattr(a, part), getattr(b, part)) for part in ("train", "val", "test")]
    return all(np.array_equal(x.images, y.images) and np.array_equal(x.labels, y.labels) for x, y in pairs)


# --- CIFAR-10


def as_python_2_wrote_it(batch: dict) -> bytes:
    """Pickle like the published files: protocol 0 or 2, numpy.core, and a dtype's flags as integers, not booleans."""
    text = pickle.dumps(batch, protocol=0).replace(b"numpy._core", b"numpy.core").replace(b"I00\nI01\n", b"I0\nI1\n")
    assert b"numpy.core" in text
    return text


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Both layouts of one small CIFAR-10, in folders `bin` and `py`, with their checksums in place of the published ones."""
    rng = np.random.default_rng(0)
    binary, python = tmp_path / "bin" / "cifar-10-batches-bin", tmp_path / "py" / "cifar-10-batches-py"
    binary.mkdir(parents=True)
    python.mkdir(parents=True)
    sums: dict[str, dict[str, str]] = {"CIFAR10_BINARY": {}, "CIFAR10_PYTHON": {}}
    for binary_name, python_name in zip(datasets.CIFAR10_BINARY, datasets.CIFAR10_PYTHON, strict=True):
        labels = rng.permutation(np.arange(RECORDS, dtype=np.uint8) % 10)
        pixels = rng.integers(0, 256, (RECORDS, 3072), dtype=np.uint8)
        content = np.hstack((labels[:, None], pixels)).tobytes()
        (binary / binary_name).write_bytes(content)
        sums["CIFAR10_BINARY"][binary_name] = md5(content)
        content = as_python_2_wrote_it({"data": pixels, "labels": labels.tolist()})
        (python / python_name).write_bytes(content)
        sums["CIFAR10_PYTHON"][python_name] = md5(content)
    monkeypatch.setattr(datasets, "CIFAR10_RECORDS", RECORDS)
    for name, value in sums.items():
        monkeypatch.setattr(datasets, name, value)
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


def test_the_published_md5s_are_torchvision_s():
    torchvision_datasets = pytest.importorskip("torchvision.datasets")
    cifar10 = torchvision_datasets.CIFAR10
    assert [tuple(pair) for pair in cifar10.train_list + cifar10.test_list] == list(datasets.CIFAR10_PYTHON.items())
    assert torchvision_datasets.FashionMNIST.resources == list(datasets.FASHION_MD5.items())
    assert tuple(torchvision_datasets.FashionMNIST.classes) == datasets.FASHION_CLASSES


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
    monkeypatch.setattr(datasets.pickle, "loads", lambda *_, **__: pytest.fail("unpickled before it was verified"))
    (cifar / "py/cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps({"data": None}))
    assert "data_batch_1 is corrupt" in refusal("cifar10", cifar / "py")


def test_a_missing_file_is_named(cifar):
    (cifar / "py/cifar-10-batches-py/data_batch_4").unlink()
    assert "data_batch_4 is missing" in refusal("cifar10", cifar / "py")


@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("fashion_mnist", "FashionMNIST")])
def test_missing_data_without_network_says_where_and_what_to_do(tmp_path, monkeypatch, name, kind):
    torchvision_datasets = pytest.importorskip("torchvision.datasets")

    def no_network(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision_datasets, kind, no_network)
    message = refusal(name, tmp_path)
    assert str(tmp_path) in message
    assert "Name or service not known" in message
    assert "--data-dir" in message


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


# --- Fashion-MNIST


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
    monkeypatch.setattr(datasets, "FASHION_COUNTS", counts)
    monkeypatch.setattr(datasets, "FASHION_MD5", sums)
    return tmp_path


def unpack(folder: Path) -> None:
    for path in folder.glob("FashionMNIST/raw/*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


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


# --- class folders


def write_image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "RGB", seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def write_classes(root: Path, count: int, classes: tuple[str, ...] = ("cat", "dog"), **options) -> str:
    for label, name in enumerate(classes):
        for n in range(count):
            write_image(root / name / f"{n:03}.png", seed=1000 * label + n, **options)
    return f"folder:{root}"


def test_one_level_is_split_by_class(tmp_path):
    data = load(write_classes(tmp_path, 50), tmp_path)
    assert np.bincount(data.test.labels).tolist() == [10, 10]
    assert np.bincount(data.val.labels).tolist() == [4, 4]
    assert np.bincount(data.train.labels).tolist() == [36, 36]
    every = np.concatenate([part.images for part in (data.train, data.val, data.test)])
    assert len(np.unique(every.reshape(100, -1), axis=0)) == 100  # each image in one part only


def test_train_and_test_folders(tmp_path):
    write_classes(tmp_path / "train", 10)
    write_classes(tmp_path / "test", 3)
    data = load(f"folder:{tmp_path}", tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [18, 2, 6]
    assert data.class_names == ("cat", "dog")


def test_val_is_the_test_part_where_there_is_no_test(tmp_path):
    write_classes(tmp_path / "train", 10)
    write_classes(tmp_path / "val", 3)
    assert len(load(f"folder:{tmp_path}", tmp_path).test) == 6


def test_val_is_the_validation_split_where_there_is_a_test_too(tmp_path):
    for part, count in (("train", 10), ("val", 3), ("test", 4)):
        write_classes(tmp_path / part, count)
    data = load(f"folder:{tmp_path}", tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [20, 6, 8]


def test_a_class_may_be_called_train(tmp_path):
    assert load(write_classes(tmp_path, 10, ("bus", "train")), tmp_path).class_names == ("bus", "train")


def test_one_size_is_kept(tmp_path):
    name = write_classes(tmp_path, 5, size=(9, 7))
    data = load(name, tmp_path)
    assert data.image_shape == (3, 7, 9)
    with Image.open(tmp_path / "cat" / "000.png") as image:
        original = np.asarray(image)
    every = np.concatenate([part.images for part in (data.train, data.val, data.test)])
    assert (every == original).all(axis=(1, 2, 3)).sum() == 1


def test_other_sizes_are_brought_to_the_median_shorter_side_and_cropped_in_the_centre(tmp_path):
    write_classes(tmp_path, 5, size=(8, 8))
    stripes = np.zeros((20, 40, 3), np.uint8)
    stripes[:, 10:30] = 255  # the centre 20×20, which is all that is kept
    Image.fromarray(stripes).save(tmp_path / "cat" / "wide.png")
    data = load(f"folder:{tmp_path}", tmp_path)
    assert data.image_shape == (3, 8, 8)
    every = np.concatenate([part.images for part in (data.train, data.val, data.test)])
    assert max(image[:, 1:-1].min() for image in every) == 255


def test_gray_only_if_every_image_is_gray(tmp_path):
    name = write_classes(tmp_path, 5, mode="L")
    assert load(name, tmp_path).image_shape == (1, 8, 8)
    write_image(tmp_path / "dog" / "colour.jpg")
    assert load(name, tmp_path).image_shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGBA", "png"),
        ("P", "gif"),
        ("1", "png"),
        ("LA", "png"),
        ("CMYK", "jpg"),
        ("RGB", "webp"),
        ("RGB", "bmp"),
        ("RGB", "tiff"),
    ],
)
def test_formats_and_modes_that_pillow_reads(tmp_path, mode, suffix):
    name = write_classes(tmp_path, 5)
    write_image(tmp_path / "dog" / f"odd.{suffix}", mode=mode)
    assert load(name, tmp_path).image_shape == (3, 8, 8)


def test_transparent_palettes_are_read_without_a_warning(tmp_path):
    name = write_classes(tmp_path, 5)
    Image.new("P", (8, 8)).save(tmp_path / "dog" / "odd.png", transparency=b"\x00\x80")
    assert load(name, tmp_path).image_shape == (3, 8, 8)


def test_16_bit_gray_becomes_8_bit(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for n in range(4):
            Image.fromarray(np.full((8, 8), 0x1234, np.uint16)).save(tmp_path / name / f"{n}.png")
    assert set(load(f"folder:{tmp_path}", tmp_path).train.images.ravel()) == {0x12}


def test_hidden_files_and_files_beside_the_classes_are_left_alone(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "LICENSE").write_text("x")
    (tmp_path / ".cache").mkdir()
    assert load(name, tmp_path).class_names == ("cat", "dog")


def test_the_real_photographs(real_data):
    name = f"folder:{real_data / 'imagenette-small'}"
    assert image_shape(name, real_data) == ((3, 224, 224), 10)
    data = load(name, real_data)
    assert [len(data.train), len(data.val), len(data.test)] == [540, 60, 250]


def test_a_missing_folder(tmp_path):
    assert "no such folder" in refusal(f"folder:{tmp_path / 'flowers'}", tmp_path)
    assert "no such folder" in refusal("folder:", tmp_path)


def test_an_unreadable_image_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    assert f"{tmp_path / 'dog' / 'notes.txt'} is not an image" in refusal(name, tmp_path)


def test_a_truncated_image_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "JPEG")
    (tmp_path / "dog" / "half.jpg").write_bytes(whole.getvalue()[:1000])
    assert "half.jpg cannot be read (image file is truncated" in refusal(name, tmp_path)


def test_a_folder_among_the_images_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "more").mkdir()
    assert f"{tmp_path / 'dog' / 'more'} cannot be read" in refusal(name, tmp_path)


def test_32_bit_pixels_are_refused(tmp_path):
    name = write_classes(tmp_path, 5)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "dog" / "float.tiff")
    assert "float.tiff cannot be read (its pixels have 32 bits" in refusal(name, tmp_path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def black_png(width: int, height: int, whole: bool = True) -> bytes:
    """A PNG of 1 bit a pixel, a few kilobytes for millions of them; of the header alone where not `whole`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height)) if whole else b""
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# Pillow alone lets the first one pass with a warning
@pytest.mark.parametrize(("side", "whole"), [(9_500, True), (20_000, True), (50_000, False)])
def test_a_decompression_bomb_is_refused_by_its_size(tmp_path, side, whole):
    name = write_classes(tmp_path, 5)
    bomb = tmp_path / "dog" / "bomb.png"
    bomb.write_bytes(black_png(side, side, whole))
    assert bomb.stat().st_size < 100_000
    assert refusal(name, tmp_path) == f"{bomb} has more than 89,478,485 pixels; make it smaller, or remove it"


def test_a_bomb_is_refused_without_a_warning(tmp_path):
    """Outside of tests, too, where warnings are no errors."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(black_png(9_500, 9_500))
    code = (
        "import sys; from pathlib import Path; from trainables import errors; from trainables.datasets import images\n"
        "try: list(images.in_threads(images.header, [Path(sys.argv[1])]))\n"
        "except errors.UserError as error: sys.exit(str(error))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(bomb)], capture_output=True, text=True)
    assert ended.stderr == f"{bomb} has more than 89,478,485 pixels; make it smaller, or remove it\n"


def test_a_narrow_image_does_not_grow_without_bounds_as_it_covers_the_format(tmp_path):
    name = write_classes(tmp_path, 5, size=(100, 100))
    (tmp_path / "dog" / "line.png").write_bytes(black_png(1, 60_000))  # to be 100 wide it would be 6,000,000 high
    message = refusal(name, tmp_path)
    assert "line.png cannot be read (to cover 100×100 pixels, its 1×60000 would become 100×6000000)" in message


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError

    name = write_classes(tmp_path, 5)
    monkeypatch.setattr(np, "empty", full)
    assert "of 8×8 pixels do not fit into memory; give fewer or smaller ones" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        # Pillow would start Ghostscript
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n",
        b"SIMPLE  =                    T / FITS\nEND",
        b"8BPS\x00\x01" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"text",
        b"",
    ],
    ids=["EPS", "FITS", "PSD", "SVG", "text", "empty"],
)
def test_other_formats_are_never_opened_whatever_their_name(tmp_path, content):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "odd.png").write_bytes(content)
    assert "odd.png is not an image that we read (AVIF, BMP, GIF, JPEG," in refusal(name, tmp_path)


def test_an_orientation_in_exif_data_is_not_applied(tmp_path):
    name = write_classes(tmp_path, 5, size=(16, 8))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (16, 8)).save(tmp_path / "dog" / "turned.jpg", exif=turned)
    assert load(name, tmp_path).image_shape == (3, 8, 16)


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), Path.mkdir], ids=["pipe", "dangling link", "folder"]
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    name = write_classes(tmp_path, 5)
    make(tmp_path / "dog" / "odd.png")
    assert refusal(name, tmp_path) == f"{tmp_path / 'dog' / 'odd.png'} cannot be read (it is no file); remove it"


@pytest.mark.parametrize(
    ("link", "target"), [("dog/odd.png", "cat/000.png"), ("fox", "cat"), ("dog/dots.png", "../../x/cat/000.png")]
)
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path, link, target):
    write_classes(tmp_path / "x", 5)
    name = write_classes(tmp_path / "handed_over", 5)
    path = tmp_path / "handed_over" / link
    path.symlink_to(target if ".." in target else tmp_path / "x" / target)
    message = f"{path} is a link that leads out of {tmp_path / 'handed_over'}; put a copy there, or remove it"
    assert refusal(name, tmp_path) == scoring_refusal(name, classes=("cat", "dog", "fox")) == message


def test_a_part_that_is_a_link_out_of_the_folder_is_refused(tmp_path):
    write_classes(tmp_path / "x", 5)
    write_classes(tmp_path / "own" / "train", 5)
    (tmp_path / "own" / "test").symlink_to(tmp_path / "x")
    message = f"{tmp_path / 'own' / 'test'} is a link that leads out of {tmp_path / 'own'};"
    assert refusal(f"folder:{tmp_path / 'own'}", tmp_path).startswith(message)
    assert scoring_refusal(f"folder:{tmp_path / 'own'}").startswith(message)


def test_links_within_the_folder_and_to_it_are_followed(tmp_path):
    write_classes(tmp_path / "real", 5)
    (tmp_path / "real" / "dog" / "again.png").symlink_to(tmp_path / "real" / "dog" / "000.png")
    (tmp_path / "link").symlink_to("real")
    data = load(f"folder:{tmp_path / 'link'}", tmp_path)
    assert len(data.train) + len(data.val) + len(data.test) == 11


def test_a_device_is_no_file(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "zero.png").symlink_to("/dev/zero")
    assert "is a link that leads out of" in refusal(name, tmp_path)


@pytest.mark.parametrize("odd", ["a\nb", "\x1b[31mred", "caf\udce9", "\u202egnp"])
def test_names_that_cannot_be_printed_are_refused(tmp_path, odd):
    message = refusal(write_classes(tmp_path, 5, ("cat", odd)), tmp_path)
    assert message == f"{tmp_path}: the class folder {odd!r} has characters that cannot be printed; rename it"
    assert message.isprintable()
    assert "cannot be printed" in refusal(f"folder:{tmp_path / odd}", tmp_path)


def test_an_empty_class_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "bird").mkdir()
    assert f"{tmp_path / 'bird'} is empty" in refusal(name, tmp_path)


def test_one_class_is_not_enough(tmp_path):
    assert "at least two" in refusal(write_classes(tmp_path, 5, ("cat",)), tmp_path)
    (tmp_path / "nothing").mkdir()
    assert "at least two" in refusal(f"folder:{tmp_path / 'nothing'}", tmp_path)


def test_a_class_missing_from_the_test_part_is_named(tmp_path):
    write_classes(tmp_path / "train", 5)
    write_classes(tmp_path / "test", 5, ("cat", "cow"))
    assert "class 'cow' is not in each of train, test" in refusal(f"folder:{tmp_path}", tmp_path)


def test_train_alone_is_no_layout(tmp_path):
    write_classes(tmp_path / "train", 5)
    assert "holds train only" in refusal(f"folder:{tmp_path}", tmp_path)


def test_a_class_too_small_to_share_out_is_named(tmp_path):
    message = refusal(write_classes(tmp_path, 2), tmp_path)
    assert "class 'cat' has 1 image(s), too few" in message


# --- folders of labelled images, to score a model on


def scored(
    name: str,
    shape: datasets.Shape = (3, 8, 8),
    classes: tuple[str, ...] = ("bird", "cat", "dog"),
    multi_label: bool = False,
):
    return datasets.labelled(name, Path("nowhere"), classes, shape, multi_label)


def scoring_refusal(name: str, **options) -> str:
    with pytest.raises(UserError) as caught:
        scored(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_labels_are_the_model_s_even_where_classes_or_their_images_are_missing(tmp_path):
    name = write_classes(tmp_path, 3, ("dog", "cat"))
    (tmp_path / "bird").mkdir()
    split = scored(name)
    assert split.labels.tolist() == [1, 1, 1, 2, 2, 2]
    assert split.labels.dtype == np.int64
    with Image.open(tmp_path / "dog" / "000.png") as image:
        assert np.array_equal(split.images[3], np.asarray(image))


@pytest.mark.parametrize(
    ("parts", "count"), [(("test",), 2), (("val",), 3), (("train", "val"), 3), (("train", "val", "test"), 2)]
)
def test_the_test_part_is_scored_else_the_validation_part(tmp_path, parts, count):
    for part in parts:
        write_classes(tmp_path / part, {"train": 4, "val": 3, "test": 2}[part])
    assert len(scored(f"folder:{tmp_path}")) == 2 * count


def test_labelled_images_get_the_pixels_that_loading_gives(tmp_path):
    write_classes(tmp_path / "train", 3, size=(12, 12))
    test = write_classes(tmp_path / "test", 3, size=(40, 30))
    data = load(f"folder:{tmp_path}", tmp_path)
    again = scored(test, data.image_shape, data.class_names)
    assert np.array_equal(again.images, data.test.images)
    assert np.array_equal(again.labels, data.test.labels)


def test_images_just_cover_a_shape_that_is_not_square(tmp_path):
    (tmp_path / "cat").mkdir()
    stripes = np.zeros((40, 20, 3), np.uint8)
    stripes[15:25] = 255  # the centre 20×10, which is all that is kept
    Image.fromarray(stripes).save(tmp_path / "cat" / "tall.png")
    image = scored(f"folder:{tmp_path}", (3, 8, 16)).images[0]
    assert image.shape == (8, 16, 3)
    assert image[1:-1].min() == 255


def test_channels_are_the_model_s(tmp_path):
    assert scored(write_classes(tmp_path, 2), (1, 8, 8)).images.shape == (4, 8, 8, 1)
    assert scored(write_classes(tmp_path, 2, mode="L"), (3, 8, 8)).images.shape == (4, 8, 8, 3)


def test_a_class_that_the_model_does_not_know_is_named(tmp_path):
    name = write_classes(tmp_path, 1, ("cats", "dog"))
    assert f"{tmp_path}: the model knows no class 'cats'; did you mean 'cat'?" in scoring_refusal(name)
    assert "'cats'; known: x, y" in scoring_refusal(name, classes=("x", "y"))


def test_nothing_to_score_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    assert "holds no images" in scoring_refusal(f"folder:{tmp_path}")
    assert "no such folder" in scoring_refusal(f"folder:{tmp_path / 'flowers'}")
    write_classes(tmp_path / "own" / "train", 1)
    assert "holds train only" in scoring_refusal(f"folder:{tmp_path / 'own'}")


def test_bad_images_to_score_are_named(tmp_path):
    name = write_classes(tmp_path, 1)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "dog" / "float.tiff")
    assert "float.tiff cannot be read (its pixels have 32 bits" in scoring_refusal(name)


def test_folders_have_one_class_an_image(tmp_path):
    message = scoring_refusal(write_classes(tmp_path, 1), multi_label=True)
    assert "has one class an image, but the model was trained on data with any number of classes" in message


def test_a_named_data_set_is_scored_on_its_test_part(drawn):
    classes = tuple(reversed(drawn.class_names))
    split = datasets.labelled("shapes", Path(), classes, (3, 32, 32), False)
    assert np.array_equal(split.images, drawn.test.images)
    assert np.array_equal(split.masks, drawn.test.masks)
    assert np.array_equal(split.labels, 9 - drawn.test.labels)


def test_a_named_data_set_must_have_the_model_s_shape_and_classes():
    assert "shapes: its images are 3×32×32, but the model takes 1×28×28" in scoring_refusal("shapes", shape=(1, 28, 28))
    assert "shapes: the model knows no class 'disc'; known: bird, cat, dog" in scoring_refusal(
        "shapes", shape=(3, 32, 32)
    )
    assert "did you mean 'shapes'" in scoring_refusal("shape")


# --- several labels an image


def held_back(labels: np.ndarray, share: float = 0.1) -> tuple[datasets.Split, datasets.Split]:
    images = np.arange(len(labels), dtype=np.uint32).view(np.uint8).reshape(-1, 1, 1, 4)  # each image its own number
    names = tuple(f"class{n}" for n in range(labels.shape[1]))
    return datasets._hold_back(datasets.Split(images, labels), share, names, "here")


def many_labels(count: int = 5000, seed: int = 0) -> np.ndarray:
    """20 classes as unevenly frequent as VOC's: 2 % to 40 % of the images, 5 % of the others unknown."""
    rng = np.random.default_rng(seed)
    chance = rng.random((count, 20))
    frequency = np.geomspace(0.02, 0.4, 20)
    return np.where(chance < frequency, 1, np.where(chance > 0.95, -1, 0)).astype(np.int8)


def test_multi_label_data_holds_back_the_share_of_every_class_and_of_none():
    labels = many_labels()
    labels[:300] = 0
    kept, held = held_back(labels)
    present, all_ = held.labels == 1, labels == 1
    assert present.sum(axis=0) == pytest.approx(0.1 * all_.sum(axis=0), rel=0.1, abs=1)
    assert (~present.any(axis=1)).sum() == pytest.approx(0.1 * (~all_.any(axis=1)).sum(), abs=1)
    assert len(held) == pytest.approx(500, rel=0.05)
    numbers = np.concatenate([part.images.reshape(-1, 4).view(np.uint32).ravel() for part in (kept, held)])
    assert np.array_equal(np.sort(numbers), np.arange(5000))  # each image in one part
    assert np.array_equal(held_back(labels)[1].images, held.images)  # always the same


def test_a_class_s_only_image_is_kept_and_of_two_one_is_held_back():
    for seed in range(20):
        labels = np.zeros((100, 4), np.int8)
        rng = np.random.default_rng(seed)
        labels[:, 0] = rng.random(100) < 0.9
        labels[rng.integers(100), 1] = 1
        labels[rng.permutation(100)[:2], 2] = 1  # and none at all in class 3
        kept, held = held_back(labels, 0.5)
        assert (held.labels == 1).sum(axis=0)[1:].tolist() == [0, 1, 0]
        assert (kept.labels == 1).sum(axis=0)[1:].tolist() == [1, 1, 0]


def test_multi_label_data_too_small_to_share_out_is_refused():
    with pytest.raises(UserError, match="here: no class has two images"):
        held_back(np.eye(3, dtype=np.int8))


def test_labels_out_of_range_are_named():
    with pytest.raises(UserError, match=r"here: label 2 of image 1 is out of range -1\.\.1"):
        datasets._check_labels(np.array([[0, 1], [-1, 2]], np.int8), ("a", "b"), "here")


def test_kinds_of_data_have_their_metric(drawn):
    assert (drawn.multi_label, drawn.metric) == (False, "accuracy")


# --- what holds for all


@pytest.fixture(scope="module")
def drawn():
    return load("shapes", Path())


def test_the_embedded_data_set_has_masks_in_every_part(drawn):
    assert [len(part) for part in (drawn.train, drawn.val, drawn.test)] == [4500, 500, 1000]
    assert all(part.masks.shape == part.images.shape[:3] for part in (drawn.train, drawn.val, drawn.test))


def test_the_validation_split_is_by_class_and_always_the_same(drawn):
    assert np.bincount(drawn.val.labels).tolist() == [50] * 10
    assert same(drawn, load("shapes", Path()))
    assert np.bincount(load("shapes", Path(), validation=0.2).val.labels).tolist() == [100] * 10


def test_mean_and_sd_are_those_of_the_training_part(drawn):
    pixels = drawn.train.images / 255
    assert drawn.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-9)
    assert drawn.sd == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-9)


def test_a_constant_channel_has_an_sd_that_can_be_divided_by(tmp_path):
    for name, level in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for n in range(4):
            Image.new("RGB", (4, 4), (0, level, 7)).save(tmp_path / name / f"{n}.png")
    data = load(f"folder:{tmp_path}", tmp_path)
    assert (data.sd[0], data.sd[2]) == (1, 1)
    assert data.sd[1] == pytest.approx(95 / 255)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_digest_knows_every_pixel_label_and_name(drawn, part):
    splits = [drawn.train, drawn.val, drawn.test]
    original = datasets._digest(drawn.class_names, *splits)
    assert original == drawn.digest
    for field, place in (("images", (3, 4, 5, 1)), ("labels", (6,))):
        changed = getattr(splits[part], field).copy()
        changed[place] ^= 1
        others = [*splits]
        others[part] = datasets.Split(**{"images": splits[part].images, "labels": splits[part].labels, field: changed})
        assert datasets._digest(drawn.class_names, *others) != original
    assert datasets._digest(("x", *drawn.class_names[1:]), *splits) != original


def test_the_digest_does_not_know_the_path(tmp_path):
    first = load(write_classes(tmp_path / "a", 5), tmp_path)
    assert load(write_classes(tmp_path / "b", 5), tmp_path).digest == first.digest


def test_a_data_set_survives_pickling(drawn):
    again = pickle.loads(pickle.dumps(drawn, protocol=5))  # noqa: S301
    assert same(again, drawn)
    assert (again.digest, again.mean) == (drawn.digest, drawn.mean)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "shapes"])
def test_the_shape_is_known_without_the_data(name, tmp_path):
    shape, classes = image_shape(name, tmp_path / "nowhere")
    assert (shape, classes) == (((1, 28, 28) if name == "fashion_mnist" else (3, 32, 32)), 10)


def test_the_shape_of_a_folder_is_what_loading_gives(tmp_path):
    name = write_classes(tmp_path, 5)
    write_image(tmp_path / "cat" / "large.png", size=(30, 20))
    data = load(name, tmp_path)
    assert image_shape(name, tmp_path) == (data.image_shape, data.classes)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    assert "did you mean 'cifar10'?" in refusal("cifar-10", tmp_path)
    with pytest.raises(UserError, match="did you mean 'shapes'"):
        image_shape("shape", tmp_path)
    assert datasets.names() == ["cifar10", "fashion_mnist", "shapes", "scenes", "voc2007", "folder:PATH"]


@pytest.mark.parametrize("validation", [0, 1, -0.1])
def test_a_share_that_is_none_is_refused(tmp_path, validation):
    assert f"validation={validation}" in refusal("shapes", tmp_path, validation=validation)


def test_importing_loads_neither_torch_nor_torchvision():
    code = "import sys, trainables.datasets; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


@pytest.mark.parametrize(
    ("name", "short"),
    [("cifar10", "cifar10"), ("folder:/a/b/flowers", "folder:flowers"), ("folder:birds/", "folder:birds")],
)
def test_figures_name_a_folder_without_the_way_to_it(tiny, name, short):
    assert replace(tiny, name=name).short_name == short
