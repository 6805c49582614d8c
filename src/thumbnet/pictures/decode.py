"""A picture file's bytes → RGB array: the one decoder of training, evaluation and prediction."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ImageError
from thumbnet.pictures import kinds
from thumbnet.pictures.exif import BITS, BROKEN, COLOURS, DNG, EXTRA, FORMAT, PAGE, PARTS, SAMPLES, Turn
from thumbnet.pictures.header import Header, read_header
from thumbnet.pictures.kinds import CAMERA_RAW, READABLE, looks_like
from thumbnet.pictures.opencv import MAX_PIXELS as MAX_PIXELS

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)

# A JPEG decoded smaller keeps a shorter side of this many times the square's; benchmarks/reduced.py.
REDUCED_MARGIN = 16
# OpenCV does not turn pictures here: 4.12 misses EXIF behind XMP and in WebP, and no version turns an AVIF, or any
# picture that is read with its transparency.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_AS_STORED = cv2.IMREAD_UNCHANGED  # BGR, BGRA or grey, of 8 or 16 bits
# By the factor of reduction. The flags with COLOR in their names mean BGR, and exclude RGB.
_REDUCED = {8: cv2.IMREAD_REDUCED_GRAYSCALE_8, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2}
_BLOCK = 2**18  # pixels processed at a time; a large picture in one go would take gigabytes
# By a TIFF's number for its colours: their name, the usual number of samples a pixel, and, by that number, the bits of
# a sample that OpenCV reads correctly.
_TIFFS: dict[int, tuple[str, int, dict[int, tuple[int, ...]]]] = {
    0: ("grey", 1, {1: (1, 4, 8, 10, 12, 14, 16)}),
    1: ("grey", 1, {1: (1, 4, 8, 10, 12, 14, 16)}),
    2: ("RGB", 3, {3: (8, 10, 12, 14, 16), 4: (8, 16)}),
    3: ("a palette", 1, {1: (1, 4, 8)}),
    5: ("CMYK", 4, {4: (8, 16)}),
    6: ("YCbCr", 3, {3: (8,)}),
    8: ("L*a*b*", 3, {}),
}
_SENSOR = (32803, 34892)  # the colours of a camera's sensor, in DNG and similar formats
_SORTS = {2: ", signed", 3: ", floating point"}  # by a TIFF's number for the kind of its numbers


def decode(data: bytes, least: int | None = None, max_pixels: int = MAX_PIXELS) -> RGB:
    """Decode a picture. Its bytes decide what it is, and never its name.

    The picture is as a browser shows it on a white page: upright, without transparency, the first frame of an
    animation. Colour profiles are not applied. docs/pictures.md lists the formats.

    Args:
        data: A picture file's whole content.
        least: Pixels a side of the square that the picture is for. A much larger JPEG may then be decoded at a half, a
            quarter or an eighth of its size, which is faster.
        max_pixels: The most pixels a picture may have; `MAX_PIXELS` at most.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        ImageError: The data is empty, not a picture, cut off, of an unreadable kind, or has more than `max_pixels`
            pixels. The header says how many, before memory is taken.
    """
    kind = kinds.kind(data)
    if not kind:
        raise ImageError(f"{looks_like(data)}; Thumbnet reads {READABLE}")
    try:
        header = read_header(kind, data)
        check_size(header, max_pixels)
        return _jpeg(data, header, least) if kind == "JPEG" else _READERS[kind](header.drawn or data, header)
    except (*BROKEN, cv2.error) as error:
        raise ImageError(
            f"this {kind} is broken or cut off, or of a rare kind. Save it again as PNG or JPEG"
        ) from error


def pixels(data: bytes) -> int:
    """How many pixels a picture's header claims, so what decoding it costs; 0 if the header is missing or broken."""
    try:
        width, height = read_header(kinds.kind(data), data).largest
    except BROKEN:
        return 0
    return width * height


# --- one reader a format ---


def _jpeg(data: bytes, header: Header, least: int | None) -> RGB:
    reduced = next((flag for by, flag in _REDUCED.items() if least and _may_shrink(header, by, least)), 0)
    return turned(_imdecode(data, _COLOUR | reduced), header.turn)


def _may_shrink(header: Header, by: int, least: int) -> bool:
    """Whether enough pixels remain, each for the same number of pixels, also around the middle that `crop` keeps."""
    width, height = header.width, header.height
    return min(width, height) >= by * REDUCED_MARGIN * least and not (
        width % by or height % by or (width - height) % (2 * by)
    )


def _png(data: bytes, header: Header) -> RGB:
    left, top, right, bottom = header.frame
    image = _imdecode(data, _AS_STORED if header.transparent else _COLOUR)
    rgb = on_white(image) if header.transparent else image
    if header.key is not None and image.ndim == 2:  # OpenCV ignores a transparent grey
        rgb[image == (header.key if header.bits >= 8 else header.key * (255 // (2**header.bits - 1)))] = 255
    if header.frame != (0, 0, header.width, header.height):
        canvas = np.full((header.height, header.width, 3), 255, np.uint8)
        canvas[top:bottom, left:right] = rgb  # a larger frame does not fit, which is an error
        rgb = canvas
    return turned(rgb, header.turn)


def _webp(data: bytes, header: Header) -> RGB:
    image = on_white(_imdecode(data, _AS_STORED)) if header.transparent else _imdecode(data, _COLOUR)
    return turned(image, header.turn)


def _avif(data: bytes, header: Header) -> RGB:
    if header.transparent:
        return turned(on_white(_imdecode(data, _AS_STORED), header.bits), header.turn)
    return turned(_imdecode(data, _COLOUR), header.turn)


def _gif(data: bytes, header: Header) -> RGB:
    image = on_white(_imdecode(data, _AS_STORED))
    left, top, right, bottom = header.frame
    for beside in (image[:top], image[bottom:], image[:, :left], image[:, right:]):
        beside[:] = 255  # nothing is drawn there; OpenCV uses the background colour, but no browser does
    return image


def _bmp(data: bytes, header: Header) -> RGB:
    if not header.masks:
        return _imdecode(data, _COLOUR)
    # OpenCV confuses the order of the colours, drops the lowest bits and ignores transparency.
    stride = (header.width * header.bits + 31) // 32 * 4  # bytes a row
    rows = np.frombuffer(data, np.uint8, stride * header.height, header.start).reshape(header.height, stride)
    pixels = rows[:, : header.width * header.bits // 8].view(f"<u{header.bits // 8}")  # (H, W)
    image = np.full((header.height, header.width, 4), 255, np.uint8)  # BGRA
    for block in _blocks(image):
        for channel, mask in zip((2, 1, 0, 3), header.masks, strict=True):
            if mask or channel < 3:
                image[block][..., channel] = _masked(pixels[block], mask)
    return on_white(image if header.top_down else image[::-1])


def _tiff(data: bytes, header: Header) -> RGB:
    tags = header.tags
    colours, bits, samples, sort = (tags.get(tag, (1,))[0] for tag in (COLOURS, BITS, SAMPLES, FORMAT))
    if colours in _SENSOR or DNG in tags or (tags.get(PAGE, (0,))[0] & 1 and PARTS in tags):
        raise ImageError(f"this is {CAMERA_RAW}; Thumbnet reads {READABLE}")
    name, usual, readable = _TIFFS.get(colours, (f"colours of the kind {colours}", samples, {}))
    if bits not in readable.get(samples, ()) or sort not in (1, 4):  # 1: unsigned, 4: unknown
        number = f", {samples} samples a pixel" if samples != usual else ""
        raise ImageError(
            "expected a TIFF of grey, RGB or CMYK in 8 or 16 bits, "
            f"got {name} of {bits} bits{number}{_SORTS.get(sort, '')}. Save it again as PNG or JPEG"
        )
    if bits in (10, 12, 14):  # OpenCV shifts these to the upper end of 16
        rgb = on_white(_imdecode(data, _AS_STORED))
        return rgb if colours else 255 - rgb  # 0: the lowest number is white
    extra = tags.get(EXTRA, (0,))[0]
    if samples == 4 and colours == 2 and extra in (1, 2):
        # 1: already multiplied by the alpha. 2 is not, but libtiff multiplies samples of 8 bits.
        return on_white(_imdecode(data, _AS_STORED), multiplied=extra == 1 or bits == 8)
    return _imdecode(data, _COLOUR)


def _jpeg2000(data: bytes, header: Header) -> RGB:
    if header.channels not in (1, 3, 4) or header.bits < 8 or header.space not in (0, 16, 17):
        raise ImageError(
            "expected a JPEG 2000 of grey, RGB or RGB with transparency, got another kind. Save it again as PNG or JPEG"
        )
    return on_white(_imdecode(data, _AS_STORED), header.bits)


def _pnm(data: bytes, header: Header) -> RGB:
    if header.variant in (1, 4) or (header.variant in (2, 3) and header.most < 256):
        return _imdecode(data, _COLOUR)
    # OpenCV takes 255 or 65,535 for white, whatever the header says.
    shape = header.height, header.width, 3 if header.variant in (3, 6) else 1
    if header.variant in (2, 3):
        image = _imdecode(data, _AS_STORED).reshape(shape)[..., ::-1]
    else:
        numbers = np.dtype(np.uint8 if header.most < 256 else ">u2")
        image = np.frombuffer(data, numbers, shape[0] * shape[1] * shape[2], header.start).reshape(shape)
    levels = _levels(header.most)
    rgb = np.empty((*shape[:2], 3), np.uint8)
    for block in _blocks(rgb):
        rgb[block] = levels[np.minimum(image[block], header.most)]
    return rgb


# By the names that `kinds.kind` gives. The one for JPEG takes one more argument.
_READERS: dict[str, Callable[[bytes, Header], RGB]] = {
    "PNG": _png, "WebP": _webp, "AVIF": _avif, "GIF": _gif, "BMP": _bmp, "TIFF": _tiff, "JPEG 2000": _jpeg2000,
    "PPM": _pnm,
}  # fmt: skip


# --- shared by the readers ---


def check_size(header: Header, max_pixels: int) -> None:
    """Reject a picture without pixels or with too many, before memory is taken and whatever OpenCV's own limit is."""
    if header.width < 1 or header.height < 1:
        raise ValueError("no pixels")
    width, height = header.largest
    if width * height > max_pixels:
        raise ImageError(
            f"the picture is larger than {max_pixels / 1e6:.3g} megapixels: {width} × {height}. Make it smaller first"
        )


def _imdecode(data: bytes, flags: int) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError("not decoded")
    return image


def turned(image: RGB, turn: Turn) -> RGB:
    """The picture upright: uint8 `(H, W, 3)` → `(H, W, 3)`, or `(W, H, 3)`."""
    quarters, mirrored = turn
    if quarters:  # 1, 2, 3 anticlockwise → OpenCV's 2, 1, 0
        image = np.asarray(cv2.rotate(image, 3 - quarters), np.uint8)
    return np.asarray(cv2.flip(image, 1), np.uint8) if mirrored else image


def on_white(image: NDArray[Any], bits: int = 16, multiplied: bool = False) -> RGB:
    """Grey `(H, W)`, BGR or BGRA, uint8 or uint16 → RGB.

    Samples of 16 bits keep their upper 8, as in browsers.

    Args:
        image: As OpenCV decodes it.
        bits: Of a value in uint16.
        multiplied: Whether the colours are already multiplied by the alpha.
    """
    rgb = np.empty((*image.shape[:2], 3), np.uint8)
    for block in _blocks(rgb):
        part = image[block] if image.dtype == np.uint8 else (image[block] >> (bits - 8)).astype(np.uint8)
        if part.ndim == 2:
            rgb[block] = part[..., None]
            continue
        colours = cv2.cvtColor(part, cv2.COLOR_BGRA2RGB if part.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        if part.shape[2] == 4:
            alpha = cv2.merge([part[..., 3]] * 3)
            if multiplied:
                colours = cv2.add(colours, 255 - alpha)  # saturates at 255
            else:
                # n / 255 is (n + 128 + (n + 128) / 256) / 256 for all possible n: a test tries them.
                n = np.asarray(cv2.multiply(colours, alpha, dtype=cv2.CV_16U), np.uint16)
                n += 255 * 255 + 128 - np.multiply(alpha, 255, dtype=np.uint16)
                colours = (n + (n >> 8)) >> 8
        rgb[block] = colours
    return rgb


def _blocks(image: NDArray[Any]) -> Iterator[slice]:
    """Rows of `(H, W, …)`, about `_BLOCK` pixels at a time."""
    height, width = image.shape[:2]
    rows = max(1, _BLOCK // width)
    return (slice(top, top + rows) for top in range(0, height, rows))


def _levels(most: int) -> NDArray[np.uint8]:
    """0 … `most` → 0 … 255, uint8 `(most + 1,)`."""
    return np.asarray(np.rint(np.arange(most + 1) * (255 / most)), np.uint8)


def _masked(pixels: NDArray[Any], mask: int) -> NDArray[Any] | int:
    """The value in the bits of `mask`, scaled to 0 to 255. Without bits, 0."""
    if not mask:
        return 0
    shift = (mask & -mask).bit_length() - 1
    values, bits = (pixels & mask) >> shift, (mask >> shift).bit_length()
    return values >> (bits - 8) if bits > 8 else _levels(2**bits - 1)[values]
