"""read: what holds a picture file's bytes gives them, and all else is refused without being opened."""

import array
import io
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import png

from thumbnet.errors import SourceError
from thumbnet.sources import read as reading
from thumbnet.sources.read import read, standard_input

CONTENT = png("red")


class Located:
    """A path that is no `pathlib.Path`."""

    def __init__(self, path: str | bytes) -> None:
        self.path = path

    def __fspath__(self) -> str | bytes:
        return self.path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize(
    "hold",
    [
        bytes, bytearray, memoryview, np.bytes_, io.BytesIO,
        lambda content: memoryview(bytearray(b"".join(bytes([each, 0]) for each in content)))[::2],
        lambda content: array.array("B", content),
        lambda content: np.frombuffer(content, np.uint8),
    ],
    ids=["bytes", "bytearray", "memoryview", "np.bytes_", "BytesIO", "every other byte", "array", "NumPy's"],
)  # fmt: skip
def test_what_holds_bytes_gives_them(hold: Any) -> None:
    assert read(hold(CONTENT)) == CONTENT


def test_paths_of_every_kind_are_opened(path: Path) -> None:
    sources: list[Any] = [path, str(path), np.str_(path), Located(str(path)), Located(os.fsencode(path))]
    assert [read(source) for source in sources] == [CONTENT] * 5


@pytest.mark.parametrize("buffering", [0, -1])
def test_open_file_is_read_from_where_it_stands_and_stays_open(path: Path, buffering: int) -> None:
    with path.open("rb", buffering) as file:
        file.seek(3)
        assert read(file) == CONTENT[3:]
        assert not file.closed
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert [read(mapped), read(mapped)] == [CONTENT] * 2  # it holds bytes; a position is no part of them


def test_open_file_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 2**20)

    class Endless:
        def read(self, size: int) -> bytes:
            return bytes(size)

    with pytest.raises(SourceError, match=r"^larger than 1 MiB\."):
        read(Endless())


def test_file_opened_otherwise_is_told(path: Path) -> None:
    with path.open(encoding="latin-1") as text, pytest.raises(SourceError, match="Open it in binary mode: 'rb'"):
        read(text)  # type: ignore[arg-type]
    with path.open("wb") as written, pytest.raises(SourceError, match=r"^cannot read it: "):
        read(written)


def test_closed_file_is_told() -> None:
    file = io.BytesIO(CONTENT)
    file.close()
    with pytest.raises(SourceError, match="cannot read it: I/O operation on closed file"):
        read(file)


def test_file_that_fails_is_told() -> None:
    class Failing:
        def read(self, _: int) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match=r"^cannot read it: Input/output error$"):
        read(Failing())


def test_released_memory_is_told() -> None:
    view = memoryview(CONTENT)
    view.release()
    with pytest.raises(SourceError, match="got memoryview"):
        read(view)


@pytest.mark.parametrize(
    "other",
    [True, 1.5, None, object(), {}, [CONTENT], np.float32(1), np.zeros((2, 2), np.uint8), str],
    ids=lambda value: type(value).__name__,
)
def test_all_else_is_named(other: Any) -> None:
    with pytest.raises(SourceError, match=r"expected a path, a URL, .* PIL picture, got ") as caught:
        read(other)
    assert str(caught.value).endswith(f" got {type(other).__name__}")


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.int32])
def test_numbers_are_never_opened(kind: Any) -> None:
    """A file descriptor of somebody else would be read, and closed."""
    read_end, write_end = os.pipe()
    os.write(write_end, CONTENT)
    try:
        with pytest.raises(SourceError, match=f"got {kind.__name__}"):
            read(kind(read_end))
        assert os.read(read_end, len(CONTENT)) == CONTENT
    finally:
        os.close(read_end)
        os.close(write_end)


def test_zero_byte_in_a_name_is_told() -> None:
    with pytest.raises(SourceError, match=r"^cannot read it: .*zero byte"):
        read("a\0b")


@pytest.mark.parametrize("stdin", ["None", "io.StringIO()", "a closed file", "a closed descriptor"])
def test_standard_input_that_is_none_is_told(stdin: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if stdin == "None":
        monkeypatch.setattr(sys, "stdin", None)
    elif stdin == "io.StringIO()":
        monkeypatch.setattr(sys, "stdin", io.StringIO())
    else:
        file = path.open(encoding="latin-1")
        if stdin == "a closed file":
            file.close()
        else:

            class Elsewhere:
                def fileno(self) -> int:
                    return 2**30

            file.close()
            file = Elsewhere()  # type: ignore[assignment]
        monkeypatch.setattr(sys, "stdin", file)
    with pytest.raises(SourceError, match=r"^standard input is closed, or is no file\. Expected something to be piped"):
        standard_input()
