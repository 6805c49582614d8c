"""What all requests hold together of something scarce, so that no client takes all of it from the others."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator


def share(most: int) -> int:
    """What one client may hold of `most`: three quarters, so that the others find something."""
    return most - most // 4


class Budget:
    """So much of something for all, and three quarters of it for one client. Any thread may use it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: Counter[str] = Counter()  # by client
        self._lock = threading.Lock()

    def take(self, client: str, count: int) -> bool:
        """Take so much for a client, if there is room for it."""
        with self._lock:
            fits = self._held.total() + count <= self.most and self._held[client] + count <= share(self.most)
            self._held[client] += count if fits else 0
            return fits

    def give(self, client: str, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._held[client] -= count
            if not self._held[client]:
                del self._held[client]


class Scale:
    """Lets threads work at the same time only as long as their work weighs no more than `most` together."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def weighed(self, weight: int) -> Iterator[None]:
        """Wait for room, and hold it. What weighs more than `most` has it all."""
        weight = min(weight, self._most)
        with self._turn, self._changed:  # one after the other, or what is heavy would wait for ever behind what is not
            self._changed.wait_for(lambda: self._held + weight <= self._most)
            self._held += weight
        try:
            yield
        finally:
            with self._changed:
                self._held -= weight
                self._changed.notify_all()
