"""What is kept image by image, packed and unpacked again."""

import base64
import json
import math

import numpy as np
import pytest

from trainables.marks import Logits, Marks, Right

RIGHT = np.array([True, False, False, True, True, False, False, False, True, True])


def test_each_image_takes_a_bit():
    packed = Right.of(RIGHT)
    assert (packed.packed, packed.images) == (bytes([0b10011000, 0b11000000]), 10)
    np.testing.assert_array_equal(packed.unpacked(), RIGHT)
    assert packed.unpacked().dtype == bool
    assert Right.of(np.zeros(0, bool)).unpacked().shape == (0,)


def test_logits_are_kept_in_half_precision():
    logits = np.array([[1.0, -0.5, 1e-3], [70000, -1e9, 2.0001]], np.float32)
    packed = Logits.of(logits)
    assert (len(packed.packed), packed.images) == (12, 2)
    np.testing.assert_array_equal(packed.unpacked(), np.float32([[1, -0.5, np.float16(1e-3)], [65504, -65504, 2]]))
    assert packed.unpacked().dtype == np.float32
    assert np.isnan(Logits.of(np.array([[np.nan]])).unpacked()).all()
    assert Logits.of(np.array([[1.0]])).packed == b"\x00\x3c"  # 1.0, the lower byte first


@pytest.mark.parametrize("seen", [Right.of(RIGHT), Logits.of(np.arange(12.0).reshape(4, 3))])
def test_marks_are_plain_data_and_back(seen):
    for fit in (None, 0.75):
        marks = Marks(7, seen, Right.of(RIGHT[:3]), fit)
        assert Marks.from_dict(json.loads(json.dumps(marks.to_dict()))) == marks


def test_a_replicate_on_cifar_10_takes_two_and_a_half_kilobytes():
    rng = np.random.default_rng(0)
    marks = Marks(15, *(Right.of(rng.random(images) < 0.7) for images in (5_000, 10_000)))
    assert len(json.dumps(marks.to_dict())) < 2_620


GOOD = {"right": base64.b64encode(b"\xff\x80").decode(), "images": 9}


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 0},
        {"epoch": 1.0},
        {"epoch": True},
        {"fit": "0.5"},
        {"fit": True},
        {"fit": math.nan},
        {"val": {}},
        {"val": GOOD | {"images": 8}},
        {"val": GOOD | {"images": 17}},
        {"val": GOOD | {"images": -1}},
        {"val": GOOD | {"images": 9.0}},
        {"val": GOOD | {"right": "/4?="}},
        {"val": GOOD | {"right": 5}},
        {"val": GOOD | {"logits": ""}},
        {"val": {"logits": "AAAA", "images": 2}},
        {"val": {"logits": "", "images": 0}},
    ],
)
def test_what_is_not_of_this_form_is_refused(change):
    form = {"epoch": 1, "val": GOOD, "test": GOOD, "fit": 0.5}
    Marks.from_dict(form)
    with pytest.raises((ValueError, TypeError, KeyError)):
        Marks.from_dict(form | change)


def test_what_cannot_be_packed_says_so():
    with pytest.raises(ValueError, match=r"^3 bytes cannot be the logits of 2 images$"):
        Logits(b"abc", 2)
    with pytest.raises(ValueError, match=r"^1 bytes cannot say which of 9 images are right$"):
        Right(b"a", 9)


def test_a_part_without_images_and_marks_without_a_fit_are_known():
    nothing = {"right": "", "images": 0}
    assert Marks.from_dict({"epoch": 1, "val": nothing, "test": GOOD}) == Marks(1, Right(b"", 0), Right(b"\xff\x80", 9))
    assert Marks(1, Right(b"", 0), Right(b"", 0)).fit is None
