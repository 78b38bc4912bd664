"""Image files to pixels: modes, sizes, and what is refused."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.trainables.datasets.builders import refusal, scored, scoring_refusal, write_classes, write_image
from trainables.datasets import images, load
from trainables.datasets.images import Format


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGBA", "png"),
        ("P", "gif"),
        ("1", "png"),
        ("LA", "png"),
        ("CMYK", "jpg"),
        ("RGB", "webp"),
        ("RGB", "bmp"),
        ("RGB", "tiff"),
    ],
)
def test_formats_and_modes_that_pillow_reads(tmp_path, mode, suffix):
    name = write_classes(tmp_path, 5)
    write_image(tmp_path / "dog" / f"odd.{suffix}", mode=mode)
    assert load(name, tmp_path).image_shape == (3, 8, 8)


def test_transparent_palettes_are_read_without_a_warning(tmp_path):
    name = write_classes(tmp_path, 5)
    Image.new("P", (8, 8)).save(tmp_path / "dog" / "odd.png", transparency=b"\x00\x80")
    assert load(name, tmp_path).image_shape == (3, 8, 8)


def test_16_bit_gray_becomes_8_bit(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for n in range(4):
            Image.fromarray(np.full((8, 8), 0x1234, np.uint16)).save(tmp_path / name / f"{n}.png")
    assert set(load(f"folder:{tmp_path}", tmp_path).train.images.ravel()) == {0x12}


def test_an_unreadable_image_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    assert f"{tmp_path / 'dog' / 'notes.txt'} is not an image" in refusal(name, tmp_path)


def test_a_truncated_image_is_named(tmp_path):
    name = write_classes(tmp_path, 5)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole, "JPEG")
    (tmp_path / "dog" / "half.jpg").write_bytes(whole.getvalue()[:1000])
    assert "half.jpg cannot be read (image file is truncated" in refusal(name, tmp_path)


def test_32_bit_pixels_are_refused(tmp_path):
    name = write_classes(tmp_path, 5)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "dog" / "float.tiff")
    assert "float.tiff cannot be read (its pixels have 32 bits" in refusal(name, tmp_path)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def black_png(width: int, height: int, whole: bool = True) -> bytes:
    """A PNG of 1 bit a pixel, a few kilobytes for millions of them; of the header alone where not `whole`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compress(bytes((1 + -(-width // 8)) * height)) if whole else b""
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# Pillow alone lets the first one pass with a warning
@pytest.mark.parametrize(("side", "whole"), [(9_500, True), (20_000, True), (50_000, False)])
def test_a_decompression_bomb_is_refused_by_its_size(tmp_path, side, whole):
    name = write_classes(tmp_path, 5)
    bomb = tmp_path / "dog" / "bomb.png"
    bomb.write_bytes(black_png(side, side, whole))
    assert bomb.stat().st_size < 100_000
    assert refusal(name, tmp_path) == f"{bomb} has more than 89,478,485 pixels; make it smaller, or remove it"


def test_a_bomb_is_refused_without_a_warning(tmp_path):
    """Outside of tests, too, where warnings are not errors."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(black_png(9_500, 9_500))
    code = (
        "import sys; from pathlib import Path; from trainables import errors; from trainables.datasets import images\n"
        "try: list(images.in_threads(images.header, [Path(sys.argv[1])]))\n"
        "except errors.UserError as error: sys.exit(str(error))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(bomb)], capture_output=True, text=True)
    assert ended.stderr == f"{bomb} has more than 89,478,485 pixels; make it smaller, or remove it\n"


def test_a_narrow_image_does_not_grow_without_bounds_as_it_covers_the_format(tmp_path):
    name = write_classes(tmp_path, 5, size=(100, 100))
    (tmp_path / "dog" / "line.png").write_bytes(black_png(1, 60_000))  # to be 100 wide it would be 6,000,000 high
    message = refusal(name, tmp_path)
    assert "line.png cannot be read (to cover 100×100 pixels, its 1×60000 would become 100×6000000)" in message


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError

    name = write_classes(tmp_path, 5)
    monkeypatch.setattr(np, "empty", full)
    assert "10 images of 8×8 pixels do not fit into memory; give fewer or smaller ones" in scoring_refusal(name)


@pytest.mark.parametrize(
    "content",
    [
        # Pillow would start Ghostscript
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n",
        b"SIMPLE  =                    T / FITS\nEND",
        b"8BPS\x00\x01" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"text",
        b"",
    ],
    ids=["EPS", "FITS", "PSD", "SVG", "text", "empty"],
)
def test_other_formats_are_never_opened_whatever_their_name(tmp_path, content):
    name = write_classes(tmp_path, 5)
    (tmp_path / "dog" / "odd.png").write_bytes(content)
    assert "odd.png is not an image that we read (AVIF, BMP, GIF, JPEG," in refusal(name, tmp_path)


def test_an_orientation_in_exif_data_is_not_applied(tmp_path):
    name = write_classes(tmp_path, 5, size=(16, 8))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (16, 8)).save(tmp_path / "dog" / "turned.jpg", exif=turned)
    assert load(name, tmp_path).image_shape == (3, 8, 16)


def test_images_just_cover_a_shape_that_is_not_square(tmp_path):
    (tmp_path / "cat").mkdir()
    stripes = np.zeros((40, 20, 3), np.uint8)
    stripes[15:25] = 255  # the centre 20×10, which is all that is kept
    Image.fromarray(stripes).save(tmp_path / "cat" / "tall.png")
    image = scored(f"folder:{tmp_path}", (3, 8, 16)).images[0]
    assert image.shape == (8, 16, 3)
    assert image[1:-1].min() == 255


def test_bad_images_to_score_are_named(tmp_path):
    name = write_classes(tmp_path, 1)
    Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "dog" / "float.tiff")
    assert "float.tiff cannot be read (its pixels have 32 bits" in scoring_refusal(name)


def test_the_header_tells_height_width_and_gray(tmp_path):
    for mode, gray in (("L", True), ("1", True), ("LA", True), ("RGB", False), ("P", False)):
        write_image(tmp_path / f"{mode}.png", size=(5, 7), mode=mode)
        assert images.header(tmp_path / f"{mode}.png") == (7, 5, gray)


@pytest.mark.parametrize("wide", [True, False])
def test_the_centre_is_cut_out_of_an_image_that_covers_the_format(tmp_path, wide):
    """9 pixels by 4, to 4 by 4: of five too many, two go before and three after; no pixel is resized."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 9, 3), dtype=np.uint8)
    expected = pixels[:, 2:6]
    if not wide:
        pixels, expected = pixels.transpose(1, 0, 2), expected.transpose(1, 0, 2)
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "a.png")
    assert np.array_equal(images.cropped(tmp_path / "a.png", Format(4, 4, gray=False)), expected)


def test_a_warped_image_is_squeezed_whole(tmp_path):
    columns = np.repeat(np.array([0, 0, 0, 0, 200, 200, 200, 200], np.uint8)[None], 4, axis=0)
    Image.fromarray(columns).save(tmp_path / "a.png")
    warped = images.warped(tmp_path / "a.png", Format(4, 4, gray=True))
    assert warped.shape == (4, 4, 1)
    assert (warped[:, 0], warped[:, 3]) == (pytest.approx(0), pytest.approx(200))


def test_images_stay_in_the_order_of_their_files(tmp_path):
    paths = [tmp_path / f"{level}.png" for level in (7, 200, 3, 90)]
    for path in paths:
        Image.new("L", (4, 4), int(path.stem)).save(path)
    found = images.read(paths, Format(2, 2, gray=True), images.warped)
    assert found.shape == (4, 2, 2, 1)
    assert found[:, 0, 0, 0].tolist() == [7, 200, 3, 90]
