"""A folder with a subfolder for each class, changed by hand: add, move, rename, merge, remove, and undo.

Nothing is deleted. An action renames files, so that undoing it is renaming them back. Removed pictures lie in
`.thumbnet/removed/CLASS/`. Other programs may change the folder at any time; what is in it is what `list` finds.

Links are never followed: none leads out of the folder.
"""

import contextlib
import functools
import os
import re
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from thumbnet.data.dataset import named_once
from thumbnet.data.folder import HEAD, role_of
from thumbnet.errors import DataError, SourceError
from thumbnet.files import write_atomically
from thumbnet.pictures.kinds import PICTURE_SUFFIXES, SUFFIXES, is_litter, kind, meant_as_picture
from thumbnet.sources.expand import walk
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import MAX_BYTES, take
from thumbnet.text import CONTROL, JOINERS, natural_key, printable

KEPT = ".thumbnet"  # the folder of what is no class
REMOVED = f"{KEPT}/removed"
MOST_CHARACTERS = 80  # of a class's name
MOST_BYTES = 200  # of a name in UTF-8; file systems take 255
UNDOS = 100  # actions that can be undone
TOGETHER = 3.0  # seconds between two pictures that were added by one action
NUMBERED = 100  # names that are tried in order before one is made up
LINK = "this is a link, which is not followed here. Put the picture itself in its place"
# What Windows reserves, with any ending, and the characters that it has no names with.
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*/\\]')
_SUFFIX = {"JPEG": ".jpg", "TIFF": ".tif", "JPEG 2000": ".jp2"}  # by `kind`; the others' is their name


class MissingError(DataError):
    """A class or a picture is not there, or no longer."""


class TakenError(DataError):
    """There is a class of this name already."""


class Stamp(NamedTuple):
    """What changes when a file is changed or replaced, and stays when it is renamed."""

    inode: int
    bytes: int
    modified: int  # nanoseconds


class Entry(NamedTuple):
    """A picture in a class."""

    path: Path
    stamp: Stamp
    problem: str  # why it is not to be opened; empty if it may be


class Place(NamedTuple):
    """Where a picture is."""

    label: str
    name: str


@dataclass(frozen=True)
class _Action:
    what: str  # of what it added, nothing: that is counted
    moves: list[tuple[Path, Path]] = field(default_factory=list)  # from, to
    added: list[Path] = field(default_factory=list)
    made: list[Path] = field(default_factory=list)  # folders
    dropped: list[Path] = field(default_factory=list)  # folders

    @property
    def label(self) -> str:
        """What was done, in a few words, for the button that undoes it."""
        if self.what:
            return self.what
        return f"Add {_counted(len(self.added))}{_named(' to', {each.parent.name for each in self.added})}"


class Collection:
    """One folder. Not for several threads at once."""

    def __init__(self, root: Path) -> None:
        """Look at what is kept there.

        Raises:
            DataError: It holds links, which would lead what is written there to another place.
        """
        self.root = root.absolute()
        _refuse_links(self.root / KEPT)
        self.classes: dict[str, dict[str, Entry]] = {}
        self._actions: list[_Action] = []
        self._last_added = 0.0
        self._sniffed: dict[Stamp, bool] = {}

    # --- what is there ---

    def list(self) -> bool:
        """Look at what is in the folder now. Gives whether `classes` has changed.

        Raises:
            OSError: The folder is gone or cannot be read.
        """
        with os.scandir(self.root) as entries:
            names = [
                entry.name
                for entry in entries
                if not is_litter(entry.name) and entry.is_dir(follow_symlinks=False) and _is_text(entry.name)
            ]
        found = {name: _sorted(dict(self._pictures(name))) for name in sorted(names, key=_order)}
        changed = found != self.classes or list(found) != list(self.classes)
        self.classes = found
        return changed

    def entries(self) -> Iterator[Entry]:
        """The pictures of all classes, as `list` found them."""
        for pictures in self.classes.values():
            yield from pictures.values()

    def _pictures(self, label: str) -> Iterator[tuple[str, Entry]]:
        folder = self.root / label
        for found in walk(str(folder)):
            if isinstance(found, Failure):
                name = _relative(found.source, folder)
                yield name, Entry(Path(found.source), Stamp(0, 0, 0), found.message)
            elif not found.endswith(os.sep) and (entry := self._entry(Path(found))):
                yield _relative(found, folder), entry

    def _entry(self, path: Path) -> Entry | None:
        """The picture at a path; None if it is none, or gone."""
        try:
            status = path.lstat()
        except OSError:
            return None
        stamp = Stamp(status.st_ino, status.st_size, status.st_mtime_ns)
        if path.is_symlink():
            return Entry(path, stamp, LINK) if meant_as_picture(path.name) else None
        if not meant_as_picture(path.name) and not self._looks_like_one(path, stamp):
            return None
        return Entry(path, stamp, "" if _is_text(path.name) else "its name is no text. Rename the file")

    def _looks_like_one(self, path: Path, stamp: Stamp) -> bool:
        if stamp not in self._sniffed:
            try:
                with path.open("rb") as file:
                    found = kind(file.read(HEAD))
            except OSError:
                return False
            self._sniffed[stamp] = bool(found) and found != "TIFF"  # a camera's raw file begins as one
        return self._sniffed[stamp]

    def entry(self, place: Place) -> Entry:
        """Raises MissingError if there is no such picture."""
        entry = self._class(place.label).get(place.name)
        if entry is None:
            raise MissingError(f"there is no picture {printable(place.name)} in {printable(place.label)} any more")
        return entry

    def read(self, entry: Entry) -> bytes:
        """A picture's bytes.

        Raises:
            SourceError: It cannot be read, is a link by now, or has more than `MAX_BYTES`.
        """
        if entry.problem:
            raise SourceError(entry.problem)
        try:
            # No link on the way there, either; the folder of the class may have been replaced by one.
            if self._is_behind_a_link(entry.path):
                raise SourceError(LINK)
            flags = sum(getattr(os, name, 0) for name in ("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
            with os.fdopen(os.open(entry.path, flags), "rb", buffering=0) as file:
                content = take(file, MAX_BYTES + 1)
        except OSError as error:
            raise SourceError(f"cannot read it: {error.strerror or error}") from error
        if len(content) > MAX_BYTES:
            raise SourceError(f"larger than {MAX_BYTES // 2**20} MiB")
        return content

    def _is_behind_a_link(self, path: Path) -> bool:
        folder = path.parent
        return folder.resolve() != self.root.resolve() / folder.relative_to(self.root)

    def _class(self, name: str) -> dict[str, Entry]:
        if name not in self.classes:
            raise MissingError(f"there is no class {printable(name)}, or no longer")
        return self.classes[name]

    # --- actions ---

    def add_class(self, name: str) -> str:
        """Make a class. Gives its name as it is written.

        Raises:
            DataError: No class can be named like this.
            TakenError: There is one of this name.
            OSError: It cannot be made.
        """
        name = class_name(name)
        self._refuse_taken(name)
        self._refuse_split(name)
        self._make(action := _Action(f"Add the class {name}"), self.root / name)
        self._done(action)
        return name

    def rename_class(self, old: str, new: str, *, merge: bool = False) -> str:
        """Rename a class, or let its pictures join another one. Gives the new name as it is written.

        Raises:
            DataError: No class can be named like this.
            MissingError: There is no class of the old name.
            TakenError: There is one of the new name, and they are not to be merged.
            OSError: It cannot be done. What was done by then can be undone.
        """
        self._class(old)
        new = class_name(new)
        other = self._taken(new, besides=old)
        if other is not None and merge:
            self._merge(old, other)
            return other
        self._refuse_taken(new, besides=old)
        self._refuse_split(new, besides=old)
        if new != old:
            action = _Action(f"Rename {old} to {new}")
            with self._acting(action):
                self._move(action, self.root / old, self.root / new)
        return new

    def _merge(self, label: str, other: str) -> None:
        action = _Action(f"Merge {label} into {other}")
        folder = self.root / label
        with self._acting(action):
            for path in sorted(folder.iterdir()):
                if not is_litter(path.name):
                    self._move(action, path, self.root / other / path.name)
            self._drop(action, label)

    def remove_class(self, label: str) -> None:
        """Move a class with all that is in it to the removed ones.

        Raises:
            MissingError: There is no such class.
            OSError: It cannot be done.
        """
        self._class(label)
        action = _Action(f"Remove the class {label}")
        with self._acting(action):
            self._move(action, self.root / label, self.root / REMOVED / label)

    def add(self, label: str, name: str, content: bytes) -> str:
        """Write a new picture. Gives the name that it got: safe, free, and with the ending of its format.

        Pictures that come within `TOGETHER` of each other are one action.

        Raises:
            MissingError: There is no such class.
            OSError: It cannot be written. Nothing is left behind.
        """
        self._class(label)
        folder = self.root / label
        if not folder.is_dir() or folder.is_symlink():
            self.list()
            self._class(label)
        path = _free(folder / file_name(name, content))
        with write_atomically(path) as file:
            file.write(content)
        if entry := self._entry(path):
            entries = self.classes[label]
            last = next(reversed(entries), "")
            entries[path.name] = entry
            if _order(path.name) < _order(last):
                self.classes[label] = _sorted(entries)
        self._note_added(path)
        return path.name

    def _note_added(self, path: Path) -> None:
        now = time.monotonic()
        if self._actions and self._actions[-1].added and now - self._last_added < TOGETHER:
            self._actions[-1].added.append(path)
        else:
            self._done(_Action("", added=[path]))
        self._last_added = now

    def move(self, places: Sequence[Place], to: str | None) -> None:
        """Move pictures to another class, or to the removed ones.

        Raises:
            MissingError: The class is not there, or one of the pictures; then nothing is moved.
            OSError: It cannot be done. What was done by then can be undone.
        """
        if to is not None:
            self._class(to)
        entries = [(place, self.entry(place)) for place in dict.fromkeys(places) if place.label != to]
        if not entries:
            return
        where = f" to {to}" if to is not None else _named(" from", {place.label for place, _ in entries})
        action = _Action(f"{'Remove' if to is None else 'Move'} {_counted(len(entries))}{where}")
        with self._acting(action):
            for place, entry in entries:
                folder = self.root / REMOVED / place.label if to is None else self.root / to
                self._move(action, entry.path, folder / entry.path.name)

    @property
    def last(self) -> str | None:
        """What `undo` would undo; None if there is nothing."""
        return self._actions[-1].label if self._actions else None

    def undo(self) -> str:
        """Undo the last action, and give its label. What another program has moved since stays where it is.

        Raises:
            MissingError: There is nothing to undo.
            OSError: It cannot be done.
        """
        if not self._actions:
            raise MissingError("there is nothing to undo")
        action = self._actions[-1]
        label = action.label
        back = _Action("")  # what undoing does is not undone
        for folder in action.dropped:
            folder.mkdir(exist_ok=True)
        while action.moves:
            source, target = action.moves[-1]
            if os.path.lexists(target):
                self._move(back, target, source, back=True)
            action.moves.pop()
        while action.added:
            path = action.added[-1]
            if os.path.lexists(path):
                self._move(back, path, self.root / REMOVED / path.parent.name / path.name)
            action.added.pop()
        for folder in reversed(action.made):
            with contextlib.suppress(OSError):  # another program has put something into it
                folder.rmdir()
        self._actions.pop()
        self.list()
        return label

    # --- steps of an action ---

    @contextlib.contextmanager
    def _acting(self, action: _Action) -> Iterator[None]:
        """What was done before an error can be undone, too."""
        try:
            yield
        finally:
            if action.moves or action.made or action.dropped:
                self._done(action)
            with contextlib.suppress(OSError):
                self.list()

    def _done(self, action: _Action) -> None:
        self._actions = [*self._actions, action][-UNDOS:]

    def _make(self, action: _Action, folder: Path) -> None:
        folder.mkdir()
        action.made.append(folder)
        self.list()

    def _move(self, action: _Action, source: Path, target: Path, *, back: bool = False) -> None:
        for path in (source, target):
            if self._is_behind_a_link(path):
                raise MissingError(f"{printable(path.parent.name)} is a link by now, which is not followed")
        if back or self.root / KEPT in target.parents:  # a class that another program has removed is not made again
            target.parent.mkdir(parents=True, exist_ok=True)
        same = os.path.lexists(target) and os.path.samestat(source.lstat(), target.lstat())  # another case of letters
        target = target if same else _free(target)
        source.rename(target)
        action.moves.append((source, target))

    def _drop(self, action: _Action, label: str) -> None:
        """Let an emptied class go; litter that is left in it goes to the removed ones."""
        folder = self.root / label
        try:
            folder.rmdir()
            action.dropped.append(folder)
        except OSError:
            self._move(action, folder, self.root / REMOVED / label)

    def _taken(self, name: str, besides: str | None = None) -> str | None:
        """The class that has this name on a system that tells no capitals from small letters."""
        known = (each for each in self.classes if each != besides)
        return next((each for each in known if _folded(each) == _folded(name)), None)

    def _refuse_taken(self, name: str, besides: str | None = None) -> None:
        if (other := self._taken(name, besides)) is not None:
            raise TakenError(f"there is a class {other} already")
        if name != besides and os.path.lexists(self.root / name) and _folded(name) != _folded(besides or ""):
            raise TakenError(f"there is a file or a link {name} already, which is no class")

    def _refuse_split(self, name: str, besides: str | None = None) -> None:
        if role_of(name) and are_splits([name, *(each for each in self.classes if each != besides)]):
            raise DataError(
                f"expected another name than {name}, as folders with the names train and test are taken for the two "
                "parts of a data set"
            )


def are_splits(names: Iterable[str]) -> bool:
    """Whether folders of these names are taken for the splits of a data set, and not for classes."""
    roles = set(map(role_of, names))
    return "train" in roles and not roles.isdisjoint({"test", "validation"})


def _refuse_links(kept: Path) -> None:
    """Reject links in the folder of what is kept, as a stranger's folder may hold some. Removed pictures may be links.

    Raises:
        DataError: There is one.
    """
    links = [kept] if kept.is_symlink() else []
    for folder, folders, names in os.walk(kept):
        inside = Path(folder)
        removed = (kept.parent / REMOVED) in inside.parents
        links += [inside / name for name in (*folders, *([] if removed else names)) if (inside / name).is_symlink()]
    if links:
        raise DataError(f"{printable(str(links[0]))}: expected no link here, as it leads to another place. Remove it")


# --- names ---


def class_name(text: str) -> str:
    """A name for a class that is a folder's on every system: trimmed, and in Unicode's form NFC.

    Raises:
        DataError: It is none.
    """
    name = named_once(text.strip())
    reason = ""
    if not name:
        reason = "a name"
    elif len(name) > MOST_CHARACTERS or len(name.encode("utf-8", "replace")) > MOST_BYTES:
        reason = f"a name of at most {MOST_CHARACTERS} characters"
    elif CONTROL.search(name) or not all(each.isprintable() or each in JOINERS for each in name):
        reason = "a name of characters that can be seen"
    elif found := _FORBIDDEN.search(name):
        reason = f"a name without {found.group()}"
    elif name.startswith(".") or name.endswith("."):
        reason = "a name without a dot at its beginning or end"
    elif _RESERVED.fullmatch(name) or is_litter(name):
        reason = "another name, as systems keep this one for themselves"
    if reason:
        raise DataError(f"expected {reason}, got {printable(name)[:MOST_CHARACTERS] or 'none'}")
    return name


def file_name(text: str, content: bytes) -> str:
    """A name for a picture's file that is one on every system, with the ending of its format.

    Of a path, the last part counts. What no file can be called is replaced, so nothing is refused.
    """
    found = kind(content)
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", text)[-1])
    clean = "".join(each if each.isprintable() else " " for each in _FORBIDDEN.sub("_", last)).strip(" .")
    path = PurePosixPath(clean or "picture")
    suffix = path.suffix.lower()
    if suffix in SUFFIXES.get(found, ()):
        stem, ending = path.stem, path.suffix
    else:
        stem = path.stem if suffix in PICTURE_SUFFIXES else path.name
        ending = _SUFFIX.get(found, f".{found.lower()}" if found else "")
    stem = stem.encode("utf-8", "replace")[: MOST_BYTES - 20].decode("utf-8", "ignore").strip(" .") or "picture"
    return f"{'_' if _RESERVED.fullmatch(stem) else ''}{stem}{ending}"


_order = functools.lru_cache(2**16)(natural_key)


def _sorted(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {name: entries[name] for name in sorted(entries, key=_order)}


def _free(path: Path) -> Path:
    """The path, or one like it if this one is taken."""
    if not os.path.lexists(path):
        return path
    for number in range(2, NUMBERED):
        other = path.with_name(f"{path.stem} {number}{path.suffix}")
        if not os.path.lexists(other):
            return other
    return path.with_name(f"{path.stem} {os.urandom(6).hex()}{path.suffix}")


def _folded(name: str) -> str:
    return named_once(name).casefold()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _relative(path: str, folder: Path) -> str:
    name = Path(path).relative_to(folder).as_posix()
    return name if _is_text(name) else printable(name)


def _counted(count: int) -> str:
    return f"{count:,} picture{'' if count == 1 else 's'}"


def _named(link: str, labels: set[str]) -> str:
    return f"{link} {labels.pop()}" if len(labels) == 1 else ""
