"""A cache of features by content, in one SQLite file: a picture that was seen before is neither decoded nor run again.

The cache may fail at any time (a full disk, a read-only folder, another program's file in its place). Then it reports
so once, and everything is computed as without it.
"""

import contextlib
import hashlib
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import DataWarning
from thumbnet.files import cache_folder

FILE = "features-1.sqlite"  # another layout of the table gets another number
MOST_BYTES = 2**30  # of the file; then the features that were not used for longest make room
ROWS = 256  # that are kept before they are written together
WAIT = 10.0  # seconds for another training that is writing
_CHECK = 16  # bytes at the end of a value, which prove the rest
_KEY = 32  # bytes of the square's key, at the beginning of a value


class Cache:
    """Features of one network. Threads may share it; several processes may use the same file."""

    def __init__(self, network: str, path: Path | None = None) -> None:
        """Open the file, or make it.

        Args:
            network: What else decides the features besides the picture's content: network, framing, views.
            path: The file; `FILE` in the cache folder if not given.
        """
        self._path = cache_folder() / FILE if path is None else path
        self._network, self._lock = network, threading.Lock()
        self._new: dict[bytes, bytes] = {}
        self._used: list[bytes] = []
        self._file: sqlite3.Connection | None = None
        with self._failing():
            try:
                self._file = self._open()
            except sqlite3.DatabaseError as error:
                if not (_is_damage(error) and self._path.is_file()):
                    raise
                self._path.unlink()
                self._file = self._open()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(self._path, timeout=WAIT, check_same_thread=False, isolation_level=None)
        try:
            file.execute("PRAGMA synchronous = NORMAL")
            file.execute(
                "CREATE TABLE IF NOT EXISTS features"
                "(network TEXT, picture BLOB, used INTEGER, value BLOB, PRIMARY KEY (network, picture))"
            )
            file.execute("SELECT network, picture, used, value FROM features LIMIT 1").fetchall()
        except sqlite3.Error:
            file.close()
            raise
        return file

    def __enter__(self) -> "Cache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Write what is left, also after an error or Ctrl-C, so that the next run goes on from here."""
        with self._lock, self._failing():
            self._write()
            if self._file:
                self._file.close()
                self._file = None

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """A failure ends the cache, and nothing else."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if self._file:
                with contextlib.suppress(sqlite3.Error):
                    self._file.close()
            self._file = None
            if _is_damage(error):  # the file holds nothing that cannot be made again
                self._path.unlink(missing_ok=True)
            report = f"{self._path}: features cannot be kept here: {error}. The next training computes them again"
            warnings.warn(report, DataWarning, stacklevel=4)

    def get(self, picture: bytes) -> tuple[bytes, NDArray[np.float32]] | None:
        """A picture's `square_key` and features `(D,)`, by its content's key; None if they are not here, or damaged."""
        with self._lock:
            value = self._new.get(picture)
            if value is None and self._file:
                with self._failing():
                    query = "SELECT value FROM features WHERE network = ? AND picture = ?"
                    row = self._file.execute(query, (self._network, picture)).fetchone()
                    value = row[0] if row else None
        if (
            not isinstance(value, bytes)
            or hashlib.blake2b(value[:-_CHECK], digest_size=_CHECK).digest() != value[-_CHECK:]
        ):
            return None
        self._used.append(picture)
        return value[:_KEY], np.frombuffer(value[_KEY:-_CHECK], np.float32)

    def put(self, picture: bytes, square: bytes, features: NDArray[np.float32]) -> None:
        """Keep a picture's `square_key` and features, `(D,)`."""
        value = square + features.astype(np.float32).tobytes()
        with self._lock:
            if self._file:
                self._new[picture] = value + hashlib.blake2b(value, digest_size=_CHECK).digest()
                if len(self._new) >= ROWS:
                    with self._failing():
                        self._write()

    def _write(self) -> None:
        """Write all that is new in one transaction, which happens whole or not at all."""
        if not self._file or not (self._new or self._used):
            return
        now = int(time.time())
        with _transaction(self._file) as file:
            self._make_room(file)
            file.executemany(
                "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)",
                [(self._network, picture, now, value) for picture, value in self._new.items()],
            )
            file.executemany(
                "UPDATE features SET used = ? WHERE network = ? AND picture = ?",
                [(now, self._network, picture) for picture in self._used],
            )
        self._new, self._used = {}, []

    def _make_room(self, file: sqlite3.Connection) -> None:
        """Delete the quarter that was not used for longest, if the file grows too large. Its room is used again."""
        pages, free, page = (
            file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * page + sum(map(len, self._new.values())) > MOST_BYTES:
            [count] = file.execute("SELECT count(*) FROM features").fetchone()
            file.execute(
                "DELETE FROM features WHERE rowid IN (SELECT rowid FROM features ORDER BY used LIMIT ?)",
                (count // 4 + 1,),
            )


def _is_damage(error: Exception) -> bool:
    """Whether the file is no database, or a damaged one. SQLite's other errors are of the disk or the machine."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


@contextlib.contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    file.execute("BEGIN IMMEDIATE")
    try:
        yield file
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")
