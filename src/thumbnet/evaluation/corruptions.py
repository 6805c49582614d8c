"""Spoil pictures in six ways, each at five strengths, and measure the accuracy that is left.

The ways, their settings and the details that matter (borders, kernels, rounding down) are those of CIFAR-10-C for small
pictures, and of ImageNet-C for large ones (Hendrycks and Dietterich 2019, https://github.com/hendrycks/robustness).
These were made for 32 and for 224 pixels a side. A blur counts in pixels, so other sizes are blurred more or less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.model.classifier import Classifier
from thumbnet.progress import progress

STRENGTHS = 5
LARGE = 128  # pixels a side from which pictures are spoilt as in ImageNet-C
# The most pictures of 32 pixels a side for each way and strength: 30 runs of a whole set would take long. Of larger
# ones, there are as many fewer as their sides are longer: 222 of 288 pixels, which take about a minute.
PICTURES = 2000
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
    spoil, small, large = WAYS[way]
    settings = small if len(picture) < LARGE else large
    spoilt = spoil(picture.astype(np.float64), settings[strength - 1], rng)
    return np.clip(spoilt, 0, 255).astype(np.uint8)  # rounded down, as CIFAR-10-C is


def benchmark(size: int) -> str:
    """The benchmark whose strengths are those of pictures of `size` pixels a side."""
    return "CIFAR-10-C" if size < LARGE else "ImageNet-C"


def robustness(classifier: Classifier, dataset: Dataset) -> Robustness:
    """Ask `classifier` about pictures of `dataset`, as they are and spoilt. Shows a progress bar.

    Raises:
        ModelError: The network of a file from elsewhere fails, or its answers are no probabilities.
    """
    rng = np.random.default_rng(SEED)
    most = PICTURES * 32 // max(32, dataset.images.shape[1])
    chosen = dataset.take(np.sort(rng.permutation(len(dataset))[:most]))
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
    """Blur by a disk of a radius in pixels, whose edge is softened by a Gaussian of 3 by 3 pixels, or of 5 by 5."""
    radius, softness = setting
    reach, width = (3, 3) if radius < 3 else (8, 3) if radius <= 8 else (int(radius), 5)
    x, y = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.float64)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (width, width), softness)
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


class Way(NamedTuple):
    """A way to spoil a picture."""

    spoil: Callable[[Levels, Any, np.random.Generator], Levels]
    small: tuple[Any, ...]  # the settings for small pictures, from weak to strong
    large: tuple[Any, ...]  # and for those of `LARGE` pixels or more


WAYS = {
    "Gaussian noise": Way(_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),  # deviation, of 1
    "Gaussian blur": Way(_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1), (1, 2, 3, 4, 6)),  # sigma in pixels
    "defocus blur": Way(
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "JPEG": Way(_jpeg, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),  # quality
    "brightness": Way(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),  # what is added, of 1
    "contrast": Way(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),  # what is left
}
