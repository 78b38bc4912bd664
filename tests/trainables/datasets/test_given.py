"""Images as a user hands them over, against the pixels that they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.datasets import handed_over
from trainables.datasets.given import WANTED, given
from trainables.datasets.images import Format, cropped, warped
from trainables.errors import UserError

RGB, GRAY = Format(4, 6, gray=False), Format(4, 6, gray=True)

LAST = f"{WANTED}; channels, 1, 3 or 4, come last"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)


@pytest.fixture
def wide(tmp_path):
    """A file of another size, that is brought to the format."""
    path = tmp_path / "wide.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_every_form_of_an_image_is_the_same_pixels(tmp_path, pixels):
    one, path = pixels[0], tmp_path / "one.png"
    Image.fromarray(one).save(path)
    floats = one / 255
    for what in (
        *(path, str(path), Image.fromarray(one), one, one[None], torch.from_numpy(one), floats),
        *(floats.astype(np.float32), torch.from_numpy(floats).requires_grad_(), torch.from_numpy(floats).float()[None]),
    ):
        np.testing.assert_array_equal(given(what, RGB), pixels[:1])


def test_many_are_one_after_the_other(tmp_path, pixels):
    path = tmp_path / "one.png"
    Image.fromarray(pixels[0]).save(path)
    np.testing.assert_array_equal(given(pixels, RGB), pixels)
    np.testing.assert_array_equal(given(pixels[:, ::-1], RGB), pixels[:, ::-1])
    np.testing.assert_array_equal(given([path, Image.fromarray(pixels[1]), pixels[2]], RGB), pixels)
    np.testing.assert_array_equal(given((pixels[:2], pixels[2]), RGB), pixels)


def test_floats_are_rounded_to_the_nearest_level():
    levels = np.arange(256, dtype=np.float32).reshape(4, 8, 8, 1) / 255
    np.testing.assert_array_equal(given(levels, Format(8, 8, gray=True)).ravel(), np.arange(256))


def test_another_size_is_brought_to_the_format_as_the_data_s_were(wide):
    for ours, read in ((False, cropped), (True, warped)):
        expected = read(wide, RGB)[None]
        with Image.open(wide) as image:
            array = np.asarray(image)
            for what in (wide, image, array, array[None], torch.from_numpy(array.copy())):
                np.testing.assert_array_equal(given(what, RGB, warped=ours), expected)
    assert not np.array_equal(cropped(wide, RGB), warped(wide, RGB))


def test_what_a_data_set_does_with_other_sizes_is_done(wide):
    shape = (3, 4, 6)
    np.testing.assert_array_equal(handed_over(wide, "voc2007", shape), warped(wide, RGB)[None])
    for name in ("cifar10", "folder:gone"):
        np.testing.assert_array_equal(handed_over(wide, name, shape), cropped(wide, RGB)[None])
    assert handed_over(wide, "fashion_mnist", (1, 4, 6)).shape == (1, 4, 6, 1)


def test_channels_become_the_format_s(pixels):
    gray = np.asarray(Image.fromarray(pixels[0]).convert("L"))
    np.testing.assert_array_equal(given(pixels[0], GRAY)[0, ..., 0], gray)
    for what in (gray, gray[..., None]):
        np.testing.assert_array_equal(given(what, GRAY)[0, ..., 0], gray)
        np.testing.assert_array_equal(given(what, RGB)[0], np.repeat(gray[..., None], 3, axis=2))
    clear = np.dstack([pixels[0], np.full((4, 6), 9, np.uint8)])
    np.testing.assert_array_equal(given(clear, RGB)[0], pixels[0])


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (None, f"None is a NoneType, but wanted is {WANTED}"),
        ({"image": 1}, f"{{'image': 1}} is a dict, but wanted is {WANTED}"),
        ([], f"there are no images, but wanted is {WANTED}"),
        (np.zeros((0, 4, 6, 3), np.uint8), f"there are no images, but wanted is {WANTED}"),
        (torch.zeros(3, 4, 6), f"a tensor of shape (3, 4, 6) and type float32 is no image, but wanted is {LAST}"),
        (np.zeros(5, np.uint8), f"an array of shape (5,) and type uint8 is no image, but wanted is {LAST}"),
        (
            np.zeros((4, 6, 3), int),
            f"an array of shape (4, 6, 3) and type int64 is no image, but wanted is {WANTED}",
        ),
        (
            np.full((4, 6, 3), 255.0),
            f"an array of shape (4, 6, 3) and type float64 reaches from 255 to 255, but wanted is {WANTED}",
        ),
        (
            np.full((4, 6, 3), np.nan),
            f"an array of shape (4, 6, 3) and type float64 reaches from nan to nan, but wanted is {WANTED}",
        ),
        ("gone.png", f"gone.png is not there, but wanted is {WANTED}"),
        (".", f". is a folder, but wanted is {WANTED}"),
        (
            Image.new("F", (6, 4)),
            "an image of 6×4 pixels cannot be used (its pixels have 32 bits; save it with 8 or 16)",
        ),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(tmp_path, monkeypatch, what, why):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        given(what, RGB)
    assert str(caught.value) == why


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png is not an image that we read"):
        given(tmp_path / "text.png", RGB)
