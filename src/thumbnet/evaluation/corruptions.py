"""Spoil pictures in six ways, each at five strengths, and measure the accuracy that is left.

The ways, their settings and the details that matter (borders, kernels, rounding down) are those of CIFAR-10-C
(Hendrycks and Dietterich 2019, https://github.com/hendrycks/robustness), so they suit small pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.model.classifier import Classifier
from thumbnet.progress import progress

STRENGTHS = 5
PICTURES = 2000  # at most, for each way and strength: 30 runs of a whole set would take long
SEED = 0  # decides which pictures these are, and the noise

Levels: TypeAlias = NDArray[np.float64]  # (S, S, 3), 0 to 255, or beyond until they are cut off


@dataclass(frozen=True)
class Robustness:
    """The accuracy on spoilt pictures, 0 to 1."""

    images: int  # pictures, each asked about `len(accuracy) * STRENGTHS` times
    unspoilt: float  # the accuracy on these pictures as they are
    accuracy: dict[str, tuple[float, ...]]  # for each way, from weak to strong

    @property
    def mean(self) -> float:
        """Over all ways and strengths."""
        return float(np.mean(list(self.accuracy.values())))


def corrupt(picture: NDArray[np.uint8], way: str, strength: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Spoil `picture`, uint8 `(S, S, 3)` RGB.

    Args:
        picture: It is not changed.
        way: One of `WAYS`.
        strength: 1 to `STRENGTHS`.
        rng: Makes the noise.
    """
    spoil, settings = WAYS[way]
    spoilt = spoil(picture.astype(np.float64), settings[strength - 1], rng)
    return np.clip(spoilt, 0, 255).astype(np.uint8)  # rounded down, as CIFAR-10-C is


def robustness(classifier: Classifier, dataset: Dataset) -> Robustness:
    """Ask `classifier` about pictures of `dataset`, as they are and spoilt. Shows a progress bar.

    Raises:
        ModelError: The network of a file from elsewhere fails, or its answers are no probabilities.
    """
    rng = np.random.default_rng(SEED)
    chosen = dataset.take(np.sort(rng.permutation(len(dataset))[:PICTURES]))
    accuracy: dict[str, tuple[float, ...]] = {}
    with progress("robustness", len(WAYS) * STRENGTHS * len(chosen), " pictures") as show:
        for way in WAYS:
            found: list[float] = []
            for strength in range(1, STRENGTHS + 1):
                spoilt = np.stack([corrupt(picture, way, strength, rng) for picture in chosen.images])  # (N, S, S, 3)
                found.append(_accuracy(classifier, spoilt, chosen.labels))
                show((len(accuracy) * STRENGTHS + strength) * len(chosen))
            accuracy[way] = tuple(found)
    return Robustness(len(chosen), _accuracy(classifier, chosen.images, chosen.labels), accuracy)


def _accuracy(classifier: Classifier, squares: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    return float((classifier.probabilities(squares).argmax(axis=1) == labels).mean())


def _noise(levels: Levels, deviation: float, rng: np.random.Generator) -> Levels:
    return levels + rng.normal(scale=255 * deviation, size=levels.shape)


def _gaussian_blur(levels: Levels, sigma: float, _: np.random.Generator) -> Levels:
    width = 2 * int(4 * sigma + 0.5) + 1  # pixels: scikit-image's kernel ends at four sigma
    return np.asarray(cv2.GaussianBlur(levels, (width, width), sigma, borderType=cv2.BORDER_REPLICATE))


def _defocus_blur(levels: Levels, setting: tuple[float, float], _: np.random.Generator) -> Levels:
    """Blur by a disk of a radius in pixels, whose edge is softened by a Gaussian of 3 by 3 pixels."""
    radius, softness = setting
    x, y = np.mgrid[-3:4, -3:4]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), softness)
    return np.asarray(cv2.filter2D(levels, -1, kernel))


def _jpeg(levels: Levels, quality: int, _: np.random.Generator) -> Levels:
    bgr = levels[..., ::-1].astype(np.uint8)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float64)[..., ::-1]


def _brightness(levels: Levels, more: float, _: np.random.Generator) -> Levels:
    """Raise the value in the sense of HSV: a pixel keeps the ratios of its colours, and black turns grey."""
    value = levels.max(axis=2, keepdims=True)  # (S, S, 1)
    raised = np.minimum(value + 255 * more, 255)
    return np.asarray(np.where(value > 0, levels * (raised / np.maximum(value, 1)), raised))


def _contrast(levels: Levels, factor: float, _: np.random.Generator) -> Levels:
    means = levels.mean(axis=(0, 1), keepdims=True)  # (1, 1, 3)
    return np.asarray((levels - means) * factor + means)


WAYS: dict[str, tuple[Callable[[Levels, Any, np.random.Generator], Levels], tuple[Any, ...]]] = {
    "Gaussian noise": (_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),  # standard deviation, of 1
    "Gaussian blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),  # sigma in pixels
    "defocus blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "JPEG": (_jpeg, (80, 65, 58, 50, 40)),  # quality
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),  # what is added, of 1
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),  # what is left
}
