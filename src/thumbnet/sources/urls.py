"""URLs as text: which text is one, how to show it, what a `data:` URL holds. Opens no connection; quick to import."""

import binascii
import re
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urlsplit

from thumbnet.errors import FetchError
from thumbnet.text import one_line

_SHOWN_OF_DATA = 60  # characters
_DATA = re.compile(r"\s*data:", re.IGNORECASE)
_HTTP = re.compile(r"[\s\x00-\x20]*https?:/*", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")  # a name in ASCII, or an IPv6 address
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_DATA_FORM = "expected a URL such as data:image/png;base64,iVBORw0…"


def is_url(source: str) -> bool:
    """Whether a source is meant as a URL, of any scheme, and not as a file's path."""
    return is_data(source) or "://" in source


def is_data(source: str) -> bool:
    """Whether a source is a `data:` URL, which holds its content itself."""
    return _DATA.match(source) is not None


def without_password(source: str) -> str:
    """A source as rows and pages may show it: an http or https URL without user and password, a data URL shortened.

    A malformed URL does not show where its password ends, so nothing before its last "@" is kept. Any other text is
    returned unchanged.
    """
    if is_data(source):
        return source if len(source) <= _SHOWN_OF_DATA else source[:_SHOWN_OF_DATA] + "…"
    cleaned = re.sub(r"[\t\r\n]", "", source)  # as urlsplit does
    start = _HTTP.match(cleaned)
    if start is None or "@" not in cleaned:
        return source
    try:
        host_and_port(urlsplit(cleaned.strip()))
        end = re.compile(r"[/?#]|$").search(cleaned, start.end()).start()  # type: ignore[union-attr]
    except ValueError:
        end = len(cleaned)
    _, at, host = cleaned[start.end() : end].rpartition("@")
    return start.group() + host + cleaned[end:] if at else source


def shown(url: str) -> str:
    """A URL for messages: one line with 200 characters at most, without user and password."""
    plain = without_password(url)
    return one_line(plain if is_data(plain) else re.sub(r"(^|//)[^/?#]*@", r"\1", plain))


def host_and_port(parts: SplitResult) -> str:
    """Host and port in ASCII.

    Raises:
        ValueError: The URL is malformed, so they cannot be found.
    """
    host = (parts.hostname or "").encode("idna").decode("ascii")
    has_brackets, is_ipv6 = "[" in parts.netloc, ":" in host
    if not _HOST.fullmatch(host) or has_brackets != is_ipv6:  # IPv6 needs brackets, and nothing else may have them
        raise ValueError(host)
    bracketed = f"[{host}]" if is_ipv6 else host
    return bracketed if parts.port is None else f"{bracketed}:{parts.port}"


def read_data(url: str, max_bytes: int) -> bytes:
    """The content of a `data:` URL (RFC 2397), in base64 or percent-encoded. The type that it names is ignored.

    As in browsers, base64 may hold white space and lack its padding, and a fragment is not part of the data.

    Raises:
        FetchError: The URL is malformed, or holds more than `max_bytes`.
    """
    header, comma, data = url.partition("#")[0].partition(",")
    if not comma:
        raise FetchError(f"{shown(url)}: {_DATA_FORM}; this one has no comma before its data")
    try:
        content = _from_base64(data) if header.rstrip().lower().endswith(";base64") else unquote_to_bytes(data.strip())
    except ValueError:  # UnicodeError is one too
        raise FetchError(f"{shown(url)}: {_DATA_FORM}; the data of this one are broken or cut off") from None
    if len(content) > max_bytes:
        raise FetchError(f"{shown(url)}: larger than the {max_bytes:,} bytes that are allowed")
    return content


def _from_base64(data: str) -> bytes:
    text = re.sub(r"\s+", "", unquote(data))
    if not _BASE64.fullmatch(text):  # a2b_base64 would skip characters that do not belong there
        raise ValueError(text)
    text = text.rstrip("=")
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))
