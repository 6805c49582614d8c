"""A picture → the square that a network sees."""

from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.pictures.decode import REDUCED_MARGIN, RGB, decode

Framing: TypeAlias = Literal["stretch", "crop", "centre", "soft-centre"]
FRAMINGS: tuple[Framing, ...] = get_args(Framing)
CLOSER = 5 / 8  # of each side: the middle of a large picture, which is looked at too; docs/experiments.md
# A blur by half a pixel (a variance of 2/8 of a pixel²), in eighths: whole numbers, which any language adds up alike.
_SOFT = np.array([1, 6, 1], np.float32)


def square(data: bytes, size: int, framing: Framing) -> RGB:
    """A picture file's bytes → uint8 `(size, size, 3)`, RGB: the way of training, evaluation and prediction.

    Args:
        data: A picture file's whole content.
        size: Pixels a side.
        framing: What of it is taken, as `region` says.

    Raises:
        ImageError: What `decode` raises it for.
    """
    return resize(decode(data, least=size), size, framing)


def resize(image: RGB, size: int, framing: Framing) -> RGB:
    """`image` as a square of `size` pixels a side: uint8 `(H, W, 3)` → `(size, size, 3)`.

    Args:
        image: Any picture.
        size: Pixels a side.
        framing: What of it is taken, as `region` says. What is not square changes its shape. `soft-centre` also blurs
            by half a pixel what it shrinks to a half or less: CIFAR-10's pictures are about as soft, and averages of
            areas are sharper (docs/pictures.md).
    """
    height, width, _ = image.shape
    top, left, bottom, right = region(height, width, size, framing)
    image = image[top:bottom, left:right]
    # Area averaging uses every pixel when it shrinks; bilinear from 4,000 to 32 would look at one in a hundred.
    # Enlarging, it would leave blocks.
    shrinks = image.shape[0] > size or image.shape[1] > size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if framing == "soft-centre" and min(image.shape[:2]) >= 2 * size:
        sums = np.asarray(cv2.sepFilter2D(resized, cv2.CV_16S, _SOFT, _SOFT, borderType=cv2.BORDER_REPLICATE), np.int16)
        return ((sums + 32) >> 6).astype(np.uint8)
    return np.asarray(resized, np.uint8)


def views(image: RGB, size: int, framing: Framing) -> NDArray[np.uint8]:
    """What is looked at of a picture: uint8 `(H, W, 3)` → `(1 or 2, S, S, 3)`.

    Of a small one its square; of a large one the whole and the middle, as pictures of their own. `soft-centre` becomes
    `stretch` for these: a middle is looked at anyway, and sharp squares tell what is foreign better
    (docs/experiments.md).

    Args:
        image: Any picture. It is large if its `CLOSER` middle has twice the square's side each way.
        size: Pixels a side, S.
        framing: What of it, and of its middle, is taken, as for `resize`.
    """
    height, width, _ = image.shape
    if min(height, width) * CLOSER < 2 * size:
        return resize(image, size, framing)[None]
    top, left = (round(length * (1 - CLOSER) / 2) for length in (height, width))
    middle = image[top : height - top, left : width - left]
    sharp: Framing = "stretch" if framing == "soft-centre" else framing
    return np.stack([resize(part, size, sharp) for part in (image, middle)])


def region(height: int, width: int, size: int, framing: Framing) -> tuple[int, int, int, int]:
    """What of a picture becomes a square of `size` pixels a side: top, left, bottom, right, in pixels.

    `stretch` takes all of it, `crop` the largest square in the middle, and both centres the middle seven eighths of
    each side: people leave room around what they photograph. A small picture, from which that would not leave `size`
    pixels a side, was cropped by somebody already and is taken whole.
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
    """A sixteenth of a side, in pixels; of a large picture in steps that its JPEG decoded smaller has too."""
    step = 1 << max(0, (side // (REDUCED_MARGIN * size)).bit_length() - 1)
    return step * (side // (16 * step))
