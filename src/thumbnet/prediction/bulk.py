"""Many pictures → rows, in the order of their sources.

    arguments → expand → sources → threads that read, decode and resize → batches → network → rows

Everything is lazy. No step is more than a window ahead of the rows, so memory does not grow with their number. A row is
available as soon as its picture and those before it are done.
"""

import contextlib
import functools
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ModelError
from thumbnet.model.classifier import Classifier, batch_size
from thumbnet.pictures.decode import RGB, decode
from thumbnet.prediction.rows import Row
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import STANDARD_INPUT, read_argument
from thumbnet.sources.urls import is_url, without_password

MAPPED = 4  # pictures between their source and their row with heat maps, as each is kept whole until its map is drawn
FULL = 32  # pictures that are worth a run of the network; a run for one alone costs four times as much per picture
PATIENCE = 0.05  # seconds for which a finished picture waits for `FULL` of them, while others are in progress
FETCHERS = 16  # URLs read at once; nearly all of their time is waiting


class Held(NamedTuple):
    """A picture whose bytes are in memory, so that it needs no reading."""

    source: str  # the name for its row
    content: bytes  # of the picture file


Source: TypeAlias = str | Held | Failure
Draw: TypeAlias = Callable[[int, str, RGB], None]  # draws a heat map: number, name, picture


def predict(
    model: Classifier,
    sources: Iterable[Source],
    *,
    top_k: int = 3,
    workers: int | None = None,
    content: Callable[[str], bytes] | None = None,
    maps: Path | None = None,
    first: int = 1,
) -> Generator[Row]:
    """Classify many pictures.

    Args:
        model: The classifier.
        sources: Paths and URLs; `-` is a picture on standard input. A `Failure`, as `expand` yields it, is passed on as
            a row. Another thread than the caller's iterates over the sources.
        top_k: How many of the most probable classes to name, 1 or more.
        workers: Threads that read and decode files; by default, one per core. URLs have threads of their own.
        content: Returns the bytes of a path or URL, instead of `read`. Whatever it raises becomes a `Failure`.
        maps: A folder for heat maps, created if necessary. For each answer, it gets a PNG that shows which parts of the
            picture decided; the PNG is complete before the row is yielded.
        first: The number of the first source, with which the name of its heat map begins.

    Returns:
        A `Prediction` or a `Failure` for each source, in their order. An early end (`close`, or an exception in the
        caller) stops the threads, and does not wait for servers.

    Raises:
        ModelError: The network of the model file fails, or its output is not probabilities.
        ThumbnetError: The folder for the heat maps cannot be written to.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    draw: Draw | None = None
    if maps is not None:
        from thumbnet.prediction import explain

        explain.make_folder(maps)
        draw = functools.partial(explain.write_map, model, maps)
    return _rows(model, iter(sources), top_k, workers or _cores(), content or read_argument, draw, first)


def _rows(
    model: Classifier,
    sources: Iterator[Source],
    top_k: int,
    workers: int,
    content: Callable[[str], bytes],
    draw: Draw | None,
    first: int,
) -> Generator[Row]:
    prepare = functools.partial(_seen, model, whole=draw is not None)
    batch = batch_size(model.info.size)
    window = _Window(sources, content, prepare, workers, window_size(batch) if draw is None else MAPPED, batch)
    try:
        while slots := window.take():
            for place, (slot, row) in enumerate(zip(slots, _answered(model, slots, top_k), strict=True), first):
                if draw and isinstance(slot.result, _Seen) and slot.result.picture is not None:
                    draw(place, row.source, slot.result.picture)
                yield row
            first += len(slots)
    finally:
        window.close()


def window_size(batch: int) -> int:
    """How many pictures there may be between their source and their row: one batch in the network, the next being read.

    `batch` is how many the network takes at a time. Even if that is few, all threads have something to read.
    """
    return 2 * max(batch, FULL)


class _Seen(NamedTuple):
    """A decoded picture, as its row needs it."""

    squares: NDArray[np.uint8]  # (V, S, S, 3), its views
    picture: RGB | None  # the whole of it, for its heat map


def _seen(model: Classifier, content: bytes, *, whole: bool) -> _Seen:
    if not whole:
        return _Seen(model.squares(content), None)
    picture = decode(content, least=model.info.size)
    return _Seen(model.squares(picture), picture)


@dataclass(slots=True)
class _Slot:
    """A source in the window and, once it is done, its picture or the reason why there is none."""

    source: Source
    result: _Seen | Failure | ModelError | None = None


class _Window:
    """The sources in progress, in order, and the threads that read and decode them.

    One thread iterates over the sources, `workers` threads read files, and up to `FETCHERS` threads read what may be
    slow. Each decodes what it has read. All are daemons, as a slow server must not delay the end of the program.
    """

    def __init__(
        self,
        sources: Iterator[Source],
        content: Callable[[str], bytes],
        prepare: Callable[[bytes], _Seen],
        workers: int,
        size: int,
        batch: int,
    ) -> None:
        self._sources, self._content, self._prepare, self._workers = sources, content, prepare, workers
        self._batch = batch
        self._files: SimpleQueue[_Slot | None] = SimpleQueue()
        self._slow: SimpleQueue[_Slot | None] = SimpleQueue()
        self._fetchers = 0
        self._room = threading.Semaphore(size)
        self._decoding = threading.Semaphore(workers)  # limits memory, as each picture may be large
        self._stopped = False
        self._news = threading.Condition()  # notified when anything below changes
        self._slots: deque[_Slot] = deque()
        self._end: BaseException | None = None  # of the sources: StopIteration, or an error
        for _ in range(workers):
            _start(self._work, self._files)
        _start(self._pull)

    def take(self) -> list[_Slot]:
        """Remove the oldest slots that are done: one or more, at most a batch of a size. At the end the list is empty.

        If few are done and others are in progress, it waits a little for these.
        """
        batch: list[_Slot] = []
        sizes: Counter[int] = Counter()
        with self._news:
            self._news.wait_for(lambda: self._slots[0].result is not None if self._slots else self._end is not None)
            full = min(FULL, self._batch)
            self._news.wait_for(lambda: all(slot.result is not None for slot in islice(self._slots, full)), PATIENCE)
            while self._slots and (result := self._slots[0].result) is not None:
                batch.append(self._slots.popleft())
                if isinstance(result, _Seen):
                    size = result.squares.shape[1]
                    sizes[size] += 1
                    if sizes[size] == batch_size(size):
                        break
        if batch:
            self._room.release(len(batch))
        elif self._end and not isinstance(self._end, StopIteration):
            raise self._end
        return batch

    def close(self) -> None:
        """Stop the threads. Wait only for decoding: if Python ended in the middle of OpenCV's work, it would crash."""
        self._stopped = True
        self._room.release()
        self._files.put(None)
        self._slow.put(None)
        for _ in range(self._workers):
            self._decoding.acquire()
        self._decoding.release(self._workers)

    def _pull(self) -> None:
        try:
            while self._room.acquire() and not self._stopped:
                source = next(self._sources)  # may wait until somebody has typed it
                slot = _Slot(source, source if isinstance(source, Failure) else None)
                with self._news:
                    self._slots.append(slot)
                    self._news.notify()
                if slot.result is None:
                    self._queue(source).put(slot)
        except BaseException as end:
            with self._news:
                self._end = end
                self._news.notify()

    def _queue(self, source: Source) -> "SimpleQueue[_Slot | None]":
        if not isinstance(source, str) or not (source == STANDARD_INPUT or is_url(source)):
            return self._files
        if self._fetchers < FETCHERS:
            with contextlib.suppress(RuntimeError):  # no more threads are allowed
                _start(self._work, self._slow)
                self._fetchers += 1
        return self._slow if self._fetchers else self._files

    def _work(self, queue: "SimpleQueue[_Slot | None]") -> None:
        while (slot := queue.get()) and not self._stopped:
            result = self._result(slot.source)
            with self._news:
                slot.result = result
                self._news.notify()
        queue.put(None)  # for the next thread

    def _result(self, source: Source) -> _Seen | Failure | ModelError | None:
        """Read and decode a picture. The result is None once the window is closed, and an error that concerns all."""
        try:
            content = source.content if isinstance(source, Held) else self._content(str(source))
            with self._decoding:
                try:
                    return None if self._stopped else self._prepare(content)
                except ModelError as error:  # the file names a model for thumbnails that does not fit
                    return error
        except Exception as error:  # whatever it is, it concerns this picture alone
            # The traceback would keep the picture in memory.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            return Failure(_name(source), error)


def _start(target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()


def _name(source: Source) -> str:
    return without_password(source if isinstance(source, str) else source.source)


def _answered(model: Classifier, slots: Sequence[_Slot], top_k: int) -> Iterator[Row]:
    """Classify a batch."""
    if error := next((slot.result for slot in slots if isinstance(slot.result, ModelError)), None):
        raise error
    seen = [(_name(slot.source), slot.result.squares) for slot in slots if isinstance(slot.result, _Seen)]
    answers = iter(model.describe([name for name, _ in seen], [squares for _, squares in seen], top_k))
    for slot in slots:
        yield slot.result if isinstance(slot.result, Failure) else next(answers)


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
