"""A tiny model file with a network for thumbnails apart, which lies among the bundled ones.

path = write(tmp_path, monkeypatch)
load(path).predict(square("red", 63)).network == "small"
"""

from pathlib import Path
from typing import Any

import pytest

from support import models, transferred
from thumbnet.model import classifier

LARGE, SMALL = transferred.SIZE, models.SIZE  # pixels a side of the networks' inputs
THRESHOLD, SMALL_THRESHOLD = 0.5, 0.4
SHARPNESS = 1.0  # of the network for thumbnails, which is never sure: a pure colour is answered with 58 %


def content(folder: Path, monkeypatch: pytest.MonkeyPatch, *, small: bytes | None = None, **changes: Any) -> bytes:
    """The model file's bytes. The bundled models are `small`, which is this or the usual one, and `absent`."""
    bundled = folder / "bundled"
    bundled.mkdir(exist_ok=True)
    usual = models.content(models.graph(sharpness=SHARPNESS), threshold=SMALL_THRESHOLD)
    (bundled / "small.onnx").write_bytes(usual if small is None else small)
    monkeypatch.setattr(classifier, "PRETRAINED", bundled)
    monkeypatch.setattr(classifier, "BUNDLED", ("small", "absent"))
    return transferred.content(**{"thumbnails": "small", "threshold": THRESHOLD, **changes})


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """The model file at `folder / "two.onnx"`."""
    path = folder / "two.onnx"
    path.write_bytes(content(folder, monkeypatch, **changes))
    return path
