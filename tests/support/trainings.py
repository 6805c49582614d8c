"""Trainings that take a second: a small recipe, and pictures of two classes that any network learns at once."""

import dataclasses
from typing import Any

import numpy as np

from thumbnet.data.dataset import Dataset
from thumbnet.training.recipes import SEED

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
