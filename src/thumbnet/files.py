"""Files: where they go, whether they can be written, and how they reach the disk whole or not at all."""

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from thumbnet.errors import ThumbnetError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PROBE = 2**12  # bytes; a full disk may still take an empty file


def cache_folder() -> Path:
    """The folder for downloads: `$THUMBNET_HOME`, else `thumbnet` in the platform's cache folder."""
    if chosen := os.environ.get("THUMBNET_HOME"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:  # https://specifications.freedesktop.org/basedir-spec/latest/
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "thumbnet"


def refuse_place(path: Path) -> None:
    """Reject an output that is there and is no regular file: as root, even a device would be replaced.

    Raises:
        ThumbnetError: `path` is a folder, a device, a pipe or a socket.
    """
    if path.is_dir():
        raise ThumbnetError(f"{path}: expected a file to write to, got a folder. Name a file in it")
    if path.exists() and not path.is_file():
        raise ThumbnetError(f"{path}: expected a file to write to, got a device or a pipe. Name another file")


def check_output(path: Path) -> None:
    """Reject an output that cannot be written, before the work that makes it. Makes its folder.

    Raises:
        ThumbnetError: What `refuse_place` raises; or the folder cannot be made or written to, or the disk is full.
    """
    try:
        refuse_place(path)
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # raises where the name is too long; the probe's is not
        _probe(_beside(_target(path)))
    except OSError as error:
        reason = error.strerror or error
        raise ThumbnetError(f"{path}: cannot be written: {reason}. Free the place, or name another") from error


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of `path` only when the block ends well.

    A run that is killed leaves the old file or the new one. The temporary file is beside the old one, since a rename is
    atomic only within one file system. A file that is replaced passes its permissions on; a link stays a link.

    Raises:
        ThumbnetError: What `refuse_place` raises.
        OSError: It cannot be written.
    """
    refuse_place(path)
    target = _target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
    try:
        with temporary.open("xb") as file:  # with the permissions that any new file gets
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in {None, str(temporary)} and error.strerror:
            error.filename = str(path)  # a full disk names no file, and nobody knows the temporary one
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[IO[bytes]]:
    """`path`, open to read and write as bytes, made if need be, and locked for this process until the block ends.

    What is in the file stays; the position is its start. A process that is killed leaves no lock behind.

    Raises:
        ThumbnetError: What `refuse_place` raises; or another process has locked it.
        OSError: It cannot be opened.
    """
    refuse_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b") as file:
            try:
                _lock(file)
            except OSError as error:
                raise ThumbnetError(
                    f"{path}: another process writes to it. Wait until it has ended, or name another file"
                ) from error
            # The one before may have renamed or removed the file while this one opened it.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield file
                return


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _probe(path: Path) -> None:
    """Write a few bytes to a new file, and remove it. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(bytes(_PROBE))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _target(path: Path) -> Path:
    """The file that a link leads to, so that it is written and the link stays."""
    return path.resolve() if path.is_symlink() else path


def _beside(path: Path) -> Path:
    """A new name in the same folder, short enough for every file system whatever `path` is called."""
    return path.with_name(f".thumbnet-{os.urandom(8).hex()}.tmp")


def _lock(file: IO[bytes]) -> None:
    """Lock a file for this process, or raise OSError if another one has."""
    if sys.platform == "win32":
        file.seek(2**30)  # a byte beyond the content, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
