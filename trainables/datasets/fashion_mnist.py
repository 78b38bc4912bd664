"""Fashion-MNIST: 70,000 pictures of clothes, 28×28 gray, in MNIST's idx files.

Xiao et al., "Fashion-MNIST", 2017; https://github.com/zalandoresearch/fashion-mnist
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from trainables.datasets.dataset import Source, Split
from trainables.datasets.published import download, sized, verified
from trainables.errors import UserError

CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
COUNTS = {"train": 60_000, "t10k": 10_000}
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


def read(data_dir: Path) -> tuple[Split, Split]:
    """Return the training and the test images. Raises UserError for a missing or damaged file."""
    folder = data_dir / "FashionMNIST" / "raw"
    if not all((folder / name).is_file() or (folder / name).with_suffix("").is_file() for name in MD5):
        download("FashionMNIST", data_dir, "not all four files of FashionMNIST/raw")
    train, test = (_part(folder, part, count) for part, count in COUNTS.items())
    return train, test


def _part(folder: Path, part: str, count: int) -> Split:
    images = _idx(folder / f"{part}-images-idx3-ubyte", (count, 28, 28))
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", (count,))
    return Split(images[..., None], labels.astype(np.int64))


def _idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bytes, of this shape, of an idx file: from the .gz, whose md5 is published, else unpacked.

    Of an unpacked file the size must do. The format: http://yann.lecun.com/exdb/mnist/
    """
    packed = path.with_name(f"{path.name}.gz")
    # 08: unsigned bytes; then the number of dimensions, and each of them
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    size = len(header) + int(np.prod(shape))
    content = gzip.decompress(verified(packed, MD5[packed.name])) if packed.is_file() else sized(path, size)
    if not content.startswith(header):
        raise UserError(f"{path} is not an idx file of shape {shape}; delete it to have it downloaded anew")
    pixels = np.frombuffer(content, np.uint8, offset=len(header))
    return pixels.reshape(shape).copy()  # bytes themselves cannot be written to


SOURCE = Source(read, (1, 28, 28), CLASS_NAMES, counts=(COUNTS["train"], COUNTS["t10k"]))
