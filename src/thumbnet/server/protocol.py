"""uvicorn's HTTP/1.1, with a limit on how long a request's headers may take and how many bytes they may have."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from thumbnet.server.service import Limits

LIMITS = Limits()


class Protocol(HttpToolsProtocol):
    """One connection. uvicorn itself would wait for ever for headers that come slowly, or never end."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_bytes = 0
        self._in_body = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for the first request's headers."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Count what comes while headers are expected, and time the rest of a body whose answer is already sent."""
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._start_timer()
        if self._timer is not None and not self._in_body:
            # What is read at once may hold a part of the body too, up to uvloop's 256 KiB.
            self._header_bytes += len(data)
            head, separator, _ = data.partition(b"\r\n\r\n")
            if (not separator and self._header_bytes > LIMITS.header_bytes) or len(head) > LIMITS.header_bytes:
                self._refuse(431, "expected shorter headers")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """A body follows, if only an empty one."""
        self._in_body = True
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next request may follow."""
        self._in_body = False
        if self._timer is not None:  # the answer was sent before the body was there
            self._stop_timer()
            self._start_timer()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered as every error is."""
        self._refuse(400, msg)

    def _start_timer(self) -> None:
        self._header_bytes = 0
        self._timer = self.loop.call_later(LIMITS.header_seconds, self._refuse, 408, "expected a request sooner")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, message: str) -> None:
        self._stop_timer()
        if not self._in_body:  # else it has its answer
            body = f'{{"error": "{message}"}}'.encode()
            self.transport.write(
                STATUS_LINE[status] + b"content-type: application/json\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
        self.transport.close()
