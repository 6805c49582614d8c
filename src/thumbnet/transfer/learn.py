"""Features and labels → all that a model file adds to its backbone, and out-of-fold answers that say how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.scores import Answers
from thumbnet.model.classifier import Classifier, batch_size
from thumbnet.model.info import ModelInfo
from thumbnet.progress import progress
from thumbnet.transfer import familiarity, folds, head
from thumbnet.transfer.backbone import declared_parts
from thumbnet.transfer.familiarity import Familiarity
from thumbnet.transfer.head import Head

ABSENT = -30.0  # the logit of a class without pictures, beside those of the others, which are around zero


@dataclass(frozen=True, eq=False)
class Learned:
    """A head for N pictures of C classes, and what is known of it."""

    head: Head  # learnt from all pictures
    familiarity: Familiarity  # likewise
    threshold: float  # of the sureness; 95 % of the right out-of-fold answers reach it
    temperature: float  # that the head contains
    probabilities: NDArray[np.float32]  # (N, C), out of fold: by heads that have not learnt from the picture
    sureness: NDArray[np.float32]  # (N,), likewise
    # The share of pictures of a class that was left out of the learning that is unsure, 0 to 1; None if there are too
    # few classes or pictures to leave one out.
    unknown_class: float | None
    chosen: dict[str, Any]  # how the head was made


def learn(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    *,
    parts: Sequence[int] = (),
    seed: int = 0,
    others: NDArray[np.float32] | None = None,
) -> Learned:
    """Learn a head from all pictures, and judge it by cross-validation.

    Args:
        features: `(N, D)`, of a backbone.
        labels: `(N,)`, 0 to C - 1. A class without pictures is never answered.
        classes: C.
        parts: How many features belong together, see `Backbone.parts`.
        seed: Decides the folds.
        others: `(M, D)`, features of pictures that show none of the classes.
    """
    present, own = np.unique(labels, return_inverse=True)  # (P,) classes, (N,) places in them
    split = folds.assign(features, own, seed)  # (N,)
    fitted = head.fit(features, own, len(present), split, parts=parts)
    probabilities = np.exp(fitted.out_of_fold).astype(np.float32)  # (N, P)
    sureness = familiarity.out_of_fold(features, own, len(present), split, probabilities, others)
    weights = np.zeros((features.shape[1], classes), np.float32)
    bias = np.full(classes, ABSENT, np.float32)
    weights[:, present], bias[present] = fitted.head.weights, fitted.head.bias
    of_all = np.zeros((len(labels), classes), np.float32)
    of_all[:, present] = probabilities
    return Learned(
        Head(weights, bias),
        familiarity.fit(features, own, len(present), split, others),
        familiarity.threshold(sureness, probabilities.argmax(axis=1) == own),
        fitted.temperature,
        of_all,
        sureness,
        familiarity.unknown_class(features, own, len(present), split, probabilities),
        {**fitted.chosen, "folds": int(split.max()) + 1},
    )


def seed_of(info: ModelInfo) -> int:
    """The seed that a model file names for its folds; 0 if it names none."""
    seed = info.recipe.get("seed")
    return seed if type(seed) is int and seed >= 0 else 0


def cross_validated(classifier: Classifier, dataset: Dataset) -> Answers:
    """The answers to the pictures that a model file learnt from, each by a head that has not learnt from it.

    Raises:
        ModelError: The file has no features.
    """
    batch = batch_size(classifier.info.size)
    rows: list[NDArray[np.float32]] = []
    with progress("features", len(dataset), " pictures") as show:
        for start in range(0, len(dataset), batch):
            rows.append(classifier.features(dataset.images[start : start + batch]))
            show(start + len(rows[-1]))
    features = np.concatenate(rows)
    learned = learn(
        features, dataset.labels, len(dataset.names),
        parts=declared_parts(classifier.info.backbone.get("parts"), features.shape[1]),
        seed=seed_of(classifier.info),
    )  # fmt: skip
    info = replace(classifier.info, threshold=learned.threshold)  # another one if it learnt from `--other` pictures
    return Answers(info, dataset.labels, learned.probabilities, learned.sureness)
