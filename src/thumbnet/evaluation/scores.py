"""Compute scores from answers to labelled pictures."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import DataError
from thumbnet.model.info import ModelInfo

BINS = 15  # of confidence, for the calibration error: as in Guo et al. 2017
Z = 1.959964  # the normal distribution's 97.5 % point, for 95 % intervals
CHANCE = 0.05  # a difference with a smaller p is called more than chance


@dataclass(frozen=True, eq=False)
class Answers:
    """A model file's answers to labelled pictures.

    Attributes:
        info: The model file's description of itself.
        labels: int64 `(N,)`, the truth, as places in its names.
        probabilities: float32 `(N, C)`.
        sureness: float32 `(N,)`.
    """

    info: ModelInfo
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    sureness: NDArray[np.float32]

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.info.names

    @cached_property
    def guesses(self) -> NDArray[np.int64]:
        """The most probable classes, `(N,)`."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """Their probabilities, `(N,)`."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether they are the truth, `(N,)`."""
        return np.asarray(self.guesses == self.labels)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether they are sure enough, `(N,)`."""
        return self.info.knows(self.sureness)


@dataclass(frozen=True)
class Scores:
    """How good a model file is on labelled pictures. All but `images` and `cross_entropy` are shares, 0 to 1."""

    images: int
    accuracy: float  # the most probable class is the right one
    accuracy_low: float  # the 95 % interval of the accuracy (Wilson 1927)
    accuracy_high: float
    cross_entropy: float  # nats a picture
    calibration_error: float  # expected: the mean gap between confidence and accuracy, over `BINS` equal bins
    known: float  # answers with at least the threshold's sureness
    known_accuracy: float  # the accuracy among these

    def as_dict(self) -> dict[str, float]:
        """All fields by name, as the model file keeps them."""
        return asdict(self)


@dataclass(frozen=True)
class ClassScores:
    """How well one class is recognised. A share of nothing, 0 / 0, is None."""

    name: str
    images: int  # that show it
    answers: int  # pictures that were taken for it, rightly or not
    precision: float | None  # the share of these answers that is right
    recall: float | None  # the share of these pictures that is found
    f1: float | None  # the harmonic mean of the two; 0 where one of them is 0 and the other 0 / 0


@dataclass(frozen=True)
class Bin:
    """The answers with a confidence from `low` to `high`; there is at least one."""

    low: float
    high: float
    images: int
    confidence: float  # the mean
    accuracy: float


@dataclass(frozen=True)
class Comparison:
    """Two model files on the same pictures. The difference is the second's accuracy less the first's."""

    both: int  # pictures that both get right
    first: int  # that only the first gets right
    second: int
    neither: int
    p: float  # how probable so uneven a split of the pictures between `first` and `second` is by chance
    difference: float
    difference_low: float  # its 95 % interval
    difference_high: float


def score(answers: Answers) -> Scores:
    """The figures that a model file keeps."""
    right, known = answers.right, answers.known
    of_truth = answers.probabilities[np.arange(len(right)), answers.labels]  # (N,)
    low, high = wilson(int(right.sum()), len(right))
    return Scores(
        images=len(right),
        accuracy=float(right.mean()),
        accuracy_low=low,
        accuracy_high=high,
        cross_entropy=float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean()),
        calibration_error=calibration_error(answers.confidence, right),
        known=float(known.mean()),
        known_accuracy=float(right[known].mean()) if known.any() else 0.0,
    )


def confusion(answers: Answers) -> NDArray[np.int64]:
    """How often each class (the row) was taken for each (the column): int64 `(C, C)`."""
    classes = len(answers.names)
    return np.bincount(answers.labels * classes + answers.guesses, minlength=classes**2).reshape(classes, classes)


def per_class(matrix: NDArray[np.int64], names: Sequence[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each class, from the `(C, C)` that `confusion` gives."""
    columns = matrix.diagonal().tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    return [
        ClassScores(
            name, images, answers, precision=_share(hits, answers), recall=_share(hits, images),
            f1=_share(2 * hits, images + answers),
        )
        for name, hits, images, answers in zip(names, *columns, strict=True)
    ]  # fmt: skip


def macro_f1(classes: Sequence[ClassScores]) -> float:
    """The mean F1 of the classes that are in the data or among the answers, as scikit-learn has it."""
    found = [each.f1 for each in classes if each.f1 is not None]
    return sum(found) / len(found)


def confused(matrix: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """The pairs (truth, answer) that are confused most often, `most` at most, from `confusion`'s `(C, C)`."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    return [(int(place) // len(matrix), int(place) % len(matrix)) for place in order if wrong.flat[place]]


def calibration_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: `(N,)` confidences and whether each answer was right → 0 to 1.

    The mean over equal bins of |accuracy - mean confidence|, weighted by the answers in each (Guo et al. 2017).
    """
    gaps = np.bincount(_bins(confidence), right - confidence.astype(float), BINS)  # (BINS,), times the bin's answers
    return float(np.abs(gaps).sum() / len(confidence))


def uncalibrated_error(answers: Answers, temperature: float) -> float:
    """The calibration error if the model file did not divide the network's logits by `temperature`."""
    least = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(answers.probabilities, least)) * temperature  # (N, C), up to a constant a row
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))  # (N, C)
    return calibration_error((1 / raised.sum(axis=1)).astype(np.float32), answers.right)


def reliability(answers: Answers) -> list[Bin]:
    """The bins that have answers, in order. The calibration error is the mean of their gaps."""
    bins = _bins(answers.confidence)
    counts = np.bincount(bins, minlength=BINS)
    confidence = np.bincount(bins, answers.confidence.astype(float), BINS)
    right = np.bincount(bins, answers.right, BINS)
    return [
        Bin(place / BINS, (place + 1) / BINS, int(count), float(confidence[place] / count), float(right[place] / count))
        for place, count in enumerate(counts)
        if count
    ]


def coverage(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy against the share that is answered, if the least sure answers are left out.

    Returns:
        Shares, rising to 1, and the accuracy among the answers that are left, `(K,)` each: one for each sureness that
        occurs, as answers of the same one stay or go together (Geifman and El-Yaniv 2017).
    """
    order = np.argsort(-answers.sureness, kind="stable")
    falling = answers.sureness[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # (K,), the last one of each sureness
    return (last + 1) / len(falling), np.cumsum(answers.right[order])[last] / (last + 1)


def auroc(inside: NDArray[Any], outside: NDArray[Any]) -> float:
    """How often a number of `inside` is above one of `outside`, ties counted half: `(N,)`, `(M,)` → 0 to 1.

    The area under the curve of true over false positives, from ranks (Mann and Whitney 1947).
    """
    _, places, counts = np.unique(np.concatenate([inside, outside]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # (N + M,), from 1, the mean one of equal numbers
    above = ranks[: len(inside)].sum() - len(inside) * (len(inside) + 1) / 2
    return float(above / (len(inside) * len(outside)))


def compare(first: Answers, second: Answers) -> Comparison:
    """Compare two models' answers to the same pictures, pair by pair.

    The interval of the difference follows Agresti and Min (2005), who add half a picture to each of the four counts.

    Raises:
        DataError: These are not the same pictures with the same classes.
    """
    if first.names != second.names or not np.array_equal(first.labels, second.labels):
        raise DataError("two models can be compared only on the same pictures and classes")
    one, other = first.right, second.right  # (N,) each
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    total, split, gap = len(one) + 2, only_first + only_second + 1, only_second - only_first
    half = Z * math.sqrt(split - gap**2 / total) / total
    return Comparison(
        both=int((one & other).sum()),
        first=only_first,
        second=only_second,
        neither=int((~one & ~other).sum()),
        p=mcnemar(only_first, only_second),
        difference=gap / len(one),
        difference_low=max(-1.0, gap / total - half),
        difference_high=min(1.0, gap / total + half),
    )


def mcnemar(first: int, second: int) -> float:
    """McNemar's test, with the mid-p value (Fagerland, Lydersen and Laake 2013): 0 to 1.

    Args:
        first: Pictures that only the first model gets right.
        second: Pictures that only the second one gets right.

    Returns:
        How probable a split as uneven as this one, or more so, is if both models are equally good. The splits that are
        just as uneven count half.
    """
    count, fewer = first + second, min(first, second)
    ways, below = 1, 0  # to choose `fewer` of `count`, and fewer than that
    for chosen in range(fewer):
        below += ways
        ways = ways * (count - chosen) // (chosen + 1)
    return float((2 * below + ways) / 2**count)  # whole numbers until here, so that nothing is lost


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): `right` of `count` → low, high; good near 0 and 1 too."""
    share = right / count
    centre = share + Z * Z / (2 * count)
    half = Z * np.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    low, high = (centre - half) / (1 + Z * Z / count), (centre + half) / (1 + Z * Z / count)
    return max(0.0, float(low)), min(1.0, float(high))  # rounding may go beyond


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _bins(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each confidence, `(N,)`."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
