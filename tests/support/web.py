"""A small web of this machine only: real sockets on 127.0.0.1, and every kind of answer, the bad ones too.

from support.web import Web, drip, ok

def test_it(web: Web) -> None:  # the fixture; conftest.py makes it known
    web.pages["/cat.png"] = ok(png, "image/png")
    read(web.url("/cat.png"))
    assert web.seen[0].headers["User-Agent"]
"""

import contextlib
import gzip
import http.server
import select
import socket
import socketserver
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import pytest

_PATIENCE = 10.0  # seconds, after which an endless answer ends: a limit that fails must fail a test, not hang it
_look_up = socket.getaddrinfo  # as it is, before a test replaces it
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@dataclass
class Seen:
    """A request that came in."""

    path: str
    headers: Message


class Visit(http.server.BaseHTTPRequestHandler):
    """One request, as an answer sees it: write to `wfile`, and return soon after `stopped` is set."""

    web: "Web"

    @property
    def stopped(self) -> threading.Event:
        return self.web.stopped

    def handle(self) -> None:
        if self.web.unasked is None:
            super().handle()
        else:
            with contextlib.suppress(ConnectionError):
                self.web.unasked(self)

    def do_GET(self) -> None:
        self.web.seen.append(Seen(self.path, self.headers))
        # The client may hang up at any time; that is what many tests are about.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.web.pages.get(self.path, status(404))(self)

    do_CONNECT = do_GET  # noqa: N815 (the name that http.server calls); the path is host:port

    def log_message(self, *_args: Any) -> None:
        pass


Answer = Callable[[Visit], None]


@dataclass
class Web:
    """A running server. `names` are hosts that this machine takes for itself while it runs."""

    base: str
    pages: dict[str, Answer] = field(default_factory=dict)
    unasked: Answer | None = None  # to every connection, in place of reading its request
    seen: list[Seen] = field(default_factory=list)
    names: set[str] = field(default_factory=lambda: {"localhost"})
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def url(self, path: str) -> str:
        return self.base + path


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for them and no test leaves a socket open
    request_queue_size = 64

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks the machine's name up
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, *_args: Any) -> None:
        """A client that hangs up while its request is read is nothing to report."""


@contextlib.contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server on a free port of 127.0.0.1, with TLS if a context is given; stopped and closed at the end."""
    handler = type("Handler", (Visit,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        web = Web(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
        handler.web = web  # type: ignore[attr-defined]
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield web
        finally:
            web.stopped.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server; meanwhile no proxy is used and no name but `web.names` is found, so nothing leaves this machine."""
    for name in _PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host in served.names:
            host = "127.0.0.1"
        if host not in ("127.0.0.1", "::1"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    with serve() as served:
        yield served


@dataclass
class Internet:
    """The internet as a test has it: where names lead, and what was asked of it."""

    names: dict[str, list[str]] = field(default_factory=lambda: {"public.example": ["93.184.216.34"]})
    looked_up: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)  # addresses

    def look_up(self, host: str, port: int, *_args: Any, **_options: Any) -> list[Any]:
        """As `socket.getaddrinfo`, numbers of every form too, and no name server is asked."""
        self.looked_up.append(host)
        addresses = self.names.get(host.rstrip("."), [host])
        options: Any = {"type": socket.SOCK_STREAM, "flags": socket.AI_NUMERICHOST}
        return [found for address in addresses for found in _look_up(address, port, **options)]


@pytest.fixture
def internet(web: Web, monkeypatch: pytest.MonkeyPatch) -> Internet:
    """Every connection, whatever its address, ends at `web`: so it is http://public.example too."""
    made = Internet()

    def connect(connecting: socket.socket, where: Any) -> None:
        made.connected.append(where[0])
        if connecting.family != socket.AF_INET:
            raise ConnectionRefusedError
        socket.SocketType.connect(connecting, ("127.0.0.1", web.port))  # of the class below Python's own

    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    monkeypatch.setattr(socket.socket, "connect", connect)
    return made


def ok(body: bytes, kind: str = "application/octet-stream", **headers: str) -> Answer:
    """200 and the body; `Content_Encoding="gzip"` adds a header."""
    return status(200, body, Content_Type=kind, **headers)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(visit: Visit) -> None:
        visit.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            visit.send_header(name.replace("_", "-"), value)
        visit.end_headers()
        visit.wfile.write(body)

    return answer


def redirect(to: str, code: int = 302) -> Answer:
    return status(code, Location=to)


def raw(data: bytes) -> Answer:
    """These bytes, headers and all, and then the connection is closed."""
    return lambda visit: _send(visit, data)


def drip(data: bytes, head: bytes = b"", pause: float = 0.05) -> Answer:
    """The head at once, then a byte a pause, over and over."""

    def answer(visit: Visit) -> None:
        _send(visit, head)
        while True:
            for byte in data:
                _send(visit, bytes([byte]))
                if visit.stopped.wait(pause):
                    return

    return answer


def endless(head: bytes, data: bytes) -> Answer:
    """The head, then the data over and over, as fast as it goes."""

    def answer(visit: Visit) -> None:
        _send(visit, head)
        end = time.monotonic() + _PATIENCE
        while not visit.stopped.is_set() and time.monotonic() < end:
            _send(visit, data)

    return answer


def silent(visit: Visit) -> None:
    """Nothing at all, and the connection stays open for long."""
    visit.stopped.wait(_PATIENCE)


def cut(body: bytes, length: int) -> Answer:
    """A Content-Length of `length`, of which only the body comes."""
    return raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body)


def reset(data: bytes) -> Answer:
    """These bytes, and then the connection breaks: not closed, but reset."""

    def answer(visit: Visit) -> None:
        _send(visit, data)
        visit.stopped.wait(0.1)  # a reset takes back what was not read yet
        visit.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        visit.connection.close()

    return answer


def bomb(size: int, encoding: str = "gzip") -> Answer:
    """A thousandth of `size` bytes, which unpack to that many."""
    return lambda visit: ok(gzip.compress(bytes(size), 1), Content_Encoding=encoding)(visit)


def ranged(body: bytes, at_most: int) -> Answer:
    """A file that can be resumed, from a server that breaks off after `at_most` bytes of each answer."""

    def answer(visit: Visit) -> None:
        start = int((visit.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            status(416, Content_Range=f"bytes */{len(body)}")(visit)
            return
        visit.send_response(206 if start else 200)
        visit.send_header("Content-Length", str(len(body) - start))
        if start:
            visit.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        visit.end_headers()
        visit.wfile.write(body[start : start + at_most])

    return answer


def tunnel(visit: Visit) -> None:
    """What a proxy does for https: CONNECT host:port, then bytes to and fro."""
    host, _, port = visit.path.rpartition(":")
    with socket.create_connection((host, int(port))) as far:
        status(200)(visit)
        other = {visit.connection: far, far: visit.connection}
        while not visit.stopped.is_set():
            for ready in select.select(other, [], [], 0.05)[0]:
                data = ready.recv(2**16)
                if not data:
                    return
                other[ready].sendall(data)


def _send(visit: Visit, data: bytes) -> None:
    visit.wfile.write(data)
    visit.wfile.flush()
