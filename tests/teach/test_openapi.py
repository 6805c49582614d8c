"""The document of the API says what the API does."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")
pytest.importorskip("schemathesis", reason="part of the test group: pip install --group test")

from starlette.routing import Route
from support.teaching import fill, running, taught

from thumbnet.teach import openapi


def test_every_route_is_described(tmp_path: Path) -> None:
    with taught(tmp_path) as it:
        routes = {
            (route.path, method.lower())
            for route in it.app.routes  # type: ignore[attr-defined]  # Starlette's
            if isinstance(route, Route) and route.path.startswith("/api/")
            for method in (route.methods or set()) - {"HEAD"}
        }
        document = it.get("/api/openapi.json").json()
    assert document == openapi.document()
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == routes


def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    # No schema can say which bytes are a picture, and which names a folder can have.
    # Nor that undoing, which comes in between, takes a class away again: so no chains of requests.
    options = ["--max-examples", "25", "--exclude-checks", "positive_data_acceptance", "--exclude-path", "/api/web"]
    options += ["--phases", "examples,coverage,fuzzing"]
    with running(fill(tmp_path / "taught", 6)) as (process, port, key):
        address = f"http://127.0.0.1:{port}/api/openapi.json"
        command = [sys.executable, "-m", "schemathesis.cli", "run", address, "-H", f"Authorization: Bearer {key}"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, check=False)
        assert process.poll() is None
    assert done.returncode == 0, done.stdout[-8000:]
    assert {path.name for path in tmp_path.iterdir()} <= {"taught", "tiny.onnx", "thumbnet-home", "home"}
