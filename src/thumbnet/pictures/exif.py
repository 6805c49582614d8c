"""EXIF and TIFF tags: which way is up, and whole numbers about the pixels. EXIF is a TIFF without pixels."""

import struct
from typing import TypeAlias

BROKEN = (struct.error, ValueError, LookupError, OverflowError)  # what reading past the end, or what is absurd, raises
MOST_PARTS = 2**17  # chunks, segments or boxes. More are no picture's, and would take minutes to walk through
# What turns a picture upright: quarter turns anticlockwise, and whether it is mirrored, left to right, after these.
Turn: TypeAlias = tuple[int, bool]
UPRIGHT: Turn = (0, False)
TURNS: dict[int, Turn] = {  # by EXIF's and TIFF's orientation
    2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip
# The tags of a TIFF, or of EXIF, which is one without pixels.
WIDTH, HEIGHT, BITS, COLOURS, SAMPLES, EXTRA, FORMAT = 256, 257, 258, 262, 277, 338, 339
ORIENTATION, PALETTE, TILE_WIDTH, TILE_HEIGHT = 274, 320, 322, 323
PAGE, PARTS, DNG = 254, 330, 50706  # bit 0 of PAGE says that it is a smaller picture of another, in PARTS
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # by TIFF's number for the type


def exif_turn(exif: bytes) -> Turn:
    """What a broken EXIF says is nothing; the picture may be whole."""
    try:
        return TURNS.get(read_tags(exif.removeprefix(b"Exif\0\0"))[ORIENTATION][0], UPRIGHT)
    except BROKEN:
        return UPRIGHT


def combined(first: Turn, second: Turn) -> Turn:
    """Both, one after the other, as one. A mirrored picture turns the other way."""
    quarters = first[0] + (-second[0] if first[1] else second[0])
    return quarters % 4, first[1] != second[1]


def first_directory(data: bytes) -> tuple[str, str, int, int]:
    """Of a TIFF or BigTIFF: struct's signs for its byte order and its offsets, where entries begin, how many come."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    version = struct.unpack_from(order + "H", data, 2)[0] if order else 0
    if version not in (42, 43):
        raise ValueError("no TIFF")
    offset, number = ("Q", "Q") if version == 43 else ("I", "H")
    (at,) = struct.unpack_from(order + offset, data, 8 if version == 43 else 4)
    (entries,) = struct.unpack_from(order + number, data, at)
    return order, offset, at + struct.calcsize(number), min(entries, MOST_PARTS)


def read_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """The whole numbers, at most 8 a tag, of the first directory of a TIFF or BigTIFF."""
    order, offset, at, entries = first_directory(data)
    tags: dict[int, tuple[int, ...]] = {}
    for _ in range(entries):
        tag, kind, count = struct.unpack_from(order + "HH" + offset, data, at)
        value, at = at + 4 + struct.calcsize(offset), at + 4 + 2 * struct.calcsize(offset)
        if (code := _WHOLE_NUMBERS.get(kind)) is None or not count:
            continue
        if count * struct.calcsize(code) > struct.calcsize(offset):
            (value,) = struct.unpack_from(order + offset, data, value)
        tags.setdefault(tag, struct.unpack_from(f"{order}{min(count, 8)}{code}", data, value))
    return tags
