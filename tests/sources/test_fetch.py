"""fetch: each limit against a real server on this machine that breaks it."""

import base64
import contextlib
import gzip
import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import web as pages
from support.models import png, write
from support.web import Web, serve

from thumbnet.cli import main
from thumbnet.errors import FetchError
from thumbnet.model.classifier import load
from thumbnet.sources import fetch
from thumbnet.sources.fetch import download, read

DOCUMENT = (Path(__file__).parents[2] / "docs" / "fetching.md").read_text(encoding="utf-8")
ELSEWHERE = (  # what is told of servers that are not in the table below
    NOT_FOUND := "the host was not found; check its name and the network connection",
    SLOW_NAME := "the look-up of the host's name took too long; check the network, or try again later",
    REFUSED := "the connection was refused; check the host, the port and that the server runs",
    UNTRUSTED := "the server's certificate is not trusted: self",
    DOWNGRADED := "redirected from https down to http, which is not followed",
)
BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
CHUNKED = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def refusal(url: str, **limits: Any) -> str:
    """The message of the FetchError that reading the URL raises: always one line, and never with a password."""
    with pytest.raises(FetchError) as caught:
        read(url, **{"timeout": 10.0, "deadline": 20.0, **limits})
    message = str(caught.value)
    assert message.isprintable()
    assert "secret" not in message
    return message


# What is read


def test_body_is_returned(web: Web) -> None:
    web.pages["/cat.png"] = pages.ok(BODY, "text/html")  # the type is the decoder's affair
    assert read(web.url("/cat.png")) == BODY


def test_empty_body_is_returned(web: Web) -> None:
    web.pages["/"] = pages.ok(b"")
    assert read(web.base) == b""


def test_body_without_length_is_returned(web: Web) -> None:
    web.pages["/cat"] = pages.raw(OK_HEAD + b"\r\n" + BODY)
    assert read(web.url("/cat")) == BODY


def test_chunked_body_is_returned(web: Web) -> None:
    web.pages["/cat"] = pages.raw(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert read(web.url("/cat")) == b"abcde"


def test_request_names_thumbnet_and_wants_plain_bytes(web: Web) -> None:
    web.pages["/"] = pages.ok(BODY)
    read(web.base)
    headers = web.seen[0].headers
    assert headers["User-Agent"].startswith("Thumbnet/")
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Host"] == f"127.0.0.1:{web.port}"
    assert headers["Authorization"] is None


@pytest.mark.parametrize(
    ("asked", "arrives"),
    [
        ("/two words.png", "/two%20words.png"),
        ("/two%20words.png", "/two%20words.png"),
        ("/Füße/猫.png", "/F%C3%BC%C3%9Fe/%E7%8C%AB.png"),
        ("/cat?size=<big>&sign=ä/b", "/cat?size=%3Cbig%3E&sign=%C3%A4/b"),
        ("/cat.png#fragment", "/cat.png"),
        ("?id=7", "/?id=7"),
        ("/a\r\nX-Evil: 1", "/aX-Evil:%201"),
        (" ", "/"),
    ],
)
def test_url_is_quoted(web: Web, asked: str, arrives: str) -> None:
    web.pages[arrives] = pages.ok(BODY)
    assert read(web.url(asked)) == BODY
    assert [seen.path for seen in web.seen] == [arrives]


def test_scheme_may_be_in_capitals(web: Web) -> None:
    web.pages["/"] = pages.ok(BODY)
    assert read(web.base.replace("http", "HTTP")) == BODY


def test_host_beyond_ascii_is_read(web: Web) -> None:
    web.names.add("xn--bcher-kva.example")
    web.pages["/"] = pages.ok(BODY)
    assert read(f"http://Bücher.example:{web.port}/") == BODY
    assert web.seen[0].headers["Host"] == f"xn--bcher-kva.example:{web.port}"


def test_user_and_password_are_sent_and_not_shown(web: Web) -> None:
    web.pages["/"] = pages.status(401)
    message = refusal(f"http://ann:sec%20ret@127.0.0.1:{web.port}/")
    assert web.seen[0].headers["Authorization"] == "Basic YW5uOnNlYyByZXQ="  # ann:sec ret
    assert message.startswith(f"http://127.0.0.1:{web.port}/: the server answered 401 Unauthorized")


def test_password_goes_to_no_other_host(web: Web) -> None:
    web.pages.update({"/": pages.redirect(web.url("/next")), "/next": pages.ok(BODY)})
    assert read(f"http://ann:secret@127.0.0.1:{web.port}/") == BODY
    assert [seen.headers["Authorization"] for seen in web.seen] == ["Basic YW5uOnNlY3JldA==", None]


def test_proxy_of_the_environment_is_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web.base)
    web.pages["http://far.example/cat.png"] = pages.ok(BODY)
    assert read("http://far.example/cat.png") == BODY


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("http://ann:secret@127.0.0.1:port", "the proxy in the environment (http_proxy or https_proxy) is malformed"),
        ("http:/secret", "the proxy in the environment (http_proxy or https_proxy) is malformed"),
        ("socks5://127.0.0.1:1", "unknown url type: socks5"),
    ],
)
def test_proxy_that_cannot_be_used_is_told(web: Web, monkeypatch: pytest.MonkeyPatch, proxy: str, told: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    assert told in refusal(web.base)


def test_second_address_of_a_host_is_tried(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def two_addresses(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        found = look_up("127.0.0.1", port, *args, **kwargs)
        dead = [(*entry[:4], ("127.0.0.1", unused_port())) for entry in found]
        return dead + found if host == "two.example" else found

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    web.pages["/"] = pages.ok(BODY)
    assert read(f"http://two.example:{web.port}/") == BODY


# What is refused before anything is sent


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
        "gopher://127.0.0.1/",
        "cat.png",
        "",
        "//a/b",
    ],
)
def test_other_scheme_is_refused(web: Web, url: str) -> None:
    assert "expected a URL that begins with http:// or https://" in refusal(url)
    assert not web.seen


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "http:///path",
        "http://:80/",
        "http://[::1",
        "http://[cat]/",
        "http://host:port/",
        "http://host:99999/",
        "http://ho st/",
        "http://a%0d%0ab/",
        "http://a..b/",
        "http://" + "a" * 64 + "/",
        "http://\udcff/",
        "http://host/\udcff",
        "http://user:sec/secret@host/",
        "http://user:secret@/",
    ],
)
def test_malformed_url_is_refused(web: Web, url: str) -> None:
    assert "malformed" in refusal(url)
    assert not web.seen


def test_long_url_is_shortened_in_the_message(web: Web) -> None:
    assert len(refusal(web.url("/" + "a" * 5000))) < 400


# Hosts and connections


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.usefixtures("web")
def test_unknown_host_is_told() -> None:
    assert f"http://nowhere.invalid/: {NOT_FOUND}" == refusal("http://nowhere.invalid/")


@pytest.mark.usefixtures("web")
def test_refused_connection_is_told() -> None:
    assert REFUSED in refusal(f"http://127.0.0.1:{unused_port()}/")


@pytest.mark.parametrize("limits", [{"timeout": 0.3}, {"deadline": 0.3}], ids=str)
def test_slow_look_up_of_a_name_is_told(web: Web, monkeypatch: pytest.MonkeyPatch, limits: dict[str, float]) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: web.stopped.wait(10) and [])
    with ends_within(2):
        message = refusal("http://slow.example/", **limits)
    assert message == f"http://slow.example/: {SLOW_NAME}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    command = ["openssl", *options.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key", "-out", "crt"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "crt").read_bytes())
    return both


@pytest.fixture
def secure_web(web: Web, certificate: Path) -> Iterator[Web]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve(context) as secure:
        secure.names = web.names
        yield secure


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    fetch._tls.cache_clear()
    yield
    fetch._tls.cache_clear()


def test_untrusted_certificate_is_told(secure_web: Web) -> None:
    assert UNTRUSTED in refusal(secure_web.base)


@pytest.mark.usefixtures("trusted")
def test_certificate_of_another_host_is_told(secure_web: Web) -> None:
    message = refusal(secure_web.base.replace("127.0.0.1", "localhost"))
    assert "the server's certificate is not trusted: Hostname mismatch" in message


@pytest.mark.usefixtures("trusted")
def test_https_is_read(secure_web: Web) -> None:
    secure_web.pages["/"] = pages.ok(BODY)
    assert read(secure_web.base) == BODY


@pytest.mark.usefixtures("trusted")
def test_https_is_read_through_a_proxy(web: Web, secure_web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", web.base)
    web.pages[secure_web.base.removeprefix("https://")] = pages.tunnel
    secure_web.pages["/"] = pages.ok(BODY)
    assert read(secure_web.base) == BODY
    assert len(web.seen) == 1


@pytest.mark.usefixtures("trusted")
def test_https_has_the_deadline_too(secure_web: Web) -> None:
    secure_web.pages["/"] = pages.drip(b"a", head=OK_HEAD + b"\r\n")
    with ends_within(5):
        assert "not read within 0.5 seconds" in refusal(secure_web.base, deadline=0.5)


@pytest.mark.usefixtures("trusted")
def test_https_is_not_redirected_to_http(web: Web, secure_web: Web) -> None:
    web.pages["/"] = pages.ok(BODY)
    secure_web.pages["/"] = pages.redirect(web.url("/"))
    assert DOWNGRADED in refusal(secure_web.base.upper())
    assert not web.seen


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", ["/b", "b", "{base}/b", "//127.0.0.1:{port}/b"])
def test_redirect_is_followed(web: Web, code: int, to: str) -> None:
    web.pages.update({"/a": pages.redirect(to.format(base=web.base, port=web.port), code), "/b": pages.ok(BODY)})
    assert read(web.url("/a")) == BODY


def test_redirect_in_utf8_is_followed(web: Web) -> None:
    web.pages["/a"] = pages.raw("HTTP/1.1 302 Found\r\nLocation: /ü b\r\n\r\n".encode())
    web.pages["/%C3%BC%20b"] = pages.ok(BODY)
    assert read(web.url("/a")) == BODY


def test_five_redirects_are_followed_and_not_six(web: Web) -> None:
    web.pages.update({f"/{hop}": pages.redirect(f"/{hop + 1}") for hop in range(6)})
    web.pages["/6"] = pages.ok(BODY)
    assert read(web.url("/1")) == BODY
    assert "redirected more than 5 times" in refusal(web.url("/0"))


def test_redirect_loop_ends(web: Web) -> None:
    web.pages["/"] = pages.redirect("/")
    assert "redirected more than 5 times" in refusal(web.base)
    assert len(web.seen) == 6


def test_redirects_share_one_deadline(web: Web) -> None:
    def slow(visit: pages.Visit) -> None:
        visit.stopped.wait(0.3)
        pages.redirect("/")(visit)

    web.pages["/"] = slow
    assert "not read within 0.7 seconds" in refusal(web.base, deadline=0.7)


def test_what_goes_wrong_after_a_redirect_names_both_urls(web: Web) -> None:
    web.pages["/cat.png"] = pages.redirect("/gone.png")
    both = f"{web.url('/cat.png')}, redirected to {web.url('/gone.png')}: "
    assert refusal(web.url("/cat.png")).startswith(both + "the server answered 404")
    web.pages["/gone.png"] = pages.cut(b"abc", 9)
    assert refusal(web.url("/cat.png")).startswith(both + "the connection was cut off")


# Packed bodies, which nobody asked for


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("X-GZip", gzip.compress(BODY) + b"what a server adds"),
        (" deflate ", zlib.compress(BODY)),
        ("Identity", BODY),
        ("", BODY),
    ],
)
def test_packed_body_is_unpacked(web: Web, encoding: str, body: bytes) -> None:
    web.pages["/"] = pages.ok(body, Content_Encoding=encoding)
    assert read(web.base) == BODY


def test_packed_body_may_unpack_to_max_bytes_and_not_one_more(web: Web) -> None:
    web.pages["/"] = pages.bomb(1000)
    assert len(read(web.base, max_bytes=1000)) == 1000
    assert "unpacked, larger than the 999 bytes that are allowed" in refusal(web.base, max_bytes=999)


@pytest.mark.parametrize("size", [0, 1, 2**18 - 1, 2**18, 2**18 + 1, 2**20, 3 * 2**20 + 5])
def test_what_comes_is_counted_unpacked_and_block_by_block(web: Web, size: int) -> None:
    web.pages["/"] = pages.bomb(size)
    counts: list[int] = []
    assert len(read(web.url("/"), take=counts.append)) == sum(counts) == size
    assert max(counts, default=0) <= 2**18


def test_who_counts_may_end_the_reading(web: Web) -> None:
    web.pages["/"] = pages.endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000))
    counts: list[int] = []

    def take(count: int) -> None:
        counts.append(count)
        if sum(counts) > 100_000:
            raise FetchError("enough")

    with pytest.raises(FetchError, match="enough"):
        read(web.url("/"), take=take)
    assert sum(counts) < 300_000


def test_bomb_takes_no_memory(web: Web) -> None:
    web.pages["/"] = pages.raw(OK_HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(2**26)))
    tracemalloc.start()
    refusal(web.base, max_bytes=10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 10**6


# Limits


def test_body_may_have_max_bytes_and_not_one_more(web: Web) -> None:
    web.pages["/length"] = pages.ok(b"a" * 1000)
    web.pages["/none"] = pages.raw(OK_HEAD + b"\r\n" + b"a" * 1000)
    for path in ("/length", "/none"):
        assert len(read(web.url(path), max_bytes=1000)) == 1000
        assert "larger than the 999 bytes that are allowed" in refusal(web.url(path), max_bytes=999)


@pytest.mark.parametrize("length", [b"-5", b"many", b"0x10", b""])
def test_length_that_is_none_does_not_count(web: Web, length: bytes) -> None:
    web.pages["/"] = pages.raw(OK_HEAD + b"Content-Length: " + length + b"\r\n\r\n" + BODY)
    assert read(web.base) == BODY


def test_length_ends_the_body(web: Web) -> None:
    web.pages["/"] = pages.raw(OK_HEAD + b"Content-Length: 3\r\n\r\n" + BODY)
    assert read(web.base) == BODY[:3]


# Every trick that a server can play, and what the user is told


@dataclass
class Trick:
    """What a server does, what the message says, and the limits, in seconds."""

    name: str
    answer: pages.Answer
    told: str
    unasked: bool = False  # from the first moment on, before there is a request
    scheme: str = "http"
    timeout: float = 10.0
    deadline: float = 5.0


def slow(name: str, answer: pages.Answer, **options: Any) -> Trick:
    return Trick(name, answer, "not read within 0.5 seconds", deadline=0.5, **options)


def quiet(name: str, answer: pages.Answer, **options: Any) -> Trick:
    return Trick(name, answer, "the server was silent for 0.3 seconds; try again later", timeout=0.3, **options)


def cut_off(name: str, answer: pages.Answer) -> Trick:
    return Trick(name, answer, "the connection was cut off; try again later")


def too_large(name: str, answer: pages.Answer) -> Trick:
    return Trick(name, answer, "larger than the 1,000,000 bytes that are allowed")


def broken(name: str, body: bytes) -> Trick:
    packed = pages.ok(body, Content_Encoding="gzip")
    return Trick(name, packed, "the server packed it with gzip, and what came is broken; try again later")


def no_http(name: str, data: bytes, start: str) -> Trick:
    return Trick(name, pages.raw(data), f"no HTTP answer, as it begins with '{start}")


def invalid(name: str, answer: pages.Answer, told: str) -> Trick:
    return Trick(name, answer, f"the HTTP answer is not valid: got more than {told}")


def elsewhere(to: str) -> Trick:
    told = f"redirected to {to}: expected a URL that begins with http:// or https://"
    return Trick(f"redirect to {to}", pages.redirect(to), told)


def answers(code: int, told: str) -> Trick:
    return Trick(f"status {code}", pages.status(code), f"the server answered {told}")


FULL = b"a" * 2**16
TRICKS = [
    slow("drips its status line", pages.drip(b"H")),
    slow("drips a header", pages.drip(b"X", b"HTTP/1.1 200 OK\r\n")),
    slow("drips many headers", pages.drip(b"X: 1\r\n", b"HTTP/1.1 200 OK\r\n")),
    slow("drips the body", pages.drip(b"a", OK_HEAD + b"\r\n")),
    slow("drips the body, length known", pages.drip(b"a", OK_HEAD + b"Content-Length: 1000\r\n\r\n")),
    slow("drips a packed body", pages.drip(b"a", OK_HEAD + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08")),
    slow("drips chunks", pages.drip(b"1\r\na\r\n", CHUNKED)),
    slow("drips the size of a chunk", pages.drip(b"0", CHUNKED + b"0")),
    slow("drips the TLS handshake", pages.drip(b"\2", b"\x16\3\3\x40\0"), unasked=True, scheme="https"),
    slow("100 Continue without end", pages.endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100)),
    slow("trailers without end", pages.endless(CHUNKED + b"0\r\n", b"X: 1\r\n" * 100)),
    slow("silent for longer than the deadline", pages.silent),
    quiet("silent after accept", pages.silent, unasked=True),
    quiet("silent in the TLS handshake", pages.silent, unasked=True, scheme="https"),
    quiet("silent after the request", pages.silent),
    quiet("silent in its headers", pages.drip(b"a", b"HTTP/1.1 200 OK\r\n", pause=60)),
    quiet("silent in the body", pages.drip(b"a", OK_HEAD + b"\r\nabc", pause=60)),
    too_large("body without length or end", pages.endless(OK_HEAD + b"\r\n", FULL)),
    too_large("chunks without end", pages.endless(CHUNKED, b"10000\r\n" + FULL + b"\r\n")),
    too_large("chunk of negative size", pages.endless(CHUNKED + b"-1\r\n", FULL)),
    too_large("chunk of huge size", pages.endless(CHUNKED + b"7fffffffffff\r\n", FULL)),
    too_large("negative length", pages.endless(OK_HEAD + b"Content-Length: -1\r\n\r\n", FULL)),
    too_large("huge length", pages.drip(b"a", OK_HEAD + b"Content-Length: 99999999999\r\n\r\n", pause=60)),
    too_large("gzip bomb", pages.bomb(10**7)),
    Trick("unknown packing", pages.ok(BODY, Content_Encoding="br"), "expected plain bytes, got Content-Encoding 'br'"),
    broken("gzip that is none", BODY),
    broken("gzip cut off", gzip.compress(BODY)[:-9]),
    broken("gzip of nothing", b""),
    cut_off("closes at once", pages.raw(b"")),
    cut_off("body shorter than its length", pages.cut(b"abc", 9)),
    cut_off("chunk shorter than its size", pages.raw(CHUNKED + b"9\r\nabc")),
    cut_off("chunks without the last one", pages.raw(CHUNKED + b"3\r\nabc\r\n")),
    cut_off("chunk whose size is no number", pages.raw(CHUNKED + b"zz\r\nabc\r\n")),
    cut_off("connection reset in its headers", pages.reset(b"HTTP/1.1 200 OK\r\nX: ")),
    cut_off("connection reset in the body", pages.reset(OK_HEAD + b"Content-Length: 9\r\n\r\nabc")),
    no_http("another protocol", b"SSH-2.0-OpenSSH\r\n", "SSH-2.0-OpenSSH"),
    no_http("garbage", b"\x1b[31m" * 99 + b"\n", r"\x1b[31m\x1b[31m"),
    no_http("HTTP/0.9", b"\x89PNG\r\n\x1a\n", r"\x89PNG"),
    no_http("HTTP of a version to come", b"HTTP/4.2 200 OK\r\n\r\n", "HTTP/4.2"),
    no_http("status that is no number", b"HTTP/1.1 fine\r\n\r\n", "HTTP/1.1 fine"),
    invalid("endless status line", pages.endless(b"", FULL), "65536 bytes when reading status line"),
    invalid("endless header", pages.endless(OK_HEAD + b"X: ", FULL), "65536 bytes when reading header line"),
    invalid("headers without end", pages.endless(OK_HEAD, b"X: 1\r\n"), "100 headers"),
    invalid("endless chunk size", pages.endless(CHUNKED, b"0" * 99), "65536 bytes when reading chunk size"),
    Trick("redirect loop", pages.redirect("/"), "redirected more than 5 times"),
    elsewhere("file:///etc/passwd"),
    elsewhere("ftp://127.0.0.1/a"),
    elsewhere("data:,a"),
    elsewhere("javascript:alert(1)"),
    elsewhere("gopher://127.0.0.1/"),
    elsewhere("our-app://open"),
    Trick("redirect to half a URL", pages.redirect("http://["), "redirected to a malformed URL"),
    Trick("redirect to no port", pages.redirect("http://host:port/"), "redirected to http://host:port/: expected a"),
    Trick("redirect to no host", pages.redirect("http://user:secret@/"), "redirected to http:///: expected a URL"),
    Trick("plain HTTP in place of TLS", pages.ok(BODY), "no secure connection", scheme="https"),
    answers(204, "204 No Content; expected 200 OK"),
    answers(206, "206 Partial Content; expected 200 OK"),
    answers(302, "302 Found; expected 200 OK"),  # without a Location
    answers(304, "304 Not Modified; expected 200 OK"),
    answers(401, "401 Unauthorized; it needs a user and a password: https://user:password@host/"),
    answers(403, "403 Forbidden; the server does not give it to programs: save it with a browser and give the file"),
    answers(404, "404 Not Found; check the address"),
    answers(429, "429 Too Many Requests; the server asks for a pause: try again later"),
    answers(500, "500 Internal Server Error; try again later"),
    answers(503, "503 Service Unavailable; try again later"),
    answers(799, "799; try again later"),
    Trick("web page", pages.ok(b"\xef\xbb\xbf\n<!doctype html>", "text/html; charset=utf-8"), "a web page (HTML)"),
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.name)
def test_trick_is_told_in_time(web: Web, trick: Trick) -> None:
    web.pages["/"] = trick.answer
    web.unasked = trick.answer if trick.unasked else None
    url = web.base.replace("http:", f"{trick.scheme}:")
    with ends_within(min(trick.timeout, trick.deadline) + 1):
        message = refusal(url, timeout=trick.timeout, deadline=trick.deadline, max_bytes=10**6)
    assert message.startswith(url)
    assert trick.told in message


def test_silence_that_begins_late_ends_at_the_deadline(web: Web) -> None:
    def late(visit: pages.Visit) -> None:
        pages.raw(OK_HEAD + b"\r\nabc")(visit)
        visit.stopped.wait(1)
        pages.drip(b"d", pause=60)(visit)

    web.pages["/"] = late
    with ends_within(1.7):  # not another second, as was left at the start
        assert "not read within 1.1 seconds" in refusal(web.base, deadline=1.1)


# What the user sees of it


def told_by_the_command(capsys: pytest.CaptureFixture[str], model: Path, *sources: str) -> str:
    assert main(["predict", "--model", str(model), *sources]) == 1
    return capsys.readouterr().err


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx")


def test_documents_tell_the_same() -> None:
    table = DOCUMENT.partition("| What the server does |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| [^-].* \| `(.*)` \|$", table, re.MULTILINE)
    told = [without_numbers(text) for text in (*ELSEWHERE, *(trick.told for trick in TRICKS))]
    assert len(rows) > 20
    assert [row for row in rows if not any(text in without_numbers(row) for text in told)] == []


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "N", text)


def test_web_page_is_told_with_its_url(web: Web, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>"
    web.pages.update({"/cat.png": pages.redirect("/login"), "/login": pages.ok(page, "text/html")})
    told = f"{web.url('/cat.png')}, redirected to {web.url('/login')}: expected a picture, got a web page (HTML); open"
    assert told_by_the_command(capsys, model, web.url("/cat.png")).startswith(f"error: {told}")
    with pytest.raises(FetchError) as caught:
        load(model).predict(web.url("/cat.png"))
    assert str(caught.value).startswith(told)
    web.pages["/cat.png"] = pages.ok(page, "image/png")  # a server that does not know what it sends
    told = told_by_the_command(capsys, model, web.url("/cat.png"))
    assert told.startswith(f"error: {web.url('/cat.png')}: this is a web page (HTML)")


def test_picture_that_a_wrong_length_cuts_is_told(web: Web, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.pages["/"] = pages.raw(OK_HEAD + b"Content-Length: 30\r\n\r\n" + png("red"))
    assert "broken or cut off" in told_by_the_command(capsys, model, web.base)


def test_url_of_each_kind_is_predicted(web: Web, model: Path) -> None:
    web.pages["/"] = pages.ok(gzip.compress(png("green")), "text/html", Content_Encoding="gzip")
    data = "DATA:image/png;base64," + base64.b64encode(png("blue")).decode()
    assert [found.label for found in load(model).predict([web.base, data])] == ["green", "blue"]


# download


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "file.tar.gz"


def part_of(path: Path, content: bytes | None = None) -> Path:
    part = path.with_name(path.name + ".part")
    if content is not None:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
    return part


def get(web: Web, path: Path, *, size: int = len(BODY), sha256: str = SHA256) -> None:
    download(web.url("/file"), path, size=size, sha256=sha256, label="a file")


def failure(web: Web, path: Path, **expected: Any) -> str:
    with pytest.raises(FetchError) as caught:
        get(web, path, **expected)
    assert not path.exists()
    return str(caught.value)


def ranges(web: Web) -> list[str | None]:
    return [seen.headers["Range"] for seen in web.seen]


def test_download_makes_the_file_and_its_folders(web: Web, path: Path) -> None:
    # Servers that call an archive's own compression a Content-Encoding are common; the checksum decides.
    web.pages["/file"] = pages.ok(BODY, Content_Encoding="x-gzip")
    get(web, path, sha256=SHA256.upper())
    assert path.read_bytes() == BODY
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert ranges(web) == [None]


def test_download_goes_on_after_breaks(web: Web, path: Path) -> None:
    web.pages["/file"] = pages.ranged(BODY, at_most=100_000)
    get(web, path)
    assert path.read_bytes() == BODY
    assert ranges(web) == [None, "bytes=100000-", "bytes=200000-"]


def test_download_goes_on_from_a_part(web: Web, path: Path) -> None:
    part_of(path, BODY[:1234])
    web.pages["/file"] = pages.ranged(BODY, at_most=len(BODY))
    get(web, path)
    assert path.read_bytes() == BODY
    assert ranges(web) == ["bytes=1234-"]
    assert not part_of(path).exists()


def test_download_of_a_complete_part_asks_nothing(web: Web, path: Path) -> None:
    part_of(path, BODY)
    get(web, path)
    assert path.read_bytes() == BODY
    assert not web.seen


def test_download_starts_over_where_ranges_are_unknown(web: Web, path: Path) -> None:
    part_of(path, b"x" * 1234)
    web.pages["/file"] = pages.ok(BODY)
    get(web, path)
    assert path.read_bytes() == BODY


def test_download_starts_over_after_416(web: Web, path: Path) -> None:
    part_of(path, b"x" * 1234)

    def no_ranges(visit: pages.Visit) -> None:
        (pages.status(416) if visit.headers["Range"] else pages.ok(BODY))(visit)

    web.pages["/file"] = no_ranges
    get(web, path)
    assert path.read_bytes() == BODY
    assert ranges(web) == ["bytes=1234-", None]


def test_download_starts_over_after_another_range(web: Web, path: Path) -> None:
    part_of(path, BODY[:1234])

    def from_one(visit: pages.Visit) -> None:
        answer = pages.ok(BODY)
        if visit.headers["Range"]:
            answer = pages.status(206, BODY[1:], Content_Range=f"bytes 1-{len(BODY) - 1}/{len(BODY)}")
        answer(visit)

    web.pages["/file"] = from_one
    get(web, path)
    assert path.read_bytes() == BODY


def test_download_starts_over_from_a_part_that_is_too_large(web: Web, path: Path) -> None:
    part_of(path, BODY + b"x")
    web.pages["/file"] = pages.ok(BODY)
    get(web, path)
    assert path.read_bytes() == BODY
    assert ranges(web) == [None]


def test_wrong_checksum_is_told_and_the_part_removed(web: Web, path: Path) -> None:
    web.pages["/file"] = pages.ok(BODY)
    message = failure(web, path, sha256="0" * 64)
    assert "0" * 64 in message
    assert SHA256 in message
    assert not part_of(path).exists()


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_wrong_size_is_told_at_once(web: Web, path: Path, size: int) -> None:
    web.pages["/file"] = pages.ok(BODY)
    assert f"expected {size:,} bytes, got {len(BODY):,}" in failure(web, path, size=size)
    assert len(web.seen) == 1


def test_endless_download_ends_at_its_size(web: Web, path: Path) -> None:
    web.pages["/file"] = pages.endless(OK_HEAD + b"\r\n", BODY)
    assert "larger than" in failure(web, path)
    assert part_of(path).stat().st_size <= len(BODY)


def test_download_gives_up_and_keeps_what_came(web: Web, path: Path) -> None:
    web.pages["/file"] = pages.ranged(BODY, at_most=1000)
    assert "cut off; try again later; 4,000 of 256,000 bytes are kept" in failure(web, path)
    assert part_of(path).read_bytes() == BODY[:4000]


def test_download_from_a_server_that_falls_silent_ends(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_DOWNLOAD_TIMEOUT", 0.3)
    web.pages["/file"] = pages.drip(b"a", OK_HEAD + b"\r\n" + BODY[:1000], pause=60)
    with ends_within(20):
        assert "silent for 0.3 seconds" in failure(web, path)
    assert part_of(path).read_bytes().startswith(BODY[:1000])


def test_download_without_the_file_fails_at_once(web: Web, path: Path) -> None:
    assert "404 Not Found" in failure(web, path)
    assert len(web.seen) == 1


def test_interrupted_download_keeps_its_part(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def interrupting(*_: Any) -> Iterator[Any]:
        def show(position: int) -> None:
            if position > 100_000:
                raise KeyboardInterrupt

        yield show

    web.pages["/file"] = pages.ranged(BODY, at_most=len(BODY))
    with monkeypatch.context() as patched:
        patched.setattr(fetch, "progress", interrupting)
        with pytest.raises(KeyboardInterrupt):
            get(web, path)
    kept = part_of(path).stat().st_size
    assert not path.exists()
    get(web, path)
    assert path.read_bytes() == BODY
    assert ranges(web) == [None, f"bytes={kept}-"]


def test_another_process_at_the_same_file_is_told(web: Web, path: Path) -> None:
    def answer(visit: pages.Visit) -> None:
        pages.raw(OK_HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:100])(visit)
        while not part_of(path).exists() or not part_of(path).stat().st_size:
            time.sleep(0.01)
        with part_of(path).open("ab") as other:
            other.write(b"of the other one")
        pages.raw(BODY[100:])(visit)

    web.pages["/file"] = answer
    assert "another process writes to it" in failure(web, path)


def test_two_downloads_at_once_leave_a_right_file_or_none(web: Web, path: Path) -> None:
    web.pages["/file"] = pages.ranged(BODY, at_most=100_000)
    failures: list[FetchError] = []

    def one() -> None:
        try:
            get(web, path)
        except FetchError as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == BODY if path.exists() else len(failures) == 4


def test_folder_that_cannot_be_made_is_told(web: Web, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "could not be written" in failure(web, tmp_path / "file" / "in" / "it")


def test_no_bar_where_standard_error_is_no_terminal(
    web: Web, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    web.pages["/file"] = pages.ok(BODY)
    get(web, path)
    assert capsys.readouterr().err == ""
    part_of(path, b"x" * 1234)  # the server knows no ranges: the bar goes back to 0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    get(web, path)
    assert "a file: 100%" in capsys.readouterr().err


def test_download_needs_no_tqdm(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    web.pages["/file"] = pages.ok(BODY)
    get(web, path)
    assert path.read_bytes() == BODY


# The module


def test_import_is_light() -> None:
    code = "import sys, thumbnet.sources.fetch; print({'tqdm', 'keras', 'tensorflow', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_limits_are_those_of_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def stop(*values: Any) -> None:
        seen.append(values)
        raise FetchError("far enough")

    monkeypatch.setattr(fetch, "_Limits", stop)
    monkeypatch.setattr(fetch, "read_data", stop)
    with pytest.raises(FetchError):
        read("http://example.org/a.png")
    with pytest.raises(FetchError):
        read("data:,a")
    with pytest.raises(FetchError):
        download("http://example.org/a.tgz", tmp_path / "a.tgz", size=1, sha256=SHA256, label="a")
    assert seen[:2] == [(10.0, 30.0, False), ("data:,a", 32 * 2**20)]
    assert seen[2][0] == 20.0
