"""A URL → bytes, or a verified file. This module holds every limit on the network.

    read       one picture: in memory, under a byte limit and a total deadline
    download   one large known file: on disk, resumed after a break, verified by its checksum

Both go through `_open`, which follows the redirects and checks every hop, and through `_Limits.connect`, the only place
where a connection is made. Import this module only to read a URL: ssl and urllib.request take longer than a
prediction.
"""

import base64
import contextlib
import functools
import http.client
import io
import math
import os
import socket
import ssl
import string
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from thumbnet import files
from thumbnet._version import __version__
from thumbnet.errors import FetchError
from thumbnet.progress import progress
from thumbnet.sources.addresses import PUBLIC_PORTS, NotPublicError, is_public
from thumbnet.sources.urls import host_and_port, is_data, read_data, shown
from thumbnet.text import one_line

_MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_BLOCK = 2**16  # bytes in a read
_UNPACKED = 2**18  # bytes that are unpacked at once
_PAUSES = (1.0, 2.0, 4.0)  # seconds before each retry of an interrupted download
_DOWNLOAD_TIMEOUT = 20.0  # seconds that the server of a download may stay silent
# Characters with a meaning in a path or query, and "%", so that nothing is quoted twice.
_KEPT_IN_URL = "!$%&'()*+,/:;=?@[]~"
_NEXT_STEP = {
    401: "it needs a user and a password: https://user:password@host/…",
    403: "the server does not give it to programs: save it with a browser and give the file",
    404: "check the address",
    429: "the server asks for a pause: try again later",
}
_NO_LOGIN = "open it in a browser: it may ask for a login, or show the picture at another address"


def read(
    url: str,
    *,
    timeout: float = 10.0,
    deadline: float = 30.0,
    max_bytes: int = 32 * 2**20,
    public_only: bool = False,
    take: Callable[[int], object] | None = None,
) -> bytes:
    """The content of an http, https or data URL, whatever its type, unless it is a web page.

    At most five redirects are followed, never to another scheme or from https down to http. A user and password in the
    URL are sent as Basic authorization. The environment's proxies (`https_proxy`, `no_proxy`) are used. A body that the
    server packed unasked with gzip or deflate is unpacked.

    Args:
        url: May hold spaces and characters beyond ASCII, in the host, too.
        timeout: Seconds that the server may stay silent.
        deadline: Seconds for everything together, including the look-up of names and redirects.
        max_bytes: The most bytes that the body may have, packed and unpacked.
        public_only: For a server, whose URLs come from strangers: connect only to public addresses, ports 80 and 443,
            on every hop. The address of the connection counts, and not how the URL writes it. Proxies are not used
            then, because they would look up the name again. docs/fetching.md lists what is rejected.
        take: Called with the number of bytes of each unpacked block, before the next one is read. An exception from it
            ends the reading: so a server that reads many URLs at once can limit their total.

    Raises:
        FetchError: The URL is malformed or of another scheme; the host is unknown or not public; the connection was
            refused, cut off or not secure; or the server was too slow, answered with another status than 200 or with a
            web page, redirected too often, packed the body in an unknown way, or sent more than `max_bytes`.
    """
    if is_data(url):
        return read_data(url, max_bytes)
    limits = _Limits(timeout, deadline, public_only)
    response, where = _open(url, limits, {}, statuses=(200,))
    with response:
        blocks = []
        for block in _unpacked(response, where, limits, max_bytes):
            if take is not None:
                take(len(block))
            blocks.append(block)
        body = b"".join(blocks)
    if response.headers.get_content_type() == "text/html" and body[:100].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise FetchError(f"{where}: expected a picture, got a web page (HTML); {_NO_LOGIN}")
    return body


def download(url: str, path: Path, *, size: int, sha256: str, label: str) -> None:
    """Download a file whose size and checksum are known.

    The bytes go to `path` + ".part". This file is kept if the download is interrupted, and the next call resumes from
    there, if the server can. `path` is written only by renaming the verified file.

    Two processes may download the same file at once: a process that finds the .part changed stops, and the .part is
    verified before it is renamed.

    Args:
        url: An http or https URL.
        path: The file to make. Its parent folders are made too.
        size: The file's size in bytes. No more are read.
        sha256: The file's SHA-256, in hexadecimal.
        label: The progress bar's label. The bar appears on standard error, if that is a terminal.

    Raises:
        FetchError: As for `read`, but a break is retried first; or the size or checksum is wrong, or the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with progress(label, size, "B", _size(part)) as show:
            _complete(url, part, size, show)
        found = files.sha256(part)
        if found != sha256.lower():
            part.unlink()
            raise FetchError(f"{shown(url)}: expected the SHA-256 {sha256}, got {found}; what came was deleted")
        part.replace(path)
    except OSError as error:
        raise FetchError(f"{path} could not be written: {error.strerror or error}") from error


class _BreakError(FetchError):
    """The connection broke; a retry may succeed."""


class _LookUpTimeoutError(TimeoutError):
    """The look-up of a host's name took too long."""


class _Limits:
    """How long one `read` or `download` may wait and where it may go; makes the connections that keep to that."""

    def __init__(self, timeout: float, deadline: float, public_only: bool = False) -> None:
        self.timeout, self.deadline, self.public_only = timeout, deadline, public_only
        self._end = time.monotonic() + deadline

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self._end

    def wait(self) -> float:
        """Seconds that the next step may take; never 0, which means "do not wait" to sockets."""
        return min(self.timeout, max(self._end - time.monotonic(), 0.001))

    def connect(self, address: tuple[str, int], *_options: object) -> socket.socket:
        """`socket.create_connection` with a deadline: a connection to the first of the addresses that answers.

        The name is looked up once, and only the checked addresses are connected to, so a name server cannot change its
        answer in between.
        """
        host, port = address
        if self.public_only and port not in PUBLIC_PORTS:
            raise OSError(f"expected port 80 or 443, got {port}; other ports are not read here")
        found = self._look_up(host, port)
        # One address that is not public suffices to reject the host: the next answer may hold only that one.
        if self.public_only and not all(is_public(where[0]) for *_, where in found):
            raise NotPublicError
        failure: OSError = socket.gaierror("no address")
        for family, kind, protocol, _, where in found:
            try:
                return self._connected(socket.socket(family, kind, protocol), where)
            except OSError as error:
                failure = error
        raise failure

    def _connected(self, unconnected: socket.socket, where: Any) -> socket.socket:
        try:
            unconnected.settimeout(self.wait())
            unconnected.connect(where)
            unconnected.settimeout(self.wait())  # for the TLS handshake as a whole, if one follows
        except BaseException:
            unconnected.close()
            raise
        return unconnected

    def _look_up(self, host: str, port: int) -> list[Any]:
        """`socket.getaddrinfo` in a thread, which is abandoned if it is too slow: nothing can stop it."""
        found: list[Any] = []
        failures: list[Exception] = []

        def look_up() -> None:
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        thread.join(self.wait())
        if failures:
            raise failures[0]
        if thread.is_alive():
            raise _LookUpTimeoutError
        return found


class _TimedReader(io.RawIOBase):
    """A socket's bytes, read within the limits.

    A socket's own timeout restarts with every byte, so a server that drips its headers could hold us for hours.
    """

    def __init__(self, connected: socket.socket, limits: _Limits) -> None:
        self._socket, self._limits = connected, limits
        self._raw = connected.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The only method of a socket that HTTPResponse uses."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._limits.expired:
            raise TimeoutError
        self._socket.settimeout(self._limits.wait())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Handler(urllib.request.AbstractHTTPHandler):
    """Opens http and https within the limits. There is no other opener, so no other scheme can be opened."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, limits: _Limits) -> None:
        super().__init__()
        self._limits = limits

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(self._connection, http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(self._connection, http.client.HTTPSConnection, context=_tls()), request)

    def _connection(self, kind: Any, host: str, **options: Any) -> http.client.HTTPConnection:
        connection: Any = kind(host, **options)
        connection._create_connection = self._limits.connect  # http.client's hook for this
        connection.response_class = lambda connected, *args, **kwargs: http.client.HTTPResponse(
            _TimedReader(connected, self._limits),  # type: ignore[arg-type]
            *args,
            **kwargs,
        )
        return connection  # type: ignore[no-any-return]


@functools.cache
def _tls() -> ssl.SSLContext:
    """The system's trusted certificates, loaded once, because that takes longer than many requests."""
    return ssl.create_default_context()


def _open(
    url: str, limits: _Limits, headers: dict[str, str], statuses: tuple[int, ...]
) -> tuple[http.client.HTTPResponse, str]:
    """The response to a GET, after its redirects, and its name for messages. The caller closes the response."""
    opener = urllib.request.OpenerDirector()
    proxies = urllib.request.ProxyHandler({} if limits.public_only else None)  # None: the environment's proxies
    for handler in (proxies, _Handler(limits), urllib.request.UnknownHandler()):
        opener.add_handler(handler)
    hop, where = url, shown(url)
    for _ in range(_MAX_REDIRECTS + 1):
        request = _request(hop, where, headers)
        with _explained(where, limits):
            response: http.client.HTTPResponse = opener.open(request)
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            break
        response.close()
        hop = _redirected(hop, where, location)
        where = f"{shown(url)}, redirected to {shown(hop)}"
    else:
        raise FetchError(f"{shown(url)}: redirected more than {_MAX_REDIRECTS} times")
    if response.status not in statuses:
        response.close()
        # The standard phrase, since the server's own could be anything.
        answer = f"{response.status} {http.client.responses.get(response.status, '')}".strip()
        step = _NEXT_STEP.get(response.status, "try again later" if response.status >= 500 else "expected 200 OK")
        raise FetchError(f"{where}: the server answered {answer}; {step}")
    return response, where


def _request(url: str, where: str, headers: dict[str, str]) -> urllib.request.Request:
    """A request for a URL that was checked, quoted and relieved of its password."""
    agent = f"Thumbnet/{__version__} (+python-urllib)"  # without a name, some servers answer 403
    headers = {"User-Agent": agent, "Accept-Encoding": "identity", **headers}
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https"):
            raise FetchError(f"{where}: expected a URL that begins with http:// or https://")
        plain = f"{parts.scheme}://{host_and_port(parts)}{quote(parts.path, safe=_KEPT_IN_URL) or '/'}"
        if parts.query:
            plain += "?" + quote(parts.query, safe=_KEPT_IN_URL)
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    except ValueError:  # UnicodeError is one too
        raise FetchError(f"{where}: expected a URL such as https://host/path.jpg; this one is malformed") from None
    return urllib.request.Request(plain, headers=headers)  # noqa: S310 (the scheme was checked)


def _redirected(url: str, where: str, location: str) -> str:
    """Where a redirect leads. `_request` checks the result like every URL."""
    try:
        # http.client reads headers as Latin-1; quoting them as such keeps the server's bytes.
        target = urljoin(url, quote(location, safe=string.punctuation, encoding="latin-1"))
        downgraded = (urlsplit(url.strip()).scheme, urlsplit(target).scheme) == ("https", "http")
    except ValueError:
        raise FetchError(f"{where}: redirected to a malformed URL") from None
    if downgraded:
        raise FetchError(f"{where}: redirected from https down to http, which is not followed")
    return target


def _unpacked(response: http.client.HTTPResponse, where: str, limits: _Limits, max_bytes: int) -> Iterator[bytes]:
    """The body in blocks, unpacked if the server packed it unasked; at most `max_bytes`, packed and unpacked."""
    blocks = _blocks(response, where, limits, max_bytes)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from blocks
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError(f"{where}: expected plain bytes, got Content-Encoding {encoding[:20]!r}")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip's header or zlib's
    left = max_bytes
    for block in blocks:
        try:
            for unpacked in unpack(unpacker, block):
                left -= len(unpacked)
                if left < 0:
                    raise FetchError(f"{where}: unpacked, {_too_large(max_bytes)}")
                yield unpacked
        except zlib.error:
            break
        if unpacker.eof:
            return
    raise FetchError(f"{where}: the server packed it with {encoding}, and what came is broken; try again later")


def unpack(unpacker: "zlib._Decompress", packed: bytes) -> Iterator[bytes]:
    """What a block unpacks to, a step at a time: a bomb's block of 64 KiB would be 64 MiB at once.

    Raises:
        zlib.error: It is not packed so.
    """
    while unpacked := unpacker.decompress(packed, _UNPACKED):
        yield unpacked
        packed = unpacker.unconsumed_tail
        if len(unpacked) < _UNPACKED and not packed:
            return


def _blocks(response: http.client.HTTPResponse, where: str, limits: _Limits, max_bytes: int) -> Iterator[bytes]:
    """The whole body in blocks, at most `max_bytes`, or an error."""
    expected, received = response.length, 0
    if expected is not None and expected > max_bytes:
        raise FetchError(f"{where}: {_too_large(max_bytes)}")
    with _explained(where, limits):
        # read1, because read trusts the length that a chunk claims, even a negative one, which means "everything".
        while block := response.read1(_BLOCK):
            received += len(block)
            if received > max_bytes:
                raise FetchError(f"{where}: {_too_large(max_bytes)}")
            yield block
        if expected is not None and received < expected:
            raise http.client.IncompleteRead(b"", expected - received)


def _too_large(max_bytes: int) -> str:
    return f"larger than the {max_bytes:,} bytes that are allowed"


@contextlib.contextmanager
def _explained(where: str, limits: _Limits) -> Iterator[None]:
    """Turn what urllib, http.client and ssl raise into a FetchError."""
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        kind, reason = _reason(cause, limits)
        raise kind(f"{where}: {reason}") from error


def _reason(cause: object, limits: _Limits) -> tuple[type[FetchError], str]:
    """The error to raise and its message. The order matters, because most of these are kinds of OSError."""
    match cause:
        case _LookUpTimeoutError():
            return _BreakError, "the look-up of the host's name took too long; check the network, or try again later"
        case TimeoutError() if limits.expired:
            return FetchError, f"not read within {limits.deadline:g} seconds"
        case TimeoutError():
            return _BreakError, f"the server was silent for {limits.timeout:g} seconds; try again later"
        case socket.gaierror() if limits.public_only:
            unknown = "no public host of this name was found, and others are not read here"
            return FetchError, f"{unknown}; check the name, or send the picture itself"
        case socket.gaierror():
            return FetchError, "the host was not found; check its name and the network connection"
        case ConnectionRefusedError():
            return FetchError, "the connection was refused; check the host, the port and that the server runs"
        case ssl.SSLCertVerificationError():
            return FetchError, f"the server's certificate is not trusted: {cause.verify_message}"
        case ssl.SSLEOFError() | ConnectionError() | http.client.IncompleteRead():
            return _BreakError, "the connection was cut off; try again later"
        case ssl.SSLError():
            return FetchError, f"no secure connection ({cause.reason}); if the server has none, use http://"
        case http.client.InvalidURL() | ValueError():  # not our URL, which was checked
            return FetchError, "the proxy in the environment (http_proxy or https_proxy) is malformed"
        case http.client.BadStatusLine() | http.client.UnknownProtocol():
            start = f"{cause.args[0]:.40}"
            return FetchError, f"no HTTP answer, as it begins with {start!r}; check the port"
        case http.client.HTTPException():  # more or longer header lines than http.client reads
            return FetchError, f"the HTTP answer is not valid: {cause}"
        case _:
            return FetchError, one_line(str(getattr(cause, "strerror", None) or cause))


def _complete(url: str, part: Path, size: int, show: Callable[[int], object]) -> None:
    """Download until `part` has its `size`, with retries."""
    pauses = iter(_PAUSES)
    while _size(part) != size:
        try:
            _resume(url, part, size, show)
        except _BreakError as error:
            pause = next(pauses, None)
            if pause is None:
                kept = f"{_size(part):,} of {size:,} bytes are kept: the next try goes on from there"
                raise FetchError(f"{error}; {kept}") from error
            time.sleep(pause)


def _resume(url: str, part: Path, size: int, show: Callable[[int], object]) -> None:
    """Append what `part` lacks, in one request."""
    position = _size(part)
    if position > size:
        part.unlink()
        position = 0
    headers = {"Range": f"bytes={position}-"} if position else {}
    limits = _Limits(_DOWNLOAD_TIMEOUT, math.inf)
    response, where = _open(url, limits, headers, statuses=(200, 206, 416))
    with response:
        content_range = response.headers.get("Content-Range", "")
        resumed = response.status == 206 and content_range.startswith(f"bytes {position}-")
        if response.status != 200 and not resumed:
            part.unlink(missing_ok=True)
            raise _BreakError(f"{where}: the server cannot go on from byte {position:,}")
        if response.status == 200:
            position = 0  # it does not support ranges and sends the whole file
        if response.length not in (None, size - position):
            raise FetchError(f"{where}: expected {size:,} bytes, got {position + response.length:,}")
        with part.open("ab" if position else "wb") as file:
            for block in _blocks(response, where, limits, size - position):
                if os.fstat(file.fileno()).st_size != position:
                    raise FetchError(f"{part}: another process writes to it; wait for that one")
                file.write(block)
                file.flush()
                position += len(block)
                show(position)
    if position != size:
        raise _BreakError(f"{where}: expected {size:,} bytes, got {position:,}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
