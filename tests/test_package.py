"""The source archive and the wheel are complete, and the wheel works in an empty environment."""

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="the test tools are not installed: make test")

ROOT = Path(__file__).parent.parent
# What is no Python and has to be there, too.
BESIDE_CODE = {
    "export/web/browser.js", "export/web/heat.js", "export/web/resize.js", "html.css",
    "model/pretrained/cifar10-best.onnx", "model/pretrained/cifar10-photo.onnx", "model/pretrained/cifar10-seed.onnx",
    "page/backend.js", "page/docs.css", "page/icon.svg", "page/index.html", "page/page.css", "page/page.js", "py.typed",
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_its_models_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names == {name for name in expected if "__pycache__" not in name}
    assert names >= {f"thumbnet/{name}" for name in BESIDE_CODE}


def test_the_source_archive_holds_what_is_needed_to_build_and_test(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert names >= {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "Makefile",
        "train.py",
        "predict.py",
        "tests/conftest.py",
    }
    assert names >= {f"src/thumbnet/{name}" for name in BESIDE_CODE}
    if tracked:  # no cache, no model of somebody's, no data
        assert {name for name in names if not (ROOT / name).is_dir()} - {"PKG-INFO"} <= {*tracked, *untracked()}


def untracked() -> list[str]:
    """Files that are not ignored and not committed yet."""
    listed = ["git", "ls-files", "--others", "--exclude-standard"]
    return subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_make_release_builds_checks_and_tries() -> None:
    steps = subprocess.run(
        ["make", "--dry-run", "release"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"-m build\n(?s:.*)twine check --strict(?s:.*)install .*\.whl\n(?s:.*)thumbnet predict", steps)
    told = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help", "clean"}
    assert set(re.findall(r"^make ([a-z]+)", told, re.MULTILINE)) == targets


def test_the_wheel_predicts_in_an_empty_environment_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, env=clean)
    done = subprocess.run(
        [str(binaries / "thumbnet"), "predict", "--format", "json", str(ROOT / "examples" / "cat.png")],
        cwd=tmp_path, env=clean, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["label"] == "cat"
    asked = subprocess.run(
        [str(binaries / "thumbnet"), "train", "--data", "digits"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
    )
    assert asked.returncode == 1
    assert "pip install 'thumbnet[train]'" in asked.stderr
    assert len(asked.stderr.splitlines()) == 1
