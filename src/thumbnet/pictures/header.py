"""A picture file's bytes → what its header claims. Nothing is decoded here, and no claim is trusted.

The readers find what OpenCV does not report, or not in every version: the size, before memory is taken for it, which
way is up, and what is transparent. Each takes a whole file of its format, and raises one of `BROKEN` if it cannot.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from thumbnet.pictures.exif import (
    BITS,
    COLOURS,
    HEIGHT,
    MOST_PARTS,
    PALETTE,
    SAMPLES,
    TILE_HEIGHT,
    TILE_WIDTH,
    UPRIGHT,
    WIDTH,
    Turn,
    combined,
    exif_turn,
    first_directory,
    read_tags,
)

MOST_SCANS = 100  # of a JPEG; 1 to 20 are usual. Each, of 95 bytes, can cost as much time as decoding the whole picture
Frame: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the canvas
_MARKER = re.compile(rb"\xff([\x01-\xfe])")  # of a JPEG
_ALONE = {0x01, *range(0xD0, 0xD9)}  # JPEG markers without a segment
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers that give the size
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
# A PNM's magic, width, height and, except for bitmaps, largest value. Comments may stand between them.
_GAP = rb"(?:\s|#[^\n\r]*[\n\r])+"
_PNM = _GAP.join([rb"P[14]", rb"(\d{1,9})", rb"(\d{1,9})\s"])
_PNM_WITH_MOST = _GAP.join([rb"P[2356]", rb"(\d{1,9})", rb"(\d{1,9})", rb"(\d{1,5})\s"])


class Header(NamedTuple):
    """What a file's header claims. A field that the format lacks keeps its default.

    Attributes:
        width: Pixels, before `turn`. The largest tile's in a TIFF, and the largest part's in an AVIF, if that is more.
        height: As `width`.
        turn: Turns the picture upright.
        bits: Of a sample; in a BMP, of a pixel.
        transparent: Whether some pixels are not opaque, or may not be, because the picture is animated.
        key: The one transparent grey of a PNG.
        frame: Where the first frame of a PNG or a GIF lies on the canvas.
        drawn: What is decoded instead of the file, if not empty. For a PNG, a plain one of the picture or of the
            animation's first frame: without text and profiles, since 1.5 MB of these can take 13 s to unpack, and
            without the animation, since its faults crash OpenCV 5.0. For a TIFF of grey in 4 bits, one with a palette.
        masks: The bits of red, green, blue and alpha in a pixel of a BMP of 16 or 32 bits.
        top_down: Whether a BMP begins with its upper row.
        start: Where the pixels of a BMP or a PNM begin.
        tags: A TIFF's whole numbers.
        channels: Of a JPEG 2000.
        space: A JP2's colour space: 16 sRGB, 17 grey, 0 if it has no number. Others are not read.
        variant: A PNM's number: 1 to 3 are bits, grey and RGB as text, 4 to 6 the same in binary.
        most: A PNM's value for white.
    """

    width: int
    height: int
    turn: Turn = UPRIGHT
    bits: int = 8
    transparent: bool = False
    key: int | None = None
    frame: Frame = (0, 0, 0, 0)
    drawn: bytes = b""
    masks: tuple[int, ...] = ()
    top_down: bool = False
    start: int = 0
    tags: Mapping[int, tuple[int, ...]] = MappingProxyType({})
    channels: int = 3
    space: int = 0
    variant: int = 0
    most: int = 255

    @property
    def largest(self) -> tuple[int, int]:
        """Width and height of the largest array that decoding makes: the canvas, or a larger frame."""
        left, top, right, bottom = self.frame
        return max((self.width, self.height), (right - left, bottom - top), key=lambda size: size[0] * size[1])


def jpeg(data: bytes) -> Header:
    """A JPEG, up to its first scan."""
    turn, frame, at = UPRIGHT, None, 2
    for _ in range(MOST_PARTS):
        if (found := _MARKER.search(data, at)) is None:
            break
        marker, at = found[1][0], found.end()
        if marker in _ALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _FRAMES and frame is None:
            frame = marker, *struct.unpack_from(">HHB", data, at + 3)  # height, width, components
        elif marker == 0xE1 and turn == UPRIGHT and data[at + 2 : at + 8] == b"Exif\0\0":
            turn = exif_turn(data[at + 8 : at + length])
        elif marker == 0xDA and frame is not None:
            several = frame[0] in _PROGRESSIVE or data[at + 2] < frame[3]
            if several and data.count(b"\xff\xda", at) >= MOST_SCANS:
                raise ValueError("too many scans")
            return Header(frame[2], frame[1], turn)
        if length < 2:
            break
        at += length
    raise ValueError("no frame")


def png(data: bytes) -> Header:
    """A PNG, to its end: a cut-off file has a chunk that goes beyond the end, or lacks the last one."""
    width, height, bits, colours = struct.unpack_from(">IIBB", data, 16)
    chunks = _png_chunks(data)
    key, turn, frame = None, UPRIGHT, (0, 0, width, height)
    transparent = colours in (4, 6)  # grey or RGB, both with alpha
    view = memoryview(data)
    # The names of critical chunks begin with a capital.
    drawn = [view[:8], *(view[at - 8 : end + 4] for kind, at, end in chunks if kind[0] < 0x60 or kind == b"tRNS")]
    for kind, at, end in chunks:
        if kind == b"tRNS":
            transparent = True
            if colours == 0:
                (key,) = struct.unpack_from(">H", data, at)
        elif kind == b"eXIf":
            turn = exif_turn(data[at:end])
    kinds = [kind for kind, _, _ in chunks]
    pixels = kinds.index(b"IDAT")
    if b"acTL" in kinds[:pixels] and b"fcTL" not in kinds[:pixels] and b"fcTL" in kinds:
        frame, drawn = _png_frame(view, chunks, kinds.index(b"fcTL"))
    return Header(width, height, turn, bits, transparent, key, frame, b"".join(drawn))


def webp(data: bytes) -> Header:
    """A WebP of any kind: lossy, lossless, or extended, which holds either and more."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, 21)
        return Header((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1, transparent=bool(packed >> 28 & 1))
    if kind != b"VP8X":
        raise ValueError("unknown kind of WebP")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    turn = next((exif_turn(data[at:end]) for kind, at, end in _riff_chunks(data) if kind == b"EXIF"), UPRIGHT)
    return Header(width, height, turn, transparent=bool(data[20] & 0x12))  # alpha, animation


def avif(data: bytes) -> Header:
    """An AVIF: the properties of its primary item."""
    meta = _inside(data, b"meta", 0, len(data))
    at, end = meta[0] + 4, meta[1]
    primary_at = _inside(data, b"pitm", at, end)[0]
    primary = struct.unpack_from(">I" if data[primary_at] else ">H", data, primary_at + 4)[0]
    properties = _inside(data, b"iprp", at, end)
    boxes = list(_boxes(data, *_inside(data, b"ipco", *properties)))
    sizes = [struct.unpack_from(">II", data, start + 4) for kind, start, _ in boxes if kind == b"ispe"]
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    codecs = [data[start + 2] for kind, start, _ in boxes if kind == b"av1C"]
    transparent = any(kind == b"auxC" and b":alpha" in data[start:end] for kind, start, end in boxes)
    turn = UPRIGHT
    for index in _of_item(data, _inside(data, b"ipma", *properties)[0], primary):
        kind, start, _ = boxes[index - 1]
        if kind == b"irot":
            turn = combined(turn, (data[start] & 3, False))
        elif kind == b"imir":  # 0: upside down, which is half a turn, mirrored; 1: left to right
            turn = combined(turn, (0 if data[start] & 1 else 2, True))
    return Header(width, height, turn, 8 + 2 * bool(codecs[0] & 0x40) + 2 * bool(codecs[0] & 0x20), transparent)


def gif(data: bytes) -> Header:
    """A GIF, up to its first frame."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)  # after the palette
    in_extension = False
    for _ in range(MOST_PARTS):
        if in_extension:  # its blocks, each after its length; the last has the length 0
            in_extension, at = data[at] > 0, at + 1 + data[at]
        elif data[at] == 0x2C:
            left, top, wide, high = struct.unpack_from("<HHHH", data, at + 1)
            return Header(width, height, frame=(left, top, left + wide, top + high))
        elif data[at] == 0x21:
            in_extension, at = True, at + 2
        else:
            break
    raise ValueError("no frame")


def bmp(data: bytes) -> Header:
    """A BMP of Windows or OS/2."""
    start, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        return Header(width, height, bits=bits, start=start)
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    masks: tuple[int, ...] = ()
    if bits in (16, 32) and packing == 0:
        masks = (0x7C00, 0x3E0, 0x1F, 0) if bits == 16 else (0xFF0000, 0xFF00, 0xFF, 0)
    elif bits in (16, 32) and packing in (3, 6):
        alpha = struct.unpack_from("<I", data, 66) if size >= 56 or packing == 6 else (0,)
        masks = (*struct.unpack_from("<III", data, 54), *alpha)
    return Header(width, abs(height), bits=bits, masks=masks, top_down=height < 0, start=start)


def tiff(data: bytes) -> Header:
    """A TIFF: the tags of its first page."""
    tags = read_tags(data)
    width, height = tags[WIDTH][0], tags[HEIGHT][0]
    tile = tags.get(TILE_WIDTH, (0,))[0], tags.get(TILE_HEIGHT, (0,))[0]
    colours, bits, samples = (tags.get(tag, (1,))[0] for tag in (COLOURS, BITS, SAMPLES))
    drawn = _with_palette(data, colours) if bits == 4 and samples == 1 and colours in (0, 1) else b""
    return Header(*max((width, height), tile, key=lambda size: size[0] * size[1]), tags=tags, drawn=drawn)


def jpeg2000(data: bytes) -> Header:
    """A JPEG 2000: a codestream, or the JP2 file around one."""
    at, space = 0, 0
    if data[4:8] == b"jP  ":
        boxes = {kind: (start, end) for kind, start, end in reversed(list(_boxes(data, 0, len(data))))}
        at = boxes[b"jp2c"][0]
        colour = _inside(data, b"colr", *boxes[b"jp2h"])[0]
        if data[colour] == 1:
            (space,) = struct.unpack_from(">I", data, colour + 3)
    if data[at : at + 4] != b"\xff\x4f\xff\x51":
        raise ValueError("no codestream")
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
    channels, bits = struct.unpack_from(">HB", data, at + 40)
    return Header(right - left, bottom - top, bits=(bits & 0x7F) + 1, channels=channels, space=space)


def pnm(data: bytes) -> Header:
    """A PBM, PGM or PPM, as text or in binary."""
    if (found := re.match(_PNM if data[1] in b"14" else _PNM_WITH_MOST, data)) is None:
        raise ValueError("no size")
    width, height, most = (int(number) for number in (*found.groups(), b"1")[:3])
    if not most:
        raise ValueError("no levels")
    return Header(width, height, start=found.end(), variant=data[1] - 0x30, most=most)


_READERS: dict[str, Callable[[bytes], Header]] = {  # by the names that `kinds.kind` gives
    "JPEG": jpeg, "PNG": png, "WebP": webp, "AVIF": avif, "GIF": gif, "BMP": bmp, "TIFF": tiff, "JPEG 2000": jpeg2000,
    "PPM": pnm,
}  # fmt: skip


def read_header(kind: str, data: bytes) -> Header:
    """The header of a whole file of this kind.

    Raises:
        One of `BROKEN`: The file is of another kind, or broken, or the kind is unknown.
    """
    return _READERS[kind](data)


def _png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """The name, start and end of the content of each chunk of a whole PNG."""
    chunks, at = [], 8
    for _ in range(MOST_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        chunks.append((kind, at + 8, at + 8 + length))
        if kind == b"IEND":
            return chunks
        at += 12 + length
    raise ValueError("no end")


def _png_frame(data: memoryview, chunks: list[tuple[bytes, int, int]], first: int) -> tuple[Frame, list[memoryview]]:
    """Where the frame lies whose `fcTL` is chunk `first`, and a PNG of it alone."""
    wide, high, left, top = struct.unpack_from(">IIII", data, chunks[first][1] + 4)
    header = struct.pack(">II", wide, high) + bytes(data[chunks[0][1] + 8 : chunks[0][2]])
    pixels = []
    for kind, at, end in chunks[first + 1 :]:
        if kind != b"fdAT":
            break
        pixels.append(data[at + 4 : end])
    colours = [data[at - 8 : end + 4] for kind, at, end in chunks[:first] if kind in (b"PLTE", b"tRNS")]
    parts = [data[:8], _png_chunk(b"IHDR", header), *colours, _png_chunk(b"IDAT", b"".join(pixels))]
    return (left, top, left + wide, top + high), [*parts, _png_chunk(b"IEND", b"")]


def _png_chunk(kind: bytes, content: bytes) -> memoryview:
    import zlib  # 0.4 ms, for a rare animation

    return memoryview(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


def _with_palette(data: bytes, colours: int) -> bytes:
    """A TIFF of grey in 4 bits, with a palette of the same greys: OpenCV reads 4 bits only with a palette."""
    order, offset, at, entries = first_directory(data)
    length = 4 + 2 * struct.calcsize(offset)
    directory: dict[int, bytes] = {}
    for place in range(at, at + entries * length, length):
        (tag,) = struct.unpack_from(order + "H", data, place)
        directory.setdefault(tag, data[place : place + length])
    greys = range(0, 2**16, 0x1111) if colours else range(0xFFFF, -1, -0x1111)  # 0: the lowest number is white
    palette, start = struct.pack(order + "48H", *greys, *greys, *greys), len(data) + len(data) % 2
    values = {COLOURS: (1, struct.pack(order + "H", 3)), PALETTE: (48, struct.pack(order + offset, start))}
    for tag, (count, value) in values.items():
        directory[tag] = struct.pack(f"{order}HH{offset}", tag, 3, count) + value.ljust(struct.calcsize(offset), b"\0")
    head = data[: struct.calcsize(offset)] + struct.pack(order + offset, start + len(palette))
    listed = struct.pack(order + ("Q" if offset == "Q" else "H"), len(directory))
    listed += b"".join(directory[tag] for tag in sorted(directory)) + bytes(struct.calcsize(offset))  # no page follows
    return head + data[len(head) :].ljust(start - len(head), b"\0") + palette + listed


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name, start and end of each chunk of a WebP."""
    at = 12
    for _ in range(MOST_PARTS):
        if at + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, at + 8, at + 8 + length
        at += 8 + length + length % 2


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, start and end of the content of each box, as in ISO/IEC 14496-12 and in JP2."""
    for _ in range(MOST_PARTS):
        if at + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        until = at + size if size else end  # 0: to the end
        yield kind, start, until
        at = until


def _inside(data: bytes, kind: bytes, at: int, end: int) -> tuple[int, int]:
    """The start and end of the first box of a kind."""
    for each, start, until in _boxes(data, at, end):
        if each == kind:
            return start, until
    raise ValueError("no such box")


def _of_item(data: bytes, at: int, item: int) -> list[int]:
    """The places, from 1, of an item's properties in an `ipma` box that starts at `at`."""
    version, wide = data[at], data[at + 3] & 1
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(min(entries, MOST_PARTS)):
        number, count = struct.unpack_from(">IB" if version else ">HB", data, at)
        at += 5 if version else 3
        if number == item:
            places = struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, at)
            # The highest bit says that a reader without this property must not show the picture. 0 means no property.
            return [place for each in places if (place := each & (0x7FFF if wide else 0x7F))]
        at += count * (2 if wide else 1)
    return []
