"""expand: lists as editors and shells write them."""

import codecs
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.models import png, write

from thumbnet.errors import SourceError
from thumbnet.sources.expand import count, expand
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import read

NAMES = [
    "red.png",
    "Größe 猫 😀.png",
    "ਊ 4-byte \U0001f408.png",
    "https://host/a.png",
]  # U+0A0A: two bytes like line ends


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
    ids=["UTF-8", "UTF-8 with its mark", "UTF-16LE", "UTF-16BE"],
)
def test_list_is_read_in_its_encoding(mark: bytes, encoding: str, end: str) -> None:
    for last in ("", end):
        Path("list").write_bytes(mark + (end.join(NAMES) + last).encode(encoding))
        assert list(expand(["@list"])) == NAMES
        assert count(["@list"]) == len(NAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe by its number")
def test_list_in_utf16_comes_through_a_pipe_too() -> None:
    write(Path("model.onnx"))
    Path(NAMES[0]).write_bytes(png("red"))
    done = subprocess.run(
        [sys.executable, "-m", "thumbnet", "predict", "--model", "model.onnx", "--format", "csv", "@-"],
        input=codecs.BOM_UTF16_LE + "red.png\r\nred.png\r\n".encode("utf-16-le"), capture_output=True, check=True,
    )  # fmt: skip
    assert [line.split(b",")[:2] for line in done.stdout.splitlines()[1:]] == [[b"red.png", b"red"]] * 2


def test_list_cut_off_in_a_character_is_a_failure_behind_the_others() -> None:
    Path("list").write_bytes(codecs.BOM_UTF16_LE + "a.png\nb.png".encode("utf-16-le")[:-1])
    first, failure = expand(["@list"])
    assert first == "a.png"
    assert isinstance(failure, Failure)
    assert failure.message.startswith("cannot read this list: ")


def test_list_in_utf16_without_its_mark_is_told_by_each_line() -> None:
    Path("list").write_bytes("a.png\nb.png".encode("utf-16-le"))
    lines = list(expand(["@list"]))
    assert len(lines) == 2
    for line in lines:
        assert isinstance(line, str)
        with pytest.raises(SourceError, match=r"^cannot read it: its name holds a zero byte\. .* in UTF-8$"):
            read(line)


@pytest.mark.skipif(sys.platform == "win32", reason="standard input that is closed, as POSIX shells do")
@pytest.mark.parametrize("source", [[], ["-"], ["@-"]], ids=str)
def test_closed_standard_input_is_told(source: list[str]) -> None:
    write(Path("model.onnx"))
    done = subprocess.run(
        [sys.executable, "-m", "thumbnet", "predict", "--model", "model.onnx", *source],
        preexec_fn=lambda: os.close(0), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    *prompt, told = done.stderr.removeprefix("URL of an image: ").splitlines()
    assert not prompt
    assert told.startswith("error: ")
    assert "standard input is closed" in told
