"""What tests share: the real CIFAR-10 images, prepared once into a cache outside the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from support.cifar10 import CACHE, PREPARE

pytest_plugins = ["support.web"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the CIFAR-10 or the cache of the person who runs it, or writes to them."""
    monkeypatch.setenv("THUMBNET_HOME", str(tmp_path / "thumbnet-home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("THUMBNET_CIFAR10", raising=False)


@pytest.fixture(scope="session")
def cifar10_forms() -> Path:
    """The folder that `prepare.py` makes: `folders/`, two official archives' layouts and `cifar10.npz`."""
    if not PREPARE.exists():
        pytest.skip(f"no CIFAR-10 images to test with: {PREPARE} does not exist")
    out = CACHE / "cifar10"
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "cifar10.lock"):  # of processes that test beside each other, one prepares, the others wait
        subprocess.run([sys.executable, str(PREPARE), str(out)], check=True)
    return out
