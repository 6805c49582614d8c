"""A bar on a terminal, nothing elsewhere."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from thumbnet.data.folder import read_folder
from thumbnet.progress import progress


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(10):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), np.zeros((4, 4, 3), np.uint8))
    return tmp_path


def test_reading_a_folder_shows_how_far_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    pytest.importorskip("sklearn")
    read_folder(folder)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    read_folder(folder)
    shown = capsys.readouterr().err
    assert "reading pictures: 100%" in shown
    assert "20.0/20.0" in shown


def test_without_tqdm_there_is_no_bar_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress("work", 3, "B") as show:
        show(3)
    assert capsys.readouterr() == ("", "")
