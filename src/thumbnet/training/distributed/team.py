"""Those that train together: here, only this process."""

import contextlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

Step: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.float32]], tuple[float, float]]  # loss and accuracy


class Team:
    """Only this process, on one device; also the interface of every team."""

    chief = True  # the one that writes files and prints

    def say(self, message: str) -> None:
        """Print a line for the person who waits; only the chief does."""
        if self.chief:
            print(message, file=sys.stderr)

    def check(self, settings: dict[str, Any]) -> None:
        """Reject workers whose settings differ."""

    def scope(self) -> AbstractContextManager[Any]:
        """The context in which the shared network is built."""
        return contextlib.nullcontext()

    def step(self, model: keras.Model) -> Step:
        """A function that trains the compiled model on a batch, of which each device takes its part."""

        def alone(images: NDArray[np.uint8], targets: NDArray[np.float32]) -> tuple[float, float]:
            model.reset_metrics()  # Keras up to 3.12 returns the mean since the last reset
            loss, accuracy = model.train_on_batch(images, targets)
            return loss, accuracy

        return alone

    def clock(self, elapsed: Callable[[], float]) -> Callable[[], float]:
        """The chief's seconds instead of this process's, so that all end at the same step."""
        return elapsed

    def interruptible(self) -> AbstractContextManager[Any]:
        """A context in which Ctrl-C in one process is a KeyboardInterrupt in the next step of all."""
        return contextlib.nullcontext()

    def chiefs(self, value: float) -> float:
        """The chief's value, for all. Wait until all have come here."""
        return value

    def read(self, path: Path) -> bytes:
        """A file on the chief's disk, for all.

        Raises:
            FileNotFoundError: The chief has none.
        """
        return path.read_bytes()
