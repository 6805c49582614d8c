"""uvicorn's HTTP/1.1, with limits on each connection and on the connections of each client."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from thumbnet.server.budget import share
from thumbnet.server.service import RETRY_AFTER, Limits

LIMITS = Limits()
END = b"\r\n\r\n"  # of a request's headers


class Protocol(HttpToolsProtocol):
    """One connection.

    uvicorn alone would wait for ever for headers that are slow or never end, and for a client that does not read its
    answers. It would accept any number of connections, and any number of requests that do not wait for answers.
    """

    _clients: ClassVar[Counter[str]] = Counter()  # how many connections each address has
    _requests: ClassVar[Counter[str]] = Counter()  # how many requests of each address are not answered yet

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes = 0
        self._last = b""  # the end of the headers so far, which may hold a part of END
        self._in_body = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._unanswered = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the headers of the first request, unless there are too many connections."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._clients[self._address] += 1
        if len(self.connections) > LIMITS.connections or self._clients[self._address] > share(LIMITS.connections):
            self._refuse(503, "busy: too many connections")
            return
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Limit the size of headers, and the time for the rest of a body that is already answered."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()
        if self._timer is not None and not self._in_body:
            # One read, of up to 256 KiB with uvloop, may hold a part of the body too.
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
        """Refuse requests by the hundred that come before the first is answered, because each takes memory."""
        if len(self.pipeline) >= LIMITS.pipelined - 1:
            raise ValueError("too many requests at once")  # which httptools makes an HttpParserError
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Expect a body, even if it is empty. A client with too many requests gets 503 at once."""
        self._in_body = True
        self._stop_timer()
        app = self.app
        if self._requests[self._address] >= LIMITS.requests:
            self.app = JSONResponse(
                {"error": "busy: try again in a second"}, 503, {**RETRY_AFTER, "Connection": "close"}
            )
        self._count(1)
        super().on_headers_complete()
        self.app = app

    def on_response_complete(self) -> None:
        """Let the client's next request in."""
        self._count(-1)
        super().on_response_complete()

    def on_message_complete(self) -> None:
        """Expect the next request."""
        self._in_body = False
        if self._timer is not None:  # the answer was sent before the body had arrived
            self._stop_timer()
            self._start_timer()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give the client, which reads more slowly than it is answered, the time that an answer may take."""
        super().pause_writing()
        self._unread = self.loop.call_later(LIMITS.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read enough."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers, and free the client's places."""
        self._clients[self._address] -= 1
        if not self._clients[self._address]:
            del self._clients[self._address]
        self._count(-self._unanswered)
        self._stop_waiting_for_reader()
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of every other error."""
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
        if not self._in_body:  # otherwise it already has its answer
            body = f'{{"error": "{message}"}}'.encode()
            self.transport.write(
                STATUS_LINE[status] + b"content-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
        self.transport.close()
