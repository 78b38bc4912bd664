"""PASCAL VOC 2007 in its devkit's layout: photographs with several labels each, and boxes around the objects.

Everingham et al., "The PASCAL visual object classes (VOC) challenge", IJCV 2010;
http://host.robots.ox.ac.uk/pascal/VOC/voc2007/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from trainables.datasets import images
from trainables.errors import UserError

FOLDER = Path("VOCdevkit", "VOC2007")  # in the data folder
PARTS = ("trainval", "test")
CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
# Caffe's ImageNet protocol: the whole image is warped to this, so that no object is cut away; training crops come from
# it
FORMAT = images.Format(256, 256, gray=False)
LABELS = {"1": 1, "-1": 0, "0": -1}  # the lists' (present, absent, difficult objects only) to ours


class Box(NamedTuple):
    """Where an object lies, in fractions 0..1 of the image's width and height, from its left upper corner."""

    label: int  # index into the class names
    difficult: bool  # such objects count neither for nor against
    left: float
    top: float
    right: float
    bottom: float


def is_present(root: Path, part: str) -> bool:
    """Return whether the devkit's folder `root` has this part: trainval and test are published in two archives."""
    return any((root / "ImageSets" / "Main").glob(f"*_{part}.txt"))


def read(root: Path, part: str) -> tuple[np.ndarray, np.ndarray, tuple[tuple[Box, ...], ...]]:
    """Return images (N, 256, 256, 3) uint8, labels (N, 20) int8 and the boxes of each image.

    Labels are 1 (present), 0 (absent) or -1 (unknown: all objects of the class are difficult ones). Images are resized
    bilinearly. Raises UserError for a list, image or annotation that is missing or cannot be read, and for lists that
    disagree about the images.
    """
    lists = [root / "ImageSets" / "Main" / f"{class_name}_{part}.txt" for class_name in CLASS_NAMES]
    identifiers, first = _list(lists[0])
    columns = [first]
    for path in lists[1:]:
        others, column = _list(path)
        if others != identifiers:
            raise UserError(
                f"{path} does not list the images that {lists[0].name} does, in its order; every class's list must"
            )
        columns.append(column)
    photographs = [root / "JPEGImages" / f"{identifier}.jpg" for identifier in identifiers]
    annotations = [root / "Annotations" / f"{identifier}.xml" for identifier in identifiers]
    for path in (*photographs, *annotations):
        if not path.is_file():
            raise UserError(
                f"{path} is missing, though {lists[0].name} lists it; put it there, or delete {root} to have it "
                "downloaded anew"
            )
    boxes = tuple(images.in_threads(_boxes, annotations))
    return images.read(photographs, FORMAT, images.warped), np.array(columns, np.int8).T.copy(), boxes


def _list(path: Path) -> tuple[list[str], list[int]]:
    """Return the images that a class's list names, and whether each shows the class (1, 0 or -1)."""
    if not path.is_file():
        raise UserError(f"{path} is missing; put it there, or delete {path.parents[2]} to have it downloaded anew")
    identifiers, labels = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match line.split():
            case [identifier, label] if label in LABELS and re.fullmatch(
                r"[\w-]+", identifier
            ):  # it becomes a file's name
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
    """Return the box of one object of an image with so many pixels; the corners' pixels count from 1 and belong to the box."""
    class_name = _text(element, "name")
    if class_name not in CLASS_NAMES:
        raise ValueError(f"{class_name!r} is no class of VOC 2007")
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
