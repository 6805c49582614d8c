"""Estimates from a picture's header what decoding the picture takes."""

from typing import NamedTuple

from thumbnet.pictures.exif import BROKEN
from thumbnet.pictures.header import read_header
from thumbnet.pictures.kinds import kind

# The most bytes that decoding takes for each pixel, measured with OpenCV 5.0: its own arrays, those of the libraries
# below it, and ours. The dearest pictures are JPEG with four colours in many scans, PNG of 16 bits with transparency,
# AVIF of 10 bits with transparency, and JPEG 2000 with four channels.
BYTES_A_PIXEL = {"JPEG": 12, "AVIF": 44, "JPEG 2000": 32, "TIFF": 20}
DEEP_PNG, OTHERS = 20, 12


class Cost(NamedTuple):
    """The cost of one picture. Each byte also stands for about two nanoseconds of one core."""

    pixels: int
    bytes_a_pixel: int

    @property
    def weight(self) -> int:
        """The bytes that decoding takes."""
        return self.pixels * self.bytes_a_pixel


def cost(content: bytes) -> Cost:
    """What decoding a picture takes. Bytes that are no picture cost nothing, nor does a broken header."""
    found = kind(content)
    try:
        header = read_header(found, content)
    except BROKEN:
        return Cost(0, OTHERS)
    width, height = header.largest
    deep = found == "PNG" and header.bits == 16 and header.transparent
    return Cost(width * height, DEEP_PNG if deep else BYTES_A_PIXEL.get(found, OTHERS))
