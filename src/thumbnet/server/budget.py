"""Shares what is scarce among requests, so that no client takes all of it."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator


def share(most: int) -> int:
    """What one client may hold of `most`: three quarters, so that the others find room."""
    return most - most // 4


class Budget:
    """An amount for all clients, of which each may hold three quarters. Any thread may use it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()  # by client
        self._lock = threading.Lock()

    def take(self, client: str, count: int) -> bool:
        """Take `count` for a client. False if there is no room for it."""
        with self._lock:
            fits = self._held.total() + count <= self.most and self._held[client] + count <= share(self.most)
            self._held[client] += count if fits else 0
            return fits

    def give(self, client: str, count: int) -> None:
        """Give back what a client took."""
        with self._lock:
            self._held[client] -= count
            if not self._held[client]:
                del self._held[client]


class Scale:
    """Lets threads work at the same time as long as their work weighs no more than `most` in all."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def weighed(self, weight: int) -> Iterator[None]:
        """Wait for room and hold it. Work that weighs more than `most` gets all of it."""
        weight = min(weight, self._most)
        with self._turn, self._changed:  # in turn, or heavy work would wait for ever behind light work
            self._changed.wait_for(lambda: self._held + weight <= self._most)
            self._held += weight
        try:
            yield
        finally:
            with self._changed:
                self._held -= weight
                self._changed.notify_all()
