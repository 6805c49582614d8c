"""evaluation: the scores of cases that can be counted by hand."""

import dataclasses
import math

import numpy as np
import pytest
from models import NAMES, SIZE, content, square

from thumbnet.classifier import Classifier
from thumbnet.datasets import Dataset
from thumbnet.errors import DataError
from thumbnet.evaluation import BINS, Scores, calibration_error, evaluate, wilson


def dataset(colours: list[str], labels: list[str], names: tuple[str, ...] = NAMES, size: int = SIZE) -> Dataset:
    images = np.stack([square(colour, size) for colour in colours])
    return Dataset(images, np.array([NAMES.index(label) for label in labels], np.int64), names)


def scores_of(colours: list[str], labels: list[str], threshold: float = 0.5) -> Scores:
    return evaluate(Classifier(content(threshold=threshold)), dataset(colours, labels))


def test_all_right() -> None:
    scores = scores_of(["red", "green", "blue"], ["red", "green", "blue"])
    sure = 1 / (1 + 2 * math.exp(-10))  # softmax of (10, 0, 0)
    assert (scores.images, scores.accuracy, scores.known, scores.known_accuracy) == (3, 1, 1, 1)
    assert scores.cross_entropy == pytest.approx(-math.log(sure), abs=1e-6)
    assert scores.calibration_error == pytest.approx(1 - sure, abs=1e-6)
    assert scores.accuracy_high == pytest.approx(1)


def test_all_wrong() -> None:
    scores = scores_of(["red", "green"], ["blue", "red"])
    assert (scores.accuracy, scores.known, scores.known_accuracy) == (0, 1, 0)
    assert scores.accuracy_low == pytest.approx(0)
    assert scores.cross_entropy == pytest.approx(10, abs=1e-3)
    assert scores.calibration_error == pytest.approx(1, abs=1e-3)


def test_unsure_answers_are_counted_apart() -> None:
    scores = scores_of(["red", "grey", "grey", "green"], ["red", "blue", "blue", "blue"])
    assert (scores.accuracy, scores.known, scores.known_accuracy) == (0.25, 0.5, 0.5)


def test_no_known_answer_has_no_accuracy() -> None:
    scores = scores_of(["grey"], ["red"], threshold=0.9)
    assert (scores.accuracy, scores.known, scores.known_accuracy) == (1, 0, 0)


def test_scores_are_plain_numbers() -> None:
    scores = scores_of(["red"], ["red"]).as_dict()
    assert list(scores) == [each.name for each in dataclasses.fields(Scores)]
    assert {type(value) for value in scores.values()} == {int, float}


@pytest.mark.parametrize("names", [("red", "green", "yellow"), ("green", "red", "blue"), ("red", "green", "blue", "x")])
def test_other_classes_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="the model knows red, green, blue; the data has"):
        evaluate(Classifier(content()), dataset(["red"], ["red"], names))


def test_other_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"expected pictures of 4 pixels a side, got an array \(1, 5, 5, 3\)"):
        evaluate(Classifier(content()), dataset(["red"], ["red"], size=5))


def test_no_pictures_are_refused() -> None:
    empty = dataset(["red"], ["red"]).take(np.array([], np.int64))
    with pytest.raises(DataError, match=r"got an array \(0, 4, 4, 3\)"):
        evaluate(Classifier(content()), empty)


@pytest.mark.parametrize(
    ("confidence", "right", "error"),
    [
        ([1.0, 1.0], [True, True], 0.0),
        ([1.0, 1.0], [True, False], 0.5),
        ([0.5, 0.5], [True, False], 0.0),
        ([0.9, 0.6], [True, True], 0.25),  # two bins: (0.1 + 0.4) / 2
        ([0.9, 0.9, 0.9, 0.1], [True, True, False, False], (0.7 + 0.1) / 4),
        ([0.0], [False], 0.0),
        ([1.0, 0.95], [False, True], 0.475),  # one bin: 1 is in the last
    ],
)
def test_calibration_error(confidence: list[float], right: list[bool], error: float) -> None:
    found = calibration_error(np.array(confidence, np.float32), np.array(right))
    assert found == pytest.approx(error, abs=1e-6)


def test_gaps_of_one_bin_cancel_and_of_two_do_not() -> None:
    width = 1 / BINS
    inside = np.array([10.2 * width, 10.8 * width], np.float32)
    apart = np.array([10.8 * width, 11.2 * width], np.float32)
    right = np.array([True, False])
    assert calibration_error(inside, right) == pytest.approx(abs(1 - float(inside.sum())) / 2, abs=1e-6)
    assert calibration_error(apart, right) == pytest.approx(float(1 - apart[0] + apart[1]) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_interval(right: int, count: int, low: float, high: float) -> None:
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [1, 7, 1000, 1797, 10_000])
def test_wilson_interval_stays_within_0_and_1(count: int) -> None:
    for right in (0, 1, count):
        low, high = wilson(right, count)
        assert 0 <= low < high <= 1
        assert low - 1e-12 <= right / count <= high + 1e-12
