"""`thumbnet teach` as it runs: a real process, its address, and its end."""

import http.client
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="serving is not installed: pip install -e '.[serve]'")

from support.teaching import fill, picture, running

from thumbnet.cli import main


def ask(port: int, key: str, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def trained(port: int, key: str) -> Any:
    end = time.monotonic() + 60
    while (state := ask(port, key, "GET", "/api/state")[1])["training"]["status"] != "ready":
        assert time.monotonic() < end, state
        time.sleep(0.1)
    return state


def test_it_teaches_and_ends_by_ctrl_c(tmp_path: Path) -> None:
    with running(fill(tmp_path / "taught")) as (process, port, key):
        assert trained(port, key)["result"]["accuracy"]["value"] == 1
        assert ask(port, key, "POST", "/api/predict", picture("red", 99))[1]["label"] == "red"
        assert ask(port, "wrong", "GET", "/api/state")[0] == 401
        version = ask(port, key, "GET", "/api/state")[1]["version"]
        waiting = http.client.HTTPConnection("127.0.0.1", port)
        waiting.request("GET", f"/api/state?after={version}", headers={"Authorization": f"Bearer {key}"})
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=15)  # sooner than the request would end by itself
        waiting.close()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "Stopped."
    assert "Traceback" not in errors


def test_a_new_folder_is_made_and_the_key_is_another_each_time(tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        with running(tmp_path / "new" / "taught") as (_, port, key):
            keys.add(key)
            assert ask(port, key, "GET", "/api/state")[1]["classes"] == []
    assert len(keys) == 2


def test_two_programs_do_not_work_on_one_folder(tmp_path: Path) -> None:
    with running(tmp_path / "taught"):
        command = [sys.executable, "-m", "thumbnet", "teach", str(tmp_path / "taught")]
        tiny = ["--backbone", str(tmp_path / "tiny.onnx")]
        done = subprocess.run([*command, *tiny], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path / 'taught'}: another `thumbnet teach` works on it. Use its page\n"


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["teach", str(tmp_path / "file")]) == 1
    assert "expected a folder, got a file" in capsys.readouterr().err
    assert main(["teach", str(tmp_path / "file/below")]) == 1
    assert "cannot be used" in capsys.readouterr().err


def test_a_backbone_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["teach", str(tmp_path), "--backbone", "nothing"]) == 1
    assert "no backbone nothing" in capsys.readouterr().err


@pytest.mark.parametrize(("missing", "extra"), [("starlette", "serve"), ("uvicorn", "serve"), ("onnx", "transfer")])
def test_without_its_packages_it_names_the_command(tmp_path: Path, missing: str, extra: str) -> None:
    code = f"""if True:
        import sys
        class Nowhere:
            def find_spec(self, name, path=None, target=None):
                if name == {missing!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        sys.meta_path.insert(0, Nowhere())
        from thumbnet.cli import main
        sys.exit(main(["teach", {str(tmp_path)!r}]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: teaching needs {missing}, which is not installed. Add it: pip install 'thumbnet[{extra}]'\n"
    )
