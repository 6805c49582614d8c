"""images: every picture of the table becomes what the table says, and all else an error that tells what it is."""

import contextlib
import functools
import itertools
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.models import content, encode, square
from support.pictures import (
    CASES,
    RGB,
    Case,
    animated_png_of_part,
    chunk,
    exif,
    gif_of_part,
    mutated,
    packed,
    pil,
    png,
    pnm,
    rows_of,
    segment,
    table,
    tiff,
    turned_jpeg,
)

from thumbnet.errors import ImageError
from thumbnet.model.classifier import Classifier
from thumbnet.pictures import decode as decoding
from thumbnet.pictures import exif as exif_module
from thumbnet.pictures import header
from thumbnet.pictures import header as header_module
from thumbnet.pictures.decode import turned
from thumbnet.pictures.exif import BROKEN, TURNS, UPRIGHT, combined
from thumbnet.pictures.framing import FRAMINGS, Framing, region, resize, views
from thumbnet.pictures.header import avif

ROOT = Path(__file__).parents[2]
RANDOM = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
FORMATS = ["jpeg", "png", "webp", "avif", "gif", "bmp", "tiff", "jp2", "ppm"]
READABLE = {name: case for name, case in CASES.items() if not isinstance(case.expected, str)}


# Every row of the table


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_picture_becomes_what_the_table_says(case: Case) -> None:
    if isinstance(case.expected, str):
        with pytest.raises(ImageError, match=case.expected):
            decoding.decode(case.data)
        return
    decoded = decoding.decode(case.data)
    assert decoded.dtype == np.uint8
    assert decoded.shape == case.expected.shape
    assert decoded.flags.c_contiguous
    assert np.abs(decoded - case.expected.astype(float)).max() <= case.made


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "pictures.md").read_text()
    assert table() in page, "put what `python tests/support/pictures.py` prints into docs/pictures.md"


# What is cut off


# How many of the last bytes are no pixels and no sign of the end: bytes behind it, the place of a page that does not
# follow, an end of lines, a further page. All else may lack none.
SPARE = {
    "jpeg-then-more": 100,
    "bmp-rle": 4,
    "tiff-fax": 4,
    **dict.fromkeys([name for name in READABLE if name.startswith("tiff-") and "grey" in name], 4),
    "tiff-pages": len(CASES["tiff-pages"].data) - len(pil(RGB, "TIFF")),
    "pbm-text": 1,
}


@pytest.mark.parametrize("name", READABLE)
def test_picture_is_whole_or_an_error_wherever_it_is_cut_off(name: str) -> None:
    data, spare = READABLE[name].data, SPARE.get(name, 0)
    whole, size = decoding.decode(data), len(data)
    for cut in {*range(1, size, size // 30), *range(size - 5, size), size - spare, max(1, size - spare - 1)}:
        if cut >= size - spare:
            assert np.array_equal(decoding.decode(data[:cut]), whole)
        else:
            with pytest.raises(ImageError):
                decoding.decode(data[:cut])


@pytest.mark.parametrize("name", [*FORMATS, "jpeg-progressive"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.99])
def test_cut_off_picture_is_told(name: str, kept: float) -> None:
    data = CASES[name].data
    with pytest.raises(ImageError, match=r"broken or cut off|not a picture"):
        decoding.decode(data[: int(len(data) * kept)])


def test_cut_off_jpeg_is_told_when_it_is_decoded_smaller() -> None:
    data = encode(np.tile(RANDOM, (16, 16, 1)), ".jpg")
    assert decoding.decode(data, least=8).shape == (320, 240, 3)
    with pytest.raises(ImageError, match="cut off"):
        decoding.decode(data[:-1000], least=8)


# What is too large


def declared(name: str, width: int, height: int) -> bytes:
    """A picture of some bytes that says that it is of this size."""
    data = bytearray(CASES[name].data)
    at, form = {
        "jpeg": (data.find(b"\xff\xc0") + 5, ">HH"),
        "png": (16, ">II"),
        "webp": (26, "<HH"),
        "webp-lossless": (21, "<I"),
        "webp-animated": (24, ""),
        "avif": (data.find(b"ispe") + 8, ">II"),
        "gif": (6, "<HH"),
        "bmp": (18, "<ii"),
        "bmp-32": (18, "<ii"),
        "jp2": (data.find(b"\xff\x4f\xff\x51") + 8, ">II"),
        "jp2-stream": (8, ">II"),
    }[name]
    if name == "webp-lossless":
        size = struct.pack(form, width - 1 | height - 1 << 14)
    elif name == "webp-animated":
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    else:
        size = struct.pack(form, *((height, width) if name == "jpeg" else (width, height)))
    data[at : at + len(size)] = size
    return bytes(data)


def of_tiff(width: int, height: int, **more: Any) -> bytes:
    """A TIFF, or its tile, that says so."""
    data = tiff(np.zeros((2, 3, 3), np.uint8), 2, **more)
    return data.replace(struct.pack("<HHII", 256, 4, 1, 3), struct.pack("<HHII", 256, 4, 1, width)).replace(
        struct.pack("<HHII", 257, 4, 1, 2), struct.pack("<HHII", 257, 4, 1, height)
    )


HUGE = {
    "jpeg": declared("jpeg", 60_000, 60_000),
    "png": declared("png", 50_000, 50_000),
    "png, the largest": declared("png", 2**31 - 1, 2**31 - 1),
    "png, just above": declared("png", 2**14, 2**13 + 1),
    "png, a frame": animated_png_of_part().replace(struct.pack(">II", 36, 30), struct.pack(">II", 60_000, 60_000)),
    "webp": declared("webp", 2**14 - 1, 2**14 - 1),
    "webp-lossless": declared("webp-lossless", 2**14, 2**14),
    "webp-animated": declared("webp-animated", 2**20, 2**11),
    "avif": declared("avif", 60_000, 60_000),
    "gif": declared("gif", 2**16 - 1, 2**16 - 1),
    "bmp": declared("bmp", 60_000, 60_000),
    "bmp-32": declared("bmp-32", 60_000, -60_000),
    "tiff": of_tiff(60_000, 60_000),
    "tiff, its tiles": of_tiff(3, 2, tile=(2**15,)).replace(
        struct.pack("<HHII", 278, 4, 1, 2), struct.pack("<HHII", 323, 4, 1, 2**15)
    ),
    "jp2": declared("jp2", 60_000, 60_000),
    "jp2-stream": declared("jp2-stream", 60_000, 60_000),
    "ppm": b"P6\n50000 50000\n255\nabc",
    "ppm-text": b"P3 50000 50000 255 1 2 3",
    "pbm": b"P4\n50000 50000\nabc",
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_too_many_pixels_are_refused_by_the_header_alone(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ImageError, match="larger than 134 megapixels"):
        decoding.decode(data)


@pytest.mark.parametrize("name", READABLE)
def test_pixel_limit_is_of_the_real_size(name: str) -> None:
    height, width = READABLE[name].expected.shape[:2]  # type: ignore[union-attr]
    data = READABLE[name].data
    assert decoding.pixels(data) == height * width
    assert np.array_equal(decoding.decode(data, max_pixels=height * width), decoding.decode(data))
    with pytest.raises(ImageError, match=r"larger than 0\.00\d+ megapixels: \d+ × \d+"):
        decoding.decode(data, max_pixels=height * width - 1)


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_pixels_are_what_the_header_claims(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ImageError, match=r"megapixels: (\d+) × (\d+)") as caught:
        decoding.decode(data)
    width, height = re.findall(r"(\d+) × (\d+)", str(caught.value))[0]
    assert decoding.pixels(data) == int(width) * int(height) > 2**27


@pytest.mark.parametrize("data", [b"", b"no picture", CASES["png"].data[:20], CASES["jpeg"].data[:20]])
def test_what_is_no_picture_has_no_pixels(data: bytes) -> None:
    assert decoding.pixels(data) == 0


def test_classifier_takes_a_limit_of_pixels() -> None:
    data, most = CASES["png"].data, RGB.shape[0] * RGB.shape[1]
    for classifier in (Classifier(content()), Classifier(content(), views=True)):
        for see in (classifier.square, classifier.squares):
            assert np.array_equal(see(data, max_pixels=most), see(data))
            with pytest.raises(ImageError, match="larger than"):
                see(data, max_pixels=most - 1)


@pytest.mark.parametrize(
    "data",
    [
        declared("png", 0, 0),
        declared("jpeg", 0, 8),
        declared("gif", 0, 8),
        declared("bmp", -5, 8),
        b"P6\n0 9\n255\nabc",
        b"P6\n1 1\n0\nabc",
        of_tiff(0, 0),
    ],
    ids=["png", "jpeg", "gif", "bmp", "ppm", "ppm of one level", "tiff"],
)
def test_no_pixels_are_no_picture(data: bytes) -> None:
    with pytest.raises(ImageError, match="broken"):
        decoding.decode(data)


def many() -> dict[str, bytes]:
    """Small files whose whole content would take gigabytes, or minutes."""
    gif = CASES["gif"].data
    frame = gif[gif.index(b",", 13 + 3 * 16) : -1]
    jpeg = CASES["jpeg-progressive"].data
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    text = chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(7 * 10**6), 9))
    return {
        "frames of a GIF": gif[:-1] + frame * 20_000 + b";",
        "pages of a TIFF": pil(RANDOM, "TIFF", save_all=True, append_images=[pil_image()] * 300),
        "scans of a JPEG": jpeg[:-2] + scan * 200 + b"\xff\xd9",
        "text of a PNG": png(rows_of(RANDOM), 8, 2, text * 300, size=(30, 40)),
        "fill bytes of a JPEG": b"\xff\xd8" + b"\xff" * 2**23,
        "tags of a BigTIFF": b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(2**24),
    }


def pil_image() -> Any:
    from PIL import Image

    return Image.fromarray(RANDOM)


def in_a_fresh_process(before: str, pictures: list[bytes]) -> tuple[list[str], str]:
    """What decoding each says, with the mebibytes and seconds that it took, and what is on standard error."""
    code = f"""if True:
        import resource, struct, sys, time
        {before}
        from thumbnet.errors import ImageError
        from thumbnet.pictures.decode import decode
        decode({CASES["png"].data!r})
        while size := sys.stdin.buffer.read(4):
            data = sys.stdin.buffer.read(*struct.unpack("I", size))
            used, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            try:
                told = decode(data).shape
            except ImageError as error:
                told = error
            used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
            print(used // 1024, round(time.process_time() - start, 1), told)
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENCV_")}
    sent = b"".join(struct.pack("I", len(data)) + data for data in pictures)
    done = subprocess.run(
        [sys.executable, "-c", code], input=sent, capture_output=True, env=environment, check=True, timeout=120
    )
    return done.stdout.decode().splitlines(), done.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the memory that a process took at most")
@pytest.mark.parametrize(
    "before", ["", "from thumbnet.pictures import opencv; opencv.settle()"], ids=["library", "program"]
)
def test_what_is_huge_costs_neither_memory_nor_time(before: str) -> None:
    pictures = many()
    told, _ = in_a_fresh_process(before, [*HUGE.values(), *pictures.values()])
    assert len(told) == len(HUGE) + len(pictures)
    for name, line in zip([*HUGE, *pictures], told, strict=True):
        mebibytes, seconds, said = line.split(maxsplit=2)
        assert int(mebibytes) <= 64, (name, line)
        assert float(seconds) <= 2, (name, line)
        if name in HUGE:
            assert "larger than 134 megapixels" in said


def test_cut_off_picture_is_told_by_the_exception_alone() -> None:
    cut = [*(CASES[f"{name}-cut"].data for name in FORMATS), CASES["png"].data[:-1]]
    told, noise = in_a_fresh_process("from thumbnet.pictures import opencv; opencv.settle()", cut)
    assert ["cut off" in line for line in told] == [True] * len(cut)
    assert noise == ""


def of_many_parts(name: str) -> bytes:
    """A picture with 50 more of what its header consists of, before what is looked for."""
    data = CASES[name].data
    at, part = {
        "jpeg": (2, segment(0xFE, b"a comment")),
        "png": (33, chunk(b"teXt", b"a comment")),
        "gif": (data.find(b",", 13 + 3 * 16), b"\x21\xfe\1a\0"),
        "avif": (int.from_bytes(data[:4], "big"), b"\0\0\0\x08free"),
        "webp-exif": (30, b"more\2\0\0\0ab"),
    }[name]
    if name == "webp-exif":
        data = data[:4] + struct.pack("<I", len(data) - 8 + 50 * len(part)) + data[8:]
    return data[:at] + part * 50 + data[at:]


def limit_parts(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    for module in (exif_module, header_module):
        monkeypatch.setattr(module, "MOST_PARTS", most)


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "webp-exif"])
def test_number_of_parts_is_limited(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unlimited number would be walked through for minutes, a byte after the other."""
    data = of_many_parts(name)
    whole = decoding.decode(data)
    assert np.array_equal(whole, decoding.decode(CASES[name].data))
    limit_parts(monkeypatch, 40)
    if name == "webp-exif":  # what is not found does not count
        assert decoding.decode(data).shape != whole.shape
    else:
        with pytest.raises(ImageError, match="broken"):
            decoding.decode(data)


def test_number_of_boxes_and_tags_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert avif(of_many_parts("avif")).width == 56
    limit_parts(monkeypatch, 1)
    for read, data in ((avif, of_many_parts("avif")), (header.tiff, CASES["tiff"].data)):
        with pytest.raises(BROKEN):
            read(data)


def test_many_scans_are_refused() -> None:
    with pytest.raises(ImageError, match="broken"):
        decoding.decode(many()["scans of a JPEG"])


# What is no picture


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "got 0 bytes"),
        (b"a", "is text"),
        (b"\0" * 1000, "these bytes are not a picture"),
        (b"<!DOCTYPE html><html>", r"a web page \(HTML\)"),
        (b"\n\n <HTML>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><!-- drawn --><svg/>", "an SVG"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html><html><svg/></html>", r"a web page \(HTML\)"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "this is XML, not a picture"),
        (b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'><svg/>", "an SVG"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe", "PostScript"),
        (b'{"error": 404}', "JSON"),
        (b"[1, 2]", "JSON"),
        ("Größe: groß".encode(), "is text"),
        (b"BMW builds cars in Bavaria", "is text"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "camera raw"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "camera raw"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw"),
        (b"IIRO\x08\0\0\0", "camera raw"),
        (b"IIU\0\x18\0\0\0", "camera raw"),
        (b"FOVb\0\0\2\0", "camera raw"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", r"a video \(MP4\)"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\1\0\1\0\x10\x10", "an icon"),
        (b"8BPS\0\1", "Photoshop"),
        (b"PK\3\4\x14\0", "a ZIP"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x1a\x45\xdf\xa3\1", "WebM"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (b"RIFF\x10\0\0\0AVI LIST", "these bytes are not a picture"),
    ],
)
def test_what_is_no_picture_is_told(data: bytes, told: str) -> None:
    with pytest.raises(ImageError, match=told) as caught:
        decoding.decode(data)
    assert "\n" not in str(caught.value)
    assert "; Thumbnet reads JPEG, PNG, WebP" in str(caught.value)


@pytest.mark.parametrize("start", FORMATS)
def test_a_start_alone_is_a_broken_picture(start: str) -> None:
    with pytest.raises(ImageError, match="broken or cut off"):
        decoding.decode(CASES[start].data[:20])


# Details that no row of the table has


def test_broken_exif_leaves_the_picture_whole() -> None:
    for broken in (b"", b"II*\0", b"XX*\0\0\0\0\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff\x12\1\3\0"):
        data = CASES["jpeg"].data
        with_it = data[:2] + segment(0xE1, b"Exif\0\0" + broken) + data[2:]
        assert np.array_equal(decoding.decode(with_it), decoding.decode(data))


def test_orientation_that_there_is_not_is_none() -> None:
    assert np.array_equal(decoding.decode(turned_jpeg(9)), decoding.decode(CASES["jpeg"].data))


def test_every_two_turns_are_one() -> None:
    picture = RANDOM[:5, :4]
    turns = [UPRIGHT, *TURNS.values()]
    for first in turns:
        for second in turns:
            both = turned(turned(picture, first), second)
            assert np.array_equal(turned(picture, combined(first, second)), both)


def test_frame_beyond_its_canvas_does_not_crash() -> None:
    data = bytearray(gif_of_part())
    frame = data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))
    data[frame + 1 : frame + 5] = struct.pack("<HH", 50, 35)
    with pytest.raises(ImageError):
        decoding.decode(bytes(data))


def test_transparency_of_large_pictures_is_laid_on_white_everywhere() -> None:
    """They are worked on in blocks of rows."""
    rgba = np.random.default_rng(3).integers(0, 256, (700, 900, 4), np.uint8)
    alpha = rgba[..., 3:] / 255
    expected = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha))
    assert np.array_equal(decoding.decode(encode(rgba)), expected)


def test_every_alpha_is_rounded_right() -> None:
    colours, alphas = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.dstack([colours, colours, colours, alphas]).astype(np.uint8)
    expected = np.floor((colours * alphas + 255 * (255 - alphas)) / 255 + 0.5)
    assert np.array_equal(decoding.decode(encode(rgba))[..., 0], expected)


def test_grey_transparent_in_every_depth() -> None:
    for bits in (1, 2, 4):
        grey = (RANDOM[..., 0] >> (8 - bits)).astype(np.uint8)
        for key in range(2**bits):
            data = png(packed(grey, bits), bits, 0, chunk(b"tRNS", struct.pack(">H", key)), size=(30, 40))
            expected = np.where(grey == key, 255, grey * (255 // (2**bits - 1)))
            assert np.array_equal(decoding.decode(data)[..., 1], expected)


def test_grey_of_4_bits_is_read_in_a_bigtiff_too() -> None:
    grey = RANDOM[..., 0] >> 4
    pixels = (grey[:, ::2] << 4 | grey[:, 1::2]).astype(np.uint8)  # (40, 15)
    tags = {256: 30, 257: 40, 258: 4, 259: 1, 262: 1, 273: 16, 277: 1, 278: 40, 279: pixels.size}
    entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<Q", len(tags)) + entries + bytes(8)
    data = b"II+\0\x08\0\0\0" + struct.pack("<Q", 16 + pixels.size) + pixels.tobytes() + directory
    assert np.array_equal(decoding.decode(data)[..., 0], grey * 17)


def test_pnm_above_its_white_is_white() -> None:
    expected = np.rint(np.minimum(RGB, 100) * 2.55)
    for kind in (3, 6):
        assert np.abs(decoding.decode(pnm(kind, RGB, 100)) - expected).max() <= 1


def test_plain_pictures_take_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = cv2.imdecode

    def counted(data: Any, flags: int) -> Any:
        calls.append(flags)
        return real(data, flags)

    monkeypatch.setattr(cv2, "imdecode", counted)
    for name in ("jpeg", "png", "webp", "avif", "bmp", "tiff"):
        decoding.decode(CASES[name].data)
    assert calls == [cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION] * 6


# A JPEG at a part of its size


@functools.cache
def textured(height: int, width: int) -> decoding.RGB:
    """Detail of every size, as photographs have it: the finer, the weaker."""
    rng, picture = np.random.default_rng(height), np.full((height, width, 3), 128, np.float32)
    for scale in (4, 8, 16, 32, 64, 128, 256, 512):
        if scale <= min(height, width):
            noise = rng.normal(0, 40 * (4 / scale) ** 0.5, (scale, scale, 3)).astype(np.float32)
            picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:0"])
@pytest.mark.parametrize(("height", "width", "by"), [(512, 640, 2), (1000, 600, 2), (1200, 1600, 4), (2048, 2048, 8)])
def test_jpeg_decoded_smaller_is_the_same_square(
    height: int, width: int, by: int, chroma: str, quality: int, framing: Framing
) -> None:
    data = pil(textured(height, width), "JPEG", quality=quality, subsampling=chroma)
    whole, reduced = decoding.decode(data), decoding.decode(data, least=16)
    assert reduced.shape == (height // by, width // by, 3)
    apart = np.abs(resize(whole, 16, framing).astype(int) - resize(reduced, 16, framing))
    assert apart.max() <= 2
    assert apart.mean() <= 0.3


@pytest.mark.parametrize(
    ("height", "width"),
    [(511, 1024), (510, 510), (513, 1024), (512, 1025), (1024, 513), (512, 514), (1200, 400), (100, 100)],
)
def test_jpeg_stays_whole_where_pixels_would_not_fit(height: int, width: int) -> None:
    data = encode(textured(height, width), ".jpg")
    assert np.array_equal(decoding.decode(data, least=16), decoding.decode(data))


def test_turned_jpeg_is_decoded_smaller_and_upright() -> None:
    picture = textured(512, 768)
    data = encode(picture, ".jpg")
    smaller = decoding.decode(data[:2] + segment(0xE1, b"Exif\0\0" + exif(6)) + data[2:], least=16)
    assert smaller.shape == (384, 256, 3)
    expected = resize(np.ascontiguousarray(np.rot90(picture, -1)), 16, "crop")
    assert np.abs(resize(smaller, 16, "crop").astype(int) - expected).max() <= 6


def test_only_jpegs_are_decoded_smaller() -> None:
    picture = textured(1024, 1024)
    assert decoding.decode(encode(picture), least=16).shape == picture.shape


def test_classifier_has_jpegs_decoded_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    real = decoding.decode

    def decode(data: bytes, least: int | None = None, max_pixels: int = 0) -> decoding.RGB:
        asked.append(least)
        return real(data, least, max_pixels)

    monkeypatch.setattr("thumbnet.model.classifier.decode", decode)
    classifier = Classifier(content())
    classifier.predict(CASES["jpeg"].data)
    assert asked == [classifier.info.size]


# Anything at all


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 2**32 - 1))
def test_mutated_picture_is_a_picture_or_an_error(name: str, seed: int) -> None:
    must_decode_or_refuse(mutated(CASES[name].data, random.Random(seed)))


@settings(max_examples=300, deadline=5000, derandomize=True)
@given(st.sampled_from(sorted(CASES)), st.integers(0, 64), st.binary(max_size=400))
@example("png", 0, b"")
def test_random_bytes_are_a_picture_or_an_error(name: str, kept: int, rest: bytes) -> None:
    must_decode_or_refuse(CASES[name].data[:kept] + rest)


def must_decode_or_refuse(data: bytes) -> None:
    """Nothing else than an `ImageError` may come out."""
    with contextlib.suppress(ImageError):
        image = decoding.decode(data, least=1)
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.size


# The square
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(8, 8, 24), (9, 24, 24), (24, 9, 24), (1, 7, 24), (10, 7, 24), (16, 64, 14), (40, 33, 8), (33, 18, 15)],
)
def test_what_is_seen_is_what_resize_takes(framing: Framing, height: int, width: int, size: int) -> None:
    top, left, bottom, right = region(height, width, size, framing)
    for row, column in itertools.product(range(height), range(width)):
        picture = np.zeros((height, width, 3), np.uint8)
        picture[row, column] = 255
        assert resize(picture, size, framing).any() == (top <= row < bottom and left <= column < right)


@pytest.mark.parametrize(
    ("framing", "height", "width", "box"),
    [
        ("stretch", 64, 160, (0, 0, 64, 160)),
        ("crop", 64, 160, (0, 48, 64, 112)),
        ("centre", 64, 160, (4, 10, 60, 150)),
        ("centre", 37, 500, (2, 31, 35, 469)),  # 36.6 is the least
        ("centre", 36, 500, (0, 0, 36, 500)),
        ("centre", 32, 32, (0, 0, 32, 32)),
        ("soft-centre", 64, 160, (4, 10, 60, 150)),
        ("soft-centre", 36, 500, (0, 0, 36, 500)),
        ("centre", 1000, 3024, (62, 188, 938, 2836)),  # a quarter of 3024 has a margin of 47
    ],
)
def test_what_is_seen(framing: Framing, height: int, width: int, box: tuple[int, int, int, int]) -> None:
    assert region(height, width, 32, framing) == box


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1000), (1000, 1), (3, 40_000), (32, 32), (33, 31), (5, 7)])
def test_any_shape_becomes_the_square(shape: tuple[int, int], framing: Framing) -> None:
    resized = resize(np.full((*shape, 3), (10, 20, 30), np.uint8), 32, framing)
    assert resized.dtype == np.uint8
    assert resized.shape == (32, 32, 3)
    assert (resized == (10, 20, 30)).all()


@pytest.mark.parametrize("turned", [False, True])
def test_crop_keeps_the_middle_and_stretch_all(turned: bool) -> None:
    wide = np.hstack([square("red"), square("green"), square("blue")])  # (8, 24, 3)
    picture = wide.transpose(1, 0, 2) if turned else wide
    assert np.array_equal(resize(picture, 8, "crop"), square("green"))
    row = resize(picture, 3, "stretch")  # (3, 3, 3)
    assert (row if turned else row.transpose(1, 0, 2))[:, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_shrinking_averages_every_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    means = picture.reshape(4, 16, 4, 16, 3).mean(axis=(1, 3))  # (4, 4, 3)
    assert np.abs(resize(picture, 4, "stretch") - means).max() <= 1


def test_a_soft_centre_is_the_centre_blurred_by_half_a_pixel() -> None:
    sharp, soft = (resize(RANDOM, 8, framing).astype(int) for framing in ("centre", "soft-centre"))  # (8, 8, 3)
    framed = np.pad(sharp, ((1, 1), (1, 1), (0, 0)), mode="edge")
    across = framed[:, :-2] + 6 * framed[:, 1:-1] + framed[:, 2:]
    down = across[:-2] + 6 * across[1:-1] + across[2:]
    assert np.array_equal(soft, np.floor(down / 64 + 0.5))


def test_what_shrinks_less_than_by_half_stays_sharp() -> None:
    for height, width, blurred in ((17, 100, False), (18, 100, True), (8, 8, False)):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        sharp, soft = (resize(picture, 8, framing) for framing in ("centre", "soft-centre"))
        assert (sharp != soft).any() == blurred


@pytest.mark.parametrize("framing", FRAMINGS)
def test_views_are_the_whole_and_its_middle_as_pictures_of_their_own(framing: Framing) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 65, 3), np.uint8)
    sharp: Framing = "stretch" if framing == "soft-centre" else framing
    expected = [resize(part, 10, sharp) for part in (picture, picture[8:32, 12:53])]
    assert np.array_equal(views(picture, 10, framing), expected)
    assert np.array_equal(views(picture, 13, framing), [resize(picture, 13, framing)])  # too small for two


def test_same_size_is_the_same_picture() -> None:
    picture = RANDOM[:30]
    resized = resize(picture, 30, "crop")
    assert np.array_equal(resized, picture)
    assert not np.shares_memory(resized, picture)


def test_views_are_resized_as_copies_are() -> None:
    for view in (RANDOM[:, ::-1], RANDOM[::2, ::3], RANDOM.transpose(1, 0, 2), RANDOM[..., ::-1]):
        assert np.array_equal(resize(view, 16, "crop"), resize(view.copy(), 16, "crop"))
