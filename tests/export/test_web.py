"""The folder for browsers: what is in it, and where ONNX Runtime Web comes from. test_web_page.py opens it."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.models import write
from support.web import Web, ok

from thumbnet import export
from thumbnet.cli import main
from thumbnet.errors import ExportError
from thumbnet.export import web as web_module
from thumbnet.export.web import CHANGES, PAGE, PARTS, VERSION

FAKES = {"dist/ort.wasm.bundle.min.mjs": b"// runs models", "dist/ort-wasm-simd-threaded.wasm": b"\0asm" * 99}


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


ARCHIVE = archive({f"package/{inner}": data for inner, data in FAKES.items()})


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small one in place of ONNX Runtime Web, as an archive on the disk and at its address."""
    parts = {
        inner: part._replace(size=len(FAKES[inner]), sha256=hashlib.sha256(FAKES[inner]).hexdigest())
        for inner, part in PARTS.items()
    }
    monkeypatch.setattr(web_module, "PARTS", parts)
    monkeypatch.setattr(web_module, "URL", web.url("/runtime.tgz"))
    monkeypatch.setattr(web_module, "SIZE", len(ARCHIVE))
    monkeypatch.setattr(web_module, "SHA256", hashlib.sha256(ARCHIVE).hexdigest())
    path = tmp_path / "runtime.tgz"
    path.write_bytes(ARCHIVE)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(folder: Path, runtime: Path | None, **changes: Any) -> dict[str, bytes]:
    """The files of an export of a tiny model."""
    model = write(folder / "tiny.onnx", **changes)
    return files(export.export(model, "web", folder / "site", runtime=runtime).path)


def test_the_folder_is_complete_by_itself(tmp_path: Path, runtime: Path) -> None:
    found = made(tmp_path, runtime, framing="centre", threshold=0.25)
    assert sorted(found) == [
        "README.txt", "backend.js", "heat.js", "icon.svg", "index.html", "model.json", "model.onnx",
        "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/ort.js", "onnxruntime/ort.wasm",
        "page.css", "page.js", "resize.js",
    ]  # fmt: skip
    assert found["model.onnx"] == (tmp_path / "tiny.onnx").read_bytes()
    told = {"names": ["red", "green", "blue"], "size": 4, "framing": "centre", "threshold": 0.25}
    assert json.loads(found["model.json"]) == told
    assert found["onnxruntime/ort.wasm"] == FAKES["dist/ort-wasm-simd-threaded.wasm"]
    assert b"MIT License" in found["onnxruntime/LICENSE"]
    assert b"python -m http.server" in found["README.txt"]


def test_the_page_says_nothing_that_is_so_on_a_server_only(tmp_path: Path, runtime: Path) -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert {old: page.count(old) for old in CHANGES} == dict.fromkeys(CHANGES, 1)
    text = made(tmp_path, runtime)["index.html"].decode()
    assert "docs" not in text
    assert "{" not in text
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval';" in text


def test_any_server_may_read_it(tmp_path: Path, runtime: Path) -> None:
    made(tmp_path, runtime)
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "site").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "site" / "index.html").stat().st_mode == runtime.stat().st_mode


def test_a_name_in_any_script_and_any_quote_is_kept(tmp_path: Path, runtime: Path) -> None:
    names = ("猫", "</script>", '"quoted"')
    assert json.loads(made(tmp_path, runtime, names=names)["model.json"])["names"] == list(names)


def test_the_command_makes_it(tmp_path: Path, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, site = write(tmp_path / "tiny.onnx"), tmp_path / "site"
    command = ["export", str(model), "--format", "web", "--output", str(site), "--runtime", str(runtime)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{site}: holds the model file itself, unchanged\n"
    assert (site / "index.html").is_file()
    assert main(command) == 1  # what is there may be anybody's
    assert "site exists. Expected a new folder's name" in capsys.readouterr().err


def test_a_runtime_is_for_this_format_only(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--format", "triton", "--runtime", str(runtime)])
    assert "--runtime is for --format web" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["dist", "package/dist"])
def test_an_unpacked_runtime_does_too(tmp_path: Path, where: str) -> None:
    for inner, data in FAKES.items():
        path = tmp_path / "unpacked" / where / Path(inner).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = made(tmp_path, tmp_path / "unpacked")
    assert found["onnxruntime/ort.js"] == FAKES["dist/ort.wasm.bundle.min.mjs"]


WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "another version": (
        lambda: archive({f"package/{inner}": data + b"!" for inner, data in FAKES.items()}),
        r"got another dist/ort\.wasm\.bundle",
    ),
    "one of them only": (
        lambda: archive({"package/dist/ort.wasm.bundle.min.mjs": FAKES["dist/ort.wasm.bundle.min.mjs"]}),
        "got no dist/ort-wasm-simd-threaded",
    ),
    "other paths": (
        lambda: archive({f"../package/{inner}": data for inner, data in FAKES.items()}),
        r"got no dist/ort\.wasm\.bundle",
    ),
    "cut off": (lambda: ARCHIVE[:-40], "got none that can be read"),
    "damaged": (lambda: ARCHIVE[:60] + bytes(20) + ARCHIVE[80:], "got none that can be read"),
    "no archive": (lambda: b"something else", "got none that can be read"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_runtime_that_is_not_the_right_one_is_refused(tmp_path: Path, runtime: Path, wrong: str) -> None:
    packed, message = WRONG[wrong]
    runtime.write_bytes(packed())
    with pytest.raises(ExportError, match=f"runtime.tgz: expected onnxruntime-web {VERSION}, .*{message}"):
        made(tmp_path, runtime)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runtime.tgz", "tiny.onnx"]


def test_no_runtime_where_one_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none\.tgz: expected onnxruntime-web .*No such file"):
        made(tmp_path, tmp_path / "none.tgz")


def test_it_is_downloaded_once(tmp_path: Path, web: Web) -> None:
    web.pages["/runtime.tgz"] = ok(ARCHIVE)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = made(tmp_path / name, None)
        assert found["onnxruntime/ort.wasm"] == FAKES["dist/ort-wasm-simd-threaded.wasm"]
    assert [seen.path for seen in web.seen] == ["/runtime.tgz"]


def test_a_download_that_fails_names_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"not downloaded: .*404 Not Found(?s:.*)npm pack onnxruntime-web@.*--runtime"
    ):
        made(tmp_path, None)
    assert not (tmp_path / "site").exists()


def test_a_download_of_other_bytes_is_refused(tmp_path: Path, web: Web) -> None:
    web.pages["/runtime.tgz"] = ok(ARCHIVE[:-1] + b"?")
    with pytest.raises(ExportError, match="expected the SHA-256"):
        made(tmp_path, None)


def test_the_page_says_how_much_it_loads(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {inner: part._replace(size=2_000_000) for inner, part in web_module.PARTS.items()}
    monkeypatch.setattr(web_module, "PARTS", parts)
    assert "Loading 4 MB, the model and what runs it" in made(tmp_path, runtime)["index.html"].decode()
