"""A source → its bytes: a file, a URL, or standard input."""

import sys
from io import FileIO
from pathlib import Path
from typing import IO

from thumbnet.errors import SourceError
from thumbnet.sources.urls import is_url

MAX_BYTES = 2**29  # of a picture file; a device such as /dev/zero never ends
BLOCK = 2**16  # bytes read at once
STANDARD_INPUT = "-"


def read(source: str | Path | bytes) -> bytes:
    """A picture file's bytes, from a path, a URL or bytes.

    Raises:
        FetchError: A URL could not be read.
        SourceError: A file could not be read.
    """
    if isinstance(source, bytes):
        return source
    if isinstance(source, str) and is_url(source):
        from thumbnet.sources import fetch  # ssl and urllib.request take longer than a prediction: not for files

        return fetch.read(source)
    try:
        with open(source, "rb", buffering=0) as file:  # noqa: PTH123 (pathlib takes as long as a small picture's reading)
            content = take(file, MAX_BYTES + 1)
    except FileNotFoundError:
        raise SourceError("no such file. Expected a picture's path or its URL") from None
    except IsADirectoryError:
        raise SourceError("this is a folder. Expected a picture's path or its URL") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise SourceError(f"cannot read it: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB. Expected a picture's path or its URL")
    return content


def take(file: IO[bytes] | FileIO, most: int) -> bytes:
    """What is in a file, `most` bytes at most, in blocks: asked for that many at once, Python takes memory for them."""
    blocks: list[bytes] = []
    while most > 0 and (block := file.read(min(most, BLOCK))):
        blocks.append(block)
        most -= len(block)
    return b"".join(blocks)


def read_argument(source: str) -> bytes:
    """As `read`, of what a user types: `-` is a picture on standard input. Raises what `read` raises."""
    if source != STANDARD_INPUT:
        return read(source)
    with standard_input() as file:
        content = take(file, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB. Expected a picture on standard input")
    return content


def standard_input() -> IO[bytes]:
    """An object of its own for it: Python dies at its end if a thread still waits in `sys.stdin`."""
    if sys.stdin is None:
        raise SourceError("standard input is closed. Expected something to be piped into it")
    return open(sys.stdin.fileno(), "rb", closefd=False)
