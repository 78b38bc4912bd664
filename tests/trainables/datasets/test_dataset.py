"""What holds for all data sets: digest, statistics, names."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.trainables.datasets.builders import same, write_classes
from trainables.datasets import Split, load
from trainables.datasets.dataset import check_labels, digest, statistics
from trainables.errors import UserError


def test_labels_out_of_range_are_named():
    with pytest.raises(UserError, match=r"here: label 2 of image 1 is out of range -1\.\.1"):
        check_labels(np.array([[0, 1], [-1, 2]], np.int8), ("a", "b"), "here")


def test_kinds_of_data_have_their_metric(drawn):
    assert (drawn.multi_label, drawn.metric) == (False, "accuracy")


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
    original = digest(drawn.class_names, *splits)
    assert original == drawn.digest
    for field, place in (("images", (3, 4, 5, 1)), ("labels", (6,))):
        changed = getattr(splits[part], field).copy()
        changed[place] ^= 1
        others = [*splits]
        others[part] = Split(**{"images": splits[part].images, "labels": splits[part].labels, field: changed})
        assert digest(drawn.class_names, *others) != original
    assert digest(("x", *drawn.class_names[1:]), *splits) != original


def test_the_digest_does_not_know_the_path(tmp_path):
    first = load(write_classes(tmp_path / "a", 5), tmp_path)
    assert load(write_classes(tmp_path / "b", 5), tmp_path).digest == first.digest


def test_a_data_set_survives_pickling(drawn):
    again = pickle.loads(pickle.dumps(drawn, protocol=5))  # noqa: S301
    assert same(again, drawn)
    assert (again.digest, again.mean) == (drawn.digest, drawn.mean)


@pytest.mark.parametrize(
    ("name", "short"),
    [("cifar10", "cifar10"), ("folder:/a/b/flowers", "folder:flowers"), ("folder:birds/", "folder:birds")],
)
def test_figures_name_a_folder_without_the_way_to_it(tiny, name, short):
    assert replace(tiny, name=name).short_name == short


def test_statistics_by_hand():
    images = np.zeros((600, 1, 2, 2), np.uint8)
    images[:, 0, 1, 0] = 255  # half of channel 0 is white
    images[:150, 0, 0, 1] = 51  # an eighth of channel 1 is a fifth of white
    assert statistics(images) == (pytest.approx((1 / 2, 1 / 40)), pytest.approx((1 / 2, 0.2 * (7 / 64) ** 0.5)))


def test_the_digest_is_of_names_shapes_pixels_and_labels_in_this_order():
    first = Split(np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3), np.array([0, 1]))
    second = Split(np.zeros((1, 1, 2, 3), np.uint8), np.array([[1, -1]], np.int8))
    content = b"('a', 'b')(2, 1, 2, 3)" + bytes(range(12)) + b"\0" * 8 + b"\1" + b"\0" * 7
    content += b"(1, 1, 2, 3)" + bytes(6) + b"\1" + b"\0" * 7 + b"\xff" * 8
    assert digest(("a", "b"), first, second) == hashlib.sha256(content).hexdigest()


def test_labels_in_range_pass_and_one_class_too_many_does_not():
    check_labels(np.array([0, 1, 2]), ("a", "b", "c"), "here")
    check_labels(np.array([[-1, 1], [0, 0]], np.int8), ("a", "b"), "here")
    for wrong in (3, -1):
        with pytest.raises(UserError, match=rf"^here: label {wrong} of image 1 is out of range 0\.\.2; fetch"):
            check_labels(np.array([0, wrong, 7]), ("a", "b", "c"), "here")
