"""What every API of the server is made of: bodies within their limits, pictures decoded, answers from the network."""

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

from thumbnet.errors import FetchError, ThumbnetError
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.pictures.decode import RGB, decode
from thumbnet.pictures.exif import BROKEN
from thumbnet.pictures.header import jpeg
from thumbnet.pictures.kinds import kind
from thumbnet.server.batching import Batcher
from thumbnet.server.budget import Budget, Scale, share
from thumbnet.server.cost import Cost, cost
from thumbnet.server.metrics import Metrics
from thumbnet.sources.fetch import read, unpack
from thumbnet.sources.urls import is_url, shown

RETRY_AFTER = {"Retry-After": "1"}  # seconds; a full queue is empty again after less
ENCODINGS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
LIGHT_BYTES, LIGHT_PIXELS = 64 * 2**10, 512 * 512  # of a JPEG that is decoded in a millisecond or so
PROGRESSIVE = b"\xff\xc2"  # the marker of JPEGs in which thousands of scans, each of all pixels, fit into few bytes
HEAVY = 2**24  # bytes: about 1.4 megapixels; decoding takes some 10 ms or more
FETCHES = 4  # of one request at once
CLIENT_LEFT = 499  # as nginx logs it; nobody reads the answer
Work: TypeAlias = Callable[[Request, bytes], Coroutine[Any, Any, Response]]  # a request and its body → its answer
T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What one request may take, and what all together may, of which one client has three quarters at most."""

    body: int = 32 * 2**20  # bytes of a request, packed and unpacked, and of what it has fetched
    bodies: int = 96 * 2**20  # bytes of all requests that are held at once: bodies, their parts, what was fetched
    json: int = 16 * 2**20  # bytes of a JSON text
    values: int = 64 * 2**20  # bytes that the values of a JSON text may take as Python's, which can be 90 times as many
    body_seconds: float = 20.0  # until a body is there
    header_seconds: float = 10.0  # until a request's headers are there
    header_bytes: int = 64 * 2**10
    pictures: int = 256  # of one request
    pixels: int = 25_000_000  # of one picture
    decoding: int = 288 * 2**20  # bytes that decoding may take at once; small pictures have 32 MiB of their own
    queue: int = 512  # pictures that are decoded or wait, of all requests
    queued: int = 4 * 2**30  # bytes that decoding these would take, were it at once: about 2 s of a core for each GiB
    fetches: int = 32  # URLs that are read at once
    explanations: int = 8  # heat maps at once; each takes the network as long as 256 pictures
    seconds: float = 30.0  # from a whole body to the answer, and for the client to read it
    connections: int = 1000
    requests: int = 100  # of one client, and of one process, at once: the event loop goes through all of them in turn
    pipelined: int = 8  # requests of one connection whose answers are not sent yet


class RequestError(Exception):
    """A request that is answered with an error: `{"error": message}` and this status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


class _Held:
    """What one request holds of the bytes for all. Threads that work for it may go on for a while after its end."""

    def __init__(self, budget: Budget, client: str) -> None:
        self.client, self.end = client, math.inf
        self._budget, self._closed = budget, False
        self._count = self._fetched = 0  # bytes
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Whether there was room for so many more bytes."""
        with self._lock:
            if self._closed or not self._budget.take(self.client, count):
                return False
            self._count += count
            return True

    def give(self, count: int) -> None:
        """Give some back."""
        with self._lock:
            if not self._closed:
                self._budget.give(self.client, count)
                self._count -= count

    def fetch(self, count: int, most: int) -> bool:
        """Whether so many more bytes from URLs are no more than `most` together."""
        with self._lock:
            if self._fetched + count > most:
                return False
            self._fetched += count
            return True

    def close(self) -> None:
        """Give back the rest. Nothing is taken after that."""
        with self._lock:
            self._closed = True
            self._budget.give(self.client, self._count)

    @property
    def seconds_left(self) -> float:
        """Until the answer is given up."""
        return 0.0 if self._closed else self.end - time.monotonic()


_held: ContextVar[_Held] = ContextVar("held")  # by the request that is answered


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
        self._heavy = ThreadPoolExecutor(decoders, "decode heavy")  # so that what is light never waits behind it
        self._alone = decoders == 1
        self._fetchers = ThreadPoolExecutor(limits.fetches, "fetch")
        self._explainer = ThreadPoolExecutor(1, "explain")
        self._parser = ThreadPoolExecutor(1, "parse")  # one, so that what it makes is in memory once
        self._light_scale, self._scale = Scale(min(2 * HEAVY, limits.decoding)), Scale(limits.decoding)
        self._bytes, self._pictures, self._queued = Budget(limits.bodies), Budget(limits.queue), Budget(limits.queued)
        self._fetches, self._explanations = Budget(limits.fetches), Budget(limits.explanations)

    def close(self) -> None:
        """Let the threads end."""
        for pool in (self._decoders, self._heavy, self._fetchers, self._explainer, self._parser):
            pool.shutdown(wait=False)
        self._batcher.close()

    def endpoint(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """What a route calls: reads the body, and gives `work` until the limit, or until the client leaves.

        Raises:
            RequestError: The body is too large (413), too slow (408), packed in an unknown way (415) or badly (400);
                there is no room for it, or no time for the answer (503); and what `work` raises.
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

    async def squares(self, contents: Sequence[bytes]) -> "list[NDArray[np.uint8] | ThumbnetError]":
        """What the network sees of encoded pictures, uint8 `(V, S, S, 3)` each; of a bad one, its error.

        Raises:
            RequestError: Too many (413), or no room for them (503).
        """
        with self._room(len(contents)), self.metrics.stage("decode"):
            if self._alone and len(contents) == 1 and _light(contents[0]):
                return [self._squares(contents[0], cost(contents[0]))]
            costs = await _costs(contents)
            weight = sum(each.weight for each in costs if each.pixels <= self._most_pixels(each))  # others are refused
            if weight > share(self.limits.queued):
                raise RequestError(413, "expected fewer or smaller pictures: these take too long to decode together")
            with self._taken(self._queued, weight, "pixels"):
                pools = [self._heavy if each.weight > HEAVY else self._decoders for each in costs]
                return await self._each(pools, self._weighed_squares, contents, costs)

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
        count = min(len(urls), FETCHES)
        found: dict[int, bytes | ThumbnetError] = {}
        waiting = enumerate(urls)
        with self._taken(self._fetches, count, "fetches"), self.metrics.stage("fetch"):
            work = [functools.partial(self._fetch_some, _held.get(), waiting, found)] * count
            await self._each([self._fetchers] * count, lambda each: each(), work)
        return [found[place] for place in range(len(urls))]

    async def explained(self, content: bytes, draw: Callable[[RGB], T]) -> T:
        """What `draw` makes of a picture, in the thread for heat maps.

        Raises:
            RequestError: No room for it (503).
            ThumbnetError: The picture cannot be read, and what `draw` raises.
        """

        def work() -> T:
            found = cost(content)
            with self._weighed(found):
                return draw(decode(content, self.classifier.info.size, self._most_pixels(found)))

        with self._taken(self._explanations, 1, "explanations"), self.metrics.stage("explain"):
            return await asyncio.get_running_loop().run_in_executor(self._explainer, work)

    async def beside(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` gives, beside the event loop: one such work at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._parser, functools.partial(work, *arguments))

    def hold(self, count: int) -> None:
        """Count more bytes for the request that is answered: copies that are made of its body.

        Raises:
            RequestError: There is no room for them (503).
        """
        if not _held.get().take(count):
            raise self._busy("bodies")

    def _squares(self, content: bytes, cost: Cost) -> "NDArray[np.uint8] | ThumbnetError":
        """What the network sees of an encoded picture, or why it sees nothing."""
        try:
            return self.classifier.squares(content, max_pixels=self._most_pixels(cost))
        except ThumbnetError as error:
            return error

    def _weighed_squares(self, content: bytes, cost: Cost) -> "NDArray[np.uint8] | ThumbnetError":
        with self._weighed(cost):
            return self._squares(content, cost)

    def _weighed(self, cost: Cost) -> contextlib.AbstractContextManager[None]:
        """Room for what decoding takes, in a thread. What is light never waits behind what is not."""
        return (self._scale if cost.weight > HEAVY else self._light_scale).weighed(cost.weight)

    def _most_pixels(self, cost: Cost) -> int:
        """Of a picture of this kind."""
        return min(self.limits.pixels, self.limits.decoding // cost.bytes_a_pixel)

    def _fetch_some(
        self, held: _Held, waiting: "Iterator[tuple[int, str]]", found: "dict[int, bytes | ThumbnetError]"
    ) -> None:
        """Read one URL after the other, as long as somebody waits for them."""
        for place, url in waiting:
            if held.seconds_left <= 0:
                return
            found[place] = self._fetch(held, url)

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
        """What `work` gives of each of `values`, as `map` has them, in the pool for it."""
        loop = asyncio.get_running_loop()
        futures = [loop.run_in_executor(pool, work, *each) for pool, *each in zip(pools, *values, strict=True)]
        try:
            return [await future for future in futures]
        finally:
            for future in futures:
                future.cancel()  # those that have not begun, where the client has left

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
        if count > self.limits.pictures:
            raise self._too_many(count)
        with self._taken(self._pictures, count, "queue"):
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
        """The body, unpacked in a thread: a block of it can be a thousand times as large then."""
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


async def _costs(contents: Sequence[bytes]) -> list[Cost]:
    """What decoding each takes. A picture of a hundred thousand parts takes a while to look through."""
    if sum(map(len, contents)) <= LIGHT_BYTES:
        return list(map(cost, contents))
    return await asyncio.to_thread(lambda: list(map(cost, contents)))


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
