"""Many pictures → rows, in the order of their sources.

    arguments → expand → sources → threads that read, decode and resize → batches → network → rows

Everything is lazy: no step is more than `WINDOW` pictures ahead of the rows, so memory does not grow with their number,
and a row is there as soon as its picture and those before it are done.
"""

# A source stays the text that was typed, as its row repeats it; pathlib would tidy it up.
# ruff: noqa: PTH110, PTH112, PTH113, PTH118, PTH123, PTH208

import contextlib
import fnmatch
import glob
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet import classifier
from thumbnet.classifier import BATCH, MAX_BYTES, Classifier
from thumbnet.errors import SourceError
from thumbnet.pictures.kinds import LITTER, NO_PICTURE, meant_as_picture
from thumbnet.rows import Failure, Row
from thumbnet.urls import is_url, without_password

Squares: TypeAlias = NDArray[np.uint8]  # (V, S, S, 3), a picture's views

STANDARD_INPUT = "-"
WINDOW = 2 * BATCH  # pictures between their source and their row: one batch in the network, the next one being read
FULL = 32  # pictures that are worth a run of the network: for one alone it takes four times as long a picture
PATIENCE = 0.05  # seconds that a picture which is done waits for so many, while others are at work
FETCHERS = 16  # URLs read at once; nearly all of that time is waiting


def predict(
    model: Classifier,
    sources: Iterable[str | Failure],
    *,
    top_k: int = 3,
    workers: int | None = None,
    content: Callable[[str], bytes] | None = None,
) -> Generator[Row]:
    """Classify many pictures.

    Args:
        model: What answers.
        sources: Paths and URLs; `-` is a picture on standard input. A `Failure`, as `expand` gives, becomes a row as it
            is. They are taken by other threads than the caller's, one at a time.
        top_k: How many of the most probable classes to name, 1 or more.
        workers: Threads that read and decode files, a core each unless told otherwise. URLs have their own.
        content: Gives a source's bytes in place of `read`. Whatever it raises makes a `Failure`.

    Returns:
        A `Prediction` or a `Failure` for each source, in their order. An early end (`close`, or an exception in the
        caller) stops the threads, and waits for no server.

    Raises:
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    window = _Window(model.squares, iter(sources), workers or _cores(), content or read)
    try:
        while slots := window.take():
            yield from _answered(model, slots, top_k)
    finally:
        window.close()


def expand(arguments: Iterable[str]) -> Iterator[str | Failure]:
    """The sources that arguments stand for: folders, patterns and lists with what is in them, anything else as it is.

    A folder gives its pictures by their names' suffixes, however deep, by name; hidden files are left out, and links to
    folders are not entered. A pattern such as `photos/**/*.jpg` gives the files that match, sorted. `@FILE` and `@-`
    give the lines of a list, each a file or a URL. A folder without pictures and the like give a `Failure`.
    """
    for argument in arguments:
        if argument == STANDARD_INPUT:
            yield argument
        elif argument.startswith("@"):
            yield from _listed(argument)
        elif os.path.isdir(argument):
            yield from _walk(argument)
        elif _is_pattern(argument):
            found = _matches(argument)
            yield from found
            if not found:
                yield Failure(argument, SourceError("no file matches this pattern"))
        else:
            yield argument


def several(arguments: Sequence[str]) -> bool:
    """Whether arguments may stand for more than one source, however many there are just now."""
    return len(arguments) > 1 or any(
        each.startswith("@") or os.path.isdir(each) or _is_pattern(each) for each in arguments
    )


def count(arguments: Sequence[str]) -> int | None:
    """How many sources arguments stand for; None if that cannot be told without using a list up, as from a pipe."""
    lists = [argument[1:] for argument in arguments if argument.startswith("@")]
    if any(name == STANDARD_INPUT or (os.path.exists(name) and not os.path.isfile(name)) for name in lists):
        return None
    return sum(1 for _ in expand(arguments))


def named(source: str | Failure) -> str:
    """A source as its row names it."""
    return source.source if isinstance(source, Failure) else without_password(source)


def read(source: str) -> bytes:
    """A source's bytes. `-` is standard input, the rest as `classifier.read` has it, which tells what it raises."""
    if source != STANDARD_INPUT:
        return classifier.read(source)
    with _standard_input() as file:
        content = classifier.take(file, MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise SourceError(f"larger than {MAX_BYTES / 2**20:.0f} MiB. Expected a picture on standard input")
    return content


# --- sources ---


def _is_pattern(argument: str) -> bool:
    return glob.has_magic(argument) and not is_url(argument) and not os.path.lexists(argument)


def _listed(argument: str) -> Iterator[str | Failure]:
    """The lines of the list `@FILE`, as they come."""
    name = argument[1:]
    try:
        with _standard_input() if name == STANDARD_INPUT else open(name, "rb") as file:
            for place, line in enumerate(file):
                text = line.removeprefix(b"\xef\xbb\xbf" if place == 0 else b"").decode("utf-8", "surrogateescape")
                source = text.removesuffix("\n").removesuffix("\r")
                if source.strip():
                    yield f"./{source}" if source == STANDARD_INPUT else source  # a file, as standard input has no line
    except (OSError, ValueError, SourceError) as error:  # ValueError: a zero byte in the name
        yield Failure(argument, SourceError(f"cannot read this list: {getattr(error, 'strerror', None) or error}"))


def _walk(root: str) -> Iterator[str | Failure]:
    """The pictures in a folder, however deep, by name."""
    empty = True
    levels = [("", [os.path.join(root, "")])]  # a folder and what of it is still to come, the next at the end
    while levels:
        folder, names = levels[-1]
        if not names:
            levels.pop()
            continue
        path = os.path.join(folder, names.pop())
        if not path.endswith(os.sep):
            empty = False
            yield path
            continue
        try:
            levels.append((path, sorted(_names(path), reverse=True)))
        except OSError as error:
            empty = False
            yield Failure(path, SourceError(f"cannot read this folder: {error.strerror or error}"))
    if empty:
        yield Failure(root, SourceError(NO_PICTURE))


def _names(folder: str) -> Iterator[str]:
    """The pictures and the folders in a folder, these with a separator at their end. No link is followed: no loops."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in LITTER:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield name + os.sep
            elif meant_as_picture(name) and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                yield name


def _matches(pattern: str) -> list[str]:
    """The files that match, sorted. Unlike `glob.glob`, `**` follows no links, as these can make loops."""
    drive, rest = os.path.splitdrive(pattern)
    separators = re.escape(os.sep + (os.altsep or ""))
    parts = [part for part in re.split(f"[{separators}]", rest) if part]
    found = [drive + os.sep if re.match(f"[{separators}]", rest) else drive]
    for part in [*parts, "*"] if parts[-1] == "**" else parts:
        if part == "**":
            found = [below for folder in found for below in _folders(folder)]
        elif glob.has_magic(part):
            found = [os.path.join(folder, name) for folder in found for name in _visible(folder, part)]
        else:
            found = [path for folder in found if os.path.lexists(path := os.path.join(folder, part))]
    return sorted({path for path in found if os.path.isfile(path)})


def _visible(folder: str, part: str) -> list[str]:
    """The names in a folder that match a part of a pattern, hidden ones only if it begins with a dot too."""
    with contextlib.suppress(OSError):
        names = fnmatch.filter(os.listdir(folder or "."), part)
        return [name for name in names if part.startswith(".") or not name.startswith(".")]
    return []


def _folders(root: str) -> list[str]:
    """A folder, and every one below it."""
    folders = [root]
    for folder in folders:  # which grows meanwhile
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            folders += [
                os.path.join(folder, entry.name)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    return folders


def _standard_input() -> IO[bytes]:
    """An object of its own for it: Python dies at its end if a thread still waits in `sys.stdin`."""
    if sys.stdin is None:
        raise SourceError("standard input is closed. Expected something to be piped into it")
    return open(sys.stdin.fileno(), "rb", closefd=False)


# --- threads ---


@dataclass(slots=True)
class _Slot:
    """A source in the window; at last, what the network is to see of it, or why there is nothing."""

    source: str
    result: Squares | Failure | None = None


class _Window:
    """The sources that are at work, in order, and the threads that read and decode them.

    The threads pull: each takes the next source when it is done with one, which costs no hand-over and is never late.
    They are daemons, as a slow server must not hold up the program's end.
    """

    def __init__(
        self,
        squares: Callable[[bytes], Squares],
        sources: Iterator[str | Failure],
        workers: int,
        content: Callable[[str], bytes],
    ) -> None:
        self._squares, self._sources, self._workers, self._content = squares, sources, workers, content
        self._pulling = threading.Lock()  # held while the next source is taken, which may wait for somebody to type it
        self._fetchers = threading.Semaphore(FETCHERS)
        self._lock = threading.Lock()  # of everything below
        self._ready = threading.Condition(self._lock)  # one more slot is done, or there is none and never will be
        self._room = threading.Condition(self._lock)  # for one more slot
        self._turn = threading.Condition(self._lock)  # to decode; at the end, none is decoding any more
        self._slots: deque[_Slot] = deque()
        self._decoding = 0
        self._ended = False  # no source is taken any more
        self._stopped = False  # no picture is decoded any more
        self._failure: BaseException | None = None  # of the sources themselves
        for _ in range(workers):
            threading.Thread(target=self._work, daemon=True).start()

    def take(self) -> list[_Slot]:
        """The oldest slots: those that are done, a batch at most, and one at least. None at the end.

        While there are few of them and others are at work, it waits a little for these.
        """
        batch: list[_Slot] = []
        with self._lock:
            self._ready.wait_for(lambda: self._slots[0].result is not None if self._slots else self._ended)
            self._ready.wait_for(lambda: all(slot.result is not None for slot in islice(self._slots, FULL)), PATIENCE)
            while self._slots and len(batch) < BATCH and self._slots[0].result is not None:
                batch.append(self._slots.popleft())
            self._room.notify()
        if self._failure and not batch:
            raise self._failure
        return batch

    def close(self) -> None:
        """Stop. Only for pictures that are being decoded is waited: Python's end would crash in OpenCV's midst."""
        with self._lock:
            self._ended = self._stopped = True
            self._room.notify()
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._decoding == 0)

    def _work(self) -> None:
        while slot := self._next():
            if slot.source == STANDARD_INPUT or is_url(slot.source):
                self._fetchers.acquire()
                try:
                    threading.Thread(target=self._fetch, args=(slot,), daemon=True).start()
                except RuntimeError:  # no more threads are allowed
                    self._fetch(slot)
            else:
                self._fill(slot)

    def _next(self) -> _Slot | None:
        with self._pulling:
            with self._lock:
                self._room.wait_for(lambda: len(self._slots) < WINDOW or self._ended)
            try:
                source = None if self._ended else next(self._sources, None)
            except BaseException as error:  # to be raised where the rows are
                source, self._failure = None, error
            with self._lock:
                if source is None:
                    self._ended = True
                    self._ready.notify()
                    return None
                slot = _Slot(source) if isinstance(source, str) else _Slot(source.source, source)
                self._slots.append(slot)
        return slot

    def _fetch(self, slot: _Slot) -> None:
        try:
            self._fill(slot)
        finally:
            self._fetchers.release()

    def _fill(self, slot: _Slot) -> None:
        try:
            slot.result = slot.result or self._decode(self._content(slot.source))
        except Exception as error:  # whatever it is, it is this picture's alone
            # Its traceback would hold on to the picture.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            slot.result = Failure(without_password(slot.source), error)
        with self._lock:
            self._ready.notify()

    def _decode(self, content: bytes) -> Squares | None:
        """Not more pictures at once than there are workers, as each may be large. None once the window is closed."""
        with self._lock:
            self._turn.wait_for(lambda: self._decoding < self._workers or self._stopped)
            if self._stopped:
                return None
            self._decoding += 1
        try:
            return self._squares(content)
        finally:
            with self._lock:
                self._decoding -= 1
                self._turn.notify_all()


def _answered(model: Classifier, slots: Sequence[_Slot], top_k: int) -> Iterator[Row]:
    """The rows of a batch."""
    seen = [(slot.source, slot.result) for slot in slots if isinstance(slot.result, np.ndarray)]
    names, squares = [without_password(source) for source, _ in seen], [squares for _, squares in seen]
    answers = iter(model.describe(names, squares, top_k))
    for slot in slots:
        yield slot.result if isinstance(slot.result, Failure) else next(answers)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
