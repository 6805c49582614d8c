"""What the protocols share: they read JSON and arrays from strangers, and make squares for the network."""

import binascii
import itertools
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pybase64  # 2 µs for a picture of 28 kB; the standard library takes 86 µs
from numpy.typing import NDArray

from thumbnet.errors import ThumbnetError
from thumbnet.server.service import RequestError, Service

VERSION = "1"  # of the model; a server has only one
LARGE = 64 * 2**10  # bytes of JSON; reading more would hold up other requests
# Bytes that Python takes at most for what each character begins or ends: a number, a list, an object with one value,
# half a text. The last is for percent-encoded `data:` URLs, which take so much while they are read.
VALUES = {b",": 36, b"[": 64, b"{": 240, b'"': 32, b"%": 64}
MOST_UNICODE = 2**20  # bytes of JSON; a longer text must be ASCII
WIDE = re.compile(rb"\\u(?!00)")


async def read_json(service: Service, content: bytes) -> dict[str, Any]:
    """Read a JSON object. The values of a large one are counted before a thread reads it.

    Raises:
        RequestError: It is no JSON object (400), it is too large (413), or there is no room for it (503).
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
    # One such character makes Python take two or four bytes for each character of the text.
    if len(content) > MOST_UNICODE and not (content.isascii() and WIDE.search(content) is None):
        raise RequestError(413, f"expected JSON of more than {MOST_UNICODE:,} bytes to be of ASCII characters alone")
    return json.loads(content)


def check_model(service: Service, name: str, version: str = VERSION) -> None:
    """Raise RequestError (404) unless this is the model that the server has."""
    if name != service.name or version != VERSION:
        raise RequestError(404, f"expected model {service.name}, version {VERSION}, got {name!r:.80}, {version!r:.20}")


def from_numbers(size: int, values: Any, shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Nested or, with `shape`, flat lists of whole numbers from 0 to 255 → uint8 `(n, S, S, 3)`.

    Args:
        size: Pixels a side, `S`.
        values: Values from JSON. NumPy gets them only after they have proved to be numbers within their range, because
            an array of texts makes each text as long as the longest.
        shape: The shape that the request claims. Without it, the lists must be nested as the shape is.

    Raises:
        RequestError: The values are something else (400).
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
    """Nested lists → the shape `(length, …)` of the levels whose lists are alike, and the values below them."""
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
    """Decode a picture from base64. As in TensorFlow Serving, white space and missing padding do no harm.

    Raises:
        RequestError: The text is no base64 (400).
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
    """Encoded pictures → uint8 `(n, S, S, 3)`. One bad picture fails all of them, as they share one answer.

    Raises:
        RequestError: A picture cannot be read (422).
    """
    squares = []
    for place, views in enumerate(await service.squares(contents, thumbnails=False)):
        if isinstance(views, ThumbnetError):
            raise RequestError(422, f"picture {place} of {len(contents)}: {views}")
        squares.append(views[0])  # in these protocols a row is the answer for one square
    return np.array(squares, np.uint8)
