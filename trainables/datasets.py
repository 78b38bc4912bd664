"""The one door to data: a name becomes a Dataset of uint8 images with labels, class names, a split and a digest.

    cifar10         60,000 photographs, 32×32 RGB, from torchvision's folder or the official binary one; downloaded where missing
    fashion_mnist   70,000 pictures of clothes, 28×28 gray; downloaded where missing
    shapes          6,000 drawn objects, 32×32 RGB, with masks; embedded (see shapes.py)
    folder:PATH     your own images in class folders (see `_find_folder`)

Validation is a part of the training images, the same for every trial and replicate; test images are never split or chosen from.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables import shapes
from trainables.errors import UserError, suggest

Shape = tuple[int, int, int]
T = TypeVar("T")

SPLIT_SEED = 20091  # fixes the validation split; not a replicate's seed
TEST_SHARE = 0.2  # of a one-level folder
SHAPES_TRAIN, SHAPES_TEST = (5000, 1), (1000, 2)  # count and seed

CIFAR10_CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_RECORDS = 10_000  # in each file
# md5 of each file, training batches first and the test batch last: https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10_BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
CIFAR10_PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}

FASHION_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
FASHION_COUNTS = {"train": 60_000, "t10k": 10_000}
# https://github.com/zalandoresearch/fashion-mnist
FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class Split:
    """Images of one part of a data set. Channels come last, so that a gather of them is torch's channels_last."""

    images: np.ndarray  # (N, H, W, C) uint8, C-contiguous
    labels: np.ndarray  # (N,) int64
    masks: np.ndarray | None = None  # (N, H, W) bool, where the object is known

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """Return a copy of the images at these positions, in this order."""
        return Split(self.images[index], self.labels[index], None if self.masks is None else self.masks[index])


@dataclass(frozen=True)
class Dataset:
    """A data set ready for training: plain arrays, so that it is pickled and shared between processes without a copy."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    digest: str  # SHA-256, hex, of images, labels, class names and split, whatever files they were read from
    mean: tuple[float, ...]  # per channel, of the training part, of pixels scaled to 0..1
    sd: tuple[float, ...]  # likewise, the population's; 1 where a channel is constant, so that dividing by it is safe

    @property
    def image_shape(self) -> Shape:
        """Return (channels, height, width)."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)


@dataclass(frozen=True)
class _Raw:
    """What a source yields: training and test images, and validation images where the source has its own."""

    class_names: tuple[str, ...]
    train: Split
    test: Split
    val: Split | None = None


def names() -> list[str]:
    """Return what `load` takes, for help texts."""
    return [*_SOURCES, "folder:PATH"]


def image_shape(name: str, data_dir: Path) -> tuple[Shape, int]:
    """Return (channels, height, width) and the number of classes without reading or downloading the images.

    Of a folder only the images' headers are read. Raises UserError as `load` does, but for what only reading shows.
    """
    if name.startswith("folder:"):
        folder = _find_folder(name)
        height, width, channels = folder.format.shape
        return (channels, height, width), len(folder.class_names)
    _source(name)
    del data_dir  # the shapes of the named data sets are known wherever they lie
    return ((1, 28, 28) if name == "fashion_mnist" else (3, 32, 32)), 10


def load(name: str, data_dir: Path, *, validation: float = 0.1) -> Dataset:
    """Read a data set, downloading it to `data_dir` where missing, and hold back the share `validation` of each class's training images.

    Raises UserError, in one line that says what is wrong and what to do, for an unknown name, missing data without network, a truncated or
    corrupt file, an unreadable image, an empty class or one too small to be split, and a label out of range.
    """
    if not 0 < validation < 1:
        raise UserError(f"validation={validation}: the share held back must lie between 0 and 1")
    raw = _read_folder(name) if name.startswith("folder:") else _source(name)(data_dir)
    for split in (raw.train, raw.test):
        _check_labels(split.labels, raw.class_names, name)
    train, val = (raw.train, raw.val) if raw.val else _hold_back(raw.train, validation, raw.class_names, name)
    mean, sd = _statistics(train.images)
    return Dataset(name, raw.class_names, train, val, raw.test, _digest(raw.class_names, train, val, raw.test), mean, sd)


def _source(name: str) -> Callable[[Path], _Raw]:
    if name not in _SOURCES:
        raise UserError(f"unknown data set {name!r}{suggest(name, names())}")
    return _SOURCES[name]


def _check_labels(labels: np.ndarray, class_names: tuple[str, ...], source: str) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(class_names)))
    if len(wrong):
        position = wrong[0]
        raise UserError(
            f"{source}: label {labels[position]} of image {position} is out of range 0..{len(class_names) - 1}; fetch the data anew"
        )


def _hold_back(split: Split, share: float, class_names: tuple[str, ...], source: str) -> tuple[Split, Split]:
    """Split off a share of each class, at least one image, at random but always the same: what is kept, and what is held back."""
    rng = np.random.default_rng(SPLIT_SEED)
    held = np.zeros(len(split), bool)
    for label, class_name in enumerate(class_names):
        members = rng.permutation(np.flatnonzero(split.labels == label))
        count = max(1, int(share * len(members) + 0.5))
        if count >= len(members):
            raise UserError(
                f"{source}: class {class_name!r} has {len(members)} image(s), too few to hold back {count} and keep one; add images"
            )
        held[members[:count]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def _statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, exactly, from histograms of (N, H, W, C) uint8."""
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), 500):  # bincount widens to 64 bits, so not all at once
        pixels = images[start : start + 500].reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    level = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ level
    sd = np.sqrt((share * (level - mean[:, None]) ** 2).sum(axis=1))
    constant = (histogram > 0).sum(axis=1) == 1
    return tuple(mean.tolist()), tuple(np.where(constant, 1.0, sd).tolist())


def _digest(class_names: tuple[str, ...], *splits: Split) -> str:
    """Return the SHA-256 of everything that training can see; shapes come first, so that different data cannot run together alike."""
    digest = hashlib.sha256(repr(class_names).encode())
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(split.images.data)
        digest.update(split.labels.astype("<i8").data)
    return digest.hexdigest()


# --- the named data sets


def _shapes(data_dir: Path) -> _Raw:
    del data_dir  # drawn, not read
    return _Raw(shapes.CLASS_NAMES, Split(*shapes.draw(*SHAPES_TRAIN)), Split(*shapes.draw(*SHAPES_TEST)))


def _cifar10(data_dir: Path) -> _Raw:
    binary, python = data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"
    if not binary.is_dir() and not python.is_dir():
        _download("CIFAR10", data_dir, f"neither {binary.name} nor {python.name}")
    if binary.is_dir():
        batches = [_binary_batch(binary / name, md5) for name, md5 in CIFAR10_BINARY.items()]
    else:
        batches = [_python_batch(python / name, md5) for name, md5 in CIFAR10_PYTHON.items()]
    return _Raw(CIFAR10_CLASSES, _join(batches[:-1]), _join(batches[-1:]))


def _binary_batch(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 3072) uint8 and labels (N,): a record is a label byte and the red, green and blue planes."""
    content = _verified(path, md5, CIFAR10_RECORDS * 3073)
    records = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return records[:, 1:], records[:, 0]


def _python_batch(path: Path, md5: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 3072) uint8 and labels (N,), planes as in the binary layout."""
    content = _verified(path, md5)  # before unpickling: a pickle from elsewhere could run anything
    with warnings.catch_warnings():
        # NumPy ≥ 2.4 deprecates the way in which the published files, pickled in 2009, write a dtype
        warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
        batch = pickle.loads(content, encoding="latin1")  # noqa: S301
    return batch["data"], np.asarray(batch["labels"])


def _join(batches: list[tuple[np.ndarray, np.ndarray]]) -> Split:
    """Put CIFAR-10's batches together, planes (N, 3·32·32) to channels last (N, 32, 32, 3)."""
    images = np.empty((sum(len(labels) for _, labels in batches), 32, 32, 3), np.uint8)
    start = 0
    for pixels, labels in batches:
        images[start : start + len(labels)] = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        start += len(labels)
    return Split(images, np.concatenate([labels for _, labels in batches]).astype(np.int64))


def _fashion_mnist(data_dir: Path) -> _Raw:
    folder = data_dir / "FashionMNIST" / "raw"
    if not all((folder / name).is_file() or (folder / name).with_suffix("").is_file() for name in FASHION_MD5):
        _download("FashionMNIST", data_dir, "not all four files of FashionMNIST/raw")
    train, test = (_fashion_part(folder, part, count) for part, count in FASHION_COUNTS.items())
    return _Raw(FASHION_CLASSES, train, test)


def _fashion_part(folder: Path, part: str, count: int) -> Split:
    images = _idx(folder / f"{part}-images-idx3-ubyte", (count, 28, 28))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", (count,))
    return Split(images[..., None], labels.astype(np.int64))


def _idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bytes, of this shape, of an idx file: from the .gz, whose md5 is published, else unpacked, where the size must do.

    The format: http://yann.lecun.com/exdb/mnist/
    """
    packed = path.with_name(f"{path.name}.gz")
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)  # 08: unsigned bytes; then the number of dimensions
    size = len(header) + int(np.prod(shape))
    content = gzip.decompress(_verified(packed, FASHION_MD5[packed.name])) if packed.is_file() else _sized(path, size)
    if not content.startswith(header):
        raise UserError(f"{path} is not an idx file of shape {shape}; delete it to have it downloaded anew")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()  # a buffer of bytes could not be written to


def _verified(path: Path, md5: str, size: int | None = None) -> bytes:
    """Return the file's bytes once its md5, and the size where it is known, are the published ones."""
    content = _sized(path, size)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise UserError(f"{path} is corrupt: its md5 is {found}, must be {md5}; delete {path.parent} to have it downloaded anew")
    return content


def _sized(path: Path, size: int | None) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing; put it there, or delete {path.parent} to have it downloaded anew")
    content = path.read_bytes()
    if size is not None and len(content) != size:
        raise UserError(f"{path} has {len(content):,} bytes, must have {size:,}; delete {path.parent} to have it downloaded anew")
    return content


def _download(kind: str, data_dir: Path, missing: str) -> None:
    """Have torchvision download the data set of this name."""
    from torchvision import datasets  # slow to import, and seldom needed

    try:
        getattr(datasets, kind)(data_dir, download=True)
    except (OSError, RuntimeError) as error:  # no network; all mirrors failed, or a wrong md5
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(
            f"{missing} in {data_dir.absolute()}, and {kind} could not be downloaded ({reason}); "
            "connect to the network, put the files there, or name their folder with --data-dir"
        ) from error


_SOURCES: dict[str, Callable[[Path], _Raw]] = {"cifar10": _cifar10, "fashion_mnist": _fashion_mnist, "shapes": _shapes}


# --- folders of images


@dataclass(frozen=True)
class _Format:
    """What all images of a folder are brought to."""

    height: int
    width: int
    gray: bool

    @property
    def shape(self) -> Shape:
        """Return (height, width, channels)."""
        return self.height, self.width, 1 if self.gray else 3


@dataclass(frozen=True)
class _Folder:
    """The image files of a folder: part (train, test, val, or "" where there is one level) → files of each class, sorted."""

    class_names: tuple[str, ...]
    parts: dict[str, list[list[Path]]]
    format: _Format


def _find_folder(name: str) -> _Folder:
    """Find the images of `folder:PATH`, a path from the working directory, reading no more than their headers.

    Layout: PATH/train and PATH/test hold one folder for each class; PATH/val, where present, is the validation split, or the test part
    where there is no PATH/test. Or PATH itself holds the class folders: then we split it, a fifth of each class for testing.
    Files: whatever is in a class folder must be an image that Pillow reads, hidden files apart; files beside the class folders have no
    label and are not read.
    Sizes: kept where all images have the same; else the shorter side is resized to S, the median of the shorter sides, and the centre
    S×S is cut out.
    Channels: one where every image is gray, else three; transparency is dropped, 16-bit gray becomes 8-bit, an animation its first frame.
    """
    root = Path(name.removeprefix("folder:")).expanduser()
    if name == "folder:" or not root.is_dir():
        raise UserError(f"{name}: there is no such folder; give the path of a folder of class folders, as in folder:data/flowers")
    found = {part: _classes(root / part) for part in _part_names(root)}
    class_names = tuple(next(iter(found.values())))
    for classes in found.values():
        odd = sorted(set(classes) ^ set(class_names))
        if odd:
            raise UserError(f"{root}: class {odd[0]!r} is not in each of {', '.join(found)}; every part must have the same classes")
    if len(class_names) < 2:
        raise UserError(f"{root} holds {len(class_names)} class folder(s); at least two are needed, with the images inside them")
    parts = {part: list(classes.values()) for part, classes in found.items()}
    return _Folder(class_names, parts, _common_format([path for files in parts.values() for path in _flat(files)]))


def _part_names(root: Path) -> tuple[str, ...]:
    """Return the folders that hold the training, the test and, where there is one, the validation part; ("",) where there is one level."""
    present = {folder.name for folder in _folders(root)}
    if not present or not present <= {"train", "val", "test"}:  # else "train" may well be a class, beside "car"
        return ("",)
    for layout in (("train", "test", "val"), ("train", "test"), ("train", "val")):
        if present == set(layout):
            return layout
    raise UserError(f"{root} holds {', '.join(sorted(present))} only; it must hold train and test, train and val, all three, or classes")


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _classes(root: Path) -> dict[str, list[Path]]:
    """Return the sorted files of each class."""
    classes = {}
    for folder in _folders(root):
        classes[folder.name] = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        if not classes[folder.name]:
            raise UserError(f"{folder} is empty; put images of the class {folder.name!r} there, or remove it")
    return classes


def _flat(files: list[list[Path]]) -> list[Path]:
    return [path for of_class in files for path in of_class]


def _common_format(paths: list[Path]) -> _Format:
    """Decide size and channels for all images (the rule is `_find_folder`'s)."""
    headers = list(_in_threads(_header, paths))
    sizes = {(height, width) for height, width, _ in headers}
    if len(sizes) > 1:
        side = int(np.median([min(height, width) for height, width, _ in headers]) + 0.5)
        sizes = {(side, side)}
    return _Format(*sizes.pop(), gray=all(gray for _, _, gray in headers))


def _read_folder(name: str) -> _Raw:
    folder = _find_folder(name)
    splits = [_read_part(files, folder.format) for files in folder.parts.values()]
    if len(splits) == 1:
        splits = list(_hold_back(splits[0], TEST_SHARE, folder.class_names, name))
    return _Raw(folder.class_names, *splits)


def _read_part(files: list[list[Path]], form: _Format) -> Split:
    labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(of_class) for of_class in files])
    images = np.empty((len(labels), *form.shape), np.uint8)
    for position, pixels in enumerate(_in_threads(lambda path: _pixels(path, form), _flat(files))):
        images[position] = pixels
    return Split(images, labels)


def _in_threads(function: Callable[[Path], T], paths: list[Path]) -> Iterator[T]:
    """Map over images in order, on all cores: Pillow releases the interpreter lock while it decodes. The first bad image is named."""

    def named(path: Path) -> T:
        try:
            return function(path)
        except UnidentifiedImageError as error:
            raise UserError(f"{path} is not an image that Pillow can read; repair or remove it") from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:  # as decoders fail
            raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); repair or remove it") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(named, paths)


def _header(path: Path) -> tuple[int, int, bool]:
    """Return height and width in pixels, and whether the image is gray."""
    with Image.open(path) as image:
        if image.mode in ("I", "F"):
            raise ValueError("its pixels have 32 bits; save it with 8 or 16")
        return image.height, image.width, image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")


def _pixels(path: Path, form: _Format) -> np.ndarray:
    """Return the image as (height, width, channels) uint8."""
    with Image.open(path) as image:
        converted = _eight_bit(image, "L" if form.gray else "RGB")
    if converted.size != (form.width, form.height):
        scale = form.width / min(converted.size)  # the format is square here
        converted = converted.resize((round(converted.width * scale), round(converted.height * scale)), Image.Resampling.BILINEAR)
        left, top = (converted.width - form.width) // 2, (converted.height - form.height) // 2
        converted = converted.crop((left, top, left + form.width, top + form.height))
    return np.asarray(converted).reshape(form.shape)


def _eight_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
    if image.mode == "P":  # a palette with transparency cannot go to RGB at once
        return image.convert("RGBA").convert(mode)
    return image.convert(mode)
