"""Tags of EXIF and TIFF: which way is up, and whole numbers about the pixels. EXIF is a TIFF without pixels."""

import struct
from typing import TypeAlias

BROKEN = (struct.error, ValueError, LookupError, OverflowError)  # raised by reading past the end, and by absurd values
MOST_PARTS = 2**17  # chunks, segments or boxes. No picture has more, and walking through more would take minutes
# How to turn a picture upright: quarter turns anticlockwise, and whether to mirror it left to right afterwards.
Turn: TypeAlias = tuple[int, bool]
UPRIGHT: Turn = (0, False)
TURNS: dict[int, Turn] = {  # by EXIF's and TIFF's orientation
    2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False),
}  # fmt: skip
WIDTH, HEIGHT, BITS, COLOURS, SAMPLES, EXTRA, FORMAT = 256, 257, 258, 262, 277, 338, 339
ORIENTATION, PALETTE, TILE_WIDTH, TILE_HEIGHT = 274, 320, 322, 323
PAGE, PARTS, DNG = 254, 330, 50706  # bit 0 of PAGE: this is a preview of a picture in PARTS
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # by TIFF's number for the type


def exif_turn(exif: bytes) -> Turn:
    """The turn that EXIF asks for. Broken EXIF asks for none, since the picture itself may be whole."""
    try:
        return TURNS.get(read_tags(exif.removeprefix(b"Exif\0\0"))[ORIENTATION][0], UPRIGHT)
    except BROKEN:
        return UPRIGHT


def combined(first: Turn, second: Turn) -> Turn:
    """Two turns, one after the other, as one. A mirrored picture turns the other way."""
    quarters = first[0] + (-second[0] if first[1] else second[0])
    return quarters % 4, first[1] != second[1]


def first_directory(data: bytes) -> tuple[str, str, int, int]:
    """Where the first directory of a TIFF or BigTIFF is.

    Returns:
        `struct`'s codes for the byte order and for an offset, the place of the first entry, and the number of entries.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    version = struct.unpack_from(order + "H", data, 2)[0] if order else 0
    if version not in (42, 43):
        raise ValueError("no TIFF")
    offset, number = ("Q", "Q") if version == 43 else ("I", "H")
    (at,) = struct.unpack_from(order + offset, data, 8 if version == 43 else 4)
    (entries,) = struct.unpack_from(order + number, data, at)
    return order, offset, at + struct.calcsize(number), min(entries, MOST_PARTS)


def read_tags(data: bytes) -> dict[int, tuple[int, ...]]:
    """The whole numbers in the first directory of a TIFF or BigTIFF, at most 8 for each tag."""
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
