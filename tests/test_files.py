"""files: a result is there whole or not at all."""

import os
import stat
import sys
from pathlib import Path

import pytest

from thumbnet.files import write_atomically


def test_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "result"
    with write_atomically(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"


def test_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"a longer old one")
    with write_atomically(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"a longer old one"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [b"old", None])
def test_failure_leaves_what_was(tmp_path: Path, failure: type[BaseException], old: bytes | None) -> None:
    path = tmp_path / "result"
    if old is not None:
        path.write_bytes(old)

    def broken_off() -> None:
        with write_atomically(path) as file:
            file.write(b"half of the new")
            raise failure

    with pytest.raises(failure):
        broken_off()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if old is None else [old])


def test_folder_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.mkdir()
    with pytest.raises(OSError, match="result"), write_atomically(path) as file:
        file.write(b"new")
    assert list(tmp_path.rglob("*")) == [path]


def test_folders_above_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ünter" / "result"
    with write_atomically(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_any_new_file(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "result"
    before = os.umask(umask)
    try:
        with write_atomically(path) as file:
            file.write(b"new")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
