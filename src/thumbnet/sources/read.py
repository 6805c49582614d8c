"""A source, such as a file, a URL or standard input → its bytes."""

import os
import sys
from io import BufferedReader
from mmap import mmap
from typing import Protocol, TypeAlias

from thumbnet.errors import SourceError
from thumbnet.sources.urls import is_url

MAX_BYTES = 2**29  # of a picture file, since a device such as /dev/zero never ends
BLOCK = 2**16  # bytes in a read
STANDARD_INPUT = "-"


class Readable(Protocol):
    """A file opened in binary mode, or an object that is read like one."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, and none at the end."""


# A path, a URL, an open file, and all that holds bytes: `bytes`, a bytearray, a memoryview, an array of bytes.
Source: TypeAlias = str | os.PathLike[str] | os.PathLike[bytes] | bytes | bytearray | memoryview | Readable


def read(source: Source) -> bytes:
    """A picture file's bytes, from a path, a URL, an object that holds them, or an open file from its position on.

    A number is never used as a file descriptor.

    Raises:
        FetchError: A URL could not be read.
        SourceError: A file could not be read, or the object is not a source.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, str) and is_url(source):
        from thumbnet.sources import fetch  # only for URLs: ssl and urllib.request take longer than a prediction

        return fetch.read(source)
    if isinstance(source, str | os.PathLike):
        return _opened(source)
    if isinstance(source, bytearray | memoryview | mmap) or not hasattr(source, "read"):
        return _held(source)
    return _limited(source)


def _opened(path: str | os.PathLike[str] | os.PathLike[bytes]) -> bytes:
    if "\0" in os.fsdecode(path):
        raise SourceError(
            "cannot read it: its name holds a zero byte. "
            "Expected a path or a URL; a list has one on each line, in UTF-8"
        )
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (pathlib takes as long as a small picture's reading)
            return _limited(file)
    except FileNotFoundError:
        raise SourceError("no such file. Expected a picture's path or its URL") from None
    except IsADirectoryError:
        raise SourceError("this is a folder. Expected a picture's path or its URL") from None
    except (OSError, ValueError) as error:  # ValueError: the name cannot be encoded
        raise SourceError(f"cannot read it: {getattr(error, 'strerror', None) or error}") from error


def _held(source: object) -> bytes:
    """The bytes that an object holds, in one dimension. A NumPy number holds bytes, too, but has no dimension."""
    try:
        view = memoryview(source)  # type: ignore[arg-type]
        if view.ndim == 1:
            return view.tobytes()
    except (TypeError, ValueError):  # ValueError: the memoryview was released
        pass
    raise SourceError(
        "expected a path, a URL, a picture file's bytes, an open file, an RGB array, uint8 (H, W, 3), or a PIL "
        f"picture, got {type(source).__name__}"
    )


def _limited(file: Readable, expected: str = "a picture's path or its URL") -> bytes:
    try:
        content = take(file, MAX_BYTES + 1)
    except TypeError:
        raise SourceError("expected an open file whose read(size) gives bytes. Open it in binary mode: 'rb'") from None
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise SourceError(f"cannot read it: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB. Expected {expected}")
    return content


def take(file: Readable, most: int) -> bytes:
    """A file's content, `most` bytes at most. It is read in blocks, as Python allocates what a read asks for."""
    blocks: list[bytes] = []
    while most > 0 and (block := file.read(min(most, BLOCK))):
        blocks.append(block)
        most -= len(block)
    return b"".join(blocks)


def read_argument(source: str) -> bytes:
    """Like `read`, for what a user types: `-` is a picture on standard input. Raises what `read` raises."""
    if source != STANDARD_INPUT:
        return read(source)
    with standard_input() as file:
        return _limited(file, "a picture on standard input")


def standard_input() -> BufferedReader:
    """A file object for standard input. Python crashes at exit if a thread still waits in `sys.stdin` itself.

    Raises:
        SourceError: There is no standard input.
    """
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (AttributeError, OSError, ValueError):  # it is None, leads nowhere, or is closed
        raise SourceError("standard input is closed, or is no file. Expected something to be piped into it") from None
