"""Bytes → RGB array, and RGB array → the square that a network takes. The one decoder of training and prediction."""

import os
from typing import Literal, TypeAlias, get_args

# OpenCV reads these variables once, when it is loaded. By this one it refuses larger pictures from their header alone.
# Its own default, 2**30, would let a picture of a few megabytes take 3 GiB.
MAX_PIXELS = 2**27
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
# What is wrong with a picture is told by an exception, and not by lines on standard error too.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from thumbnet.errors import ImageError  # noqa: E402

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
Fit: TypeAlias = Literal["stretch", "crop"]
FITS: tuple[Fit, ...] = get_args(Fit)
READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000 and PPM"


def decode(data: bytes) -> RGB:
    """The picture in `data`, whatever its name said: the bytes decide.

    Args:
        data: A picture file's whole content. Of an animation the first frame counts; EXIF rotation is applied.

    Returns:
        uint8 `(H, W, 3)`, RGB.

    Raises:
        ImageError: Nothing in it, no picture, a truncated one, or more than `MAX_PIXELS` pixels.
    """
    if not data:
        raise ImageError("expected a picture, got 0 bytes")
    too_large = f"the picture is broken, or larger than {MAX_PIXELS / 1e6:.0f} megapixels"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # an announced size that is beyond the limit, before memory is taken
        raise ImageError(too_large) from error
    if image is None:
        raise ImageError(f"{_looks_like(data)}; read are {READABLE}")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:  # somebody else loaded OpenCV before, so its limit is a higher one
        raise ImageError(too_large)
    return np.asarray(image, np.uint8)


def resize(image: RGB, size: int, fit: Fit) -> RGB:
    """`image` as a square of `size` pixels a side: uint8 `(H, W, 3)` → `(size, size, 3)`.

    Args:
        image: Any picture.
        size: Pixels a side.
        fit: What happens to a picture that is not square: `stretch` changes its shape, `crop` keeps the middle.
    """
    if fit == "crop":
        height, width, _ = image.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]  # (side, side, 3)
    # Area averaging uses every pixel when it shrinks; bilinear from 4,000 to 32 would look at one in a hundred.
    # Enlarging, it would leave blocks.
    shrinks = image.shape[0] > size or image.shape[1] > size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _looks_like(data: bytes) -> str:
    """A guess, for a person, of what these undecodable bytes are."""
    start = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "this is a web page (HTML), not a picture"
    if start.startswith((b"<svg", b"<?xml")):
        return "this is SVG or XML, which is drawn and not decoded"
    if start.startswith(b"%pdf"):
        return "this is a PDF"
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return "this is a HEIC picture"
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")):
        return "the picture is broken or cut off"
    return "these bytes are no picture"
