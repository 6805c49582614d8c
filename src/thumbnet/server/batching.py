"""The pictures of many requests go through the network together.

While the network works on one batch, the next one gathers. A lone request therefore waits for nobody. The busier the
server is, the larger its batches become and the less each picture costs. A request of more squares than a batch takes
its turn with each batch, so that the others wait for one batch of it and not for all.
"""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from thumbnet.model.classifier import Asked, Classifier, batch_size
from thumbnet.server.metrics import Metrics

LARGEST = 64  # squares in a batch; larger ones are no faster, and each picture would wait for all


@dataclass
class _Waiting:
    squares: NDArray[np.uint8]  # (n, S, S, 3), those that no batch has taken yet
    answer: "asyncio.Future[Asked]"
    rows: list[Asked] = field(default_factory=list)  # the answers to the others


class Batcher:
    """Runs the network on one batch at a time, in a thread of its own."""

    def __init__(self, classifier: Classifier, metrics: Metrics) -> None:
        self._classifier, self._metrics = classifier, metrics
        self._largest = min(LARGEST, batch_size(classifier.info.size))
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
                squares = np.concatenate([part for _, part in batch])  # (N, S, S, 3)
                self._metrics.batch.observe(len(squares))
                try:
                    with self._metrics.stage("network"):
                        asked = await loop.run_in_executor(self._thread, self._classifier.ask, squares)
                except Exception as error:  # the network fails, or the server ends
                    for each, _ in batch:
                        if not each.answer.done():
                            each.answer.set_exception(error)
                    continue
                ends = np.cumsum([len(part) for _, part in batch])[:-1]
                parts = (np.split(rows, ends) for rows in asked)
                for (each, _), *part in zip(batch, *parts, strict=True):
                    each.rows.append(Asked(*part))
                    if not len(each.squares) and not each.answer.done():  # it is done if the client has left meanwhile
                        each.answer.set_result(Asked(*map(np.concatenate, zip(*each.rows, strict=True))))
        finally:
            self._running = None

    def _next(self) -> list[tuple[_Waiting, NDArray[np.uint8]]]:
        """The next batch: the squares of one or more requests whose clients still wait, or some squares of one."""
        batch: list[tuple[_Waiting, NDArray[np.uint8]]] = []
        room = self._largest
        while self._waiting and room:
            first = self._waiting[0]
            if not first.answer.done():
                if batch and len(first.squares) > room:
                    break
                part, first.squares = first.squares[:room], first.squares[room:]
                batch.append((first, part))
                room -= len(part)
                if len(first.squares):
                    self._waiting.append(first)  # behind all others
            self._waiting.popleft()
        return batch
