"""What a picture file is, by its bytes; and by its name, before its bytes are read."""

import os
import re

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
# Files in a folder whose names end like this are meant as pictures. HEIC and JPEG XL are included, so that their users
# learn that Thumbnet does not read them.
PICTURE_SUFFIXES = frozenset({".heic", ".heif", ".jxl"}).union(*SUFFIXES.values())
NO_PICTURE = f"no picture in this folder. Expected files whose names end in {', '.join(sorted(PICTURE_SUFFIXES))}"
# What systems, NASes and photo programs leave beside pictures, in lower case: thumbnails and originals, which are
# copies, deleted pictures, and notes. Hidden files are litter too.
LITTER = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"}  # Windows
    | {"__macosx", "icon\r", "network trash folder", "temporary items", "lost+found", "resource.frk"}  # macOS, Linux
    | {"@eadir", "@tmp", "@__thumb", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"}  # Synology, QNAP
    | {"~snapshot"}  # NetApp
    | {"picasa.ini", "[originals]", "_vti_cnf", "_notes", "zbthumbnail.info"}  # Picasa, ACDSee, web editors, Zoner
)
# Whole libraries of Photos, iPhoto, Aperture and Lightroom, which hold each picture several times.
_LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary", ".lrdata", ".lrlibrary")
_UNFINISHED = ("~", ".crdownload", ".part")  # editors' backups, which are copies, and downloads under way
_MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "PPM": tuple(b"P%d%c" % (kind, after) for kind in range(1, 7) for after in b" \t\r\n#"),
}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # their sizes in bytes; text may begin with BM, too
CAMERA_RAW = "a camera raw file, which is developed and not decoded (export it as JPEG)"
_CR2 = b"II*\0\x10\0\0\0CR"  # Canon's raw file, which is a TIFF otherwise
_SVG, _WEB_PAGE = "an SVG, which is drawn and not decoded", "a web page (HTML), not a picture"
# What else the bytes may be, for a message. Text is compared in lower case, without leading white space.
_OTHER_TEXT = {
    b"<!doctype html": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"<head": _WEB_PAGE,
    b"<svg": _SVG,
    b"<!doctype svg": _SVG,
    b"%pdf": "a PDF, not a picture",
    b"%!ps": "PostScript, not a picture",
    b"version https://git-lfs": "a pointer of Git LFS in place of its file (run git lfs pull)",
    b"{": "JSON, not a picture",
    b"[": "JSON, not a picture",
}
_OTHER_BYTES = {
    **dict.fromkeys((_CR2, b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM"), CAMERA_RAW),
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
    """The readable format that these bytes begin like; empty if it is none."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if _brands(data) & {b"avif", b"avis"}:
        return "AVIF"
    if data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADERS):
        return "BMP"
    if data.startswith(_CR2):
        return ""
    return next((name for name, starts in _MAGIC.items() if data.startswith(starts)), "")


def looks_like(data: bytes) -> str:
    """A guess for a message: what bytes of no readable format are."""
    if not data:
        return "expected a picture, got 0 bytes"
    if brands := _brands(data):
        if b"crx " in brands:
            return f"this is {CAMERA_RAW}"
        return "this is a HEIC picture" if brands & _HEIF else "this is a video (MP4) or the like, not a picture"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf")
    text = start.lstrip().lower()
    if text.startswith(b"<?xml"):
        named = _WEB_PAGE if b"<html" in text else _SVG if b"<svg" in text else "XML, not a picture"
        return f"this is {named}"
    known = [name for magic, name in _OTHER_TEXT.items() if text.startswith(magic)]
    known += [name for magic, name in _OTHER_BYTES.items() if data.startswith(magic)]
    if known:
        return f"this is {known[0]}"
    if not re.search(rb"[\0-\x08\x0e-\x1f\x7f]", start) and start.decode(errors="ignore").strip():
        return "this is text, not a picture"
    return "these bytes are not a picture"


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name, without a path, is none of the user's own."""
    lower = name.lower()
    return lower.startswith(".") or lower in LITTER or lower.endswith(_LIBRARIES + _UNFINISHED)


def meant_as_picture(name: str) -> bool:
    """Whether a file's name ends like a picture's. Only its bytes say what it is."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES  # noqa: PTH122  # names come by the million


def _brands(data: bytes) -> set[bytes]:
    """The brands of an ISO base media file."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), 256)
    return {data[at : at + 4] for at in (8, *range(16, end, 4))}
