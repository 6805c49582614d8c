"""files: a result is there whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from thumbnet import files
from thumbnet.errors import ThumbnetError
from thumbnet.files import check_output, exclusive, write_atomically

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="permissions, links and pipes of POSIX")


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
    with (
        pytest.raises(ThumbnetError, match="result: expected a file to write to, got a folder"),
        write_atomically(path) as file,
    ):
        file.write(b"new")
    assert list(tmp_path.rglob("*")) == [path]


def test_folders_above_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ünter" / "result"
    with write_atomically(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@POSIX
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


@POSIX
def test_replaced_file_passes_its_permissions_on(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with write_atomically(path) as file:
        file.write(b"new")
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (0o600, b"new")


@POSIX
def test_umask_is_never_changed_not_even_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", None)  # it is the whole process's, other threads' too
    with write_atomically(tmp_path / "result") as file:
        file.write(b"new")
    assert (tmp_path / "result").read_bytes() == b"new"


@POSIX
@pytest.mark.parametrize("is_there", [True, False])
def test_link_stays_and_its_file_is_written(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "result", tmp_path / "link"
    if is_there:
        target.write_bytes(b"old")
    link.symlink_to(target)
    check_output(link)
    with write_atomically(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["elsewhere", "link", "result"]


def test_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 245)
    check_output(path)
    with write_atomically(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@POSIX
@pytest.mark.parametrize("use", [check_output, write_atomically, exclusive])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, use: Any) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(ThumbnetError, match="pipe: expected a file to write to, got a device or a pipe"):
        use(path) if use is check_output else use(path).__enter__()
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


def test_output_that_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    check_output(tmp_path / "old")
    check_output(tmp_path / "new" / "result")
    assert (tmp_path / "old").read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["new", "old"]


@pytest.mark.skipif(sys.platform != "linux", reason="a folder that not even root can write to is Linux's")
def test_output_that_cannot_be_written_is_reported_by_its_own_name() -> None:
    with pytest.raises(ThumbnetError, match=r"^/proc/result: cannot be written: .*\. Free the place, or name another$"):
        check_output(Path("/proc/result"))


def test_full_disk_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ThumbnetError, match="result: cannot be written: No space left on device"):
        check_output(tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


def test_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    code = (
        "import sys; from pathlib import Path; from thumbnet.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])) as file: file.write(b'other')"
    )
    with exclusive(path) as file:
        file.write(b"mine")
        file.flush()
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"{path}: another process writes to it. Wait until it has ended" in done.stderr
        assert path.read_bytes() == b"mine"
    with exclusive(path) as file:  # what was there stays
        assert file.read() == b"mine"


@POSIX
def test_lock_is_of_the_name_and_not_of_a_file_that_was_renamed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "rows", files._lock
    moved: list[Path] = []

    def late(file: IO[bytes]) -> None:
        if not moved:  # the process before this one ends between the opening and the lock
            moved.append(path.rename(tmp_path / "done"))
        real(file)

    monkeypatch.setattr(files, "_lock", late)
    with exclusive(path) as file:
        file.write(b"next")
    assert (tmp_path / "done").read_bytes() == b""
    assert path.read_bytes() == b"next"


def test_name_that_is_too_long_is_reported_before_the_work(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(ThumbnetError, match=r"x: cannot be written: .*long\. Free the place, or name another$"):
        check_output(path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_reported_with_the_name_of_the_output(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*model\.onnx'"),
        write_atomically(tmp_path / "model.onnx"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
