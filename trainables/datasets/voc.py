"""PASCAL VOC 2007 in its devkit's layout: photographs with several labels each, and boxes around the objects.

Everingham et al., "The PASCAL visual object classes (VOC) challenge", IJCV 2010;
http://host.robots.ox.ac.uk/pascal/VOC/voc2007/
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from trainables.datasets import images
from trainables.datasets.dataset import Box, Source, Split
from trainables.datasets.published import download
from trainables.errors import UserError

FOLDER = Path("VOCdevkit", "VOC2007")  # in the data folder
PARTS = ("trainval", "test")
CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
# Caffe's ImageNet protocol: the whole image is warped to this, so that no object is cut away; training crops it further
FORMAT = images.Format(256, 256, gray=False)
LABELS = {"1": 1, "-1": 0, "0": -1}  # the lists' (present, absent, difficult objects only) to ours
IDENTIFIER = re.compile(r"[\w-]+")  # of an image; it becomes part of a file's name


def read(data_dir: Path) -> tuple[Split, Split]:
    """Return the training and the test images. Raises UserError as read_part() does, and for a failed download."""
    root = data_dir / FOLDER
    for part in PARTS:
        if not is_present(root, part):
            download("VOCDetection", data_dir, f"no {FOLDER} with {part} lists", year="2007", image_set=part)
    train, test = (read_part(root, part) for part in PARTS)
    return train, test


def is_present(root: Path, part: str) -> bool:
    """Return whether the devkit's folder `root` has this part: trainval and test are published in two archives."""
    return any((root / "ImageSets" / "Main").glob(f"*_{part}.txt"))


def read_part(root: Path, part: str) -> Split:
    """Return images (N, 256, 256, 3) uint8, labels (N, 20) int8 and the boxes of each image.

    Labels are 1 (present), 0 (absent) or -1 (unknown: all objects of the class are difficult ones). Images are resized
    bilinearly. Raises UserError for a list, image or annotation that is missing or cannot be read, and for lists that
    disagree about the images.
    """
    identifiers, labels = _lists(root, part)
    photographs = [root / "JPEGImages" / f"{identifier}.jpg" for identifier in identifiers]
    annotations = [root / "Annotations" / f"{identifier}.xml" for identifier in identifiers]
    for path in (*photographs, *annotations):
        if not path.is_file():
            raise UserError(
                f"{path} is missing, though {_list_path(root, CLASS_NAMES[0], part).name} lists it; put it there, or "
                f"delete {root} to have it downloaded anew"
            )
    boxes = tuple(images.in_threads(_boxes, annotations))
    return Split(images.read(photographs, FORMAT, images.warped), labels, boxes=boxes)


def _lists(root: Path, part: str) -> tuple[list[str], np.ndarray]:
    """Return the images that the classes' lists name, and their labels (N, 20) int8."""
    first, *others = (_list_path(root, class_name, part) for class_name in CLASS_NAMES)
    identifiers, column = _list(first)
    columns = [column]
    for path in others:
        listed, column = _list(path)
        if listed != identifiers:
            raise UserError(
                f"{path} does not list the images that {first.name} does, in its order; every class's list must"
            )
        columns.append(column)
    return identifiers, np.array(columns, np.int8).T.copy()


def _list_path(root: Path, class_name: str, part: str) -> Path:
    return root / "ImageSets" / "Main" / f"{class_name}_{part}.txt"


def _list(path: Path) -> tuple[list[str], list[int]]:
    """Return the images that a class's list names, and whether each shows the class (1, 0 or -1)."""
    if not path.is_file():
        raise UserError(f"{path} is missing; put it there, or delete {path.parents[2]} to have it downloaded anew")
    identifiers, labels = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match line.split():
            case [identifier, label] if label in LABELS and IDENTIFIER.fullmatch(identifier):
                identifiers.append(identifier)
                labels.append(LABELS[label])
            case _:
                raise UserError(
                    f"{path}: the line {line!r} must be an image and 1 (present), -1 (absent) or 0 (difficult)"
                )
    if not identifiers:
        raise UserError(f"{path} lists no images; fetch the data anew")
    return identifiers, labels


class _Builder(ET.TreeBuilder):
    """Refuses what could be abused: entities can be declared in a DOCTYPE only, and no annotation of VOC has one."""

    def doctype(self, *_: object) -> None:
        raise ValueError("it declares a DOCTYPE, which no annotation of VOC does")


def _boxes(path: Path) -> tuple[Box, ...]:
    root = ET.fromstring(path.read_bytes(), ET.XMLParser(target=_Builder()))  # noqa: S314
    width, height = (_number(root, f"size/{side}") for side in ("width", "height"))
    if min(width, height) < 1:
        raise ValueError(f"its size is {width:g}×{height:g} pixels")
    return tuple(_box(element, width, height) for element in root.findall("object"))


def _box(element: ET.Element, width: float, height: float) -> Box:
    """Return the box of one object of an image of this size; the corners' pixels count from 1 and belong to the box."""
    class_name = _text(element, "name")
    if class_name not in CLASS_NAMES:
        raise ValueError(f"{class_name!r} is not a class of VOC 2007")
    left, top, right, bottom = (_number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    difficult = _text(element, "difficult") == "1"
    return Box(
        CLASS_NAMES.index(class_name), difficult, (left - 1) / width, (top - 1) / height, right / width, bottom / height
    )


def _number(element: ET.Element, path: str) -> float:
    return float(_text(element, path))


def _text(element: ET.Element, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"an element <{element.tag}> has no {path}")
    return text.strip()


SOURCE = Source(read, (3, FORMAT.height, FORMAT.width), CLASS_NAMES, multi_label=True, counts=(5011, 4952), warped=True)
