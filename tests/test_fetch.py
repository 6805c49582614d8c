"""fetch: each limit against a real server on this machine that breaks it."""

import contextlib
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import web as pages
from web import Web, serve

from thumbnet import fetch
from thumbnet.errors import FetchError
from thumbnet.fetch import download, read

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
        "data:image/png;base64,AAAA",
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
    assert "http://nowhere.invalid/: the host was not found" in refusal("http://nowhere.invalid/")


@pytest.mark.usefixtures("web")
def test_refused_connection_is_told() -> None:
    assert "the connection was refused" in refusal(f"http://127.0.0.1:{unused_port()}/")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("web")
def test_server_that_never_answers_ends(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ends_within(5):
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
        assert "silent for 0.3 seconds" in refusal(url, timeout=0.3)


def test_plain_server_asked_for_https_is_told(web: Web) -> None:
    assert "no secure connection" in refusal(web.base.replace("http:", "https:"))


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
    assert "the server's certificate is not trusted: self" in refusal(secure_web.base)


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
    assert "from https down to http" in refusal(secure_web.base.upper())
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


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a", "gopher://127.0.0.1/"])
def test_redirect_to_another_scheme_is_refused(web: Web, to: str) -> None:
    web.pages["/"] = pages.redirect(to)
    message = refusal(web.base)
    assert to in message
    assert "expected a URL that begins with http:// or https://" in message


@pytest.mark.parametrize("to", ["http://[", "http://host:port/", "http://user:secret@/"])
def test_redirect_to_a_malformed_url_is_refused(web: Web, to: str) -> None:
    web.pages["/"] = pages.redirect(to)
    assert "malformed" in refusal(web.base)


def test_redirects_share_one_deadline(web: Web) -> None:
    def slow(visit: pages.Visit) -> None:
        visit.stopped.wait(0.3)
        pages.redirect("/")(visit)

    web.pages["/"] = slow
    assert "not read within 0.7 seconds" in refusal(web.base, deadline=0.7)


# Answers


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (403, "403 Forbidden; the server does not give it to programs"),
        (404, "404 Not Found; check the address"),
        (503, "503 Service Unavailable; try again later"),
        (204, "204 No Content; expected 200 OK"),
        (304, "304 Not Modified; expected 200 OK"),
        (302, "302 Found; expected 200 OK"),  # without a Location
        (799, "the server answered 799; try again later"),
    ],
)
def test_status_is_told(web: Web, code: int, told: str) -> None:
    web.pages["/"] = pages.status(code)
    assert told in refusal(web.base)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 nonsense\r\n\r\n", OK_HEAD + b"X: 1\r\n" * 200, b"A" * 10**5]
)
def test_answer_that_is_not_http_is_told(web: Web, answer: bytes) -> None:
    web.pages["/"] = pages.raw(answer)
    assert "no valid HTTP answer" in refusal(web.base)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        CHUNKED + b"9\r\nabc",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"zz\r\nabc\r\n",
    ],
)
def test_answer_cut_off_is_told(web: Web, answer: bytes) -> None:
    web.pages["/"] = pages.raw(answer)
    assert "cut off" in refusal(web.base)


def test_compressed_body_is_refused(web: Web) -> None:
    web.pages["/"] = pages.ok(BODY, Content_Encoding="gzip")
    assert "got Content-Encoding 'gzip'" in refusal(web.base)


# Limits


def test_body_may_have_max_bytes_and_not_one_more(web: Web) -> None:
    web.pages["/length"] = pages.ok(b"a" * 1000)
    web.pages["/none"] = pages.raw(OK_HEAD + b"\r\n" + b"a" * 1000)
    for path in ("/length", "/none"):
        assert len(read(web.url(path), max_bytes=1000)) == 1000
        assert "larger than the 999 bytes that are allowed" in refusal(web.url(path), max_bytes=999)


def test_large_content_length_is_refused_at_once(web: Web) -> None:
    web.pages["/"] = pages.drip(b"a", head=OK_HEAD + b"Content-Length: 99999999999\r\n\r\n", pause=0.4)
    assert "larger than" in refusal(web.base)
    assert len(web.seen) == 1


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (OK_HEAD + b"\r\n", b"a" * 2**16),
        (CHUNKED, b"10000\r\n" + b"a" * 2**16 + b"\r\n"),
        (CHUNKED + b"-1\r\n", b"a" * 2**16),
        (CHUNKED + b"7fffffffffff\r\n", b"a" * 2**16),
        (OK_HEAD + b"Content-Length: -1\r\n\r\n", b"a" * 2**16),
    ],
)
def test_endless_body_ends_at_the_limit(web: Web, head: bytes, data: bytes) -> None:
    web.pages["/"] = pages.endless(head, data)
    assert "larger than the 1,000,000 bytes" in refusal(web.base, max_bytes=10**6, deadline=20)


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (b"", b"H"),  # the status line
        (b"HTTP/1.1 200 OK\r\n", b"X"),  # one header
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),  # many
        (OK_HEAD + b"\r\n", b"a"),  # the body
        (OK_HEAD + b"Content-Length: 1000\r\n\r\n", b"a"),
        (CHUNKED, b"1\r\na\r\n"),
        (CHUNKED + b"0", b"0"),  # the size of a chunk
    ],
)
def test_dripping_server_ends_at_the_deadline(web: Web, head: bytes, data: bytes) -> None:
    web.pages["/"] = pages.drip(data, head)
    with ends_within(5):
        assert "not read within 0.4 seconds" in refusal(web.base, deadline=0.4)


@pytest.mark.parametrize(
    ("head", "data"),
    [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (CHUNKED + b"0\r\n", b"X: 1\r\n")],
    ids=["answers", "trailers"],
)
def test_endless_headers_end_at_the_deadline(web: Web, head: bytes, data: bytes) -> None:
    web.pages["/"] = pages.endless(head, data * 100)
    with ends_within(5):
        assert "not read within 0.4 seconds" in refusal(web.base, deadline=0.4)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", OK_HEAD + b"\r\nabc"])
def test_server_that_falls_silent_ends(web: Web, head: bytes) -> None:
    web.pages["/"] = pages.drip(b"a", head, pause=60)
    with ends_within(5):
        assert "the server was silent for 0.3 seconds" in refusal(web.base, timeout=0.3, deadline=60)


def test_silence_ends_at_the_deadline_if_that_comes_first(web: Web) -> None:
    web.pages["/"] = pages.silent
    with ends_within(5):
        assert "not read within 0.4 seconds" in refusal(web.base, timeout=10, deadline=0.4)


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
    code = "import sys, thumbnet.fetch; print({'tqdm', 'keras', 'tensorflow', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
