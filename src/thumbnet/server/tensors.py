"""What the protocols with tensors share: JSON and arrays from strangers, made into squares for the network."""

import asyncio
import binascii
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pybase64  # the standard library takes 86 µs for a picture of 28 kB, this one 2
from numpy.typing import NDArray

from thumbnet.errors import ThumbnetError
from thumbnet.server.service import RequestError, Service

VERSION = "1"  # of every model: a server has one file
LARGE = 64 * 2**10  # bytes of JSON, beyond which reading it would hold up other requests


async def read_json(content: bytes) -> dict[str, Any]:
    """A JSON object; a large one is read in a thread.

    Raises:
        RequestError: It is none (400).
    """
    try:
        read = await asyncio.to_thread(json.loads, content) if len(content) > LARGE else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"expected JSON: {error}") from None
    if not isinstance(read, dict):
        raise RequestError(400, "expected a JSON object")
    return read


def check_model(service: Service, name: str, version: str = VERSION) -> None:
    """Raise RequestError (404) unless it is the model that is served."""
    if name != service.name or version != VERSION:
        raise RequestError(404, f"expected model {service.name}, version {VERSION}, got {name!r:.80}, {version!r:.20}")


def from_numbers(service: Service, values: Any, shape: Sequence[int] | None = None) -> NDArray[np.uint8]:
    """Nested or, with `shape`, flat lists of whole numbers from 0 to 255 → uint8 `(n, S, S, 3)`.

    Raises:
        RequestError: They are something else (400), or too many (413).
    """
    size = service.classifier.info.size
    try:
        array = np.array(values)
    except (ValueError, OverflowError, RecursionError):  # ragged, or numbers of a hundred digits
        array = np.array("")
    if shape is not None and array.size == np.prod(shape, dtype=object):
        array = array.reshape(shape)
    if array.dtype.kind not in "iu" or array.ndim != 4 or array.shape[1:] != (size, size, 3):
        got = f"{array.dtype} {array.shape}" if array.dtype.kind in "biuf" else "something else"
        raise RequestError(400, f"expected whole numbers (n, {size}, {size}, 3), got {got}")
    if array.min(initial=0) < 0 or array.max(initial=0) > 255:
        raise RequestError(400, f"expected numbers from 0 to 255, got {array.min()} to {array.max()}")
    return array.astype(np.uint8)


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
