"""process: standard error of the command line and the server, in real processes, with pictures that make noise."""

import contextlib
import http.client
import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import pictures
from support.models import png, write

ROOT = Path(__file__).parent.parent
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="terminals and signals of POSIX")
NOISY = pictures.noisy()
LIBRARY = """
import sys
import thumbnet
for name in sys.argv[1:]:
    try:
        thumbnet.load("model.onnx").predict(name)
    except thumbnet.ImageError:
        pass
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with a model, and with pictures that make noise and one that makes none."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    write(Path("model.onnx"))
    Path("red.png").write_bytes(png("red"))
    for name, content in NOISY.items():
        Path(name).write_bytes(content)


def done(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", NOISY)
def test_library_leaves_standard_error_as_it_is(name: str) -> None:
    assert re.search("libpng error|Corrupt JPEG", done("-c", LIBRARY, name).stderr)


def test_predict_says_what_is_wrong_and_nothing_else_does() -> None:
    ran = done("-m", "thumbnet", "predict", "--model", "model.onnx", *NOISY, "missing.png", "red.png")
    assert ran.returncode == 3
    assert re.findall("^.*: [a-z]+", ran.stdout, re.MULTILINE) == ["short.jpg: red", "red.png: red"]
    told = [line.split(": ")[:2] for line in ran.stderr.splitlines()]
    assert told == [["error", name] for name in ("pixels.png", "header.png", "missing.png")]


def test_evaluate_of_a_folder() -> None:
    for split, folder in itertools.product(("train", "test"), ("red", "green", "blue")):
        Path("data", split, folder).mkdir(parents=True)
        for number in range(10):
            Path("data", split, folder, f"{number}.png").write_bytes(png(folder, 8 + number))
    for name, content in NOISY.items():
        Path("data/test/red", name).write_bytes(content)
    write(Path("sorted.onnx"), names=("blue", "green", "red"))  # as a folder's classes are
    ran = done("-m", "thumbnet", "evaluate", "--model", "sorted.onnx", "--data", "data")
    assert ran.returncode == 0
    assert "note: " in ran.stderr  # of those that were left out
    assert not re.search("libpng|JPEG data", ran.stderr)


@pytest.mark.parametrize("workers", [1, 2])
def test_serve(workers: int) -> None:
    pytest.importorskip("uvicorn", reason="serving is not installed: pip install -e '.[serve]'")
    command = [sys.executable, "-m", "thumbnet", "serve", "--model", "model.onnx", "--port", "0"]
    with subprocess.Popen([*command, "--workers", str(workers)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = int(process.stderr.readline().split("/")[2].split(":")[1])
        statuses = [classify(port, content) for content in NOISY.values()]
        process.terminate()
        errors = process.communicate(timeout=60)[1]
    assert statuses == [422, 422, 200]
    assert not re.search("libpng|JPEG data", errors)
    assert errors.count("/classify") == 3  # the log goes on


def classify(port: int, content: bytes) -> int:
    """The status, once the server answers."""
    for _ in range(600):
        with (
            contextlib.suppress(ConnectionError),
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as to,
        ):
            to.request("POST", "/classify", content)
            return to.getresponse().status
        time.sleep(0.1)
    raise AssertionError("no answer in a minute")


def muted(code: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return done(*options, "-c", f"import os, sys\nfrom thumbnet import process\nprocess.mute()\n{code}")


def test_only_native_code_is_muted() -> None:
    code = r'os.write(2, b"native"); print("Python \u732b \udcff", file=sys.stderr); process.mute(); end()'
    ran = muted(code, "-X", "dev", "-W", "error")
    assert ran.returncode == 1
    first, *_, last = ran.stderr.splitlines()
    assert (first, last) == ("Python 猫 \\udcff", "NameError: name 'end' is not defined")


@POSIX
@pytest.mark.parametrize(
    ("code", "told"),
    [("os.abort()", "Fatal Python error: Aborted"), ("import ctypes; ctypes.string_at(0)", "Segmentation fault")],
)
def test_crash_is_told(code: str, told: str) -> None:
    ran = muted(code)
    assert ran.returncode < 0
    assert told in ran.stderr
    assert "most recent call first" in ran.stderr


@pytest.mark.parametrize("stream", ["None", "io.StringIO()", "open(os.devnull, 'w')"])
def test_nothing_is_done_where_standard_error_is_caught(stream: str) -> None:
    code = f"import io, os, sys\nfrom thumbnet import process\nsys.stderr = stream = {stream}\nprocess.mute()\n"
    ran = done("-c", code + 'assert sys.stderr is stream\nos.write(2, b"native")')
    assert (ran.returncode, ran.stderr) == (0, "native")
