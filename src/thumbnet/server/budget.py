"""Shares what is scarce among requests, so that no client takes all of it."""

import threading
from collections import Counter


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
