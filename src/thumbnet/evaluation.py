"""Classifier + Dataset → Answers → Scores, and all else that is measured: of the model file, never the Keras model."""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset
from thumbnet.errors import DataError, DataWarning
from thumbnet.model.classifier import BATCH, Asked, Classifier, Prediction
from thumbnet.prediction import bulk
from thumbnet.progress import progress
from thumbnet.sources.expand import expand

BINS = 15  # of confidence, for the calibration error: as in Guo et al. 2017
Z = 1.959964  # the normal distribution's 97.5 % point, for 95 % intervals
CHANCE = 0.05  # a difference with a smaller p is called more than chance
SECONDS = 0.3  # that each speed is measured for, at the least
SHOWN = 12  # foreign pictures that are kept, the surest ones


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model file says to labelled pictures, computed once.

    Attributes:
        names: The classes.
        labels: int64 `(N,)`, the truth, as places in `names`.
        probabilities: float32 `(N, C)`.
        sureness: float32 `(N,)`.
        threshold: The least sureness of an answer that is known, not unsure; 0 to 1.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    sureness: NDArray[np.float32]
    threshold: float

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
        return self.sureness >= self.threshold


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
    """How well one class is told. A share of nothing, 0 / 0, is None."""

    name: str
    images: int  # that show it
    answers: int  # pictures that were taken for it, rightly or not
    precision: float | None  # of these answers, the share that is right
    recall: float | None  # of these pictures, the share that is found
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
class Speed:
    """Of the network alone on this machine, pictures in memory; medians."""

    pictures_a_second: float  # in batches of `BATCH`
    milliseconds: float  # for one picture alone


@dataclass(frozen=True)
class Foreign:
    """What a model file says to pictures that show none of its classes."""

    images: int
    unreadable: int
    rejected: float  # the share that it is unsure of, 0 to 1
    auroc: float  # how often a test picture gets more sureness than a foreign one; 0.5 is chance, 1 is always
    surest: tuple[Prediction, ...]  # the answers with most sureness, `SHOWN` at most


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


def evaluate(classifier: Classifier, dataset: Dataset) -> Scores:
    """Judge `classifier` on `dataset`. Raises what `answer` raises."""
    return scores(answer(classifier, dataset))


def answer(classifier: Classifier, dataset: Dataset) -> Answers:
    """Ask `classifier` about every picture of `dataset`. Shows a progress bar.

    Raises:
        DataError: The data set's classes or size are not the model's, or it has no pictures.
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
    """
    info = classifier.info
    if dataset.names != info.names:
        raise DataError(f"the model knows {', '.join(info.names)}; the data has {', '.join(dataset.names)}")
    if not len(dataset) or dataset.images.shape[1] != info.size:
        raise DataError(f"expected pictures of {info.size} pixels a side, got an array {dataset.images.shape}")
    rows: list[Asked] = []
    with progress("evaluation", len(dataset), " pictures") as show:
        for start in range(0, len(dataset), BATCH):
            rows.append(classifier.ask(dataset.images[start : start + BATCH]))
            show(start + len(rows[-1].sureness))
    probabilities, sureness = map(np.concatenate, zip(*rows, strict=True))
    return Answers(info.names, dataset.labels, probabilities, sureness, info.threshold)


def scores(answers: Answers) -> Scores:
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
    """What the calibration error would be, had the model file not divided the network's logits by `temperature`."""
    logits = (
        np.log(np.maximum(answers.probabilities, np.finfo(np.float32).tiny)) * temperature
    )  # up to a constant a row
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))  # (N, C)
    return calibration_error((1 / raised.sum(axis=1)).astype(np.float32), answers.right)


def reliability(answers: Answers) -> list[Bin]:
    """What the calibration error is the mean of: the bins that have answers, in order."""
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
    """Accuracy against the share that is answered, when the least sure answers are left out.

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


def foreign(classifier: Classifier, answers: Answers, folder: str | Path) -> Foreign:
    """Ask `classifier` about every picture in `folder`, however deep, and hold that against its `answers`.

    Raises:
        DataError: There is no such folder, or no picture in it can be read.
        ModelError: The network of a stranger's file fails, or gives what cannot be probabilities.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, got {'a file' if Path(folder).exists() else 'none'}")
    rows = list(bulk.predict(classifier, expand([str(folder)]), top_k=1))
    found = [row for row in rows if isinstance(row, Prediction)]
    failures = [row for row in rows if not isinstance(row, Prediction)]
    if not found:
        raise DataError(f"{folder}: no picture can be read: {failures[0].source}: {failures[0].message}")
    if failures:
        told = f"{failures[0].source}: {failures[0].message}"
        warnings.warn(f"{folder}: {len(failures)} of {len(rows)} are left out: {told}", DataWarning, stacklevel=2)
    return Foreign(
        images=len(found),
        unreadable=len(failures),
        rejected=sum(not row.known for row in found) / len(found),
        auroc=auroc(answers.sureness, np.array([row.sureness for row in found], np.float32)),
        surest=tuple(sorted(found, key=lambda row: -row.sureness)[:SHOWN]),
    )


def compare(first: Answers, second: Answers) -> Comparison:
    """Hold two models' answers to the same pictures against each other, pair by pair.

    The interval of the difference is Agresti and Min's (2005), which adds half a picture to each of the four counts.

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
    return float((2 * below + ways) / 2**count)  # of whole numbers, so that nothing is lost


def speed(classifier: Classifier, images: NDArray[np.uint8]) -> Speed:
    """Measure the network on `images`, uint8 `(N, S, S, 3)`."""
    batch = np.resize(images, (BATCH, *images.shape[1:]))  # over again, if they are fewer
    return Speed(BATCH / _median_seconds(classifier, batch), 1000 * _median_seconds(classifier, images[:1]))


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): `right` of `count` → low, high; good near 0 and 1 too."""
    share = right / count
    centre = share + Z * Z / (2 * count)
    half = Z * np.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    low, high = (centre - half) / (1 + Z * Z / count), (centre + half) / (1 + Z * Z / count)
    return max(0.0, float(low)), min(1.0, float(high))  # beyond by a rounding


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _bins(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of each confidence, `(N,)`."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _median_seconds(classifier: Classifier, squares: NDArray[np.uint8]) -> float:
    """Of a run, after one to warm up."""
    times = [time.perf_counter()]
    while len(times) < 5 or times[-1] - times[0] < SECONDS:
        classifier.probabilities(squares)
        times.append(time.perf_counter())
    return median(end - start for start, end in pairwise(times[1:]))
