"""A folder or a ZIP file as one thing: the names of its files, and a way to read them. Nothing is unpacked to disk."""

import lzma
import os
import re
import stat
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from thumbnet.errors import DataError, SourceError
from thumbnet.pictures.kinds import is_litter, meant_as_picture
from thumbnet.sources.expand import walk
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import MAX_BYTES, take
from thumbnet.text import printable

LINKED = 2  # links to folders are entered in a folder and in its subfolders, so that splits and classes may be links
MAX_MEMBERS = 2**20  # of a ZIP file
# A ZIP file that unpacks to more than `MAX_RATIO` times its size is a bomb: pictures hardly pack at all. Small ones
# cannot do harm.
MAX_RATIO = 200
HARMLESS = 2**28  # bytes
# What zipfile and the decompressors raise at members that are broken, or packed in a way that Python does not read.
_BROKEN = (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class Store(Protocol):
    """Where pictures lie. Names are relative to it and separated by `/`; litter is left out."""

    where: Path
    files: list[str]
    folders: list[str]

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        """The first `most` bytes of a file.

        Raises:
            SourceError: The file cannot be read, or has more than `MAX_BYTES`.
        """


def open_store(path: Path) -> "Store":
    """A folder, or else a ZIP file. Raises what these raise."""
    return Archive(path) if is_zip(path) else Folder(path)


def is_zip(path: Path) -> bool:
    """Whether a file is meant as a ZIP file, by its name or its content."""
    return path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))


class Folder:
    """A folder, however deep."""

    def __init__(self, root: Path) -> None:
        """List what is in it.

        Raises:
            DataError: There is no such folder, or it or one in it cannot be read.
        """
        if not root.is_dir():
            came = "a file" if root.exists() else "nothing there"
            raise DataError(f"{root}: expected a folder of pictures, got {came}")
        self.where = root
        self.files: list[str] = []
        self.folders: list[str] = []
        start = len(os.path.join(root, ""))  # noqa: PTH118  # pathlib would drop the separator
        for path in walk(str(root), LINKED):
            if isinstance(path, Failure):
                raise DataError(f"{root}: the folder cannot be read: {path.source}: {path.message}")
            name = path[start:].replace(os.sep, "/")
            if name.endswith("/"):
                self.folders.append(name[:-1])
            else:
                self.files.append(name)

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        """See `Store`."""
        file = self.where / name
        try:
            if not file.is_file():  # a pipe would be waited for
                raise SourceError("not a regular file")
            with file.open("rb", buffering=0) as opened:
                content = take(opened, most + (most == MAX_BYTES))
        except OSError as error:
            raise SourceError(f"cannot read it: {error.strerror or error}") from error
        return _checked(content)


class Archive:
    """A ZIP file. If all of it lies in one folder, it is that folder."""

    def __init__(self, path: Path) -> None:
        """List what is in it.

        Raises:
            DataError: The file is broken; it has too many members, or they are too large; one is encrypted, a link, or
                would leave the folder that it is unpacked to.
        """
        self.where = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: this is no ZIP file, or it is broken or cut off: {error}") from error
        self._lock = threading.Lock()  # zipfile counts its open members without one
        self._members: dict[str, zipfile.ZipInfo] = {}
        folders = self._list()
        start = _only_folder(list(self._members), folders)
        self._members = {name[len(start) :]: member for name, member in self._members.items()}
        self.files = sorted(self._members)
        self.folders = sorted(name[len(start) :] for name in folders if len(name) > len(start))

    def _list(self) -> set[str]:
        """Check the members and keep those that are files and no litter. Gives the folders that they lie in."""
        members = self._zip.infolist()
        if len(members) > MAX_MEMBERS:
            raise DataError(f"{self.where}: expected at most {MAX_MEMBERS:,} files, got {len(members):,}. Unpack it")
        unpacked, packed = sum(member.file_size for member in members), self.where.stat().st_size
        if unpacked > max(HARMLESS, MAX_RATIO * packed):
            raise DataError(
                f"{self.where}: its {packed:,} bytes would unpack to {unpacked:,}, more than {MAX_RATIO} times as "
                "many. Pictures do not pack like that, so nothing is read"
            )
        folders: set[str] = set()
        for member in members:
            name = member.filename.replace("\\", "/")
            parts = name.rstrip("/").split("/")
            self._refuse(member, "an absolute name", name.startswith("/") or bool(re.match("[A-Za-z]:", name)))
            self._refuse(member, "a name that leaves the folder", ".." in parts)
            parts = [part for part in parts if part not in ("", ".")]
            if not parts or any(map(is_litter, parts)):
                continue
            folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
            name, is_folder = "/".join(parts), name.endswith("/")
            if is_folder:
                folders.add(name)
                continue
            self._refuse(member, "a link", stat.S_ISLNK(member.external_attr >> 16))
            self._refuse(member, "encrypted", bool(member.flag_bits & 1))
            self._refuse(member, f"larger than {MAX_BYTES / 2**20:.0f} MiB", member.file_size > MAX_BYTES)
            self._refuse(member, "there twice", name in self._members)
            self._members[name] = member
        return folders

    def _refuse(self, member: zipfile.ZipInfo, what: str, bad: bool) -> None:
        if bad:
            name = printable(member.filename)[:200]
            raise DataError(f"{self.where}: expected plain files, got one that is {what}: {name}. Unpack it yourself")

    def read(self, name: str, most: int = MAX_BYTES) -> bytes:
        """See `Store`."""
        try:
            with self._lock, self._zip.open(self._members[name]) as member:
                return take(member, most)  # zipfile ends at the size that was checked
        except _BROKEN as error:
            raise SourceError(f"cannot unpack it: {error}") from error


def _checked(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB")
    return content


def _only_folder(files: list[str], folders: set[str]) -> str:
    """The folder that all of an archive lies in, with a `/`, unless that is a class, with pictures. Else nothing."""
    start = ""
    while True:
        inside = {name[len(start) :].split("/")[0] for name in [*files, *folders] if len(name) > len(start)}
        within = f"{start}{inside.pop()}/" if len(inside) == 1 else ""
        loose = [name for name in files if name.startswith(within) and "/" not in name[len(within) :]]
        table = any(name.lower().endswith((".csv", ".tsv")) for name in loose)
        if within[:-1] not in folders or (any(map(meant_as_picture, loose)) and not table):
            return start
        start = within
