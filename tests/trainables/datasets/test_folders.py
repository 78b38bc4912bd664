"""Class folders of every layout, and those that are refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainables.datasets.builders import refusal, scored, scoring_refusal, write_classes, write_image
from trainables.datasets import image_shape, load
from trainables.errors import UserError


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
    data.check_can_be_split_again()
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
    with pytest.raises(UserError, match=r"^vary_split is on, but folder:.* comes with a validation part"):
        data.check_can_be_split_again()


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


def test_two_sizes_become_a_square_that_neither_of_them_is(tmp_path):
    """Shorter sides 6, 6, 6, 8 and 8: their median is 6."""
    for n, size in enumerate([(10, 6), (10, 6), (6, 12), (8, 9), (8, 9)]):
        write_image(tmp_path / "cat" / f"{n}.png", size=size)
        write_image(tmp_path / "dog" / f"{n}.png", size=size)
    assert image_shape(f"folder:{tmp_path}", tmp_path) == ((3, 6, 6), 2)
    for path in tmp_path.glob("*/*.png"):
        write_image(path, size=(10, 6) if path.stem < "3" else (8, 9))
    assert image_shape(f"folder:{tmp_path}", tmp_path) == ((3, 6, 6), 2)


def test_gray_only_if_every_image_is_gray(tmp_path):
    name = write_classes(tmp_path, 5, mode="L")
    assert load(name, tmp_path).image_shape == (1, 8, 8)
    write_image(tmp_path / "dog" / "colour.jpg")
    assert load(name, tmp_path).image_shape == (3, 8, 8)


def test_hidden_files_and_files_beside_the_classes_are_left_alone(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "LICENSE").write_text("x")
    (tmp_path / ".cache").mkdir()
    assert load(name, tmp_path).class_names == ("cat", "dog")


def test_the_real_photographs(real_data, tmp_path):
    name = f"folder:{real_data / 'imagenette-small'}"
    assert image_shape(name, tmp_path) == ((3, 224, 224), 10)
    data = load(name, tmp_path)
    assert [len(data.train), len(data.val), len(data.test)] == [540, 60, 250]


def test_the_shape_of_a_folder_is_what_loading_gives(tmp_path):
    name = write_classes(tmp_path, 5)
    write_image(tmp_path / "cat" / "large.png", size=(30, 20))
    data = load(name, tmp_path)
    assert image_shape(name, tmp_path) == (data.image_shape, data.classes)


def test_a_missing_folder(tmp_path):
    assert "no such folder" in refusal(f"folder:{tmp_path / 'flowers'}", tmp_path)
    assert "no such folder" in refusal("folder:", tmp_path)


def test_a_folder_among_the_images_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "more").mkdir()
    assert f"{tmp_path / 'dog' / 'more'} cannot be read" in refusal(name, tmp_path)


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), Path.mkdir], ids=["pipe", "dangling link", "folder"]
)
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    name = write_classes(tmp_path, 5)
    make(tmp_path / "dog" / "odd.png")
    assert refusal(name, tmp_path) == f"{tmp_path / 'dog' / 'odd.png'} cannot be read (it is not a file); remove it"


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
    assert "class 'cat' has 1 image, too few" in message


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
