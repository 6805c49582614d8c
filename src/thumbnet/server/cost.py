"""What decoding a picture takes, by what its file says of itself."""

from typing import NamedTuple

from thumbnet.pictures.exif import BROKEN
from thumbnet.pictures.header import read_header
from thumbnet.pictures.kinds import kind

# At most, measured with OpenCV 5.0: its own arrays, the library's below it and ours. JPEG with four colours in many
# scans, PNG of 16 bits, AVIF of 10 bits with transparency, JPEG 2000 with four channels take most.
BYTES_A_PIXEL = {"JPEG": 12, "AVIF": 44, "JPEG 2000": 32, "TIFF": 20}
DEEP_PNG, OTHERS = 20, 12


class Cost(NamedTuple):
    """Of one picture. Each byte is about half a nanosecond of one core, too."""

    pixels: int
    bytes_a_pixel: int

    @property
    def weight(self) -> int:
        """Bytes."""
        return self.pixels * self.bytes_a_pixel


def cost(content: bytes) -> Cost:
    """What decoding takes. What is no picture, or a broken one, takes nothing."""
    found = kind(content)
    try:
        header = read_header(found, content)
    except BROKEN:
        return Cost(0, OTHERS)
    width, height = header.largest
    deep = found == "PNG" and header.bits == 16 and header.transparent
    return Cost(width * height, DEEP_PNG if deep else BYTES_A_PIXEL.get(found, OTHERS))
