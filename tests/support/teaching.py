"""A folder that is taught by a tiny backbone, in this process or as `thumbnet teach` runs it.

with taught(tmp_path) as it:
    it.post("/api/classes", json={"name": "red"})
    it.show("red", 3)
    it.until(lambda state: state["training"]["status"] == "too few")
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from starlette.testclient import TestClient

from support.backbones import backbone
from support.trees import encoded
from thumbnet.teach.app import create_app
from thumbnet.teach.work import Work
from thumbnet.transfer.backbone import check_backbone

KEY = "the key of these tests"
PORT = 8123
COLOURS = {"blue": (30, 40, 220), "green": (40, 200, 60), "red": (220, 30, 40)}
PATIENCE = 20.0  # seconds; a busy machine takes its time


def picture(colour: str, number: int) -> bytes:
    """A picture of about this colour, unlike any other."""
    rng = np.random.default_rng(number)
    spots = cv2.resize(rng.normal(0, 40, (6, 6, 3)).astype(np.float32), (80, 80))
    return encoded(np.clip(np.array(COLOURS[colour]) + rng.normal(0, 15, 3) + spots, 0, 255).astype(np.uint8))


def fill(root: Path, count: int = 8, colours: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """A folder with so many pictures of each colour."""
    for place, colour in enumerate(colours):
        (root / colour).mkdir(parents=True)
        for number in range(count):
            (root / colour / f"{number}.png").write_bytes(picture(colour, 1000 * place + number))
    return root


class Taught(TestClient):
    """Asks the application of a folder, with the key."""

    def __init__(self, work: Work, **options: Any) -> None:
        self.work = work
        app = create_app(work, KEY, PORT, **options)
        super().__init__(app, base_url=f"http://127.0.0.1:{PORT}", headers={"Authorization": f"Bearer {KEY}"})

    def state(self) -> Any:
        """What is shown now."""
        return self.get("/api/state").json()

    def until(self, condition: Callable[[Any], object]) -> Any:
        """The first state of which this is true."""
        end = time.monotonic() + PATIENCE
        while not condition(state := self.state()):
            assert time.monotonic() < end, state
            time.sleep(0.02)
        return state

    def trained(self) -> Any:
        """The state once the model is of just what is shown."""
        return self.until(lambda state: state["training"]["status"] == "ready" and state["result"]["fresh"])

    def add(self, label: str, content: bytes, name: str = "a.png") -> Any:
        """The answer to a picture that is added."""
        return self.post(f"/api/classes/{quote(label, safe='')}/pictures", params={"name": name}, content=content)


# A shell that starts the tests in the background has SIGINT ignored, and children would inherit that.
TEACH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from thumbnet.cli import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def taught(folder: Path, **options: Any) -> Iterator[Taught]:
    """The application of a folder, at work in the background."""
    work = Work(folder, check_backbone(backbone(), "tiny"))
    with work.working(), Taught(work, **options) as client:
        yield client


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The process of `thumbnet teach`, its port and its key. The backbone is tiny if `options` name none."""
    if "--backbone" not in options:
        tiny = folder.parent / "tiny.onnx"
        tiny.parent.mkdir(parents=True, exist_ok=True)
        tiny.write_bytes(backbone())
        options = (*options, "--backbone", str(tiny))
    command = [sys.executable, "-c", TEACH, "teach", str(folder), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ.copy()) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/#([\w-]{43})$", line.strip())
        assert found, line
        try:
            yield process, int(found[1]), found[2]
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)
