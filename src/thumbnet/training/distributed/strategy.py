"""A training that several devices share, in one machine or in many. All knowledge of TensorFlow's strategies is here.

Keras's own `fit` and `train_on_batch` fail with `MultiWorkerMirroredStrategy` when they reduce the metrics (Keras issue
20585). So we run a step of our own within `strategy.run`.
"""

import contextlib
import itertools
import json
import re
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thumbnet.errors import TrainingError
from thumbnet.training.distributed.team import Step, Team

LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError,
        tf.errors.InternalError, tf.errors.FailedPreconditionError)  # fmt: skip
TASK = re.compile(r"/job:(\w+)(?:/replica:0)?/task:(\d+)")


class Strategy(Team):
    """Several devices: each has all variables, and gradients are summed over all devices."""

    def __init__(self, strategy: tf.distribute.Strategy, names: list[str] | None = None, own: int = 0) -> None:
        """`names` are the processes' names, the chief's first, and `own` is this process's place among them."""
        self._strategy = strategy
        self._names = names or ["this process"]
        self._own = own
        self.chief = own == 0
        self._elapsed: Callable[[], float] = lambda: 0.0  # by this process's clock
        self._seconds = 0.0  # by the chief's, at the last step
        self._interrupted = False

    def check(self, settings: dict[str, Any]) -> None:
        """Reject workers whose settings differ.

        Raises:
            TrainingError: They do.
        """
        sums = [zlib.crc32(json.dumps(value, sort_keys=True).encode()) for value in settings.values()]
        table = np.zeros((len(self._names), len(sums)))
        table[self._own] = sums
        table = self._sum(table)  # (workers, settings)
        differing = [name for name, column in zip(settings, table.T, strict=True) if np.ptp(column)]
        if differing:
            raise TrainingError(
                f"the workers do not agree on: {', '.join(differing)}. Start all by the same command on the same data"
            )

    def scope(self) -> AbstractContextManager[Any]:
        """The context in which the shared network is built."""
        scope: AbstractContextManager[Any] = self._strategy.scope()
        return scope

    def step(self, model: keras.Model) -> Step:
        """A function that trains the compiled model on a batch, of which each device takes its part."""
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True  # means and variances of the whole batch, as on one device

        @tf.function  # type: ignore[untyped-decorator]
        def train(images: Any, targets: Any, notes: Any, batch_size: Any) -> Any:
            def on_one(images: Any, targets: Any, notes: Any) -> Any:
                with tf.GradientTape() as tape:
                    answers = model(images, training=True)  # (n, C)
                    # A sum divided by the whole batch, because the parts may differ by a picture.
                    loss = tf.reduce_sum(model.loss.call(targets, answers)) / batch_size
                gradients = tape.gradient(loss, model.trainable_variables)
                model.optimizer.apply(gradients, model.trainable_variables)  # sums them over all devices
                right = tf.reduce_sum(tf.cast(tf.argmax(answers, 1) == tf.argmax(targets, 1), tf.float32)) / batch_size
                return tf.concat([tf.cast([loss, right], tf.float64), notes], 0)  # (4,)

            return self._strategy.reduce("SUM", self._strategy.run(on_one, (images, targets, notes)), axis=None)

        def together(images: NDArray[np.uint8], targets: NDArray[np.float32]) -> tuple[float, float]:
            if len(images) < self._strategy.num_replicas_in_sync:
                raise TrainingError(
                    f"a batch has {len(images)} pictures, and there are {self._strategy.num_replicas_in_sync} devices. "
                    "Train on fewer of them"
                )
            notes = np.array([self._interrupted, self._elapsed() if self.chief else 0], np.float64)
            with self._watched():
                results = train(
                    self._parts(images), self._parts(targets), self._once(notes), tf.constant(len(images), tf.float32)
                )
                loss, right, interrupted, self._seconds = results.numpy().tolist()
            if interrupted:
                raise KeyboardInterrupt
            return loss, right

        return together

    def clock(self, elapsed: Callable[[], float]) -> Callable[[], float]:
        """The chief's seconds instead of this process's, so that all end at the same step."""
        self._elapsed, self._seconds = elapsed, elapsed()
        self._seconds = self.chiefs(self._seconds)
        return lambda: self._seconds

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A context in which Ctrl-C in one process is a KeyboardInterrupt in the next step of all."""
        self._interrupted = False
        usual = signal.getsignal(signal.SIGINT)

        def note(*_: Any) -> None:
            self._interrupted = True
            signal.signal(signal.SIGINT, usual)  # a second Ctrl-C is for this process, at once

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    def chiefs(self, value: float) -> float:
        """The chief's value, for all. Wait until all have come here."""
        values = np.array([value, self._elapsed()])
        value, self._seconds = self._sum(values if self.chief else 0 * values).tolist()
        return value

    def read(self, path: Path) -> bytes:
        """A file on the chief's disk, for all.

        Raises:
            FileNotFoundError: The chief has none.
        """
        content = path.read_bytes() if self.chief and path.exists() else b""
        size = int(self.chiefs(len(content)))
        if not size:
            raise FileNotFoundError(path)
        padded = np.frombuffer(content.ljust(-(-size // 4) * 4, b"\0"), np.int32)
        return self._sum(padded).tobytes()[:size]

    def _sum(self, ours: NDArray[Any]) -> NDArray[Any]:
        """The sum of all processes' arrays of the same shape, for all of them."""
        with self._watched():
            total = self._strategy.reduce("SUM", self._once(ours), axis=None)
            return np.asarray(total.numpy())

    def _once(self, ours: NDArray[Any]) -> Any:
        """A value for each device of this process. Only the first counts in a sum."""
        values = itertools.chain([ours], itertools.repeat(np.zeros_like(ours)))
        return self._strategy.experimental_distribute_values_from_function(lambda _: tf.constant(next(values)))

    def _parts(self, batch: NDArray[Any]) -> Any:
        """The part of the batch for each device of this process."""
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                np.array_split(batch, context.num_replicas_in_sync)[context.replica_id_in_sync_group]
            )
        )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Turn TensorFlow's report that a worker is gone, which takes some 15 seconds, into an error of ours."""
        try:
            yield
        except LOST as error:
            report = error.message.partition("unhealthy")[2] or error.message
            named = {f"{job} {index}" for job, index in TASK.findall(report)} - {self._names[self._own]}
            lost = ", ".join(name for name in self._names if name in named) or "another worker"
            raise TrainingError(
                f"{lost} is gone: see what it said. Start all again, with --resume to go on from the last epoch's end"
            ) from error
