"""The one door to data: a name becomes a Dataset of uint8 images with labels, class names, a split and a digest.

    cifar10         60,000 photographs, 32×32 RGB, from torchvision's folder or the official binary one; downloaded where missing
    fashion_mnist   70,000 pictures of clothes, 28×28 gray; downloaded where missing
    shapes          6,000 drawn objects, 32×32 RGB, with masks; embedded (see shapes.py)
    scenes          1,250 pictures of four such objects each, 64×64 RGB, multi-label; embedded
    voc2007         9,963 photographs with several labels each, 256×256 RGB, with boxes (see voc.py); downloaded where missing
    folder:PATH     your own images in class folders (see folders.py)

Validation is a part of the training images, the same for every trial and replicate; test images are never split or
chosen from.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trainables.datasets import folders, shapes, voc
from trainables.datasets.images import Format
from trainables.datasets.voc import Box
from trainables.errors import UserError, suggest

Shape = tuple[int, int, int]

SPLIT_SEED = 20091  # fixes the validation split; not a replicate's seed
TEST_SHARE = 0.2  # of a one-level folder
SHAPES_TRAIN, SHAPES_TEST = (5000, 1), (1000, 2)  # count and seed
SCENES_TRAIN, SCENES_TEST = (1000, 3), (250, 4)

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

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
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
    labels: np.ndarray  # (N,) int64, a class each; or (N, classes) int8, multi-label: 1 present, 0 absent, -1 unknown
    masks: np.ndarray | None = None  # (N, H, W) bool, where the object is known
    boxes: tuple[tuple[Box, ...], ...] | None = None  # of each image, where its objects are known

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Split:
        """Return a copy of the images at these positions, in this order."""
        masks = None if self.masks is None else self.masks[index]
        boxes = None if self.boxes is None else tuple(self.boxes[position] for position in index)
        return Split(self.images[index], self.labels[index], masks, boxes)


@dataclass(frozen=True)
class Dataset:
    """A data set ready for training: plain arrays, so that it is pickled and shared between processes without a copy."""

    name: str  # as it was asked for; where the files hold only a part of a known data set, it says so
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    digest: str  # SHA-256, hex, of images, labels, class names and split, whatever files they were read from
    mean: tuple[float, ...]  # per channel, of the training part, of pixels scaled to 0..1
    sd: tuple[float, ...]  # likewise, the population's; 1 where a channel is constant, so that dividing by it is safe

    @property
    def short_name(self) -> str:
        """Return the name for figures: of a folder without the way to it."""
        kind, folder, path = self.name.partition("folder:")
        return folder + Path(path).name if folder else kind

    @property
    def image_shape(self) -> Shape:
        """Return (channels, height, width)."""
        _, height, width, channels = self.train.images.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.class_names)

    @property
    def multi_label(self) -> bool:
        """Return whether an image can have several classes, or none."""
        return self.train.labels.ndim == 2

    @property
    def metric(self) -> str:
        """Return the name of what models are scored by."""
        return "mAP" if self.multi_label else "accuracy"


@dataclass(frozen=True)
class _Source:
    """A named data set: its reader, and what is known before it is read."""

    read: Callable[[Path], tuple[Split, Split]]  # training and test images
    image_shape: Shape
    class_names: tuple[str, ...]
    multi_label: bool = False
    counts: tuple[int, int] | None = None  # of training and test images, where files could be a part of them


def names() -> list[str]:
    """Return what `load` takes, for help texts."""
    return [*_SOURCES, "folder:PATH"]


def image_shape(name: str, data_dir: Path) -> tuple[Shape, int]:
    """Return (channels, height, width) and the number of classes without reading or downloading the images.

    Of a folder only the images' headers are read. Raises UserError as `load` does, but for what only reading shows.
    """
    if name.startswith("folder:"):
        folder = folders.find(name)
        height, width, channels = folder.format.shape
        return (channels, height, width), len(folder.class_names)
    del data_dir  # the shapes of the named data sets are known wherever they lie
    source = _source(name)
    return source.image_shape, len(source.class_names)


def load(name: str, data_dir: Path, *, validation: float = 0.1) -> Dataset:
    """Read a data set, downloading it to `data_dir` where missing, and hold back the share `validation` of each class's
    training images.

    Raises UserError, in one line that says what is wrong and what to do, for an unknown name, missing data without
    network, a truncated or corrupt file, an unreadable image, an empty class or one too small to be split, and a label
    out of range.
    """
    if not 0 < validation < 1:
        raise UserError(f"validation={validation}: the share held back must lie between 0 and 1")
    class_names, (train, test, *own) = (
        _read_folder(name) if name.startswith("folder:") else _read_source(name, data_dir)
    )
    for split in (train, test):
        _check_labels(split.labels, class_names, name)
    train, val = (train, own[0]) if own else _hold_back(train, validation, class_names, name)
    mean, sd = _statistics(train.images)
    whole = None if name.startswith("folder:") else _source(name).counts
    if whole not in (None, (len(train) + len(val), len(test))):
        name = f"{name} (a part: {len(train) + len(val):,} + {len(test):,} images)"
    return Dataset(name, class_names, train, val, test, _digest(class_names, train, val, test), mean, sd)


def labelled(name: str, data_dir: Path, class_names: tuple[str, ...], image_shape: Shape, multi_label: bool) -> Split:
    """Read labelled images to score a finished model on, in the format it was trained in; labels are indices into its
    `class_names`.

    Of `folder:PATH` that is every image where PATH holds class folders, else part `test`, else `val`, brought to the
    model's `image_shape` (channels, height, width) as in training; classes may lack images. Of a named data set it is
    the test part. Raises UserError as `load` does, and where the data's classes, shape or kind of labels are not the
    model's.
    """
    if name.startswith("folder:"):
        _check_kind(name, False, multi_label)
        channels, height, width = image_shape
        return Split(*folders.read_labelled(name, class_names, Format(height, width, gray=channels == 1)))
    source = _source(name)
    _check_kind(name, source.multi_label, multi_label)
    if source.image_shape != image_shape:
        raise UserError(
            f"{name}: its images are {_times(source.image_shape)}, but the model takes {_times(image_shape)}"
        )
    folders.check_classes(source.class_names, class_names, name)
    _, test = source.read(data_dir)
    _check_labels(test.labels, source.class_names, name)
    return _relabel(test, source.class_names, class_names)


def _check_kind(name: str, found: bool, wanted: bool) -> None:
    if found != wanted:
        kinds = ("one class an image", "any number of classes an image")
        raise UserError(f"{name} has {kinds[found]}, but the model was trained on data with {kinds[wanted]}")


def _times(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _relabel(split: Split, old: tuple[str, ...], new: tuple[str, ...]) -> Split:
    """Return the split with labels that index the class names `new` instead of `old`; classes that only `new` has are unknown."""
    place = np.array([new.index(class_name) for class_name in old])
    boxes = split.boxes and tuple(
        tuple(box._replace(label=int(place[box.label])) for box in image) for image in split.boxes
    )
    if split.labels.ndim == 1:
        return replace(split, labels=place[split.labels], boxes=boxes)
    labels = np.full((len(split), len(new)), -1, np.int8)
    labels[:, place] = split.labels
    return replace(split, labels=labels, boxes=boxes)


def _source(name: str) -> _Source:
    if name not in _SOURCES:
        raise UserError(f"unknown data set {name!r}{suggest(name, names())}")
    return _SOURCES[name]


def _read_source(name: str, data_dir: Path) -> tuple[tuple[str, ...], tuple[Split, ...]]:
    source = _source(name)
    return source.class_names, source.read(data_dir)


def _read_folder(name: str) -> tuple[tuple[str, ...], tuple[Split, ...]]:
    """Return class names and the training, the test and, where the folder has its own, the validation part."""
    folder = folders.find(name)
    splits = tuple(Split(*folders.read(files, folder.format)) for files in folder.parts.values())
    if len(splits) == 1:
        splits = _hold_back(splits[0], TEST_SHARE, folder.class_names, name)
    return folder.class_names, splits


def _check_labels(labels: np.ndarray, class_names: tuple[str, ...], source: str) -> None:
    low, high = (0, len(class_names) - 1) if labels.ndim == 1 else (-1, 1)
    wrong = np.argwhere((labels < low) | (labels > high))
    if len(wrong):
        place = tuple(wrong[0])
        raise UserError(
            f"{source}: label {labels[place]} of image {place[0]} is out of range {low}..{high}; fetch the data anew"
        )


def _hold_back(split: Split, share: float, class_names: tuple[str, ...], source: str) -> tuple[Split, Split]:
    """Split off a share of each class, at random but always the same: what is kept, and what is held back."""
    held = (
        _held_of_each(split.labels, share, class_names, source)
        if split.labels.ndim == 1
        else _held_of_all(split.labels, share)
    )
    if not held.any():
        raise UserError(f"{source}: no class has two images, one to keep and one to hold back; add images")
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def _held_of_each(labels: np.ndarray, share: float, class_names: tuple[str, ...], source: str) -> np.ndarray:
    """Choose a share of each class, at least one image: (N,) bool, for labels (N,)."""
    rng = np.random.default_rng(SPLIT_SEED)
    held = np.zeros(len(labels), bool)
    for label, class_name in enumerate(class_names):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = _rounded(share, members)
        if count >= len(members):
            raise UserError(
                f"{source}: class {class_name!r} has {len(members)} image(s), too few to hold back {count} and keep "
                "one; add images"
            )
        held[members[:count]] = True
    return held


def _held_of_all(labels: np.ndarray, share: float) -> np.ndarray:
    """Choose a share of each class's images, as near as their overlap allows, and of those without any class: (N,)
    bool, for (N, classes).

    From the rarest class to the most common, as in the first step of Sechidis et al., "On the stratification of
    multi-label data", ECML 2011: an image is chosen or kept with the rarest of its classes, so that common classes do
    not use up the rare ones' images.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    present = labels == 1
    groups = np.column_stack((present, ~present.any(axis=1)))
    held, settled = np.zeros((2, len(labels)), bool)
    for group in np.argsort(groups.sum(axis=0), kind="stable"):
        members = rng.permutation(np.flatnonzero(groups[:, group]))
        count = min(_rounded(share, members), len(members) - 1) - held[members].sum()  # a class's only image is kept
        held[members[~settled[members]][: max(0, count)]] = True
        settled[members] = True
    return held


def _rounded(share: float, members: np.ndarray) -> int:
    return max(1, int(share * len(members) + 0.5))


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


def _shapes(data_dir: Path) -> tuple[Split, Split]:
    del data_dir  # drawn, not read
    return Split(*shapes.draw(*SHAPES_TRAIN)), Split(*shapes.draw(*SHAPES_TEST))


def _scenes(data_dir: Path) -> tuple[Split, Split]:
    del data_dir  # drawn, not read
    return Split(*shapes.draw_scenes(*SCENES_TRAIN)), Split(*shapes.draw_scenes(*SCENES_TEST))


def _cifar10(data_dir: Path) -> tuple[Split, Split]:
    binary, python = data_dir / "cifar-10-batches-bin", data_dir / "cifar-10-batches-py"
    if not binary.is_dir() and not python.is_dir():
        _download("CIFAR10", data_dir, f"neither {binary.name} nor {python.name}")
    if binary.is_dir():
        batches = [_binary_batch(binary / name, md5) for name, md5 in CIFAR10_BINARY.items()]
    else:
        batches = [_python_batch(python / name, md5) for name, md5 in CIFAR10_PYTHON.items()]
    return _join(batches[:-1]), _join(batches[-1:])


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


def _fashion_mnist(data_dir: Path) -> tuple[Split, Split]:
    folder = data_dir / "FashionMNIST" / "raw"
    if not all((folder / name).is_file() or (folder / name).with_suffix("").is_file() for name in FASHION_MD5):
        _download("FashionMNIST", data_dir, "not all four files of FashionMNIST/raw")
    train, test = (_fashion_part(folder, part, count) for part, count in FASHION_COUNTS.items())
    return train, test


def _fashion_part(folder: Path, part: str, count: int) -> Split:
    images = _idx(folder / f"{part}-images-idx3-ubyte", (count, 28, 28))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", (count,))
    return Split(images[..., None], labels.astype(np.int64))


def _idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bytes, of this shape, of an idx file: from the .gz, whose md5 is published, else unpacked, where the
    size must do.

    The format: http://yann.lecun.com/exdb/mnist/
    """
    packed = path.with_name(f"{path.name}.gz")
    header = struct.pack(
        f">{1 + len(shape)}I", 0x0800 + len(shape), *shape
    )  # 08: unsigned bytes; then the number of dimensions
    size = len(header) + int(np.prod(shape))
    content = gzip.decompress(_verified(packed, FASHION_MD5[packed.name])) if packed.is_file() else _sized(path, size)
    if not content.startswith(header):
        raise UserError(f"{path} is not an idx file of shape {shape}; delete it to have it downloaded anew")
    return (
        np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy()
    )  # a buffer of bytes could not be written to


def _voc2007(data_dir: Path) -> tuple[Split, Split]:
    root = data_dir / voc.FOLDER
    for part in voc.PARTS:
        if not voc.is_present(root, part):
            _download("VOCDetection", data_dir, f"no {voc.FOLDER} with {part} lists", year="2007", image_set=part)
    train, test = (
        Split(images, labels, boxes=boxes) for images, labels, boxes in (voc.read(root, part) for part in voc.PARTS)
    )
    return train, test


def _verified(path: Path, md5: str, size: int | None = None) -> bytes:
    """Return the file's bytes once its md5, and the size where it is known, are the published ones."""
    content = _sized(path, size)
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise UserError(
            f"{path} is corrupt: its md5 is {found}, must be {md5}; delete {path.parent} to have it downloaded anew"
        )
    return content


def _sized(path: Path, size: int | None) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing; put it there, or delete {path.parent} to have it downloaded anew")
    content = path.read_bytes()
    if size is not None and len(content) != size:
        raise UserError(
            f"{path} has {len(content):,} bytes, must have {size:,}; delete {path.parent} to have it downloaded anew"
        )
    return content


def _download(kind: str, data_dir: Path, missing: str, **which: str) -> None:
    """Have torchvision download the data set of this name."""
    from torchvision import datasets  # slow to import, and seldom needed

    try:
        getattr(datasets, kind)(data_dir, download=True, **which)
    except (OSError, RuntimeError) as error:  # no network; all mirrors failed, or a wrong md5
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(
            f"{missing} in {data_dir.absolute()}, and {kind} could not be downloaded ({reason}); "
            "connect to the network, put the files there, or name their folder with --data-dir"
        ) from error


_SOURCES = {
    "cifar10": _Source(_cifar10, (3, 32, 32), CIFAR10_CLASSES),
    "fashion_mnist": _Source(_fashion_mnist, (1, 28, 28), FASHION_CLASSES),
    "shapes": _Source(_shapes, (3, 32, 32), shapes.CLASS_NAMES),
    "scenes": _Source(_scenes, (3, 64, 64), shapes.CLASS_NAMES, multi_label=True),
    "voc2007": _Source(_voc2007, (3, 256, 256), voc.CLASS_NAMES, multi_label=True, counts=(5011, 4952)),
}
