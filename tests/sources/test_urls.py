"""urls: what is a URL, what is shown of it, and what a `data:` URL holds."""

import base64
from urllib.parse import quote

import pytest

from thumbnet.errors import FetchError
from thumbnet.sources import fetch
from thumbnet.sources.urls import is_url, shown, without_password

BODY = bytes(range(256))
BASE64 = base64.b64encode(BODY).decode()


def read(url: str, max_bytes: int = 10**6) -> bytes:
    return fetch.read(url, max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://host/cat.png", True),
        ("ftp://host/cat.png", True),
        ("data:,a", True),
        (" Data:image/png;base64,AAAA", True),
        ("cat.png", False),
        ("C:\\cat.png", False),
        ("data/cat.png", False),
        ("metadata:1.png", False),
        ("", False),
    ],
)
def test_url_is_told_from_a_path(source: str, url: bool) -> None:
    assert is_url(source) == url


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("https://ann:secret@host:8080/a.png?b#c", "https://host:8080/a.png?b#c"),
        ("HTTP://secret@host", "HTTP://host"),
        ("http://ann:sec@ret@host/", "http://host/"),
        ("http://ann:secret@[::1]:80/", "http://[::1]:80/"),
        ("http://ann:secret@Bücher.example/", "http://Bücher.example/"),
        ("  https://ann:secret@host/", "  https://host/"),
        ("\x01ht\ntps://an\tn:secret@host/", "\x01https://host/"),  # urlsplit reads these, too
        # Malformed: where the password ends is not sure.
        ("http://ann:sec/ret@host/", "http://host/"),
        ("http://ann:sec#ret@host/a@b", "http://b"),
        ("http://ann:sec?ret@host:port/", "http://host:port/"),
        ("http://ann:sec ret@", "http://"),
        ("http:///ann:secret@host/", "http:///host/"),
        ("http:ann:secret@host/", "http:host/"),
    ],
)
def test_user_and_password_are_left_out(source: str, kept: str) -> None:
    assert without_password(source) == kept
    assert shown(source).strip() == kept.strip("\x01 ")


@pytest.mark.parametrize(
    "source",
    [
        "https://host/@ann/a.png?to=b@c#d@e",
        "https://host/" + "a" * 1000,
        "http://host:port/",
        "cat.png",
        "me@home/cat.png",
        "a\nb\tc.png",
        "ftp://ann:secret@host/",
        "data:,short@all",
        "",
    ],
)
def test_other_text_is_left_as_it_is(source: str) -> None:
    assert without_password(source) == source


@pytest.mark.parametrize("url", ["ftp://ann:secret@host/a", "//ann:secret@host/a", "ann:secret@host/a"])
def test_messages_show_no_password_of_any_scheme(url: str) -> None:
    assert shown(url).endswith("host/a")
    assert "secret" not in shown(url)


def test_data_url_is_shortened() -> None:
    url = f"data:image/png;base64,{BASE64}"
    assert without_password(url) == shown(url) == url[:60] + "…"
    assert without_password(url[:60]) == url[:60]
    assert shown("data:,a@b") == "data:,a@b"


def test_what_is_shown_is_one_short_line() -> None:
    assert shown("http://host/\n\x1b[31m\u202e") == "http://host/  [31m "
    assert shown("http://host/" + "a" * 1000) == "http://host/" + "a" * 187 + "…"


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:;BASE64,{BASE64}",
        f"data:image/png;name=cat.png;base64,{BASE64}",
        f" data:image/png;base64 ,{BASE64}\n",
        f"data:;base64,{BASE64[:100]}\r\n \t{BASE64[100:]}",
        f"data:;base64,{BASE64.rstrip('=')}",
        f"data:;base64,{quote(BASE64, safe='')}",
        f"data:;base64,{BASE64}#fragment",
        f"data:,{quote(BODY)}",
        f"data:text/plain;charset=utf-8,{quote(BODY)}",
        f"data:image/png,{quote(BODY)}\n",
    ],
)
def test_data_url_is_read(url: str) -> None:
    assert read(url) == BODY


@pytest.mark.parametrize(
    ("url", "body"),
    [("data:,", b""), ("data:;base64,", b""), ("data:,a,b", b"a,b"), ("data:,%zz", b"%zz"), ("data:,ä", "ä".encode())],
)
def test_data_url_of_a_few_bytes_is_read(url: str, body: bytes) -> None:
    assert read(url) == body


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("data:", "this one has no comma before its data"),
        ("data:image/png;base64", "this one has no comma before its data"),
        ("data:image/png#,AAAA", "this one has no comma before its data"),
        ("data:;base64,AAA!", "the data of this one are broken or cut off"),
        ("data:;base64,AAAAA", "the data of this one are broken or cut off"),
        ("data:;base64,AA==AA==", "the data of this one are broken or cut off"),
        ("data:;base64,AA=A", "the data of this one are broken or cut off"),
        ("data:;base64,äöü", "the data of this one are broken or cut off"),
        ("data:,\udcff", "the data of this one are broken or cut off"),
    ],
)
def test_malformed_data_url_is_refused(url: str, told: str) -> None:
    with pytest.raises(FetchError) as caught:
        read(url)
    assert str(caught.value) == f"{shown(url)}: expected a URL such as data:image/png;base64,iVBORw0…; {told}"


@pytest.mark.parametrize("data", [f";base64,{BASE64}", f",{quote(BODY)}"])
def test_data_url_may_hold_max_bytes_and_not_one_more(data: str) -> None:
    assert read(f"data:{data}", max_bytes=256) == BODY
    with pytest.raises(FetchError, match=r"^data:.{55}…: larger than the 255 bytes that are allowed$"):
        read(f"data:{data}", max_bytes=255)
