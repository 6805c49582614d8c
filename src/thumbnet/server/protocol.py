"""uvicorn's HTTP/1.1, with limits on what a connection may take, and on how many of them one client may have."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from thumbnet.server.budget import share
from thumbnet.server.service import Limits

LIMITS = Limits()
END = b"\r\n\r\n"  # of a request's headers


class Protocol(HttpToolsProtocol):
    """One connection.

    uvicorn itself would wait for ever for headers that come slowly or never end, and for a client that does not read
    its answers. It would take any number of connections, and of requests that come without waiting for answers.
    """

    _clients: ClassVar[Counter[str]] = Counter()  # connections of each address
    _requests: ClassVar[Counter[str]] = Counter()  # of each address, that are not answered yet

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes = 0
        self._last = b""  # the end of the headers so far, which may hold a part of END
        self._in_body = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._unanswered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first request's headers, unless there are too many connections already."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._clients[self._address] += 1
        if len(self.connections) > LIMITS.connections or self._clients[self._address] > share(LIMITS.connections):
            self._refuse(503, "busy: too many connections")
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Count what comes while headers are expected, and time the rest of a body whose answer is already sent."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()
        if self._timer is not None and not self._in_body:
            # What is read at once may hold a part of the body too, up to uvloop's 256 KiB.
            unsearched = self._last + data
            end = unsearched.find(END)
            length = self._header_bytes - len(self._last) + (len(unsearched) if end < 0 else end)
            if length > LIMITS.header_bytes:
                self._refuse(431, "expected shorter headers")
                return
            self._header_bytes += len(data)
            self._last = unsearched[1 - len(END) :]
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Refuse requests that are sent by the hundred, before the first is answered: each takes memory."""
        if len(self.pipeline) >= LIMITS.pipelined - 1:
            raise ValueError("too many requests at once")  # which httptools makes an HttpParserError
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A body follows, if only an empty one. Where one client asks too much at once, uvicorn answers 503 itself."""
        self._in_body = True
        self._stop_timer()
        self.limit_concurrency = 0 if self._requests[self._address] >= LIMITS.requests else LIMITS.connections
        self._count(1)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """A place is free."""
        self._count(-1)
        super().on_response_complete()

    def on_message_complete(self) -> None:
        """The next request may follow."""
        self._in_body = False
        if self._timer is not None:  # the answer was sent before the body was there
            self._stop_timer()
            self._start_timer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered: give up on it after the time that an answer may take."""
        super().pause_writing()
        self._unread = self.loop.call_later(LIMITS.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read enough of it."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._clients[self._address] -= 1
        if not self._clients[self._address]:
            del self._clients[self._address]
        self._count(-self._unanswered)
        self._stop_waiting_for_reader()
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered as every error is."""
        self._refuse(400, msg)

    def _count(self, change: int) -> None:
        self._unanswered += change
        self._requests[self._address] += change
        if not self._requests[self._address]:
            del self._requests[self._address]

    def _start_timer(self) -> None:
        self._header_bytes, self._last = 0, b""
        self._timer = self.loop.call_later(LIMITS.header_seconds, self._refuse, 408, "expected a request sooner")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _refuse(self, status: int, message: str) -> None:
        self._stop_timer()
        if not self._in_body:  # else it has its answer
            body = f'{{"error": "{message}"}}'.encode()
            self.transport.write(
                STATUS_LINE[status] + b"content-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
        self.transport.close()
