"""Many pictures → rows, in the order of their sources.

    arguments → expand → sources → threads that read, decode and resize → batches → network → rows

Everything is lazy: no step is more than `WINDOW` pictures ahead of the rows, so memory does not grow with their number,
and a row is there as soon as its picture and those before it are done.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from thumbnet.model.classifier import BATCH, Classifier
from thumbnet.prediction.rows import Row
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import STANDARD_INPUT, read_argument
from thumbnet.sources.urls import is_url, without_password

Squares: TypeAlias = NDArray[np.uint8]  # (V, S, S, 3), a picture's views
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
    window = _Window(model.squares, iter(sources), workers or _cores(), content or read_argument)
    try:
        while slots := window.take():
            yield from _answered(model, slots, top_k)
    finally:
        window.close()


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
