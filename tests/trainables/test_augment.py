"""Flips, crops and resizing against their definition, counted over many images."""

import pytest
import torch

from trainables.augment import as_evaluated, augmented, crop, flip, resized
from trainables.config import Training
from trainables.errors import UserError


def numbered(count: int, height: int, width: int) -> torch.Tensor:
    """Return images (count, height, width, 1), all alike, whose pixels count 1, 2, 3, … row by row."""
    pixels = torch.arange(1, height * width + 1, dtype=torch.uint8).reshape(1, height, width, 1)
    return pixels.repeat(count, 1, 1, 1)


def test_an_image_in_two_is_mirrored_left_to_right():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (20_000, 2, 3, 2), dtype=torch.uint8)
    flipped = flip(images)
    same, mirrored = (flipped == images).flatten(1).all(1), (flipped == images.flip(2)).flatten(1).all(1)
    assert (same | mirrored).all()
    # a coin's standard deviation over 20,000 throws is 71; a few images are their own mirror image
    assert abs(int((mirrored & ~same).sum()) - 10_000) < 4 * 71
    assert abs(int((mirrored & ~same)[::2].sum()) - 5_000) < 4 * 50  # and it does not go by position


def test_all_crops_of_the_padded_image_are_equally_frequent():
    """A padding of 2 leaves 5 × 5 places, where the first and the last are reached as often as all others."""
    torch.manual_seed(0)
    count = 25 * 400
    images = numbered(count, 6, 6)
    cropped = crop(images, 6, 6, 2)
    assert cropped.shape == images.shape
    seen = cropped[:, 3, 3, 0].long() - 1  # pixel (3, 3) of the crop at (y, x) is pixel (y + 1, x + 1) of the image
    y, x = seen // 6 - 1, seen % 6 - 1
    padded = torch.zeros(10, 10, dtype=torch.uint8)
    padded[2:8, 2:8] = images[0, :, :, 0]
    for place in range(25):
        top, left = divmod(place, 5)
        here = cropped[(y == top) & (x == left)]
        assert abs(len(here) - 400) < 5 * 20  # the standard deviation is 20
        assert (here[..., 0] == padded[top : top + 6, left : left + 6]).all()


def test_all_crops_without_padding_are_equally_frequent():
    """3 × 4 out of 5 × 7 leaves 3 × 4 places."""
    torch.manual_seed(1)
    images = numbered(12 * 400, 5, 7)
    cropped = crop(images, 3, 4, 0)
    assert cropped.shape == (4800, 3, 4, 1)
    first = cropped[:, 0, 0, 0].long() - 1
    for place in range(12):
        top, left = divmod(place, 4)
        here = cropped[first == top * 7 + left]
        assert abs(len(here) - 400) < 5 * 20
        assert (here == images[0, top : top + 3, left : left + 4]).all()


def test_channels_stay_together():
    torch.manual_seed(0)
    pixels = numbered(50, 6, 6)
    images = torch.cat([pixels, pixels + 50, pixels + 100], dim=3)
    for cropped in (crop(images, 4, 4, 0), flip(images), augmented(images, Training(crop=4, flip=True))):
        assert torch.equal(cropped[..., 1], cropped[..., 0] + 50)
        assert torch.equal(cropped[..., 2], cropped[..., 0] + 100)


def test_training_images_are_changed_as_the_recipe_says_and_no_more():
    torch.manual_seed(0)
    images = numbered(200, 6, 8)
    assert augmented(images, Training()) is images
    flipped = augmented(images, Training(flip=True))
    assert set(flipped[:, 0, 0, 0].tolist()) == {1, 8}
    padded = augmented(images, Training(crop_padding=1))
    assert padded.shape == images.shape
    assert set(padded[:, 2, 2, 0].tolist()) == {n + m for n in (10, 18, 26) for m in (0, 1, 2)}
    assert set(augmented(images, Training(crop=5))[:, 0, 0, 0].tolist()) == {1, 2, 3, 4, 9, 10, 11, 12}
    cut = augmented(images, Training(crop=4, crop_padding=3))
    assert cut.shape == (200, 4, 4, 1)
    assert (cut == 0).flatten(1).any(1).any()


@pytest.mark.parametrize(("side", "top", "left"), [(4, 2, 1), (5, 1, 1), (7, 0, 0), (1, 3, 3)])
def test_evaluation_sees_the_centre(side, top, left):
    """Of an 8 × 7 image; where it cannot be halved, one pixel less lies before than after."""
    images = numbered(2, 8, 7)
    seen = as_evaluated(images, Training(crop=side))
    assert torch.equal(seen, images[:, top : top + side, left : left + side])
    assert seen.is_contiguous()


def test_evaluation_sees_the_whole_without_a_crop():
    images = numbered(2, 4, 4)
    assert as_evaluated(images, Training(crop_padding=2, flip=True)) is images


def test_images_are_resized_to_a_square_then_cropped():
    images = numbered(1, 8, 8)
    assert resized(images, Training(resize=8)) is resized(images, Training()) is images
    flat = torch.full((3, 10, 6, 1), 77, dtype=torch.uint8)
    assert torch.equal(resized(flat, Training(resize=4)), torch.full((3, 4, 4, 1), 77, dtype=torch.uint8))
    assert torch.equal(as_evaluated(flat, Training(resize=6, crop=4)), torch.full((3, 4, 4, 1), 77, dtype=torch.uint8))
    assert Training(resize=9, crop=7).input_shape((3, 5, 6)) == (3, 7, 7)
    with pytest.raises(UserError, match=r"^crop is 9, but must be at most 5, the side of the images it is cut from$"):
        Training(crop=9).input_shape((3, 5, 6))


def test_resizing_is_bilinear_and_antialiased():
    """Halving a row weighs four pixels 1 : 3 : 3 : 1, and at the border, where one is missing, 3 : 3 : 1."""
    row = torch.tensor([0, 70, 0, 0, 0, 0, 0, 0], dtype=torch.uint8)
    images = row.reshape(1, 1, 8, 1).repeat(1, 8, 1, 1)
    assert resized(images, Training(resize=4))[0, 1, :, 0].tolist() == [30, 9, 0, 0]  # 70 · 3/7, 70 · 1/8


def test_images_are_resized_in_chunks_without_a_difference():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (300, 6, 6, 3), dtype=torch.uint8)
    recipe = Training(resize=4)
    whole = resized(images, recipe)
    assert torch.equal(whole, torch.cat([resized(image[None], recipe) for image in images]))
    assert whole.is_contiguous()
