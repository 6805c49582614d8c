"""fetch.read(…, public_only=True): the tables of docs/fetching.md, row by row, and what does not fit into a row."""

import base64
import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import web as pages
from support.web import Internet, Web

from thumbnet.errors import FetchError
from thumbnet.sources.addresses import _SET_APART, is_public
from thumbnet.sources.fetch import read

PAGE = (Path(__file__).parents[2] / "docs" / "fetching.md").read_text(encoding="utf-8")
PUBLIC = "http://public.example"
NOT_FOUND = (
    "no public host of this name was found, and others are not read here; check the name, or send the picture itself"
)
TOLD = {
    "malformed": "this one is malformed",
    "another port": "expected port 80 or 443, got ",
    "another scheme": "expected a URL that begins with http:// or https://",
}


def rows(title: str) -> list[tuple[str, str]]:
    """URL and where it leads, of the table whose first column has that title."""
    table = PAGE.partition(f"| {title} | leads to |\n")[2].partition("\n\n")[0]
    return re.findall(r"^\| `(.*?)` \| (.*) \|$", table, re.MULTILINE)


REFUSED, READ = rows("refused"), rows("read")


def lead(internet: Internet, url: str, to: str) -> list[str]:
    """Let the URL's host lead where its row says, if it is a name; the addresses."""
    addresses = re.findall("`(.*?)`", to)
    host = (urlsplit(url).hostname or "").rstrip(".")
    if addresses and host.endswith(("example", "internal", "localhost")):
        internet.names[host] = addresses
    return addresses


def refusal(url: str) -> str:
    with pytest.raises(FetchError) as caught:
        read(url, public_only=True, timeout=5, deadline=5)
    return str(caught.value)


def test_there_are_rows() -> None:
    assert len(REFUSED) > 50
    assert len(READ) > 5


@pytest.mark.parametrize(("url", "to"), REFUSED)
def test_row_is_refused(internet: Internet, url: str, to: str) -> None:
    addresses = lead(internet, url, to)
    message = refusal(url)
    assert (NOT_FOUND if addresses else TOLD[to]) in message
    assert internet.connected == []
    if addresses:  # it is for where it leads that it is refused, and not because nothing was found
        (host,) = internet.looked_up
        found = [where[0] for *_, where in internet.look_up(host, 80)]
        assert [ipaddress.ip_address(each) for each in found] == [ipaddress.ip_address(each) for each in addresses]


@pytest.mark.parametrize(("url", "to"), READ)
def test_row_is_read(internet: Internet, web: Web, url: str, to: str) -> None:
    web.pages.update(dict.fromkeys(("/", "/@127.0.0.1/"), pages.ok(b"a picture")))
    addresses = lead(internet, url, to)
    assert read(url, public_only=True) == b"a picture"
    assert internet.connected == addresses
    assert len(internet.looked_up) == 1


@pytest.mark.parametrize(("url", "to"), [row for row in REFUSED if row[1].startswith("`") and row[0].isascii()])
def test_redirect_to_a_row_is_refused(internet: Internet, web: Web, url: str, to: str) -> None:
    lead(internet, url, to)
    web.pages.update({"/1": pages.redirect("/2"), "/2": pages.redirect(url)})
    assert NOT_FOUND in refusal(f"{PUBLIC}/1")
    assert internet.connected == ["93.184.216.34"] * 2


@pytest.mark.parametrize("to", ["http://public.example:8080/", "data:,a", "file:///etc/passwd"])
def test_redirect_elsewhere_is_refused(internet: Internet, web: Web, to: str) -> None:
    web.pages["/"] = pages.redirect(to)
    assert f"{PUBLIC}/, redirected to {to}: expected" in refusal(f"{PUBLIC}/")
    assert internet.connected == ["93.184.216.34"]


def test_name_that_leads_elsewhere_a_moment_later_is_not_asked_again(internet: Internet, web: Web) -> None:
    look_up = internet.look_up

    def rebinding(host: str, *args: object, **options: object) -> list[object]:
        found = look_up(host, *args, **options)  # type: ignore[arg-type]
        internet.names[host] = ["127.0.0.1"]
        return found

    web.pages["/"] = pages.ok(b"a picture")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("socket.getaddrinfo", rebinding)
        assert read(PUBLIC, public_only=True) == b"a picture"
    assert internet.connected == ["93.184.216.34"]
    assert internet.looked_up == ["public.example"]


def test_name_that_leads_elsewhere_at_the_next_hop_is_refused(internet: Internet, web: Web) -> None:
    def rebind(visit: pages.Visit) -> None:
        internet.names["public.example"] = ["127.0.0.1"]
        pages.redirect("/")(visit)

    web.pages["/"] = rebind
    assert NOT_FOUND in refusal(PUBLIC)
    assert internet.connected == ["93.184.216.34"]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_are_not_used(
    internet: Internet, web: Web, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    monkeypatch.setenv(variable, web.base)
    web.pages["http://private.example/"] = pages.ok(b"a secret")
    web.pages["private.example:443"] = pages.tunnel
    internet.names["private.example"] = ["10.1.2.3"]
    assert NOT_FOUND in refusal(f"{scheme}://private.example/")
    assert internet.connected == []


def test_host_that_is_not_there_is_told_as_one_that_is_not_public(internet: Internet) -> None:
    internet.names["private.example"] = ["10.1.2.3"]
    there = refusal("http://private.example/")
    assert refusal("http://nowhere.example/") == there.replace("private", "nowhere")
    assert f"`{there.partition(': ')[2]}`" in PAGE


def test_data_url_is_read_and_connects_to_nothing(internet: Internet) -> None:
    assert read("data:;base64," + base64.b64encode(b"a picture").decode(), public_only=True) == b"a picture"
    assert internet.connected == []


def test_any_address_is_read_unless_it_is_asked_for(internet: Internet, web: Web) -> None:
    internet.names["private.example"] = ["10.1.2.3"]
    web.pages["/"] = pages.ok(b"a picture")
    assert read("http://private.example:8080/") == b"a picture"
    assert internet.connected == ["10.1.2.3"]


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6) | st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_nothing_is_public_that_python_calls_otherwise(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Python's own list differs from version to version; it is used to check ours, not in its place."""
    inner = address
    if address in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.IPv4Address(address.packed[-4:])
    if is_public(str(address)):
        assert inner.is_global
        assert not inner.is_multicast
        assert not inner.is_reserved
    else:
        assert address.version == 6 or not inner.is_global or any(address in block for block in _SET_APART)


@pytest.mark.parametrize("block", [block for block in _SET_APART if block.version == 4], ids=str)
def test_block_ends_where_it_ends(block: ipaddress.IPv4Network) -> None:
    first, last = int(block.network_address), int(block.broadcast_address)
    inside = [block.network_address, block.broadcast_address]
    assert not any(is_public(str(address)) for address in inside)
    for number in (first - 1, last + 1):
        if 0 <= number < 2**32:
            outside = ipaddress.IPv4Address(number)
            assert is_public(str(outside)) or any(outside in other for other in _SET_APART)
