"""Trainings that take a second, and a stand-in that takes none: a network of 300 numbers with made-up steps.

    stand_in(monkeypatch)                               # from now on, the network `tiny` exists, and judging is quick
    fit(TINY, TRAIN, None, Settings(), …, team=Steps())

A step of `Steps` moves all weights by what its batch shows, through the recipe's own optimizer. So whatever decides the
order of pictures, their augmentation, the learning rates and the averages decides the weights, as in a real training.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.training import networks
from thumbnet.training.distributed.team import Step, Team
from thumbnet.training.recipes import SEED, Recipe

SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 16, "averaging": 0.8}
RECIPE = dataclasses.replace(SEED, **SMALL)


def stripes(count: int, seed: int, size: int = 18) -> Dataset:
    """Noise in which the middle is brighter across or down: two classes that a small network learns at once."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 128, (count, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, count)
    images[labels == 0, 7:11] += 127
    images[labels == 1, :, 7:11] += 127
    return Dataset(images, labels, ("across", "down"))


TRAIN, VALIDATION = stripes(96, 0), stripes(40, 1)


def tiny(size: int | None, classes: int, precision: str = "float32") -> keras.Model:
    """A network with a convolution to whiten and a pooling whose input is a feature, for pictures of any size."""
    return keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8", name="images"),
            keras.layers.Rescaling(1 / 255, dtype="float32"),
            keras.layers.Conv2D(8, 3, dtype=precision),
            keras.layers.MaxPooling2D(2, dtype=precision),
            keras.layers.GlobalAveragePooling2D(dtype=precision),
            keras.layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="tiny",
    )


def of_tiny(recipe: Recipe) -> Recipe:
    """The same recipe for the network `tiny`."""
    return dataclasses.replace(recipe, **SMALL, network="tiny")


TINY = of_tiny(SEED)


def know_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tiny` a network that recipes may name."""
    monkeypatch.setitem(networks.TRAINED, "tiny", tiny)
    monkeypatch.setitem(networks.SHIPPED, "tiny", tiny)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `tiny` a network that recipes may name, and judge each epoch as half right, without looking."""
    know_tiny(monkeypatch)
    monkeypatch.setattr("thumbnet.training.loop.judge", lambda *_: (1.0, 0.5))


class Steps(Team):
    """This process alone, with made-up steps, which are noted."""

    def __init__(self, before: Callable[[int], None] = lambda _: None) -> None:
        """`before` is called with each step's number, and may end the training."""
        self.shapes: list[tuple[int, ...]] = []  # of the pictures of each step
        self.rates: list[float] = []
        self.models: list[keras.Model] = []
        self._before = before

    def step(self, model: keras.Model) -> Step:
        """What stands for a step."""
        self.models.append(model)

        def alone(images: NDArray[np.uint8], targets: NDArray[np.float32]) -> tuple[float, float]:
            self._before(len(self.shapes))
            self.shapes.append(images.shape)
            self.rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
            # Unlike for each batch, and for each order of the same pictures in it.
            move = float((images.mean(axis=(1, 2, 3)) * np.arange(1, len(images) + 1)).mean() / 1000) + targets[0, 0]
            variables = model.trainable_variables
            model.optimizer.apply([keras.ops.full(variable.shape, move) for variable in variables], variables)
            return 1 + float(move), 0.5

        return alone


# A program that is a command of ours, to which a signal comes in one of its training steps.
# Arguments: the step, from 1; the signal; the command.
BROKEN_OFF = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has Ctrl-C switched off
import keras
from thumbnet import cli
left = int(sys.argv[1])
original = keras.Model.train_on_batch
def counting(*arguments, **options):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), int(sys.argv[2]))
    return original(*arguments, **options)
keras.Model.train_on_batch = counting
sys.exit(cli.main(sys.argv[3:]))
"""
