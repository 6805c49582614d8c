"""A picture → the square that a network sees."""

from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.pictures.decode import REDUCED_MARGIN, RGB, decode

Framing: TypeAlias = Literal["stretch", "crop", "centre", "soft-centre"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
CLOSER = 5 / 8  # of each side: the middle of a large picture, which `views` shows too; docs/experiments.md
# A blur by half a pixel (a variance of 2/8 of a pixel²), in eighths: whole numbers give the same sum in any language.
_SOFT = np.array([1, 6, 1], np.float32)


def square(data: bytes, size: int, framing: Framing) -> RGB:
    """A picture file's bytes → uint8 `(size, size, 3)`, RGB, as training, evaluation and prediction see it.

    Args:
        data: A picture file's whole content.
        size: Pixels a side.
        framing: Which part of the picture is taken; see `region`.

    Raises:
        ImageError: As `decode` raises it.
    """
    return resize(decode(data, least=size), size, framing)


def resize(image: RGB, size: int, framing: Framing) -> RGB:
    """`image` as a square of `size` pixels a side: uint8 `(H, W, 3)` → `(size, size, 3)`.

    Args:
        image: Any picture.
        size: Pixels a side.
        framing: Which part of the picture is taken; see `region`. A part that is not square changes its shape.
            `soft-centre` also blurs by half a pixel if the part shrinks to a half or less: CIFAR-10's pictures are
            about as soft, and averages of areas are sharper (docs/pictures.md).
    """
    height, width, _ = image.shape
    top, left, bottom, right = region(height, width, size, framing)
    image = image[top:bottom, left:right]
    # To shrink, area averaging uses every pixel; bilinear from 4,000 to 32 would look at one in a hundred. To enlarge,
    # it would leave blocks.
    shrinks = image.shape[0] > size or image.shape[1] > size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if framing == "soft-centre" and min(image.shape[:2]) >= 2 * size:
        sums = np.asarray(cv2.sepFilter2D(resized, cv2.CV_16S, _SOFT, _SOFT, borderType=cv2.BORDER_REPLICATE), np.int16)
        return ((sums + 32) >> 6).astype(np.uint8)
    return np.asarray(resized, np.uint8)


def views(image: RGB, size: int, framing: Framing) -> NDArray[np.uint8]:
    """The squares that stand for a picture: uint8 `(H, W, 3)` → `(1 or 2, S, S, 3)`.

    A small picture has one. A large one has two: the whole and the middle, as pictures of their own. For these,
    `soft-centre` becomes `stretch`: the middle is shown anyway, and sharp squares tell better what is foreign
    (docs/experiments.md).

    Args:
        image: Any picture. It is large if its `CLOSER` middle has twice the square's side each way.
        size: Pixels a side, S.
        framing: Which part of the picture, and of its middle, is taken, as for `resize`.
    """
    height, width, _ = image.shape
    if min(height, width) * CLOSER < 2 * size:
        return resize(image, size, framing)[None]
    top, left = (round(length * (1 - CLOSER) / 2) for length in (height, width))
    middle = image[top : height - top, left : width - left]
    sharp: Framing = "stretch" if framing == "soft-centre" else framing
    return np.stack([resize(part, size, sharp) for part in (image, middle)])


def region(height: int, width: int, size: int, framing: Framing) -> tuple[int, int, int, int]:
    """The part of a picture that becomes a square of `size` pixels a side: top, left, bottom, right, in pixels.

    `stretch` takes the whole picture, and `crop` the largest square in its middle. Both centres take the middle seven
    eighths of each side, because people leave room around what they photograph. They take a picture whole if less than
    `size` pixels a side would remain: somebody has cropped it already.
    """
    centre = framing in ("centre", "soft-centre")
    if framing == "stretch" or (centre and min(height, width) * 7 < size * 8):
        return 0, 0, height, width
    if centre:
        top, left = _room(height, size), _room(width, size)
        return top, left, height - top, width - left
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return top, left, top + side, left + side


def _room(side: int, size: int) -> int:
    """A sixteenth of a side, in pixels; for a large picture, in steps that its JPEG has too when decoded smaller."""
    step = 1 << max(0, (side // (REDUCED_MARGIN * size)).bit_length() - 1)
    return step * (side // (16 * step))
