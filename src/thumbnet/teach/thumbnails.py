"""Small JPEGs of pictures, by their content: made once, and kept in the folder."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ImageError, ThumbnetError
from thumbnet.files import write_atomically
from thumbnet.pictures.decode import MAX_PIXELS, REDUCED_MARGIN, RGB, decode
from thumbnet.pictures.framing import resize
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.server.cost import cost

SIDE = 160  # pixels of a thumbnail's longer side, at most
LARGE = 1024  # likewise, of a picture that is looked at
QUALITY = 85
DECODING = 288 * 2**20  # bytes that decoding may take at a time; a heavier picture is decoded alone


class Thumbnails:
    """Those of one folder. Threads may share them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = WeightedSemaphore(DECODING)

    def decoded(self, content: bytes, side: int, most: int = MAX_PIXELS) -> RGB:
        """A picture with at least `side` pixels a side, if it has them: uint8 `(H, W, 3)`.

        Raises:
            ImageError: It cannot be read, or its header claims more than `most` pixels.
        """
        with self.memory(content):
            return decode(content, least=max(1, side // REDUCED_MARGIN), max_pixels=most)

    def memory(self, content: bytes) -> contextlib.AbstractContextManager[None]:
        """Wait for the memory that decoding a picture takes, and hold it."""
        return self._memory.take(cost(content).weight)

    def keep(self, key: str, image: RGB) -> bytes:
        """Make the thumbnail of a picture and keep it. Without room on the disk, it is made again next time."""
        made = jpeg(image, SIDE)
        with contextlib.suppress(OSError, ThumbnetError), write_atomically(self._path(key)) as file:
            file.write(made)
        return made

    def kept(self, key: str) -> bytes | None:
        """A thumbnail that is there."""
        with contextlib.suppress(OSError):
            return self._path(key).read_bytes()
        return None

    def square(self, key: str, read: Callable[[], bytes], side: int) -> NDArray[np.uint8]:
        """A picture's thumbnail as a square, uint8 `(side, side, 3)`.

        Args:
            key: The picture's.
            read: Gives its bytes, if there is no thumbnail yet.
            side: Pixels.

        Raises:
            ImageError: It cannot be read.
        """
        if (kept := self.kept(key)) is not None:
            with contextlib.suppress(ImageError):  # a damaged one is made again
                return resize(decode(kept), side, "stretch")
        return resize(decode(self.keep(key, self.decoded(read(), SIDE))), side, "stretch")

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.jpg"


def jpeg(image: RGB, side: int) -> bytes:
    """A picture whose longer side has at most `side` pixels."""
    height, width, _ = image.shape
    scale = min(1.0, side / max(height, width))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
