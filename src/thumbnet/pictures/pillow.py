"""A picture opened by Pillow → RGB array, as its file would be decoded. Pillow itself is not imported."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from thumbnet.errors import ImageError
from thumbnet.pictures.decode import MAX_PIXELS, RGB, check_size, on_white, turned
from thumbnet.pictures.exif import ORIENTATION, TURNS, UPRIGHT
from thumbnet.pictures.header import Header
from thumbnet.text import one_line

_WITH_ALPHA = ("LA", "PA", "RGBA", "RGBa")


class Pillow(Protocol):
    """The part of `PIL.Image.Image` that is used here."""

    @property
    def mode(self) -> str:
        """How a pixel is stored, such as `RGB`."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""

    @property
    def info(self) -> Mapping[Any, Any]:
        """Other information from the file."""

    def convert(self, mode: str, /) -> Any:
        """The same in another mode."""

    def getexif(self) -> Any:
        """The tags of EXIF, by their numbers."""


def from_pillow(image: Pillow, max_pixels: int = MAX_PIXELS) -> RGB:
    """A picture, upright and on white: uint8 `(H, W, 3)`, RGB.

    Args:
        image: Of any mode except `F` and `I`, whose white is unknown.
        max_pixels: The most pixels that it may have.

    Raises:
        ImageError: The picture is too large or of another mode, or its file is broken: Pillow reads it only now.
    """
    if image.mode in ("F", "I"):
        raise ImageError(f"expected a PIL picture of 8 or 16 bits, got the mode {image.mode}. Convert it to RGB first")
    try:
        check_size(Header(*image.size), max_pixels)
        if image.mode.startswith("I;16"):  # Pillow's conversion would cut it off at 255
            rgb = on_white(np.asarray(image).astype(np.uint16))
        elif image.mode in _WITH_ALPHA or "transparency" in image.info:
            rgb = on_white(np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]])
        else:
            rgb = np.array(image.convert("RGB"))
        return turned(rgb, TURNS.get(image.getexif().get(ORIENTATION), UPRIGHT))
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"this PIL picture cannot be read: {one_line(str(error))}. Save it again as PNG") from error
