"""What the protocols with tensors share: JSON and arrays from strangers, made into squares for the network."""

import binascii
import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pybase64  # the standard library takes 86 µs for a picture of 28 kB, this one 2
from numpy.typing import NDArray

from thumbnet.errors import ThumbnetError
from thumbnet.server.service import RequestError, Service

VERSION = "1"  # of every model: a server has one file
LARGE = 64 * 2**10  # bytes of JSON, beyond which reading it would hold up other requests
# What Python takes at most, in bytes, for what each of these begins or ends: a number, a list, an object with one
# value, half a text. The last is what a percent-encoded `data:` URL takes while it is read.
VALUES = {b",": 36, b"[": 64, b"{": 240, b'"': 32, b"%": 64}
MOST_UNICODE = 2**20  # bytes of JSON that may hold characters beyond Latin-1
WIDE = re.compile(rb"\\u(?!00)")


async def read_json(service: Service, content: bytes) -> dict[str, Any]:
    """A JSON object; a large one is counted before it is read, and read in a thread.

    Raises:
        RequestError: It is none (400) or too large (413), or there is no room for it (503).
    """
    if len(content) > service.limits.json:
        raise RequestError(413, f"expected JSON of at most {service.limits.json:,} bytes, got {len(content):,}")
    try:
        if len(content) > LARGE:
            service.hold(2 * len(content))  # its texts, and the pictures that they hold in base64
            read = await service.beside(_loads, content, service.limits.values)
        else:
            read = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"expected JSON: {error}") from None
    if not isinstance(read, dict):
        raise RequestError(400, "expected a JSON object")
    return read


def _loads(content: bytes, most: int) -> Any:
    if sum(content.count(mark) * taken for mark, taken in VALUES.items()) > most:
        raise RequestError(413, "expected JSON with fewer values: these would take too much memory")
    # Of a text with one of these, Python takes two or four bytes for each character.
    if len(content) > MOST_UNICODE and not (content.isascii() and WIDE.search(content) is None):
        raise RequestError(413, f"expected JSON of more than {MOST_UNICODE:,} bytes to be of ASCII characters alone")
    return json.loads(content)


def check_model(service: Service, name: str, version: str = VERSION) -> None:
    """Raise RequestError (404) unless it is the model that is served."""
    if name != service.name or version != VERSION:
        raise RequestError(404, f"expected model {service.name}, version {VERSION}, got {name!r:.80}, {version!r:.20}")


def from_numbers(size: int, values: Any, shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Nested or, with `shape`, flat lists of whole numbers from 0 to 255 → uint8 `(n, S, S, 3)`.

    Args:
        size: Pixels a side, `S`.
        values: From JSON. No array is made of them before they are known to be numbers in their range: NumPy would
            make each text as long as the longest.
        shape: What they are said to be; nothing means that the lists are nested as the shape is.

    Raises:
        RequestError: They are something else (400).
    """
    found, numbers = _flat(values)
    if shape is not None and math.prod(found) == math.prod(shape):
        found = tuple(shape)
    kinds = {type(number) for number in numbers}
    if len(found) != 4 or found[1:] != (size, size, 3) or kinds != {int}:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise RequestError(400, f"expected whole numbers (n, {size}, {size}, 3), got {names or 'none'} {found}"[:200])
    if min(numbers) < 0 or max(numbers) > 255:
        raise RequestError(400, f"expected numbers from 0 to 255, got {_short(min(numbers))} to {_short(max(numbers))}")
    return np.frombuffer(bytes(numbers), np.uint8).reshape(found)


def _flat(values: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Nested lists → their shape, `(length, …)` as far as they are all alike, and what they hold."""
    if not isinstance(values, list):
        return (), [values]
    shape = [len(values)]
    while values and len(shape) < 5 and all(type(each) is list for each in values):
        if len({len(each) for each in values}) > 1:
            break
        shape.append(len(values[0]))
        values = list(itertools.chain.from_iterable(values))
    return tuple(shape), values


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**9 else "a number of more than nine digits"


def from_base64(text: Any) -> bytes:
    """An encoded picture's bytes. As for TensorFlow Serving, there may be white space, and no padding.

    Raises:
        RequestError: It is no base64 (400).
    """
    try:
        return pybase64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        pass
    try:
        packed = "".join(text.split())
        whole = packed if packed.endswith("=") else packed + "=" * (-len(packed) % 4)
        return pybase64.b64decode(whole, validate=True)
    except (AttributeError, TypeError, ValueError, binascii.Error):
        raise RequestError(400, "expected a picture in base64") from None


async def from_pictures(service: Service, contents: Sequence[bytes]) -> NDArray[np.uint8]:
    """Encoded pictures → uint8 `(n, S, S, 3)`. One bad picture fails all, as they have one answer.

    Raises:
        RequestError: One of them cannot be read (422).
    """
    squares = []
    for place, views in enumerate(await service.squares(contents)):
        if isinstance(views, ThumbnetError):
            raise RequestError(422, f"picture {place} of {len(contents)}: {views}")
        squares.append(views[0])  # a row of these protocols is one square's
    return np.array(squares, np.uint8)
