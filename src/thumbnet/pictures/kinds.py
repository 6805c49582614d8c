"""What a picture file is: by its bytes, and by its name where the bytes are not read yet."""

import os
import re

_MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "PPM": tuple(b"P%d%c" % (kind, after) for kind in range(1, 7) for after in b" \t\r\n#"),
}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # their sizes; text may begin with BM too
# What is no picture that is read, for a person. Text is compared in lower case, without the space before it.
_OTHER_TEXT = {
    b"<!doctype html": "a web page (HTML), not a picture",
    b"<html": "a web page (HTML), not a picture",
    b"<head": "a web page (HTML), not a picture",
    b"<svg": "an SVG, which is drawn and not decoded",
    b"<?xml": "SVG or XML, which is drawn and not decoded",
    b"%pdf": "a PDF, not a picture",
    b"%!ps": "PostScript, not a picture",
    b"version https://git-lfs": "a pointer of Git LFS in place of its file (run git lfs pull)",
    b"{": "JSON, not a picture",
    b"[": "JSON, not a picture",
}
_OTHER_BYTES = {
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\1\0": "an icon (ICO)",
    b"8BPS": "a Photoshop file",
    b"PK\3\4": "a ZIP archive, not a picture",
    b"\x1f\x8b": "a gzip archive, not a picture",
    b"\x1a\x45\xdf\xa3": "a video (WebM or Matroska), not a picture",
    b"\x93NUMPY": "a NumPy array, not a picture file",
}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind(data: bytes) -> str:
    """The format that the first bytes are of: of those that are read, else nothing."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if _brands(data) & {b"avif", b"avis"}:
        return "AVIF"
    if data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADERS):
        return "BMP"
    return next((name for name, starts in _MAGIC.items() if data.startswith(starts)), "")


def looks_like(data: bytes) -> str:
    """A guess, for a person, of what these bytes are that are of no format that is read."""
    if not data:
        return "expected a picture, got 0 bytes"
    if brands := _brands(data):
        return "this is a HEIC picture" if brands & _HEIF else "this is a video (MP4) or the like, not a picture"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf")
    text = start.lstrip().lower()
    known = [name for magic, name in _OTHER_TEXT.items() if text.startswith(magic)]
    known += [name for magic, name in _OTHER_BYTES.items() if data.startswith(magic)]
    if known:
        return f"this is {known[0]}"
    if not re.search(rb"[\0-\x08\x0e-\x1f\x7f]", start) and start.decode(errors="ignore").strip():
        return "this is text, not a picture"
    return "these bytes are no picture"


def _brands(data: bytes) -> set[bytes]:
    """What an ISO base media file says that it is compatible with."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[at : at + 4] for at in (8, *range(16, end, 4))}


READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000 and PPM, PGM and PBM"
SUFFIXES: dict[str, frozenset[str]] = {  # by what `kind` calls them
    "JPEG": frozenset({".jpg", ".jpeg", ".jpe", ".jfif"}),
    "PNG": frozenset({".png", ".apng"}),
    "WebP": frozenset({".webp"}),
    "AVIF": frozenset({".avif"}),
    "GIF": frozenset({".gif"}),
    "BMP": frozenset({".bmp", ".dib"}),
    "TIFF": frozenset({".tif", ".tiff"}),
    "JPEG 2000": frozenset({".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"}),
    "PPM": frozenset({".ppm", ".pgm", ".pbm", ".pnm"}),
}
# A folder's files with these endings are meant as pictures. HEIC and JPEG XL are among them, so that their users learn
# that they are not read.
PICTURE_SUFFIXES = frozenset({".heic", ".heif", ".jxl"}).union(*SUFFIXES.values())
NO_PICTURE = f"no picture in this folder. Expected files whose names end in {', '.join(sorted(PICTURE_SUFFIXES))}"
# What systems, NASes and photo programs leave beside pictures, in lower case: thumbnails and originals, which are
# copies, deleted pictures, and notes. Hidden files are litter too.
LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"}  # Windows
    | {"__macosx", "icon\r", "network trash folder", "temporary items", "lost+found", "__pycache__"}  # macOS, Linux
    | {
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "~snapshot",
    }  # Synology, QNAP, NetApp
    | {"picasa.ini", "[originals]", "_vti_cnf", "_notes", "zbthumbnail.info"}  # Picasa, ACDSee, web editors, Zoner
)
# Whole libraries of Photos, iPhoto, Aperture and Lightroom, which hold each picture several times.
_LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary", ".lrdata", ".lrlibrary")


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name, without a path, is none of the user's own."""
    lower = name.lower()
    return lower.startswith(".") or lower in LITTER or lower.endswith(_LIBRARIES)


def meant_as_picture(name: str) -> bool:
    """Whether a file's name ends as those of pictures do; what the file is, its bytes tell."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122  # names come by the million
