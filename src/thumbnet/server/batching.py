"""The pictures of many requests go through the network together.

While the network works on one batch, the next one gathers. A lone request therefore waits for nobody. The busier the
server is, the larger its batches become and the less each picture costs.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thumbnet.model.classifier import Asked, Classifier
from thumbnet.server.metrics import Metrics

LARGEST = 64  # pictures in a batch; larger ones are no faster, and each picture would wait for all


@dataclass
class _Waiting:
    squares: NDArray[np.uint8]  # (n, S, S, 3)
    answer: "asyncio.Future[Asked]"


class Batcher:
    """Runs the network on one batch at a time, in a thread of its own."""

    def __init__(self, classifier: Classifier, metrics: Metrics) -> None:
        self._classifier, self._metrics = classifier, metrics
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "network")
        self._running: asyncio.Task[None] | None = None

    async def ask(self, squares: NDArray[np.uint8]) -> Asked:
        """Ask the network about squares, `(n, S, S, 3)`. A call that is cancelled while it waits leaves the batch.

        Raises:
            ModelError: The network fails.
        """
        waiting = _Waiting(squares, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await waiting.answer

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := self._next():
                squares = np.concatenate([each.squares for each in batch])  # (N, S, S, 3)
                self._metrics.batch.observe(len(squares))
                try:
                    with self._metrics.stage("network"):
                        asked = await loop.run_in_executor(self._thread, self._classifier.ask, squares)
                except Exception as error:  # the network fails, or the server ends
                    for each in batch:
                        if not each.answer.done():
                            each.answer.set_exception(error)
                    continue
                ends = np.cumsum([len(each.squares) for each in batch])[:-1]
                parts = (np.split(rows, ends) for rows in asked)
                for each, *part in zip(batch, *parts, strict=True):
                    if not each.answer.done():  # it is done if the client has left meanwhile
                        each.answer.set_result(Asked(*part))
        finally:
            self._running = None

    def _next(self) -> list[_Waiting]:
        """The next batch: the pictures of at least one request whose client still waits."""
        batch: list[_Waiting] = []
        count = 0
        while self._waiting:
            first = self._waiting[0]
            if not first.answer.done():
                if batch and count + len(first.squares) > LARGEST:
                    break
                batch.append(first)
                count += len(first.squares)
            self._waiting.popleft()
        return batch
