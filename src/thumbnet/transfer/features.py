"""Pictures → features. A picture is decoded, framed, run through the backbone and dropped, so any number fits."""

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import square_key
from thumbnet.errors import ModelError, SourceError
from thumbnet.model.classifier import batch_size
from thumbnet.pictures.decode import MAX_PIXELS, RGB, decode, pixels
from thumbnet.pictures.framing import resize
from thumbnet.progress import progress
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.text import printable
from thumbnet.transfer.backbone import Backbone
from thumbnet.transfer.cache import Cache

# Reads a picture: gives a file's bytes, or pixels, uint8 (H, W, 3) RGB. Raises SourceError if it cannot be read.
Picture: TypeAlias = Callable[[], bytes | RGB]
AHEAD = 3  # batches that are decoded before the network asks for them


@dataclass(frozen=True, eq=False)
class Features:
    """The features of N pictures."""

    values: NDArray[np.float32]  # (N, D); zeros where a picture cannot be read
    keys: list[bytes]  # each picture's `square_key`; empty where it cannot be read
    problems: list[str]  # why a picture cannot be read; empty where it can

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which pictures could be read, `(N,)`."""
        return np.array([not problem for problem in self.problems], np.bool_)


class _Seen(NamedTuple):
    """A picture on its way to the network, or its features from the cache."""

    content: bytes  # its content's key in the cache
    key: bytes
    square: RGB | None
    values: NDArray[np.float32] | None
    problem: str


def extract(
    pictures: Sequence[Picture],
    backbone: Backbone,
    *,
    label: str = "features",
    names: Sequence[str] = (),
    show: Callable[[int], object] | None = None,
) -> Features:
    """The features of pictures, in their order. What the cache knows is not computed again.

    Ctrl-C loses nothing: the next run continues with what the cache has.

    Args:
        pictures: What reads each of them.
        backbone: The network.
        label: What the progress bar is called.
        names: What the first pictures are called in a message.
        show: Called with how many pictures are done, in place of the progress bar. An exception from it ends the work.

    Raises:
        ModelError: The backbone fails on a picture.
    """
    found = Features(np.zeros((len(pictures), backbone.width), np.float32), [b""] * len(pictures), [""] * len(pictures))
    batch = batch_size(backbone.size)
    decoding = WeightedSemaphore(MAX_PIXELS)  # many huge pictures at once would take more memory than there is
    waiting: list[tuple[int, _Seen, RGB]] = []  # rows that the network has not seen yet
    # The decoder's version is part of the key, since another one may give other pixels.
    network = f"{backbone.sha256} {backbone.framing} {cv2.__version__}"

    def run() -> None:
        """The waiting squares through the network."""
        squares = np.stack([square for _, _, square in waiting])  # (n, S, S, 3)
        try:
            rows = backbone.features(squares)  # (n, D)
        except ModelError as error:
            among = ", ".join(names[row] if row < len(names) else f"picture {row}" for row, _, _ in waiting)
            raise ModelError(f"{printable(among)}: {error}. Leave it out, or use another backbone") from error
        for (row, seen, _), values in zip(waiting, rows, strict=True):
            found.values[row] = values
            cache.put(seen.content, seen.key, values)
        waiting.clear()

    with (
        Cache(network) as cache,
        ThreadPoolExecutor() as pool,  # OpenCV decodes without Python's lock
        contextlib.nullcontext(show) if show else progress(label, len(pictures), " pictures") as tell,
    ):
        ahead: deque[Future[_Seen]] = deque()
        try:
            for row in range(len(pictures)):
                while len(ahead) <= AHEAD * batch and row + len(ahead) < len(pictures):
                    ahead.append(pool.submit(_see, pictures[row + len(ahead)], backbone, cache, decoding))
                seen = ahead.popleft().result()
                found.keys[row], found.problems[row] = seen.key, seen.problem
                if seen.values is not None:
                    found.values[row] = seen.values
                if seen.square is not None:
                    waiting.append((row, seen, seen.square))
                    if len(waiting) == batch:
                        run()
                tell(row + 1)
            if waiting:
                run()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def _see(picture: Picture, backbone: Backbone, cache: Cache, decoding: WeightedSemaphore) -> _Seen:
    """Read a picture, and look it up or make its square."""
    try:
        content = picture()
        # Encoded pictures and pixels cannot have the same key.
        start = b"" if isinstance(content, bytes) else repr(content.shape).encode()
        digest = hashlib.sha256(start + (content if isinstance(content, bytes) else content.tobytes())).digest()
        if known := cache.get(digest):
            key, values = known
            if values.shape == (backbone.width,):
                return _Seen(digest, key, None, values, "")
        with decoding.take(pixels(content) if isinstance(content, bytes) else 0):
            square = frame(content, backbone)
    except SourceError as error:
        return _Seen(b"", b"", None, None, str(error))
    return _Seen(digest, square_key(square), square, None, "")


def frame(content: bytes | RGB, backbone: Backbone) -> RGB:
    """The square that the backbone sees of a file's bytes, or of pixels, uint8 `(H, W, 3)`: uint8 `(S, S, 3)`.

    Raises:
        ImageError: The bytes are not a picture.
    """
    image = decode(content, least=backbone.size) if isinstance(content, bytes) else content
    return resize(image, backbone.size, backbone.framing)
