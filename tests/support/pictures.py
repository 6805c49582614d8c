"""Pictures of every format and with every hazard, and what each is to become: the table of docs/pictures.md.

python tests/support/pictures.py prints the table. Each case is tested by test_decode.py and test_browser.py.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[Any]

HEIGHT, WIDTH = 40, 56


class Case(NamedTuple):
    """What comes in, what comes out, and by how many levels it may be off what it was made of, and a browser's."""

    comes: str
    gives: str
    data: bytes
    expected: Pixels | str  # a picture (H, W, 3), or what the error says
    made: int = 0
    browser: int | None = 0  # None: no browser shows it, or it shows something else on purpose


def photo() -> Pixels:
    """Smooth, as lossy formats need it, and different in every corner: uint8 `(HEIGHT, WIDTH, 3)`."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]  # (H, W) each
    return np.asarray(np.rint(np.dstack([40 + 180 * x, 200 - 150 * y, 60 + 120 * x * y])), np.uint8)


RGB = photo()
GREY = RGB[..., 0]  # (H, W)
GREYS = np.dstack([GREY] * 3)
LEVELS = np.arange(HEIGHT * WIDTH, dtype=np.uint16).astype(np.uint8).reshape(HEIGHT, WIDTH)  # all 256
ALPHA = np.rint(np.tile(np.linspace(0, 255, WIDTH), (HEIGHT, 1))).astype(np.uint8)
RGBA = np.dstack([RGB, ALPHA])
NOISE = np.random.default_rng(1).integers(0, 2**16, (HEIGHT, WIDTH, 4)).astype(np.uint16)
BLACK_OR_WHITE = np.where(GREY > 128, 255, 0).astype(np.uint8)
BITS = np.dstack([BLACK_OR_WHITE] * 3)
# Colour and place in a palette of 16.
PALETTE = np.random.default_rng(2).integers(0, 256, (16, 3)).astype(np.uint8)
INDEX = GREY >> 4
COLOURS = PALETTE[INDEX]  # (H, W, 3)
FLIPPED = RGBA[::-1].copy()

TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


def on_white(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Straight alpha, in exact fractions."""
    return np.rint((rgb * (alpha / 255)[..., None]) + 255 * (1 - alpha / 255)[..., None]).astype(np.uint8)


# --- by hand ---


def exif(orientation: int, order: str = "<") -> bytes:
    """A TIFF directory of one tag."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def segment(marker: int, content: bytes) -> bytes:
    """Of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def turned_jpeg(orientation: int, before: bytes = b"") -> bytes:
    """With EXIF after `before`."""
    jpeg, order = pil(RGB, "JPEG", quality=95, subsampling=0), "<" if orientation % 2 else ">"
    return jpeg[:2] + before + segment(0xE1, b"Exif\0\0" + exif(orientation, order)) + jpeg[2:]


def ycck_jpeg() -> bytes:
    """A CMYK JPEG whose first three planes are YCbCr, as its Adobe segment says. Pillow stores planes inverted."""
    cmy = Image.fromarray(255 - RGB).convert("YCbCr")  # of colours as they are shown, not inverted
    planes = np.dstack([255 - np.array(cmy), np.zeros_like(GREY)])
    jpeg = bytearray(pil(Image.fromarray(planes, "CMYK"), "JPEG", quality=95, subsampling=0))
    jpeg[jpeg.index(b"Adobe") + 11] = 2
    return bytes(jpeg)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    rows: Iterable[bytes], depth: int, colours: int, before: bytes = b"", after: bytes = b"",
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:  # fmt: skip
    """`before` and `after` are chunks around the pixels."""
    header = struct.pack(">IIBBBBB", *size, depth, colours, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IHDR", header), before, chunk(b"IDAT", pixels), after, chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rows_of(pixels: Pixels, kind: str = "u1") -> list[bytes]:
    """Each row's bytes."""
    return [row.astype(kind).tobytes() for row in pixels]


def packed(index: Pixels, bits: int) -> list[bytes]:
    """Rows of several pixels a byte."""
    shifts = np.arange(8 - bits, -1, -bits)
    padded = np.pad(index, ((0, 0), (0, -index.shape[1] % len(shifts)))).reshape(len(index), -1, len(shifts))
    return rows_of((padded << shifts).sum(2))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP."""
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_of_part() -> bytes:
    """An animation whose first frame covers the right lower part only."""
    frame = pil(RGB[10:, 20:], "WEBP", lossless=True)[12:]
    size = struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    place = [struct.pack("<I", number)[:3] for number in (10, 5, WIDTH - 21, HEIGHT - 11, 100)]
    return riff(
        (b"VP8X", b"\x12\0\0\0" + size), (b"ANIM", b"\0\0\xff\xff\0\0"), (b"ANMF", b"".join(place) + b"\0" + frame)
    )


def gif_of_part(version: bytes = b"GIF89a") -> bytes:
    """A GIF whose frame is smaller than its canvas."""
    gif = bytearray(pil(palette_image().crop((0, 0, 20, 10)), "GIF"))
    gif[:6], gif[6:10], gif[11] = version, struct.pack("<HH", WIDTH, HEIGHT), 1
    frame = gif.index(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    gif[frame + 1 : frame + 5] = struct.pack("<HH", 8, 5)
    return bytes(gif)


def gif_with_own_palette() -> bytes:
    """A GIF whose palette is its frame's, and not the file's."""
    gif = pil(palette_image(), "GIF", interlace=0)
    palette, frame = gif[13 : 13 + 48], gif.index(b",", 13 + 48)
    return gif[:10] + b"\0" + gif[11:13] + gif[61 : frame + 9] + b"\x83" + palette + gif[frame + 10 :]


def bmp(
    pixels: bytes, bits: int, packing: int = 0, size: int = 40, masks: tuple[int, ...] = (), height: int = HEIGHT
) -> bytes:
    """With a header of `size` bytes: 40 as of Windows 3, 108 and 124 of versions 4 and 5."""
    extra = struct.pack(f"<{len(masks)}I", *masks)
    if size > 40:
        extra = (extra + b"BGRs").ljust(size - 40, b"\0")
    header = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, bits, packing, len(pixels), 0, 0, 0, 0)
    start = 14 + len(header) + len(extra)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + extra + pixels


def rle_bmp() -> bytes:
    """8 bits, each pixel a run of its own."""
    runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in INDEX[::-1]) + b"\0\1"
    palette = b"".join(bytes(colour[::-1]) + b"\0" for colour in PALETTE).ljust(1024, b"\0")
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(runs), 0, 0, 0, 0)
    start = 14 + 40 + 1024
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + palette + runs


def tiff(pixels: Pixels, colours: int, order: str = "<", bits: int = 0, **more: tuple[int, ...]) -> bytes:
    """Uncompressed, in one strip. `bits`: of a sample, where these are packed. `more`: tags by their names."""
    names = {"extra": 338, "sort": 339, "orientation": 274, "tile": 322, "page": 254, "parts": 330, "dng": 50706}
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    data = pixels.astype(pixels.dtype.newbyteorder("<" if order == "<" else ">")).tobytes()
    if bits:
        each_bit = pixels.astype(np.uint16)[..., None] >> np.arange(bits - 1, -1, -1) & 1  # (…, bits)
        data = np.packbits(each_bit.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    tags: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (bits or pixels.dtype.itemsize * 8,) * samples, 259: (1,), 262: (colours,),
        273: (8,), 277: (samples,), 278: (height,), 279: (len(data),), **{names[name]: more[name] for name in more},
    }  # fmt: skip
    data += b"\0" * (len(data) % 2)
    values, entries = bytearray(), b""
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            value, values = struct.pack(f"{order}I", after + len(values)), values + value
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + value
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(data))
    return start + data + struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4 + bytes(values)


def pnm(kind: int, pixels: Pixels, most: int | None = 255) -> bytes:
    """PBM 1 and 4, PGM 2 and 5, PPM 3 and 6; the first of each as text."""
    header = f"P{kind}\n# a comment, 1 2\n{WIDTH} {HEIGHT}\n" + (f"{most}\n" if most else "")
    if kind < 4:
        return header.encode() + b"\n".join(b"%d" % value for value in pixels.ravel()) + b"\n"
    return header.encode() + pixels.astype(">u2" if most and most > 255 else "u1").tobytes()


# --- by others' encoders ---


def pil(image: Pixels | Image.Image, suffix: str, **options: Any) -> bytes:
    """By Pillow."""
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, suffix, **options)
    return file.getvalue()


def avif_of_many_bits(bits: int, alpha: bool) -> bytes:
    """By OpenCV, the only one here that writes more than 8 bits."""
    stored = np.rint((RGBA if alpha else RGB) * ((2**bits - 1) / 255)).astype(np.uint16)
    bgr = np.ascontiguousarray(stored[..., [2, 1, 0, 3][: stored.shape[2]]])
    return cv2.imencode(".avif", bgr, [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, bits])[1].tobytes()


def palette_image() -> Image.Image:
    """COLOURS, as places in PALETTE."""
    image = Image.fromarray(INDEX, "P")
    image.putpalette(PALETTE.tobytes())
    return image


def turned_avif(orientation: int, alpha: bool = False) -> bytes:
    """Pillow writes EXIF's orientation as `irot` and `imir`."""
    return pil(RGBA if alpha else RGB, "AVIF", quality=95, subsampling="4:4:4", exif=b"Exif\0\0" + exif(orientation))


# --- the table, a function a format ---


def jpegs() -> dict[str, Case]:
    cmyk = np.dstack([255 - RGB, np.full_like(GREY, 20)])
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>")
    whole = pil(RGB, "JPEG", quality=95, subsampling=0)
    cut = "broken or cut off"
    upright = {
        f"jpeg-exif-{turn}": Case("EXIF orientation 1 to 8", "upright", turned_jpeg(turn), TURNS[turn](RGB), 6)
        for turn in TURNS
    }
    return {
        "jpeg": Case("plain", "as it is", whole, RGB, 6),
        "jpeg-420": Case("half-size chroma", "as it is", pil(RGB, "JPEG", quality=95), RGB, 6),
        "jpeg-progressive": Case("progressive", "as it is", pil(RGB, "JPEG", quality=95, progressive=True), RGB, 6),
        "jpeg-grey": Case("grey", "as it is", pil(GREY, "JPEG", quality=95), GREYS, 1),
        "jpeg-rgb": Case("stored as RGB", "as it is", pil(RGB, "JPEG", quality=95, keep_rgb=True), RGB, 1),
        "jpeg-cmyk": Case(
            "CMYK, inverted as Adobe does", "inks on white",
            pil(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=95, subsampling=0),
            np.rint(RGB * (235 / 255)), 6, 2,
        ),
        "jpeg-ycck": Case("YCCK", "inks on white", ycck_jpeg(), RGB, 6, 2),
        **upright,
        "jpeg-exif-behind-xmp": Case("EXIF after XMP", "upright", turned_jpeg(6, xmp), TURNS[6](RGB), 6),
        "jpeg-then-more": Case("more bytes after the end", "as it is", whole + b"\0more" * 20, RGB, 6),
        "jpeg-cut": Case("cut off", "an error", whole[: len(whole) // 2], cut, browser=None),
        "jpeg-no-end": Case("only the end marker missing", "an error",
                            whole[:-2], cut, browser=None),
    }  # fmt: skip


def pngs() -> dict[str, Case]:
    shift = (NOISE >> 8).astype(np.uint8)
    key, grey_key, two_bits = RGB[10, 10], int(GREY[10, 10]), GREY >> 6
    deep = NOISE[..., :3].copy()
    deep[:9, :9], deep[9:18, :9] = (1000, 2000, 3000), (1000, 2000, 3001)  # alike in their upper 8 bits
    alpha = np.arange(0, 160, 16, dtype=np.uint8)  # of the palette's first ten colours
    see_through = np.append(alpha, [255] * 6)[INDEX]
    palette = chunk(b"PLTE", PALETTE.tobytes())
    key_chunk = chunk(b"tRNS", struct.pack(">3H", *key.tolist()))
    deep_key = chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    turned = chunk(b"eXIf", exif(6))
    frames = {"save_all": True, "append_images": [Image.fromarray(FLIPPED), Image.fromarray(RGBA)]}
    white, grey_white = on_white(RGB, ALPHA), on_white(GREYS, ALPHA)
    upper = "upper 8 bits"
    key_white = np.where((key == RGB).all(2)[..., None], 255, RGB)
    deep_white = np.where((deep == (1000, 2000, 3000)).all(2)[..., None], 255, deep >> 8)
    text = b"".join(chunk(b"zTXt", b"%d\0\0" % number + zlib.compress(bytes(10**6))) for number in range(9))
    return {
        "png": Case("plain", "as it is", png(rows_of(RGB), 8, 2), RGB),
        "png-interlaced": Case("interlaced", "as it is", interlaced_png(), RGB),
        "png-grey": Case("grey", "as it is", png(rows_of(GREY), 8, 0), GREYS),
        "png-grey-2": Case("2-bit grey", "scaled to 255", png(packed(two_bits, 2), 2, 0), GREYS // 64 * 85),
        "png-palette": Case("palette", "its colours", png(packed(INDEX, 4), 4, 3, palette), COLOURS),
        "png-alpha": Case("transparent", "on white", png(rows_of(RGBA), 8, 6), white),
        "png-grey-alpha": Case("grey, transparent", "on white", pil(RGBA[..., [0, 3]], "PNG"), grey_white),
        "png-palette-alpha": Case(
            "palette, transparent (tRNS)", "on white",
            png(packed(INDEX, 4), 4, 3, palette + chunk(b"tRNS", alpha.tobytes())), on_white(COLOURS, see_through),
        ),
        "png-key": Case("one transparent colour (tRNS)", "white", png(rows_of(RGB), 8, 2, key_chunk), key_white),
        "png-grey-key": Case(
            "one transparent grey", "white",
            png(rows_of(GREY), 8, 0, chunk(b"tRNS", struct.pack(">H", grey_key))),
            np.where(np.equal(GREY, grey_key)[..., None], 255, GREYS),
        ),
        "png-grey-2-key": Case(
            "2-bit grey, one transparent", "white",
            png(packed(two_bits, 2), 2, 0, chunk(b"tRNS", b"\0\1")),
            np.where((two_bits == 1)[..., None], 255, GREYS // 64 * 85),
        ),
        "png-16": Case("16 bits", upper, png(rows_of(NOISE[..., :3], ">u2"), 16, 2), shift[..., :3]),
        "png-16-grey": Case("16 bits, grey", upper, png(rows_of(NOISE[..., 0], ">u2"), 16, 0), shift[..., [0] * 3]),
        "png-16-alpha": Case(
            "16 bits, transparent", "upper 8 bits, on white",
            png(rows_of(NOISE, ">u2"), 16, 6), on_white(shift[..., :3], shift[..., 3]),
        ),
        "png-16-key": Case(
            "16 bits, one transparent colour", "white where all 16 bits match",
            png(rows_of(deep, ">u2"), 16, 2, deep_key), deep_white,
        ),
        "png-16-grey-key": Case(
            "16 bits, one transparent grey", "white where all 16 bits match",
            png(rows_of(deep[..., 2], ">u2"), 16, 0, chunk(b"tRNS", struct.pack(">H", 3000))),
            np.where(deep[..., [2] * 3] == 3000, 255, deep[..., [2] * 3] >> 8),
        ),
        "png-exif": Case("EXIF orientation", "upright", png(rows_of(RGB), 8, 2, turned), TURNS[6](RGB)),
        "png-exif-alpha": Case(
            "EXIF orientation, transparent", "upright, on white", png(rows_of(RGBA), 8, 6, turned), TURNS[6](white)
        ),
        "png-exif-behind": Case(
            "EXIF after the pixels", "upright",
            png(rows_of(RGB), 8, 2, after=turned), TURNS[6](RGB), browser=None,
        ),
        "png-animated": Case("animated", "the first frame", pil(Image.fromarray(RGBA), "PNG", **frames), white),
        "png-animated-apart": Case(
            "with a separate still picture", "the first frame",
            pil(Image.fromarray(RGBA), "PNG", default_image=True, **frames), on_white(FLIPPED[..., :3], ALPHA),
        ),
        "png-animated-part": Case(
            "first frame smaller than the canvas", "white around it", animated_png_of_part(),
            np.where(np.pad(np.ones((HEIGHT - 10, WIDTH - 20), bool), ((10, 0), (20, 0)))[..., None], white, 255),
        ),
        "png-gamma": Case(
            "a gamma, or a colour profile", "as stored",
            png(rows_of(RGB), 8, 2, chunk(b"gAMA", struct.pack(">I", 100_000))), RGB, browser=None,
        ),
        "png-text": Case("megabytes of packed text", "as it is",
                         png(rows_of(RGB), 8, 2, text), RGB),
        "png-cut": Case("cut off", "an error", png(rows_of(RGB), 8, 2)[:-20], "broken or cut off", browser=None),
    }  # fmt: skip


def interlaced_png() -> bytes:
    """Adam7: seven pictures, each of every n-th pixel."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [row for top, left, down, right in passes for row in rows_of(RGB[top::down, left::right])]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def animated_png_of_part() -> bytes:
    """An animation apart from its PNG, whose first frame covers the right lower part only."""
    plain = png(rows_of(FLIPPED), 8, 6)
    control = struct.pack(">IIIIIHHBB", 0, WIDTH - 20, HEIGHT - 10, 20, 10, 1, 10, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows_of(RGBA[10:, 20:])))
    frames = chunk(b"fcTL", control) + chunk(b"fdAT", b"\0\0\0\1" + pixels)
    return plain[:33] + chunk(b"acTL", struct.pack(">II", 1, 0)) + plain[33:-12] + frames + plain[-12:]


def webps() -> dict[str, Case]:
    exact = {"lossless": True, "exact": True}
    white = on_white(RGB, ALPHA)
    part = np.full_like(RGB, 255)
    part[10:, 20:] = RGB[10:, 20:]
    frames = {"save_all": True, "append_images": [Image.fromarray(FLIPPED)]}
    whole = pil(RGB, "WEBP", **exact)
    return {
        "webp": Case("lossy", "as it is", pil(RGB, "WEBP", quality=95), RGB, 8),
        "webp-lossless": Case("lossless", "as it is", whole, RGB),
        "webp-alpha": Case("lossy, transparent", "on white", pil(RGBA, "WEBP", quality=95), white, 8, 1),
        "webp-lossless-alpha": Case("lossless, transparent", "on white",
                                    pil(RGBA, "WEBP", **exact), white, 0, 1),
        "webp-animated": Case(
            "animated", "the first frame", pil(Image.fromarray(RGBA), "WEBP", **frames, **exact), white, 0, 1
        ),
        "webp-animated-part": Case("first frame smaller than the canvas", "white around it",
                                   webp_of_part(), part),
        "webp-exif": Case(
            "EXIF orientation", "upright",
            pil(RGB, "WEBP", exif=b"Exif\0\0" + exif(6), **exact), TURNS[6](RGB), browser=None,
        ),
        "webp-exif-alpha": Case(
            "EXIF orientation, transparent", "upright, on white",
            pil(RGBA, "WEBP", exif=exif(5), **exact), TURNS[5](white), browser=None,
        ),
        "webp-cut": Case("cut off", "an error", whole[:-20], "broken or cut off", browser=None),
    }  # fmt: skip


def avifs() -> dict[str, Case]:
    near: dict[str, Any] = {"quality": 95, "subsampling": "4:4:4"}
    white = on_white(RGB, ALPHA)
    whole = pil(RGB, "AVIF", **near)
    frames = {"save_all": True, "append_images": [Image.fromarray(FLIPPED[..., :3].copy())]}
    upright = {
        f"avif-turned-{turn}": Case("rotated or mirrored (irot, imir)", "upright", turned_avif(turn),
                                    TURNS[turn](RGB), 6) for turn in TURNS if turn > 1
    }  # fmt: skip
    return {
        "avif": Case("plain", "as it is", whole, RGB, 6),
        "avif-420": Case("half-size chroma", "as it is", pil(RGB, "AVIF", quality=95), RGB, 8),
        "avif-grey": Case("grey", "as it is", pil(GREY, "AVIF", quality=95, subsampling="4:0:0"), GREYS, 1),
        "avif-10": Case("10 bits", "8 bits", avif_of_many_bits(10, alpha=False), RGB),
        "avif-alpha": Case("transparent", "on white",
                           pil(RGBA, "AVIF", **near), white, 6, 20),
        "avif-12-alpha": Case("12 bits, transparent", "8 bits, on white",
                              avif_of_many_bits(12, alpha=True), white, 0, 20),
        "avif-animated": Case("animated", "the first frame",
                              pil(Image.fromarray(RGB), "AVIF", **frames, **near), RGB, 6, 20),
        **upright,
        "avif-turned-alpha": Case("rotated, transparent", "upright, on white", turned_avif(6, alpha=True),
                                  TURNS[6](white), 6, 20),
        "avif-cut": Case("cut off", "an error", whole[:-20], "broken or cut off", browser=None),
    }  # fmt: skip


def gifs() -> dict[str, Case]:
    image, turned = palette_image(), palette_image().transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    hole = int(INDEX[10, 10])
    clear = np.where(np.equal(INDEX, hole)[..., None], 255, COLOURS)
    part = np.full_like(RGB, 255)
    part[5:15, 8:28] = COLOURS[:10, :20]
    frames = {"save_all": True, "append_images": [turned]}
    whole = pil(image, "GIF", interlace=0)
    return {
        "gif": Case("plain", "as it is", whole, COLOURS),
        "gif-interlaced": Case("interlaced", "as it is", pil(image, "GIF", interlace=1), COLOURS),
        "gif-256": Case("256 colours", "as it is", pil(LEVELS, "GIF"), np.dstack([LEVELS] * 3)),
        "gif-own": Case("a palette of the frame's own", "as it is", gif_with_own_palette(), COLOURS),
        "gif-clear": Case("a transparent colour", "white", pil(image, "GIF", transparency=hole), clear),
        "gif-animated": Case("animated", "the first frame", pil(image, "GIF", **frames), COLOURS),
        "gif-animated-clear": Case(
            "animated, a transparent colour", "the first frame, on white",
            pil(image, "GIF", transparency=hole, disposal=2, **frames), clear,
        ),
        "gif-part": Case("frame smaller than the canvas", "white around it", gif_of_part(), part),
        "gif-part-87": Case("in GIF87a", "white around it", gif_of_part(b"GIF87a"), part),
        "gif-cut": Case("cut off", "an error", whole[:-20], "broken or cut off", browser=None),
    }  # fmt: skip


def bmps() -> dict[str, Case]:
    white = on_white(RGB, ALPHA)
    bgra, rgba = RGBA[::-1, :, [2, 1, 0, 3]].tobytes(), RGBA[::-1].tobytes()
    masks, swapped = (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xFF, 0xFF00, 0xFF0000, 0)
    five = RGB.astype(np.uint16) >> 3
    six = RGB.astype(np.uint16) >> (3, 2, 3)
    in_555, in_565 = (five << (10, 5, 0)).sum(2)[::-1], (six << (11, 5, 0)).sum(2)[::-1]
    from_555, from_565 = (np.rint(each * (255 / most)) for each, most in ((five, 31), (six, np.array([31, 63, 31]))))
    narrow = np.ascontiguousarray(in_555[:, :-1]).astype("<u2")  # an odd width: rows end in padding
    odd = bytearray(bmp(np.pad(narrow, ((0, 0), (0, 1))).tobytes(), 16))
    odd[18:22] = struct.pack("<I", WIDTH - 1)
    return {
        "bmp": Case("24 bits", "as it is", bmp(RGB[::-1, :, ::-1].tobytes(), 24), RGB),
        "bmp-top-down": Case("top-down", "as it is", bmp(RGB[..., ::-1].tobytes(), 24, height=-HEIGHT), RGB),
        "bmp-palette": Case("palette", "its colours", pil(palette_image(), "BMP"), COLOURS),
        "bmp-1": Case("1 bit", "black and white", pil(Image.fromarray(GREY > 128), "BMP"), BITS),
        "bmp-rle": Case("run-length encoded", "its colours", rle_bmp(), COLOURS),
        "bmp-555": Case("16 bits: 5, 5, 5", "scaled to 255", bmp(in_555.astype("<u2").tobytes(), 16), from_555),
        "bmp-odd": Case("16 bits, an odd width", "scaled to 255", bytes(odd), from_555[:, :-1]),
        "bmp-565": Case(
            "16 bits: 5, 6, 5", "scaled to 255",
            bmp(in_565.astype("<u2").tobytes(), 16, 3, masks=(0xF800, 0x7E0, 0x1F)), from_565,
        ),
        "bmp-32": Case("32 bits", "without the fourth byte", bmp(bgra, 32), RGB),
        "bmp-order": Case("32 bits in another order", "its colours", bmp(rgba, 32, 3, masks=swapped[:3]), RGB),
        "bmp-alpha-4": Case("transparent (version 4)", "on white", bmp(bgra, 32, 3, 108, masks), white),
        "bmp-alpha-5": Case("transparent (version 5)", "on white", bmp(bgra, 32, 3, 124, masks), white),
        "bmp-opaque-5": Case("version 5, no mask for alpha", "opaque", bmp(rgba, 32, 3, 124, swapped), RGB),
        "bmp-cut": Case("cut off", "an error", bmp(bgra, 32)[:-20], "broken or cut off", browser=None),
    }  # fmt: skip


def tiffs() -> dict[str, Case]:
    white = on_white(RGB, ALPHA)
    deep = on_white(NOISE[..., :3] >> 8, NOISE[..., 3] >> 8)
    multiplied = np.dstack([np.rint(RGB * (ALPHA / 255)[..., None]).astype(np.uint8), ALPHA])
    cmyk = np.dstack([255 - RGB, np.full_like(GREY, 20)])
    whole, raw = tiff(RGB, 2), "this is a camera raw file"
    upper = "upper 8 bits"
    pages = {"save_all": True, "append_images": [Image.fromarray(FLIPPED)]}
    cases = {
        "tiff": Case("plain", "as it is", whole, RGB),
        "tiff-big-endian": Case("the other byte order", "as it is", tiff(RGB, 2, ">"), RGB),
        "tiff-lzw": Case("LZW", "as it is", pil(RGB, "TIFF", compression="tiff_lzw"), RGB),
        "tiff-deflate": Case("deflate", "as it is", pil(RGB, "TIFF", compression="tiff_deflate"), RGB),
        "tiff-jpeg": Case("JPEG in TIFF", "as it is", pil(RGB, "TIFF", compression="jpeg", quality=95), RGB, 1),
        "tiff-fax": Case("fax (group 4)", "black and white",
                         pil(Image.fromarray(GREY > 128), "TIFF", compression="group4"), BITS),
        "tiff-grey": Case("grey", "as it is", tiff(GREY, 1), GREYS),
        "tiff-grey-inverted": Case("grey, 0 for white", "as it is", tiff(255 - GREY, 0), GREYS),
        "tiff-palette": Case("palette", "its colours", pil(palette_image(), "TIFF"), COLOURS),
        "tiff-16": Case("16 bits", "8 bits", tiff(NOISE[..., :3], 2), NOISE[..., :3] / 257, 1),
        "tiff-16-grey": Case("16 bits, grey", "8 bits", tiff(NOISE[..., 0], 1), NOISE[..., [0] * 3] / 257, 1),
        "tiff-4-grey": Case("4 bits, grey", "scaled to 255", tiff(INDEX, 1, bits=4), np.dstack([INDEX * 17] * 3)),
        "tiff-4-grey-inverted": Case("4 bits, grey, 0 for white", "scaled to 255", tiff(15 - INDEX, 0, ">", 4),
                                     np.dstack([INDEX * 17] * 3)),
        "tiff-4-grey-odd": Case("an odd width, rotated", "scaled to 255",
                                tiff(INDEX[:, :-1], 1, bits=4, orientation=(6,)),
                                TURNS[6](np.dstack([INDEX[:, :-1] * 17] * 3))),
        "tiff-10-grey": Case("10 bits, grey", upper, tiff(NOISE[..., 0] >> 6, 1, bits=10), NOISE[..., [0] * 3] >> 8),
        "tiff-12": Case("12 bits", upper, tiff(NOISE[..., :3] >> 4, 2, bits=12), NOISE[..., :3] >> 8),
        "tiff-12-grey": Case("12 bits, grey", upper, tiff(NOISE[..., 0] >> 4, 1, ">", 12), NOISE[..., [0] * 3] >> 8),
        "tiff-12-grey-inverted": Case("12 bits, grey, 0 for white", upper, tiff(~NOISE[..., 0] >> 4, 0, bits=12),
                                      NOISE[..., [0] * 3] >> 8),
        "tiff-14": Case("14 bits", upper, tiff(NOISE[..., :3] >> 2, 2, bits=14), NOISE[..., :3] >> 8),
        "tiff-alpha": Case("transparent", "on white", tiff(RGBA, 2, extra=(2,)), white),
        "tiff-alpha-multiplied": Case("premultiplied alpha", "on white",
                                      tiff(multiplied, 2, extra=(1,)), white),
        "tiff-fourth": Case("a fourth channel, not alpha", "without it",
                            tiff(RGBA, 2, extra=(0,)), RGB),
        "tiff-16-alpha": Case("16 bits, transparent", "on white", tiff(NOISE, 2, extra=(2,)), deep),
        "tiff-cmyk": Case("CMYK", "inks on white", tiff(cmyk, 5), RGB * (235 / 255), 1),
        "tiff-turned-alpha": Case("orientation, transparent", "upright, on white",
                                  tiff(RGBA, 2, extra=(2,), orientation=(6,)), TURNS[6](white)),
        "tiff-pages": Case("several pages", "the first", pil(Image.fromarray(RGBA[..., :3].copy()), "TIFF", **pages),
                           RGB),
        "tiff-float": Case("floating point", "an error", tiff((RGB / 255).astype(np.float32), 2, sort=(3,)),
                           "got RGB of 32 bits, floating point"),
        "tiff-signed": Case("signed", "an error", tiff(RGB.astype(np.int8), 2, sort=(2,)), "got RGB of 8 bits, signed"),
        "tiff-32": Case("32 bits", "an error", tiff(RGB.astype(np.uint32), 2), r"got RGB of 32 bits\."),
        "tiff-2-grey": Case("2 bits, grey", "an error", tiff(GREY >> 6, 1, bits=2), "got grey of 2 bits"),
        "tiff-4": Case("4 bits", "an error", tiff(RGB >> 4, 2, bits=4), "got RGB of 4 bits"),
        "tiff-12-alpha": Case("12 bits, transparent", "an error", tiff(NOISE >> 4, 2, bits=12, extra=(2,)),
                              "got RGB of 12 bits, 4 samples a pixel"),
        "tiff-grey-alpha": Case("grey, transparent", "an error", tiff(RGBA[..., [0, 3]], 1, extra=(2,)),
                                "got grey of 8 bits, 2 samples a pixel"),
        "tiff-lab": Case("L*a*b*", "an error", tiff(RGB, 8), r"got L\*a\*b\* of 8 bits"),
        "tiff-preview": Case("camera raw", "an error",
                             tiff(RGB, 2, page=(1,), parts=(8,)), raw),
        "tiff-dng": Case("camera raw", "an error", tiff(RGB, 2, dng=(1,)), raw),
        "tiff-sensor": Case("camera raw", "an error", tiff(GREY, 32803), raw),
        "tiff-cut": Case("cut off", "an error", whole[:-20], "broken or cut off"),
        **{
            f"tiff-turned-{turn}": Case("orientation 1 to 8", "upright", tiff(RGB, 2, orientation=(turn,)),
                                        TURNS[turn](RGB)) for turn in TURNS
        },
    }  # fmt: skip
    return {name: case._replace(browser=None) for name, case in cases.items()}


def jpeg2000s() -> dict[str, Case]:
    white = on_white(RGB, ALPHA)
    exact: dict[str, Any] = {"irreversible": False, "num_resolutions": 3}
    whole = pil(RGB, "JPEG2000", **exact)
    deep = Image.fromarray(NOISE[..., 0].copy())
    cases = {
        "jp2": Case("plain", "as it is", whole, RGB),
        "jp2-stream": Case("codestream", "as it is", pil(RGB, "JPEG2000", no_jp2=True, **exact), RGB),
        "jp2-grey": Case("grey", "as it is", pil(GREY, "JPEG2000", **exact), GREYS),
        "jp2-grey-stream": Case("grey codestream", "as it is",
                                pil(GREY, "JPEG2000", no_jp2=True, **exact), GREYS),
        "jp2-alpha": Case("transparent", "on white", pil(RGBA, "JPEG2000", **exact), white),
        "jp2-16-grey": Case("16 bits, grey", "upper 8 bits",
                            pil(deep, "JPEG2000", **exact), NOISE[..., [0] * 3] >> 8),
        "jp2-grey-alpha": Case("grey, transparent", "an error",
                               pil(RGBA[..., [0, 3]].copy(), "JPEG2000", **exact), "got another kind"),
        "jp2-cut": Case("cut off", "an error", whole[:-20], "broken or cut off"),
    }  # fmt: skip
    return {name: case._replace(browser=None) for name, case in cases.items()}


def pnms() -> dict[str, Case]:
    ink = BLACK_OR_WHITE == 0
    sixteen = NOISE[..., :3]
    whole = pnm(6, RGB)
    cases = {
        "ppm": Case("plain", "as it is", whole, RGB),
        "ppm-text": Case("as text", "as it is", pnm(3, RGB), RGB),
        "ppm-100": Case("maximum 100", "scaled to 255", pnm(6, RGB // 3, 100), RGB // 3 * 2.55, 1),
        "ppm-100-text": Case("maximum 100, as text", "scaled to 255", pnm(3, RGB // 3, 100), RGB // 3 * 2.55, 1),
        "ppm-16": Case("16 bits", "8 bits", pnm(6, sixteen, 65535), np.rint(sixteen / 257)),
        "ppm-16-text": Case("16 bits, as text", "8 bits", pnm(3, sixteen, 65535), np.rint(sixteen / 257)),
        "ppm-10": Case("10 bits", "8 bits", pnm(6, sixteen >> 6, 1023), np.rint((sixteen >> 6) * (255 / 1023))),
        "pgm": Case("plain", "as it is", pnm(5, GREY), GREYS),
        "pgm-text": Case("as text", "as it is", pnm(2, GREY), GREYS),
        "pgm-15": Case("maximum 15", "scaled to 255", pnm(5, INDEX, 15), np.dstack([INDEX * 17] * 3)),
        "pbm": Case("plain", "1 is black", pnm(4, np.packbits(ink, axis=1), None), BITS),
        "pbm-text": Case("as text", "1 is black", pnm(1, ink.astype(int), None), BITS),
        "ppm-cut": Case("cut off", "an error", whole[:-1], "broken or cut off"),
    }  # fmt: skip
    return {name: case._replace(browser=None) for name, case in cases.items()}


CASES: dict[str, Case] = {
    name: case
    for format_ in (jpegs, pngs, webps, avifs, gifs, bmps, tiffs, jpeg2000s, pnms)
    for name, case in format_().items()
}


def mutated(data: bytes, random: Random) -> bytes:
    """The same with one to four faults: bits, numbers in its header, bytes lost, doubled, of another picture."""
    mutant = bytearray(data)
    for _ in range(random.randint(1, 4)):
        size = len(mutant)
        # Most that is read from a file is at its start; a TIFF has it at its end.
        places = random.randrange(size + 1), random.randrange(min(size, 100) + 1), max(0, size - random.randrange(300))
        at = random.choice(places)
        match random.randrange(7):
            case 0:
                mutant = mutant[:at]
            case 1:
                mutant[at : at + 1] = bytes([random.randrange(256)])
            case 2:
                mutant[at : at + 1] = bytes(byte ^ 1 << random.randrange(8) for byte in mutant[at : at + 1])
            case 3:
                number = random.choice([0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 2**31 - 1, 2**32 - 1])
                number %= 256 ** (width := random.choice([1, 2, 4]))
                mutant[at : at + width] = number.to_bytes(width, random.choice(["big", "little"]))
            case 4:
                del mutant[at : at + random.randint(1, 20)]
            case 5:
                mutant[at:at] = mutant[at : at + random.randint(1, 200)]
            case 6:
                other = CASES[random.choice(sorted(CASES))].data
                mutant[at:] = other[random.randrange(len(other)) :]
    return bytes(mutant)


def noisy() -> dict[str, bytes]:
    """Broken pictures of which libpng and libjpeg themselves tell what is wrong. The last is decoded all the same."""
    pixels, header, short = (bytearray(CASES[name].data) for name in ("png", "png", "jpeg"))
    pixels[pixels.index(b"IDAT") + 40] ^= 1
    header[29] ^= 1  # in its checksum
    short[-20:-10] = b"\xff\xd9" * 5
    return {"pixels.png": bytes(pixels), "header.png": bytes(header), "short.jpg": bytes(short)}


def table() -> str:
    """As it stands in docs/pictures.md: a row for all cases of a format that come out alike, and those cut off once."""
    rows: dict[tuple[str, str], list[Case]] = {}
    for name, case in CASES.items():
        if case.comes != "cut off":
            rows.setdefault((name.partition("-")[0].upper(), case.gives), []).append(case)
    lines, before = ["| format | input | result |", "|---|---|---|", "| all | cut off | an error |"], ""
    for (form, gives), cases in rows.items():
        made, browser = max(case.made for case in cases), max(case.browser or 0 for case in cases)
        levels = ", ".join([f"±{made}"] * bool(made) + [f"Chromium ±{browser}"] * bool(browser))
        inputs = "; ".join(dict.fromkeys(case.comes for case in cases))
        lines.append(f"| {form if form != before else ''} | {inputs} | {gives}{f' ({levels})' if levels else ''} |")
        before = form
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
