"""A weighted semaphore: threads work at the same time as long as their work is not too heavy together."""

import contextlib
import threading
from collections.abc import Iterator


class WeightedSemaphore:
    """Holds `most` in all. Threads get their part in turn, or heavy work would wait for ever behind light work."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, weight: int) -> Iterator[None]:
        """Wait for room and hold it until the block ends. Work that weighs more than `most` gets all of it."""
        weight = min(weight, self._most)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._held + weight <= self._most)
            self._held += weight
        try:
            yield
        finally:
            with self._changed:
                self._held -= weight
                self._changed.notify_all()
