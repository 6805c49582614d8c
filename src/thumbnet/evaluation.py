"""Classifier + Dataset → Scores. What is judged is the model file that ships, never the Keras model."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from thumbnet.classifier import Classifier
from thumbnet.datasets import Dataset
from thumbnet.errors import DataError

BINS = 15  # of confidence, for the calibration error: as in Guo et al. 2017


@dataclass(frozen=True)
class Scores:
    """How good a model file is on labelled pictures. All but `images` and `cross_entropy` are shares, 0 to 1."""

    images: int
    accuracy: float  # the most probable class is the right one
    accuracy_low: float  # the 95 % interval of the accuracy (Wilson 1927)
    accuracy_high: float
    cross_entropy: float  # nats a picture
    calibration_error: float  # expected: the mean gap between confidence and accuracy, over `BINS` equal bins
    known: float  # answers with at least the threshold's confidence
    known_accuracy: float  # the accuracy among these

    def as_dict(self) -> dict[str, float]:
        """All fields by name, as the model file keeps them."""
        return asdict(self)


def evaluate(classifier: Classifier, dataset: Dataset) -> Scores:
    """Judge `classifier` on `dataset`.

    Raises:
        DataError: The data set's classes or size are not the model's, or it has no pictures.
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
    """
    info = classifier.info
    if dataset.names != info.names:
        raise DataError(f"the model knows {', '.join(info.names)}; the data has {', '.join(dataset.names)}")
    if not len(dataset) or dataset.images.shape[1] != info.size:
        raise DataError(f"expected pictures of {info.size} pixels a side, got an array {dataset.images.shape}")
    probabilities = classifier.probabilities(dataset.images)  # (N, C)
    right = probabilities.argmax(axis=1) == dataset.labels  # (N,)
    confidence = probabilities.max(axis=1)  # (N,)
    known = confidence >= info.threshold  # (N,)
    of_truth = probabilities[np.arange(len(dataset)), dataset.labels]  # (N,)
    low, high = wilson(int(right.sum()), len(right))
    return Scores(
        images=len(dataset),
        accuracy=float(right.mean()),
        accuracy_low=low,
        accuracy_high=high,
        cross_entropy=float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean()),
        calibration_error=calibration_error(confidence, right),
        known=float(known.mean()),
        known_accuracy=float(right[known].mean()) if known.any() else 0.0,
    )


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: `(N,)` confidences and whether each answer was right → 0 to 1.

    The mean over equal bins of |accuracy - mean confidence|, weighted by the answers in each (Guo et al. 2017).
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)  # (N,)
    gaps = np.bincount(bins, right - confidence.astype(float), BINS)  # (BINS,), the gap times the answers of a bin
    return float(np.abs(gaps).sum() / len(confidence))


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): `right` of `count` → low, high; good near 0 and 1 too."""
    z = 1.959964  # the normal distribution's 97.5 % point
    share = right / count
    centre = share + z * z / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = (centre - half) / (1 + z * z / count), (centre + half) / (1 + z * z / count)
    return max(0.0, float(low)), min(1.0, float(high))  # beyond by a rounding
