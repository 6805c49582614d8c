"""Probabilities for pictures by networks that were not trained on them, to find wrong labels."""

import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

from thumbnet.data.dataset import Dataset
from thumbnet.errors import DataError
from thumbnet.training import calibrate
from thumbnet.training.loop import fit
from thumbnet.training.recipes import SEED
from thumbnet.training.settings import Settings

FOLDS = 4  # each picture is judged by a network that was trained on the others' three quarters
EPOCHS = 10  # of each of these trainings


def out_of_fold(dataset: Dataset, seed: int) -> NDArray[np.float64]:
    """The probability of each class for each picture, `(N, C)`, by a network that was not trained on that picture.

    Args:
        dataset: N pictures of C classes.
        seed: Decides the folds and the trainings.

    Raises:
        DataError: A class has fewer than `FOLDS` pictures.
        KeyboardInterrupt: Ctrl-C in any of the trainings.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.names))  # (C,)
    if counts.min() < FOLDS:
        few = dataset.names[int(counts.argmin())]
        raise DataError(
            f"to judge labels, expected {FOLDS} pictures of each class at least, got {counts.min()} of {few}"
        )
    recipe = dataclasses.replace(SEED, epochs=EPOCHS)
    probabilities = np.empty((len(dataset), len(dataset.names)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(dataset.labels, dataset.labels)
    for number, (rest, judged) in enumerate(folds, 1):
        print(f"training {number} of {FOLDS}, to judge {len(judged):,} labels", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "checkpoint"
            fitted = fit(recipe, dataset.take(rest), None, Settings(seed), checkpoint_path=path)
        if fitted.interrupted:
            raise KeyboardInterrupt
        logs = calibrate.log_probabilities(fitted.network, dataset.take(judged), mirror=dataset.mirrored)  # (n, C)
        probabilities[judged] = softmax(logs, axis=1)
    return probabilities
