"""What is built and installed works alone: the wheel in an empty environment, with its bundled models."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="the test tools are not installed: make test")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_its_models_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    expected = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert names == {name for name in expected if "__pycache__" not in name}
    assert "thumbnet/model/pretrained/cifar10-seed.onnx" in names


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
