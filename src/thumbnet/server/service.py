"""What all APIs of the server share: they read bodies within limits, decode pictures and ask the network."""

import asyncio
import contextlib
import functools
import math
import os
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import anyio
import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from thumbnet.errors import FetchError, ModelError, ThumbnetError
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.pictures.decode import RGB, decode
from thumbnet.pictures.kinds import kind
from thumbnet.semaphore import WeightedSemaphore
from thumbnet.server.batching import Batcher
from thumbnet.server.budget import Budget, share
from thumbnet.server.cost import Cost, cost
from thumbnet.server.metrics import Metrics
from thumbnet.sources.fetch import read, unpack
from thumbnet.sources.urls import is_url, shown

RETRY_AFTER = {"Retry-After": "1"}  # seconds; a full queue empties sooner
ENCODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
LIGHT_BYTES, LIGHT_PIXELS = 64 * 2**10, 512 * 512  # a JPEG within both decodes in about a millisecond
TINY_PIXELS = 128 * 128  # a JPEG of so few decodes in a tenth of one
PROGRESSIVE = b"\xff\xc2"  # the marker of a progressive JPEG: a few bytes may hold many scans, each of all pixels
HEAVY = 2**24  # bytes that decoding takes: about 1.4 megapixels, and 10 ms or more
FETCHES = 4  # URLs that one request reads at once
CLIENT_LEFT = 499  # as nginx logs it; nobody reads the answer
Work: TypeAlias = Callable[[Request, bytes], Coroutine[Any, Any, Response]]  # a request and its body → its answer
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What one request may take, and what all requests together may take.

    One client gets at most three quarters of what is for all, so that the others find room. A client is an address.
    """

    body: int = 32 * 2**20  # bytes of a request, packed and unpacked; also of what it fetches from URLs
    bodies: int = 96 * 2**20  # bytes that all requests hold at once: bodies, copies of their parts, fetched pictures
    json: int = 16 * 2**20  # bytes of a JSON text
    values: int = 64 * 2**20  # bytes that a JSON text's values may take in Python: up to 90 times those of the text
    body_seconds: float = 20.0  # until the whole body has arrived
    header_seconds: float = 10.0  # until a request's headers have arrived
    header_bytes: int = 64 * 2**10
    pictures: int = 256  # in one request
    pixels: int = 25_000_000  # in one picture
    decoding: int = 288 * 2**20  # bytes that decoding may take at a time; small pictures have 32 MiB of their own
    queue: int = 512  # pictures of all requests that are being decoded or wait
    squares: int = 192 * 2**20  # bytes of what the network sees of these, of which a copy is made
    queued: int = 4 * 2**30  # bytes that decoding the whole queue at once would take: each GiB is about 2 s of one core
    fetches: int = 32  # URLs that are read at once
    explanations: int = 8  # heat maps at a time; each may cost the network as much as 256 pictures
    seconds: float = 30.0  # from the whole body to the answer; the client has as long to read it
    connections: int = 1000
    requests: int = 100  # of one client at a time: the event loop goes through all of them in turn
    pipelined: int = 8  # requests on one connection that wait for their answers


class RequestError(Exception):
    """A request that the server answers with an error: `{"error": message}` and this status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


class _Held:
    """The bytes that one request holds. Threads that work for the request may outlive it by a while."""

    def __init__(self, budget: Budget, client: str) -> None:
        self.client, self.end = client, math.inf
        self._budget, self._closed = budget, False
        self._count = self._fetched = 0  # bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Take `count` more bytes. False if there is no room for them, or if the request has ended."""
        with self._lock:
            if self._closed or not self._budget.take(self.client, count):
                return False
            self._count += count
            return True

    def give(self, count: int) -> None:
        """Give some bytes back."""
        with self._lock:
            if not self._closed:
                self._budget.give(self.client, count)
                self._count -= count

    def fetch(self, count: int, most: int) -> bool:
        """Add `count` to the bytes from URLs. False if that makes more than `most`."""
        with self._lock:
            if self._fetched + count > most:
                return False
            self._fetched += count
            return True

    def close(self) -> None:
        """Give all bytes back. Nothing more is taken."""
        with self._lock:
            self._closed = True
            self._budget.give(self.client, self._count)

    @property
    def seconds_left(self) -> float:
        """How long the request still waits for its answer."""
        return 0.0 if self._closed else self.end - time.monotonic()


_held: ContextVar[_Held] = ContextVar("held")  # of the request that this task answers


class Service:
    """One classifier at work, behind every API of the server."""

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
        """The arguments are those of `create_app`."""
        decoders = decoders or os.cpu_count() or 1
        self.classifier, self.name, self.limits, self.metrics = classifier, name, limits, metrics
        self.urls, self._private_urls = urls, private_urls
        self._batchers: dict[int, Batcher] = {}  # by the size of the squares
        self._decoders = ThreadPoolExecutor(decoders, "decode")
        self._heavy = ThreadPoolExecutor(decoders, "decode heavy")  # so that light pictures wait behind no heavy ones
        # In the event loop, not in a decoder. Several decoders together are faster, except for the tiniest pictures.
        self._most_at_once = LIGHT_PIXELS if decoders == 1 else TINY_PIXELS
        self._fetchers = ThreadPoolExecutor(limits.fetches, "fetch")
        self._explainer = ThreadPoolExecutor(1, "explain")
        self._parser = ThreadPoolExecutor(1, "parse")  # one thread, so that only one large JSON text is being read
        self._light_memory = WeightedSemaphore(min(2 * HEAVY, limits.decoding))
        self._memory = WeightedSemaphore(limits.decoding)
        self._bytes, self._pictures, self._queued = Budget(limits.bodies), Budget(limits.queue), Budget(limits.queued)
        self._squares_bytes = Budget(limits.squares)
        self._bytes_a_picture = (2 if classifier.views else 1) * classifier.info.size**2 * 3  # of its squares
        self._most_pictures = min(limits.pictures, share(limits.squares) // self._bytes_a_picture)
        self._fetches, self._explanations = Budget(limits.fetches), Budget(limits.explanations)

    def close(self) -> None:
        """Let all threads end."""
        for pool in (self._decoders, self._heavy, self._fetchers, self._explainer, self._parser):
            pool.shutdown(wait=False)
        for batcher in self._batchers.values():
            batcher.close()

    def endpoint(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """A route's endpoint: it reads the body and runs `work`, until the time limit or until the client leaves.

        Raises:
            RequestError: The body is too large (413), too slow (408), packed in an unknown way (415) or not as it
                claims (400). There is no room for it, or no time for the answer (503). Or `work` raises it.
        """

        async def run(request: Request) -> Response:
            held = _Held(self._bytes, request.client.host if request.client else "")
            _held.set(held)
            try:
                with self.metrics.stage("body"), anyio.fail_after(self.limits.body_seconds):
                    body = await self._read(request)
                held.end = time.monotonic() + self.limits.seconds
                return await self._in_time(request, work(request, body))
            except TimeoutError:
                self.metrics.refusals.labels("slow body").inc()
                message = f"expected the whole body within {self.limits.body_seconds:g} s"
                raise RequestError(408, message) from None
            except ClientDisconnect:
                return Response(status_code=CLIENT_LEFT)
            finally:
                held.close()

        return run

    async def squares(
        self, contents: Sequence[bytes], *, thumbnails: bool = True
    ) -> "list[NDArray[np.uint8] | ThumbnetError]":
        """Decode pictures: what the network sees of each, uint8 `(V, S, S, 3)`, or the error of a bad one.

        Without `thumbnails`, the model file's own network sees these, too.

        Raises:
            RequestError: There are too many, or they take too long to decode (413). There is no room for them (503).
            ModelError: The model that the file names for thumbnails does not fit.
        """
        see = functools.partial(self._squares, thumbnails=thumbnails)
        see_weighed = functools.partial(self._weighed_squares, thumbnails=thumbnails)
        with self._room(len(contents)), self.metrics.stage("decode"):
            costs = await _costs(contents)
            if len(contents) == 1 and costs[0].pixels <= self._most_at_once and _light(contents[0]):
                return [see(contents[0], costs[0])]
            weight = sum(each.weight for each in costs if each.pixels <= self._most_pixels(each))  # others are refused
            if weight > share(self.limits.queued):
                raise RequestError(413, "expected fewer or smaller pictures: these take too long to decode together")
            with self._taken(self._queued, weight, "pixels"):
                pools = [self._heavy if each.weight > HEAVY else self._decoders for each in costs]
                return await self._each(pools, see_weighed, contents, costs)

    async def ask(self, squares: NDArray[np.uint8], pictures: int | None = None) -> Asked:
        """Ask the network about squares, in one batch with those of other requests.

        Args:
            squares: uint8 `(n, S, S, 3)`; `n` may be 0.
            pictures: How many pictures the squares are views of; `n` if not given.

        Raises:
            RequestError: There are too many (413), or there is no room for them (503).
            ModelError: The network fails.
        """
        if not len(squares):
            return self.classifier.ask(squares)
        with self._room(len(squares) if pictures is None else pictures), self.metrics.stage("wait"):
            return await self._batcher(squares.shape[1]).ask(squares)

    def _batcher(self, size: int) -> Batcher:
        """The batcher for squares of `size` pixels a side. Only the event loop calls it."""
        if size not in self._batchers:
            self._batchers[size] = Batcher(self.classifier.for_squares(size), self.metrics)
        return self._batchers[size]

    async def fetched(self, urls: Sequence[str]) -> "list[bytes | ThumbnetError]":
        """Read URLs: the content of each, or its error.

        Raises:
            RequestError: The server reads no URLs (403). There are too many (413), or there is no room for them (503).
        """
        if not self.urls:
            raise RequestError(403, "expected a picture's bytes: this server reads no URLs")
        if len(urls) > self._most_pictures:
            raise self._too_many(len(urls))
        count = min(len(urls), FETCHES)
        found: dict[int, bytes | ThumbnetError] = {}
        waiting = enumerate(urls)
        with self._taken(self._fetches, count, "fetches"), self.metrics.stage("fetch"):
            work = [functools.partial(self._fetch_some, _held.get(), waiting, found)] * count
            await self._each([self._fetchers] * count, lambda each: each(), work)
        return [found[place] for place in range(len(urls))]

    async def explained(self, content: bytes, draw: Callable[[RGB], T]) -> T:
        """Decode a picture and call `draw` with it, in the thread for heat maps.

        Raises:
            RequestError: There is no room for it (503).
            ThumbnetError: The picture cannot be read, or `draw` fails.
        """

        def work() -> T:
            found = cost(content)
            with self._weighed(found):
                return draw(decode(content, self.classifier.info.size, self._most_pixels(found)))

        with self._taken(self._explanations, 1, "explanations"), self.metrics.stage("explain"):
            return await asyncio.get_running_loop().run_in_executor(self._explainer, work)

    async def beside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run `work` in a thread beside the event loop, one call at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._parser, functools.partial(work, *arguments))

    def hold(self, count: int) -> None:
        """Count more bytes for the current request, such as copies of parts of its body.

        Raises:
            RequestError: There is no room for them (503).
        """
        if not _held.get().take(count):
            raise self._busy("bodies")

    def _squares(self, content: bytes, cost: Cost, *, thumbnails: bool) -> "NDArray[np.uint8] | ThumbnetError":
        """What the network sees of a picture, or the picture's error."""
        try:
            return self.classifier.squares(content, max_pixels=self._most_pixels(cost), thumbnails=thumbnails)
        except ModelError:
            raise
        except ThumbnetError as error:
            return error

    def _weighed_squares(self, content: bytes, cost: Cost, *, thumbnails: bool) -> "NDArray[np.uint8] | ThumbnetError":
        with self._weighed(cost):
            return self._squares(content, cost, thumbnails=thumbnails)

    def _weighed(self, cost: Cost) -> contextlib.AbstractContextManager[None]:
        """Wait in a thread for the memory that decoding takes, and hold it."""
        return (self._memory if cost.weight > HEAVY else self._light_memory).take(cost.weight)

    def _most_pixels(self, cost: Cost) -> int:
        """How many pixels a picture of this kind may have."""
        return min(self.limits.pixels, self.limits.decoding // cost.bytes_a_pixel)

    def _fetch_some(
        self, held: _Held, waiting: "Iterator[tuple[int, str]]", found: "dict[int, bytes | ThumbnetError]"
    ) -> None:
        """Read one URL after the other, while the request waits for them."""
        for place, url in waiting:
            in_time = held.seconds_left > 0
            found[place] = self._fetch(held, url) if in_time else FetchError(f"{shown(url)}: not read in time")

    def _fetch(self, held: _Held, url: str) -> "bytes | ThumbnetError":
        if not is_url(url):  # never a path: a request reads no file of this machine
            return FetchError(f"expected an http, https or data URL, got {url!r:.80}")
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if not held.fetch(count, self.limits.body):
                raise FetchError(
                    f"{shown(url)}: the pictures of one request are larger than {self.limits.body:,} bytes together"
                )
            if not held.take(count):
                raise self._busy("bodies")
            taken += count

        try:
            return read(
                url, deadline=max(held.seconds_left, 0.1), max_bytes=self.limits.body,
                public_only=not self._private_urls, take=take,
            )  # fmt: skip
        except ThumbnetError as error:
            held.fetch(-taken, self.limits.body)
            held.give(taken)
            return error

    @staticmethod
    async def _each(pools: Sequence[ThreadPoolExecutor], work: Callable[..., T], *values: Sequence[Any]) -> list[T]:
        """Call `work` with each of `values`, as `map` does, each in its own pool."""
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(pool, work, *each) for pool, *each in zip(pools, *values, strict=True)]
        try:
            return [await future for future in futures]
        finally:
            for future in futures:
                future.cancel()  # if the client has left, those that have not begun

    @contextlib.contextmanager
    def _taken(self, budget: Budget, count: int, reason: str) -> Iterator[None]:
        client = _held.get().client
        if not budget.take(client, count):
            raise self._busy(reason)
        try:
            yield
        finally:
            budget.give(client, count)

    @contextlib.contextmanager
    def _room(self, count: int) -> Iterator[None]:
        if count > self._most_pictures:
            raise self._too_many(count)
        memory = self._taken(self._squares_bytes, count * self._bytes_a_picture, "queue")
        with self._taken(self._pictures, count, "queue"), memory:
            self.metrics.queue.inc(count)
            try:
                yield
            finally:
                self.metrics.queue.dec(count)

    async def _read(self, request: Request) -> bytes:
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding not in (*ENCODINGS, "identity", ""):
            raise RequestError(415, f"expected a body as it is, gzip or deflate, got {encoding!r:.40}")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.limits.body:
            raise self._too_large()
        blocks: list[bytes] = []
        count = 0
        async for block in self._blocks(request, encoding):
            count += len(block)
            if count > self.limits.body:
                raise self._too_large()
            self.hold(len(block))
            blocks.append(block)
        return b"".join(blocks)

    @staticmethod
    async def _blocks(request: Request, encoding: str) -> AsyncIterator[bytes]:
        """The body in blocks. A packed one is unpacked in a thread, as it may become a thousand times as large."""
        if encoding not in ENCODINGS:
            async for chunk in request.stream():
                yield chunk
            return
        unpacker = zlib.decompressobj(ENCODINGS[encoding])
        async for chunk in request.stream():
            try:
                blocks = unpack(unpacker, chunk)
                while block := await asyncio.to_thread(next, blocks, b""):
                    yield block
            except zlib.error as error:
                raise RequestError(400, f"the body is not packed as its Content-Encoding says: {error}") from None
            if unpacker.unused_data:
                raise RequestError(400, "expected a packed body alone, got something after it")
        if not unpacker.eof:
            raise RequestError(400, f"expected a whole {encoding} body, got one that ends early")

    async def _in_time(self, request: Request, work: Coroutine[Any, Any, Response]) -> Response:
        """The answer of `work`, which is cancelled after the time limit or when the client leaves."""
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
        return RequestError(413, f"expected at most {self._most_pictures} pictures a request, got {count:,}")

    def _busy(self, reason: str) -> RequestError:
        self.metrics.refusals.labels(reason).inc()
        return RequestError(503, "busy: try again in a second", RETRY_AFTER)


async def _costs(contents: Sequence[bytes]) -> list[Cost]:
    """What decoding each picture takes. Looking through a picture of a hundred thousand parts takes a while."""
    if sum(map(len, contents)) <= LIGHT_BYTES:
        return list(map(cost, contents))
    return await asyncio.to_thread(lambda: list(map(cost, contents)))


def _light(content: bytes) -> bool:
    """Whether a picture is a short, plain JPEG. If it has few pixels, handing it to a thread would take longer."""
    return len(content) <= LIGHT_BYTES and kind(content) == "JPEG" and PROGRESSIVE not in content


async def _left(request: Request) -> None:
    """Wait until the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
