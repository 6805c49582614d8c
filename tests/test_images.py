"""images: what is a picture is read as it is, and what is none is told."""

import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from models import encode, square

from thumbnet import images
from thumbnet.errors import ImageError

RANDOM = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
LOSSLESS = [".png", ".bmp", ".tiff", ".ppm"]


def declared_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, and that holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def declared_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims a size that it has not."""
    data = bytearray(encode(RANDOM, ".jpg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_picture_is_read_as_it_is(suffix: str) -> None:
    decoded = images.decode(encode(RANDOM, suffix))
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, RANDOM)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif", ".avif", ".jp2"])
@pytest.mark.parametrize("colour", ["red", "blue"])
def test_lossy_picture_is_read_in_the_right_colours(suffix: str, colour: str) -> None:
    decoded = images.decode(encode(square(colour, 64), suffix))
    assert decoded.shape == (64, 64, 3)
    assert np.abs(decoded.astype(int) - square(colour, 64)).max() < 10


def test_grey_picture_gets_three_channels() -> None:
    grey = RANDOM[..., 0]  # (H, W)
    assert np.array_equal(images.decode(encode(grey)), np.dstack([grey] * 3))


def test_16_bits_become_8() -> None:
    assert np.array_equal(images.decode(encode(RANDOM.astype(np.uint16) * 256 + 100)), RANDOM)


def test_transparency_is_left_out() -> None:
    assert np.array_equal(images.decode(encode(np.dstack([RANDOM, RANDOM[..., 0]]))), RANDOM)


def test_exif_rotation_is_applied() -> None:
    jpeg = encode(np.vstack([square("red", 32), square("blue", 32)]), ".jpg")  # red above blue
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # orientation: to be turned clockwise by a quarter
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + tag + b"\0\0\0\0"
    turned = images.decode(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert turned.shape == (32, 64, 3)
    assert turned[16, 8, 2] > 200  # blue comes to the left
    assert turned[16, 56, 0] > 200


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "0 bytes"),
        (b"a", "these bytes are no picture"),
        (b"\0" * 1000, "these bytes are no picture"),
        (b"P6\n100 100\n255\nabc", "these bytes are no picture"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\n\n <HTML>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (declared_png(0, 0), "broken"),
        (encode(RANDOM)[:-20], "broken or cut off"),
        (encode(RANDOM)[:500], "broken or cut off"),
        (encode(RANDOM, ".jpg")[:-200], "broken or cut off"),
        (encode(RANDOM, ".jpg")[:200], "broken or cut off"),
        (encode(RANDOM, ".bmp")[:200], "broken or cut off"),
        (encode(RANDOM, ".webp")[:200], "broken or cut off"),
    ],
)
def test_what_is_no_picture_is_told(data: bytes, told: str) -> None:
    with pytest.raises(ImageError, match=told) as caught:
        images.decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        declared_png(50_000, 50_000),
        declared_png(2**31 - 1, 2**31 - 1),
        declared_png(12_000, 12_000),
        declared_jpeg(60_000, 60_000),
        b"P6\n50000 50000\n255\nabc",
    ],
    ids=["png", "largest png", "png just above", "jpeg", "ppm"],
)
def test_too_many_pixels_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        images.decode(data)


def in_a_fresh_process(data: bytes) -> tuple[str, str]:
    """What decoding it says, and what is written to standard error. OpenCV reads its settings once in a process."""
    code = """if True:
        import sys
        from thumbnet import images
        try:
            print(images.decode(sys.stdin.buffer.read()).shape)
        except images.ImageError as error:
            print(error)
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=data, capture_output=True, env=environment, check=True)
    return done.stdout.decode(), done.stderr.decode()


def test_pixel_limit_is_kept_by_the_header_alone() -> None:
    assert "larger than 134 megapixels" in in_a_fresh_process(declared_png(12_000, 12_000))[0]
    # Below the limit its pixels are looked for.
    assert "broken or cut off" in in_a_fresh_process(declared_png(11_000, 11_000))[0]


def test_pixel_limit_is_kept_where_opencv_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1199)
    with pytest.raises(ImageError, match="larger than"):
        images.decode(encode(RANDOM))


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".jp2"])
def test_broken_picture_is_told_by_the_exception_alone(suffix: str) -> None:
    told, noise = in_a_fresh_process(encode(np.tile(RANDOM, (4, 4, 1)), suffix)[:500])
    assert told.startswith("th")
    assert noise == ""


@pytest.mark.parametrize("fit", images.FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (3, 40_000), (32, 32), (33, 31), (5, 7)])
def test_any_shape_becomes_the_square(shape: tuple[int, int], fit: images.Fit) -> None:
    resized = images.resize(np.full((*shape, 3), (10, 20, 30), np.uint8), 32, fit)
    assert resized.dtype == np.uint8
    assert resized.shape == (32, 32, 3)
    assert (resized == (10, 20, 30)).all()


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_middle_and_stretch_all(turned: bool) -> None:
    wide = np.hstack([square("red"), square("green"), square("blue")])  # (8, 24, 3)
    picture = wide.transpose(1, 0, 2) if turned else wide
    assert np.array_equal(images.resize(picture, 8, "crop"), square("green"))
    row = images.resize(picture, 3, "stretch")  # (3, 3, 3)
    assert (row if turned else row.transpose(1, 0, 2))[:, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_shrinking_averages_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    means = picture.reshape(4, 16, 4, 16, 3).mean(axis=(1, 3))  # (4, 4, 3)
    assert np.abs(images.resize(picture, 4, "stretch") - means).max() <= 1


def test_same_size_is_the_same_picture() -> None:
    picture = RANDOM[:30]
    resized = images.resize(picture, 30, "crop")
    assert np.array_equal(resized, picture)
    assert not np.shares_memory(resized, picture)


def test_views_are_resized_as_copies_are() -> None:
    for view in (RANDOM[:, ::-1], RANDOM[::2, ::3], RANDOM.transpose(1, 0, 2), RANDOM[..., ::-1]):
        assert np.array_equal(images.resize(view, 16, "crop"), images.resize(view.copy(), 16, "crop"))
