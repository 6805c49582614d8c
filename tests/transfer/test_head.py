"""The head, on normal distributions whose right answers are known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="transfer is not installed: pip install -e '.[transfer]'")
pytest.importorskip("threadpoolctl", reason="transfer is not installed: pip install -e '.[transfer]'")

from scipy.special import log_softmax

from thumbnet.evaluation.scores import calibration_error
from thumbnet.transfer import head

Features = NDArray[np.float32]
Labels = NDArray[np.int64]


def blobs(counts: list[int], width: int, apart: float, *, seed: int = 0) -> tuple[Features, Labels]:
    """Normal distributions of the variance 1, as many as counts, whose means have the length `apart`; shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    means = np.eye(len(counts), width) * apart
    return (means[labels] + rng.standard_normal((len(labels), width))).astype(np.float32), labels


def spread(labels: Labels, count: int = 5) -> Labels:
    """Folds: each class's pictures in turn."""
    folds = np.empty_like(labels)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        folds[rows] = (np.arange(len(rows)) + label) % count
    return folds


def fit(features: Features, labels: Labels, **options: Any) -> head.Fitted:
    return head.fit(features, labels, int(labels.max()) + 1, spread(labels), **options)


def densities(features: Features, labels: Labels, shrinkage: float) -> Callable[[Features], NDArray[np.float64]]:
    """Discriminant analysis as in a textbook: the squared distances to the class means, by the inverse covariance."""
    rows = features.astype(np.float64)
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(labels.max() + 1)])  # (C, D)
    rests = rows - means[labels]
    covariance = (1 - shrinkage) * rests.T @ rests / np.square(rests).sum()
    covariance += shrinkage * np.eye(rows.shape[1]) / rows.shape[1]
    inverse = np.linalg.inv(covariance)

    def logits(judged: Features) -> NDArray[np.float64]:
        gaps = judged[:, None] - means  # (n, C, D)
        distances = np.einsum("ncd,de,nce->nc", gaps, inverse, gaps)
        return np.asarray(-(distances - distances.mean(axis=1, keepdims=True)) / 2)

    return logits


def scale(logs: NDArray[np.float64], logits: NDArray[np.float64]) -> float:
    """By what logits are multiplied to give log-probabilities; an error if no number does."""
    centred = logs - logs.mean(axis=1, keepdims=True)
    factor = float(np.vdot(centred, logits) / np.vdot(logits, logits))
    np.testing.assert_allclose(centred, factor * logits, atol=1e-4 * float(np.abs(centred).max()))
    return factor


@pytest.mark.parametrize(("count", "width"), [(12, 100), (12, 40), (40, 20)], ids=["wide", "near", "tall"])
def test_it_is_discriminant_analysis_with_and_without_the_detour(
    count: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "SHRINKAGES", (0.4,))
    features, labels = blobs([count] * 3, width, 3)
    folds = spread(labels)
    fitted = head.fit(features, labels, 3, folds)
    new, _ = blobs([20] * 3, width, 3, seed=1)
    whole = scale(fitted.head.log_probabilities(new), densities(features, labels, 0.4)(new))
    parts = []
    for fold in range(5):
        own = folds == fold
        logits = densities(features[~own], labels[~own], 0.4)(features[own])
        parts.append(scale(fitted.out_of_fold[own], logits))
    np.testing.assert_allclose(parts, whole / head.SURER, rtol=1e-4)


@pytest.mark.parametrize("width", [10, 300])
def test_separable_classes_are_told_apart(width: int) -> None:
    features, labels = blobs([30] * 4, width, 12)
    fitted = fit(features, labels)
    new, truth = blobs([100] * 4, width, 12, seed=1)
    logs = fitted.head.log_probabilities(new)
    assert logs.shape == (400, 4)
    assert logs.dtype == fitted.out_of_fold.dtype == np.float64
    np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1)
    assert (logs.argmax(axis=1) == truth).mean() > 0.99
    assert (fitted.out_of_fold.argmax(axis=1) == labels).mean() > 0.99
    assert np.exp(logs[np.arange(400), truth]).mean() > 0.95
    assert fitted.head.weights.dtype == fitted.head.bias.dtype == np.float32
    np.testing.assert_allclose(
        fitted.head.weights.mean(axis=1), 0, atol=1e-5
    )  # evidence for a class against the others


def test_what_is_not_there_is_not_found_out_of_fold() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, 500)).astype(np.float32)
    labels = rng.permutation(np.arange(200) % 4)
    fitted = fit(features, labels)
    assert (fitted.head.log_probabilities(features).argmax(axis=1) == labels).mean() > 0.9  # learnt by heart
    assert (fitted.out_of_fold.argmax(axis=1) == labels).mean() < 0.35
    assert np.exp(fitted.out_of_fold).max() < 0.5


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.97, 0.03)])
def test_the_probabilities_are_the_true_ones(shares: tuple[float, float]) -> None:
    counts = [round(3000 * share) for share in shares]
    features, labels = blobs(counts, 8, 1.2)
    fitted = fit(features, labels)
    new, truth = blobs([10 * count for count in counts], 8, 1.2, seed=1)
    true = log_softmax(new[:, :2] * 1.2 + np.log(shares), axis=1)  # Bayes' rule
    probabilities = np.exp(fitted.head.log_probabilities(new))
    assert np.abs(probabilities - np.exp(true)).mean() < 0.03
    assert probabilities[:, 1].sum() / (truth == 1).sum() == pytest.approx(1, abs=0.2)
    right = probabilities.argmax(axis=1) == truth
    assert calibration_error(probabilities.max(axis=1), right) < 0.03


def test_a_rare_class_of_a_small_set_is_still_found() -> None:
    features, labels = blobs([40, 40, 8], 200, 6)
    new, truth = blobs([100] * 3, 200, 6, seed=1)
    fitted = fit(features, labels)
    guesses = fitted.head.log_probabilities(new).argmax(axis=1)
    assert (guesses[truth == 2] == 2).mean() > 0.7
    np.testing.assert_allclose(
        fitted.head.weights.mean(axis=1), 0, atol=1e-6
    )  # what speaks for all classes is left out


@pytest.mark.parametrize("counts", [[8] * 4, [60] * 4])
def test_confidence_is_accuracy(counts: list[int]) -> None:
    gaps = []
    for seed in range(10):
        features, labels = blobs(counts, 60, 3, seed=seed)
        new, truth = blobs([300] * 4, 60, 3, seed=100 + seed)
        logs = fit(features, labels).head.log_probabilities(new)
        gaps.append(np.exp(logs.max(axis=1)).mean() - (logs.argmax(axis=1) == truth).mean())
    assert np.mean(gaps) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("classes", [2, 30])
def test_one_picture_a_class_is_enough(classes: int) -> None:
    features, labels = blobs([1] * classes, 50, 12)
    fitted = fit(features, labels)
    new, truth = blobs([20] * classes, 50, 12, seed=1)
    logs = fitted.head.log_probabilities(new)
    assert (logs.argmax(axis=1) == truth).mean() > 0.95
    assert 1.5 / classes < np.exp(logs.max(axis=1)).mean() < 0.99
    assert np.isfinite(fitted.out_of_fold).all()


def test_with_nothing_to_choose_by_the_parts_have_their_defaults() -> None:
    features, labels = blobs([1] * 3, 50, 12)
    assert fit(features, labels, parts=(20, 30)).chosen["mixing"] == pytest.approx([8 / 9, 1 / 9], abs=1e-4)
    mixing = fit(features, labels, parts=(20, 10, 20)).chosen["mixing"]
    assert mixing == pytest.approx([8 / 9, 1 / 18, 1 / 18], abs=1e-4)


def test_a_class_of_one_picture_among_others() -> None:
    features, labels = blobs([20, 20, 1], 50, 10)
    fitted = fit(features, labels)
    new, truth = blobs([50] * 3, 50, 10, seed=1)
    assert (fitted.head.log_probabilities(new).argmax(axis=1) == truth).mean() > 0.9
    assert np.isfinite(fitted.out_of_fold).all()
    assert fitted.out_of_fold[labels == 2].argmax() != 2  # its judge does not know the class
    without = fit(features[labels < 2], labels[labels < 2])
    assert fitted.temperature == pytest.approx(without.temperature, rel=0.3)  # nor does it count


def test_all_in_one_fold_tells_nothing() -> None:
    features, labels = blobs([10, 10], 6, 8)
    fitted = head.fit(features, labels, 2, np.zeros(20, np.int64))
    np.testing.assert_allclose(np.exp(fitted.out_of_fold), 0.5)
    assert (fitted.head.log_probabilities(features).argmax(axis=1) == labels).all()


def test_a_part_that_tells_nothing_hardly_counts() -> None:
    features, labels = blobs([40] * 3, 20, 5)
    noise = np.random.default_rng(2).standard_normal((120, 50)).astype(np.float32)
    new, truth = blobs([100] * 3, 20, 5, seed=1)
    for first in (True, False):
        order = [features, noise] if first else [noise, features]
        fitted = fit(np.hstack(order), labels, parts=[one.shape[1] for one in order])
        shares = fitted.chosen["mixing"]
        assert sum(shares) == pytest.approx(1, abs=1e-3)
        assert shares[0 if first else 1] > 0.8  # by default 8 : 1 for the first
        both = [new, np.zeros((300, 50), np.float32)]
        logs = fitted.head.log_probabilities(np.hstack(both if first else both[::-1]))
        assert (logs.argmax(axis=1) == truth).mean() > 0.95


def test_two_parts_know_more_than_each() -> None:
    one, labels = blobs([40] * 3, 20, 2)
    other, _ = blobs([40] * 3, 30, 2)
    new, truth = blobs([300] * 3, 20, 2, seed=1)
    more, same = blobs([300] * 3, 30, 2, seed=1)
    assert (truth == same).all()

    def accuracy(features: Features, judged: Features, *parts: int) -> float:
        logs = fit(features, labels, parts=parts).head.log_probabilities(judged)
        return float((logs.argmax(axis=1) == truth).mean())

    both = accuracy(np.hstack([one, other]), np.hstack([new, more]), 20, 30)
    assert both > max(accuracy(one, new), accuracy(other, more)) + 0.03


def test_wrong_labels_do_no_great_harm() -> None:
    features, labels = blobs([50] * 4, 300, 8)
    wrong = np.random.default_rng(3).random(200) < 0.2
    new, truth = blobs([100] * 4, 300, 8, seed=1)
    logs = fit(features, np.where(wrong, (labels + 1) % 4, labels)).head.log_probabilities(new)
    assert (logs.argmax(axis=1) == truth).mean() > 0.95
    assert -logs[np.arange(400), truth].mean() < 0.6


@pytest.mark.parametrize("width", [5, 50])
def test_features_of_nothing_leave_it_open(width: int) -> None:
    labels = np.arange(20) % 2
    fitted = fit(np.zeros((20, width), np.float32), labels)
    np.testing.assert_allclose(np.exp(fitted.head.log_probabilities(np.ones((3, width), np.float32))), 0.5)
    np.testing.assert_allclose(np.exp(fitted.out_of_fold), 0.5)


@pytest.mark.parametrize("width", [5, 50])
def test_classes_of_copies_have_no_variance(width: int) -> None:
    labels = np.arange(20) % 2
    features = np.random.default_rng(0).random((2, width), np.float32)[labels]
    fitted = fit(features, labels)
    assert (fitted.out_of_fold.argmax(axis=1) == labels).all()
    assert np.isfinite(fitted.head.weights).all()


@pytest.mark.parametrize("size", [1e-8, 1e8])
def test_the_scale_of_the_features_does_not_matter(size: float) -> None:
    features, labels = blobs([20] * 3, 30, 4)
    scaled = (features * size).astype(np.float32)
    expected = fit(features, labels).head.log_probabilities(features)
    np.testing.assert_allclose(fit(scaled, labels).head.log_probabilities(scaled), expected, atol=1e-3)


def test_it_is_the_same_each_time() -> None:
    features, labels = blobs([20] * 3, 80, 2)
    one, other = (fit(features, labels, parts=(30, 50)) for _ in range(2))
    assert one.head.weights.tobytes() == other.head.weights.tobytes()
    assert one.head.bias.tobytes() == other.head.bias.tobytes()
    assert one.out_of_fold.tobytes() == other.out_of_fold.tobytes()
    assert one.chosen == other.chosen


def test_many_pictures_are_summed_in_blocks_and_judged_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = blobs([200] * 3, 20, 3)
    whole = fit(features, labels)
    monkeypatch.setattr(head, "BLOCK", 7)
    np.testing.assert_allclose(fit(features, labels).head.weights, whole.head.weights, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(head, "MOST", 600)  # 200 of 600 pictures
    part = fit(features, labels)
    assert part.out_of_fold.shape == (600, 3)
    assert part.temperature != whole.temperature
    assert part.temperature == pytest.approx(whole.temperature, rel=0.5)


def test_what_was_chosen_can_be_kept_in_a_file() -> None:
    features, labels = blobs([20] * 3, 80, 2)
    fitted = fit(features, labels, parts=(30, 50))
    assert fitted.chosen.keys() == {"head", "parts", "shrinkage", "mixing", "temperature", "balance"}
    assert fitted.chosen["parts"] == [30, 50]
    assert set(fitted.chosen["shrinkage"]) <= set(head.SHRINKAGES)
    assert fitted.chosen["temperature"] == pytest.approx(fitted.temperature, abs=1e-4)
    assert all(type(value) in (str, list, float) for value in fitted.chosen.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.full((6, 4), np.nan, np.float32)}, "finite features, got NaN or infinity"),
        ({"features": np.full((6, 4), np.inf, np.float32)}, "finite features, got NaN or infinity"),
        ({"features": np.zeros((5, 4), np.float32)}, r"got \(5, 4\), \(6,\) and \(6,\)"),
        ({"features": np.zeros(6, np.float32)}, r"got \(6,\), \(6,\) and \(6,\)"),
        ({"folds": np.zeros(5, np.int64)}, r"got \(6, 4\), \(6,\) and \(5,\)"),
        ({"folds": np.full(6, -1)}, "folds from 0 on, got -1"),
        ({"classes": 3}, r"3 classes with pictures, 0 to C - 1, got \[0 1\]"),
        ({"classes": 1, "labels": np.zeros(6, np.int64)}, r"2 classes with pictures, 0 to C - 1, got \[0\]"),
        ({"labels": np.array([0, 1, 2, 0, 1, 2])}, r"2 classes with pictures, 0 to C - 1, got \[0 1 2\]"),
        ({"labels": np.array([0, 1, -1, 0, 1, 1])}, r"got \[-1  0  1\]"),
        ({"parts": (2, 3)}, r"parts with 4 columns in all, got \(2, 3\)"),
        ({"parts": (5, -1)}, r"parts with 4 columns in all, got \(5, -1\)"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], message: str) -> None:
    labels = np.arange(6) % 2
    given: dict[str, Any] = {"features": np.zeros((6, 4), np.float32), "labels": labels, "classes": 2, "folds": labels}
    with pytest.raises(ValueError, match=message):
        head.fit(**(given | change))
