"""evaluation: the scores of cases that can be counted by hand."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from support import models
from support.models import NAMES, SIZE, content, png, square

from thumbnet.data.dataset import Dataset
from thumbnet.errors import DataError, DataWarning
from thumbnet.evaluation.judge import answer, ask_foreign, evaluate, list_foreign, measure_speed
from thumbnet.evaluation.scores import (
    BINS,
    Answers,
    ClassScores,
    Scores,
    auroc,
    calibration_error,
    compare,
    confused,
    confusion,
    coverage,
    macro_f1,
    mcnemar,
    per_class,
    reliability,
    score,
    uncalibrated_error,
    wilson,
)
from thumbnet.model.classifier import BATCH, Classifier


def dataset(colours: list[str], labels: list[str], names: tuple[str, ...] = NAMES, size: int = SIZE) -> Dataset:
    images = np.stack([square(colour, size) for colour in colours])
    return Dataset(images, np.array([NAMES.index(label) for label in labels], np.int64), names)


def scores_of(colours: list[str], labels: list[str], threshold: float = 0.5) -> Scores:
    return evaluate(Classifier(content(threshold=threshold)), dataset(colours, labels))


def answers_of(
    labels: list[int], guesses: list[int], confidence: list[float] | None = None, classes: int = 3
) -> Answers:
    """Answers of these confidences; the rest of the probability is spread over the other classes."""
    sure = np.array(confidence or [0.9] * len(labels))[:, np.newaxis]
    hit = np.eye(classes, dtype=bool)[guesses]  # (N, C)
    probabilities = np.where(hit, sure, (1 - sure) / (classes - 1)).astype(np.float32)
    return Answers(
        models.info(names=tuple("abcdefgh"[:classes])), np.array(labels), probabilities, probabilities.max(axis=1)
    )


def random_answers(count: int, classes: int, seed: int) -> Answers:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.7), count).astype(np.float32)
    labels = rng.integers(0, classes, count)
    return Answers(models.info(names=tuple("abcdefgh"[:classes])), labels, probabilities, probabilities.max(axis=1))


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


# What more there is in the answers


def test_rows_of_the_confusion_are_truths() -> None:
    assert confusion(answers_of([0, 0, 0, 1, 2], [0, 1, 1, 1, 0])).tolist() == [
        [1, 2, 0],
        [0, 1, 0],
        [1, 0, 0],
    ]


def test_each_class_is_counted_by_hand() -> None:
    found = per_class(np.array([[6, 2], [1, 1]]), ("a", "b"))
    assert found == [ClassScores("a", 8, 7, 6 / 7, 6 / 8, 12 / 15), ClassScores("b", 2, 3, 1 / 3, 1 / 2, 2 / 5)]
    assert macro_f1(found) == pytest.approx((12 / 15 + 2 / 5) / 2)


def test_shares_of_nothing_are_none() -> None:
    never_answered, absent, neither = per_class(np.array([[0, 3, 0], [0, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert (never_answered.precision, never_answered.recall, never_answered.f1) == (None, 0, 0)
    assert (absent.precision, absent.recall, absent.f1) == (0, None, 0)
    assert (neither.precision, neither.recall, neither.f1) == (None, None, None)
    assert macro_f1([never_answered, absent, neither]) == 0


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_scikit_learns(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    answers = random_answers(12, 8, seed)  # so few that classes are absent
    classes = per_class(confusion(answers), answers.names)
    theirs = metrics.f1_score(answers.labels, answers.guesses, average="macro")
    assert macro_f1(classes) == pytest.approx(theirs)


def test_pairs_that_are_confused_most_come_first() -> None:
    matrix = np.array([[90, 0, 3], [7, 0, 5], [5, 0, 99]])
    assert confused(matrix, 3) == [(1, 0), (1, 2), (2, 0)]
    assert confused(matrix, 9) == [(1, 0), (1, 2), (2, 0), (0, 2)]
    assert confused(np.diag([1, 2]), 9) == []


def test_reliability_bins_add_up_to_the_calibration_error() -> None:
    answers = random_answers(200, 4, 1)
    bins = reliability(answers)
    assert sum(each.images for each in bins) == 200
    assert all(each.low <= each.confidence <= each.high for each in bins)
    error = sum(each.images * abs(each.accuracy - each.confidence) for each in bins) / 200
    assert score(answers).calibration_error == pytest.approx(error)


def test_reliability_bins_lie_side_by_side() -> None:
    answers = answers_of([0, 0, 0, 0], [0, 0, 1, 0], [0.5, 0.59, 0.62, 1.0])
    assert [(each.low, each.high, each.images) for each in reliability(answers)] == [
        (7 / 15, 8 / 15, 1),
        (8 / 15, 9 / 15, 1),
        (9 / 15, 10 / 15, 1),
        (14 / 15, 1, 1),
    ]


def test_before_calibration_logits_were_as_much_larger() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (500, 4))
    before, after = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, logits / 2.5))
    names, labels = ("a", "b", "c", "d"), rng.integers(0, 4, 500)
    answers = Answers(models.info(names=names), labels, after.astype(np.float32), after.max(axis=1).astype(np.float32))
    expected = calibration_error(before.max(axis=1).astype(np.float32), answers.right)
    assert uncalibrated_error(answers, 2.5) == pytest.approx(expected, abs=1e-4)
    assert uncalibrated_error(answers, 1) == pytest.approx(score(answers).calibration_error)


def test_the_least_confident_answers_are_left_out_first() -> None:
    answers = answers_of([0, 0, 0, 0], [0, 1, 0, 1], [0.9, 0.5, 0.8, 0.6])
    shares, accuracies = coverage(answers)
    assert shares.tolist() == [0.25, 0.5, 0.75, 1]
    assert accuracies.tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_answers_of_one_confidence_stay_together() -> None:
    shares, accuracies = coverage(answers_of([0, 0, 0], [0, 1, 1], [0.9, 0.6, 0.6]))
    assert (shares.tolist(), accuracies.tolist()) == (pytest.approx([1 / 3, 1]), pytest.approx([1, 1 / 3]))


@pytest.mark.parametrize(
    ("inside", "outside", "area"),
    [
        ([3, 2], [1, 0], 1.0),
        ([1, 0], [3, 2], 0.0),
        ([1, 1, 1], [1, 1], 0.5),
        ([2, 1], [1], 0.75),  # one above, one tie
        ([5, 3, 1], [4, 2], 0.5),
    ],
)
def test_auroc(inside: list[int], outside: list[int], area: float) -> None:
    assert auroc(np.array(inside), np.array(outside)) == pytest.approx(area)


def test_auroc_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    inside, outside = rng.integers(3, 12, 70), rng.integers(0, 10, 40)  # with ties
    theirs = metrics.roc_auc_score([1] * 70 + [0] * 40, np.concatenate([inside, outside]))
    assert auroc(inside, outside) == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (
            1,
            7,
            0.0391,
        ),  # Fagerland et al. 2013, airway hyper-responsiveness (Bentur et al. 2009): exact 0.070, mid-p 0.039
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 0.5),
        (0, 5, 1 / 32),
        (5, 0, 1 / 32),
    ],
)
def test_mcnemar(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p, abs=1e-4)


def test_mcnemar_is_scipys_binomial_test_less_half_of_the_point() -> None:
    stats = pytest.importorskip("scipy.stats")
    for first, second in ((40, 61), (300, 380), (2000, 2100)):
        exact, point = stats.binomtest(first, first + second).pvalue, stats.binom.pmf(first, first + second, 0.5)
        assert mcnemar(first, second) == pytest.approx(exact - point, rel=1e-6)


def test_two_models_are_compared_pair_by_pair() -> None:
    labels = [0] * 100
    first = answers_of(labels, [0] * 60 + [1] * 40)
    second = answers_of(labels, [0] * 55 + [1] * 5 + [0] * 30 + [1] * 10)
    found = compare(first, second)
    assert (found.both, found.first, found.second, found.neither) == (55, 5, 30, 10)
    assert found.difference == pytest.approx(0.25)
    assert found.difference_low == pytest.approx(0.1401, abs=1e-4)  # 25 / 102 ± 1.96 √(36 - 25² / 102) / 102
    assert found.difference_high == pytest.approx(0.3501, abs=1e-4)
    assert found.p == mcnemar(5, 30)


@pytest.mark.parametrize("other", [answers_of([0, 2], [0, 1]), answers_of([0, 1], [0, 1], classes=4)])
def test_other_pictures_are_not_compared(other: Answers) -> None:
    with pytest.raises(DataError, match="only on the same pictures and classes"):
        compare(answers_of([0, 1], [0, 1]), other)


def test_foreign_pictures(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(png("grey"))
    (tmp_path / "b.png").write_bytes(png("grey"))
    (tmp_path / "c.png").write_bytes(png("red"))
    classifier = Classifier(content(threshold=0.5))
    answers = answer(classifier, dataset(["red", "grey"], ["red", "red"]))
    found = ask_foreign(classifier, answers, tmp_path)
    assert (found.images, found.unreadable, found.rejected) == (3, 0, 2 / 3)
    assert found.auroc == pytest.approx((2.5 + 1) / 6)  # red above two, one tie; grey with two ties
    assert [Path(each.source).name for each in found.surest] == ["c.png", "b.png", "a.png"]


def test_a_wrong_folder_of_foreign_pictures_is_known_before_any_is_asked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder of pictures, got none"):
        list_foreign(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no picture in this folder\. Expected files whose names end in"):
        list_foreign(tmp_path)
    (tmp_path / "a.png").write_bytes(b"a note")
    with pytest.raises(DataError, match=r"no picture can be read: .*a\.png: this is text"):
        list_foreign(tmp_path)
    (tmp_path / "b.png").write_bytes(png("grey"))
    assert list_foreign(tmp_path) == [str(tmp_path / name) for name in ("a.png", "b.png")]


def test_broken_foreign_pictures_are_left_out(tmp_path: Path) -> None:
    classifier = Classifier(content())
    answers = answer(classifier, dataset(["red"], ["red"]))
    (tmp_path / "broken.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"no picture can be read: .*broken\.png: "):
        ask_foreign(classifier, answers, tmp_path)
    (tmp_path / "a.png").write_bytes(png("grey"))
    with pytest.warns(DataWarning, match=r"1 of 2 are left out: .*broken\.png: "):
        assert ask_foreign(classifier, answers, tmp_path).unreadable == 1
    with pytest.raises(DataError, match="expected a folder of pictures, got none"):
        ask_foreign(classifier, answers, tmp_path / "missing")


def test_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 9, 10, 11.5, 12, 0, 9, 9.25, 9.5, 9.75])  # the first run of each is to warm up
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    found = measure_speed(Classifier(content()), np.stack([square("red", SIZE)]))
    assert (found.pictures_a_second, found.milliseconds) == (BATCH / 1.0, 250)


def test_a_bar_shows_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    many = dataset(["red"] * 300, ["red"] * 300)  # more than one batch
    assert len(answer(Classifier(content()), many).labels) == 300
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert answer(Classifier(content()), many).right.all()
    assert "evaluation: 100%" in capsys.readouterr().err
