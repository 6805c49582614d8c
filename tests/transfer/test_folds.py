"""Folds: even, and what shows the same in one of them."""

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="transfer is not installed: pip install -e '.[transfer]'")

from thumbnet.transfer import folds

WIDTH = 600  # more than folds.SKETCH, so the sketch is tested


def pictures(count: int, *, seed: int = 0, width: int = WIDTH) -> NDArray[np.float32]:
    """Features that are not alike; positive, as averages of a network's are."""
    return np.random.default_rng(seed).gamma(0.5, size=(count, width)).astype(np.float32)


def nearly(features: NDArray[np.float32], *, share: float = 0.2) -> NDArray[np.float32]:
    """The same with some noise."""
    return (features + share * pictures(len(features), seed=99, width=features.shape[1])).astype(np.float32)


def table(labels: NDArray[np.int64], assigned: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pictures of each class in each fold, `(C, folds)`."""
    counts = np.zeros((labels.max() + 1, assigned.max() + 1), np.int64)
    np.add.at(counts, (labels, assigned), 1)
    return counts


def test_each_class_is_spread_evenly() -> None:
    labels = np.repeat(np.arange(4), [50, 23, 7, 2])
    assigned = folds.assign(pictures(82), labels, 0)
    assert assigned.dtype == np.int64
    counts = table(labels, assigned)
    assert counts.shape == (4, 5)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    assert np.ptp(counts.sum(axis=0)) <= 1


@pytest.mark.parametrize("classes", [2, 4, 30])
def test_one_picture_a_class(classes: int) -> None:
    assigned = folds.assign(pictures(classes), np.arange(classes), 0)
    assert np.ptp(np.bincount(assigned)) <= 1
    assert len(np.unique(assigned)) == min(classes, 5)


@pytest.mark.parametrize("width", [20, WIDTH])
def test_copies_stay_together(width: int) -> None:
    once = pictures(40, width=width)
    features = np.concatenate([once, nearly(once, share=0.05), once * 1.1])
    labels = np.tile(np.arange(40) % 4, 3)
    assigned = folds.assign(features, labels, 0).reshape(3, 40)
    assert (assigned == assigned[0]).all()
    counts = table(labels, assigned.ravel())
    assert (counts == 6).all()  # 10 pictures of each class, three times each


def test_what_all_pictures_share_does_not_count() -> None:
    once = pictures(40) + 20 * pictures(1, seed=1)
    both = np.concatenate([once, nearly(once)])
    lengths = np.linalg.norm(both, axis=1)
    assert (both @ both.T / np.outer(lengths, lengths)).min() > 0.997
    assigned = folds.assign(both, np.arange(80) % 2, 0)
    np.testing.assert_array_equal(assigned[:40], assigned[40:])
    assert (np.bincount(assigned) == 16).all()


def test_all_pairs_above_the_limit_stay_together() -> None:
    once = pictures(300)
    both = np.concatenate([once, nearly(once, share=0.45)])
    rests = both - both.mean(axis=0)
    rests /= np.linalg.norm(rests, axis=1, keepdims=True)
    cosines = np.einsum("nd,nd->n", rests[:300], rests[300:])
    close = (cosines > 0.85) & (cosines < 0.9)
    assert close.sum() > 100
    assigned = folds.assign(both, np.arange(600) % 2, 0)
    together = assigned[:300] == assigned[300:]
    assert together[cosines > 0.85].all()
    assert together[cosines < 0.85].mean() < 0.5


def test_copies_stay_together_under_different_labels() -> None:
    once = pictures(40)
    labels = np.concatenate([np.arange(40) % 2, 1 - np.arange(40) % 2])
    assigned = folds.assign(np.concatenate([once, nearly(once)]), labels, 0)
    np.testing.assert_array_equal(assigned[:40], assigned[40:])
    assert (table(labels, assigned) == 8).all()


def test_a_film_is_one_group_though_its_ends_differ() -> None:
    ends = pictures(2)
    share = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
    film = ends[0] * (1 - share) + ends[1] * share
    others = pictures(40, seed=1)
    assert np.corrcoef(film)[0, -1] < 0.2
    assigned = folds.assign(np.concatenate([film, others]), np.zeros(52, np.int64), 0)
    assert len(set(assigned[:12])) == 1
    assert len(set(assigned)) == 5


def test_a_class_that_is_alike_by_nature_is_spread_all_the_same() -> None:
    alike = nearly(np.repeat(pictures(1), 30, axis=0), share=0.1)
    labels = np.repeat([0, 1], 30)
    counts = table(labels, folds.assign(np.concatenate([alike, pictures(30, seed=1)]), labels, 0))
    assert (counts == 6).all()


def test_copies_within_a_class_that_is_alike_by_nature_stay_together() -> None:
    alike = nearly(np.repeat(pictures(1), 30, axis=0), share=0.1)
    features = np.concatenate([alike, alike, pictures(30, seed=1)])
    labels = np.repeat([0, 1], [60, 30])
    assigned = folds.assign(features, labels, 0)
    np.testing.assert_array_equal(assigned[:30], assigned[30:60])
    assert (table(labels, assigned)[0] == 12).all()
    assert (assigned[1:30] != assigned[60:89]).any()  # groups found in two rounds are not taken for one another


@pytest.mark.parametrize("features", [np.zeros((20, 8)), np.ones((20, 8))], ids=["zero", "one"])
def test_features_that_are_all_the_same_are_spread(features: NDArray[np.float64]) -> None:
    labels = np.arange(20) % 2
    assert (table(labels, folds.assign(features.astype(np.float32), labels, 0)) == 2).all()


@pytest.mark.parametrize("block", [7, 1000])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    once = pictures(30)
    features, labels = np.concatenate([once, nearly(once), nearly(once)]), np.arange(90) % 3
    expected = folds.assign(features, labels, 0)
    monkeypatch.setattr(folds, "BLOCK", block)
    monkeypatch.setattr(folds, "PAIRS", 3)
    np.testing.assert_array_equal(folds.assign(features, labels, 0), expected)


def test_the_seed_decides() -> None:
    features, labels = pictures(60), np.arange(60) % 3
    one = folds.assign(features, labels, 0)
    np.testing.assert_array_equal(folds.assign(features, labels, 0), one)
    assert (folds.assign(features, labels, 1) != one).any()


def test_the_features_are_not_changed() -> None:
    features = pictures(10)
    before = features.copy()
    folds.assign(features, np.arange(10) % 2, 0)
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((3, 2)), [0, 1], r"got \(3, 2\) and \(2,\)"),
        (np.zeros(2), [0, 1], r"got \(2,\) and \(2,\)"),
        (np.zeros((0, 2)), [], r"got \(0, 2\) and \(0,\)"),
        (np.array([[0, np.nan], [1, 2]]), [0, 1], "finite features, got NaN or infinity"),
        (np.array([[0, np.inf], [1, 2]]), [0, 1], "finite features, got NaN or infinity"),
    ],
)
def test_what_cannot_be_assigned_is_refused(features: NDArray[np.float64], labels: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        folds.assign(features.astype(np.float32), np.array(labels, np.int64), 0)
