"""What every API of the server is made of: bodies within their limits, pictures decoded, answers from the network."""

import asyncio
import contextlib
import os
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from thumbnet.errors import FetchError, ThumbnetError
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.pictures.exif import BROKEN
from thumbnet.pictures.header import jpeg
from thumbnet.pictures.kinds import kind
from thumbnet.server.batching import Batcher
from thumbnet.server.metrics import Metrics
from thumbnet.sources.fetch import read
from thumbnet.sources.urls import is_url

RETRY_AFTER = {"Retry-After": "1"}  # seconds; a full queue is empty again after less
ENCODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
LIGHT_BYTES, LIGHT_PIXELS = 64 * 2**10, 512 * 512  # of a JPEG that is decoded in a millisecond or so
PROGRESSIVE = b"\xff\xc2"  # the marker of JPEGs in which thousands of scans, each of all pixels, fit into few bytes
FETCHES = 16  # at once: they wait more than they work
CLIENT_LEFT = 499  # as nginx logs it; nobody reads the answer
Work: TypeAlias = Callable[[Request, bytes], Coroutine[Any, Any, Response]]  # a request and its body → its answer
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may take."""

    body: int = 32 * 2**20  # bytes of a request, packed and unpacked
    bodies: int = 256 * 2**20  # bytes of all requests' bodies that are held at once
    body_seconds: float = 20.0  # until a body is there
    header_seconds: float = 10.0  # until a request's headers are there
    header_bytes: int = 64 * 2**10
    pictures: int = 256  # of one request
    queue: int = 512  # pictures that are decoded or wait, of all requests
    explanations: int = 8  # heat maps at once; each takes the network as long as 256 pictures
    seconds: float = 30.0  # from a whole body to the answer
    connections: int = 1000  # more are refused; one client has three quarters of them at most
    pipelined: int = 8  # requests of one connection whose answers are not sent yet


class RequestError(Exception):
    """A request that is answered with an error: `{"error": message}` and this status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


@dataclass
class _Body:
    chunks: list[bytes] = field(default_factory=list)
    held: int = 0  # bytes


class Service:
    """One classifier at work. Every API of the server speaks to this."""

    def __init__(
        self,
        classifier: Classifier,
        name: str,
        limits: Limits,
        metrics: Metrics,
        *,
        urls: bool = True,
        private_urls: bool = False,
        decoders: int | None = None,
    ) -> None:
        """Args are `create_app`'s."""
        decoders = decoders or os.cpu_count() or 1
        self.classifier, self.name, self.limits, self.metrics = classifier, name, limits, metrics
        self.urls, self._private_urls = urls, private_urls
        self._batcher = Batcher(classifier, metrics)
        self._decoders = ThreadPoolExecutor(decoders, "decode")
        self._alone = decoders == 1
        self._fetchers = ThreadPoolExecutor(FETCHES, "fetch")
        self._explainer = ThreadPoolExecutor(1, "explain")
        self._pictures = self._fetches = self._explanations = self._bytes = 0

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._decoders, self._fetchers, self._explainer, self._batcher):
            pool.shutdown(wait=False) if isinstance(pool, ThreadPoolExecutor) else pool.close()

    def endpoint(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """What a route calls: reads the body, and gives `work` until the limit, or until the client leaves.

        Raises:
            RequestError: The body is too large (413), too slow (408), packed in an unknown way (415) or badly (400);
                there is no room for it, or no time for the answer (503); and what `work` raises.
        """

        async def run(request: Request) -> Response:
            reading = _Body()
            try:
                with self.metrics.stage("body"), anyio.fail_after(self.limits.body_seconds):
                    await self._read(request, reading)
                return await self._in_time(request, work(request, b"".join(reading.chunks)))
            except TimeoutError:
                self.metrics.refusals.labels("slow body").inc()
                message = f"expected the whole body within {self.limits.body_seconds:g} s"
                raise RequestError(408, message) from None
            except ClientDisconnect:
                return Response(status_code=CLIENT_LEFT)
            finally:
                self._bytes -= reading.held

        return run

    async def squares(self, contents: Sequence[bytes]) -> "list[NDArray[np.uint8] | ThumbnetError]":
        """What the network sees of encoded pictures, uint8 `(V, S, S, 3)` each; of a bad one, its error.

        Raises:
            RequestError: Too many (413), or no room for them (503).
        """
        with self._room(len(contents)), self.metrics.stage("decode"):
            if self._alone and len(contents) == 1 and _light(contents[0]):
                return [self.squares_or_error(contents[0])]
            return await self._each(self._decoders, self.squares_or_error, contents)

    async def ask(self, squares: NDArray[np.uint8], pictures: int | None = None) -> Asked:
        """What the network says of squares, uint8 `(n, S, S, 3)`, which it is asked together with other requests'.

        Args:
            squares: Any number of them.
            pictures: How many pictures they are views of, if not one each.

        Raises:
            RequestError: Too many (413), or no room for them (503).
            ModelError: The network of a stranger's file fails.
        """
        if not len(squares):
            return self.classifier.ask(squares)
        with self._room(len(squares) if pictures is None else pictures), self.metrics.stage("wait"):
            return await self._batcher.ask(squares)

    async def fetched(self, urls: Sequence[str]) -> "list[bytes | ThumbnetError]":
        """What URLs hold, or why not.

        Raises:
            RequestError: URLs are not read here (403), too many (413), or no room for them (503).
        """
        if not self.urls:
            raise RequestError(403, "expected a picture's bytes: this server reads no URLs")
        if len(urls) > self.limits.pictures:
            raise self._too_many(len(urls))
        if self._fetches + len(urls) > self.limits.pictures:
            raise self._busy("fetches")
        self._fetches += len(urls)
        try:
            with self.metrics.stage("fetch"):
                return await self._each(self._fetchers, self._fetch, urls)
        finally:
            self._fetches -= len(urls)

    async def explained(self, draw: Callable[[], T]) -> T:
        """What `draw` gives, in the thread for heat maps.

        Raises:
            RequestError: No room for it (503).
        """
        if self._explanations >= self.limits.explanations:
            raise self._busy("explanations")
        self._explanations += 1
        try:
            with self.metrics.stage("explain"):
                return await asyncio.get_running_loop().run_in_executor(self._explainer, draw)
        finally:
            self._explanations -= 1

    def squares_or_error(self, content: bytes) -> "NDArray[np.uint8] | ThumbnetError":
        """What the network sees of an encoded picture, or why it sees nothing."""
        try:
            return self.classifier.squares(content)
        except ThumbnetError as error:
            return error

    def _fetch(self, url: str) -> "bytes | ThumbnetError":
        if not is_url(url):  # never a path: a request reads no file of this machine
            return FetchError(f"expected an http, https or data URL, got {url!r:.80}")
        try:
            return read(
                url, deadline=self.limits.seconds, max_bytes=self.limits.body, public_only=not self._private_urls
            )
        except ThumbnetError as error:
            return error

    @staticmethod
    async def _each(pool: ThreadPoolExecutor, work: Callable[[V], T], values: Sequence[V]) -> list[T]:
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(pool, work, value) for value in values]
        try:
            return [await future for future in futures]
        finally:
            for future in futures:
                future.cancel()  # those that have not begun, where the client has left

    @contextlib.contextmanager
    def _room(self, count: int) -> Iterator[None]:
        if count > self.limits.pictures:
            raise self._too_many(count)
        if self._pictures + count > self.limits.queue:
            raise self._busy("queue")
        self._pictures += count
        self.metrics.queue.inc(count)
        try:
            yield
        finally:
            self._pictures -= count
            self.metrics.queue.dec(count)

    async def _read(self, request: Request, body: _Body) -> None:
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in (*ENCODINGS, "identity", ""):
            raise RequestError(415, f"expected a body as it is, gzip or deflate, got {encoding!r:.40}")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.limits.body:
            raise self._too_large()
        unpacker = zlib.decompressobj(ENCODINGS[encoding]) if encoding in ENCODINGS else None
        async for chunk in request.stream():
            taken = chunk if unpacker is None else self._unpacked(unpacker, chunk, self.limits.body - body.held)
            body.held += len(taken)
            self._bytes += len(taken)
            if body.held > self.limits.body:
                raise self._too_large()
            if self._bytes > self.limits.bodies:
                raise self._busy("bodies")
            body.chunks.append(taken)
        if unpacker is not None and not unpacker.eof:
            raise RequestError(400, f"expected a whole {encoding} body, got one that ends early")

    def _unpacked(self, unpacker: "zlib._Decompress", chunk: bytes, room: int) -> bytes:
        try:
            unpacked = unpacker.decompress(chunk, room + 1)
        except zlib.error as error:
            raise RequestError(400, f"the body is not packed as its Content-Encoding says: {error}") from None
        if unpacker.unconsumed_tail:
            raise self._too_large()
        if unpacker.unused_data:
            raise RequestError(400, "expected a packed body alone, got something after it")
        return unpacked

    async def _in_time(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        """The answer of `work`, which is cancelled after the limit, or when the client has left."""
        leaving = asyncio.ensure_future(_left(request))
        with anyio.move_on_after(self.limits.seconds) as scope:
            leaving.add_done_callback(lambda _: scope.cancel())
            try:
                return await work
            finally:
                left = leaving.done()
                leaving.cancel()
        if left:
            self.metrics.refusals.labels("client left").inc()
            return Response(status_code=CLIENT_LEFT)
        raise self._busy("deadline")

    def _too_large(self) -> RequestError:
        self.metrics.refusals.labels("large body").inc()
        return RequestError(413, f"expected at most {self.limits.body:,} bytes")

    def _too_many(self, count: int) -> RequestError:
        return RequestError(413, f"expected at most {self.limits.pictures} pictures a request, got {count:,}")

    def _busy(self, reason: str) -> RequestError:
        self.metrics.refusals.labels(reason).inc()
        return RequestError(503, "busy: try again in a second", RETRY_AFTER)


def _light(content: bytes) -> bool:
    """Whether a picture is decoded so soon that handing it to a thread, and waiting for Python's lock, costs more."""
    if len(content) > LIGHT_BYTES or kind(content) != "JPEG" or PROGRESSIVE in content:
        return False
    try:
        header = jpeg(content)
    except BROKEN:
        return False
    return header.width * header.height <= LIGHT_PIXELS


async def _left(request: Request) -> None:
    """Until the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
