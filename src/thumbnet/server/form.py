"""Reads the files of a form, multipart/form-data (RFC 7578).

The body is split at its boundary in one step. A parser in Python that walks through its characters would be busy for a
minute with 32 MiB of line ends.
"""

from python_multipart.multipart import parse_options_header

from thumbnet.server.service import RequestError

FIELDS = 16  # parts that are no files; they are ignored
HEADER_BYTES = 2 * 2**10  # of one part, and of the Content-Type


def files(content_type: str, body: bytes, most: int, nameless: str) -> list[tuple[str, bytes]]:
    """The name and content of each file.

    Args:
        content_type: The request's Content-Type.
        body: The whole form.
        most: How many files are accepted.
        nameless: The name for a file without one.

    Raises:
        RequestError: The body is no form or has no file (400), or it has too many parts (413).
    """
    found = []
    for part in _parts(content_type, body, most + FIELDS):
        head, end, content = part.partition(b"\r\n\r\n")
        if not end or len(head) > HEADER_BYTES:
            raise _malformed("a part has no end of its headers")
        name = _file_name(head)
        if name is not None:
            found.append((name or nameless, content))
    if not found:
        raise RequestError(400, "expected a file in the form, got none: curl -F file=@cat.jpg")
    if len(found) > most:
        raise RequestError(413, f"expected at most {most} pictures a request, got {len(found)}")
    return found


def _parts(content_type: str, body: bytes, most: int) -> list[bytes]:
    """The parts between the boundaries, at most `most`."""
    options = parse_options_header(content_type)[1] if len(content_type) <= HEADER_BYTES else {}
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise _malformed("its Content-Type has no boundary")
    line = b"\r\n--" + boundary
    first, *others = body.split(line, most + 2)
    if first.startswith(line[2:]):  # otherwise it is a preamble, which is ignored
        others.insert(0, first[len(line) - 2 :])
    if len(others) > most + 1:
        raise RequestError(413, f"expected at most {most} parts in the form, got more")
    if not others or not others[-1].startswith(b"--"):
        raise _malformed("it ends early")
    parts = [part.lstrip(b" \t") for part in others[:-1]]
    if not all(part.startswith(b"\r\n") for part in parts):
        raise _malformed("a boundary has something after it")
    return parts


def _file_name(head: bytes) -> str | None:
    """The file name in a part's headers. None if the part is no file."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            options = parse_options_header(value.strip())[1]
            if b"name" not in options:
                break
            return options[b"filename"].decode("utf-8", "replace") if b"filename" in options else None
    raise _malformed("a part has no name in its Content-Disposition")


def _malformed(reason: str) -> RequestError:
    return RequestError(400, f"expected multipart/form-data, but {reason}")
