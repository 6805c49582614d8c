"""Sureness: what is strange gets little of it, and the model file computes the same."""

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from thumbnet.model.graph import refuse_external_data
from thumbnet.transfer import familiarity
from thumbnet.transfer.familiarity import Familiarity, fit, out_of_fold, threshold, unknown_class

WIDTH = 64


def pictures(
    classes: int, each: int, seed: int = 0, *, first: int = 0, noise: float = 0.1
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Features `(N, D)` around a direction of each class, labels, and five folds. Classes are counted from `first`."""
    centres = np.random.default_rng(7).normal(size=(100, WIDTH))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.arange(classes * each) % classes
    rows = centres[first + labels] + noise * np.random.default_rng(seed).normal(size=(len(labels), WIDTH))
    return rows.astype(np.float32), labels, np.arange(len(labels)) // classes % 5


def certain(labels: NDArray[np.int64], classes: int, confidence: float = 0.9) -> NDArray[np.float32]:
    """Probabilities `(N, C)` with this one for the labels."""
    rest = (1 - confidence) / (classes - 1)
    return np.where(np.arange(classes) == labels[:, None], confidence, rest).astype(np.float32)


def computed(found: Familiarity, features: NDArray[np.float32], probabilities: NDArray[np.float32]) -> NDArray[Any]:
    """The sureness by ONNX Runtime."""
    inputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", features.shape[1]]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", probabilities.shape[1]]),
    ]
    outputs = [helper.make_tensor_value_info("sureness", TensorProto.FLOAT, ["N"])]
    graph = helper.make_graph([], "test", inputs, outputs)
    found.add_to_graph(graph, "features", "probabilities", "sureness")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    refuse_external_data(io.BytesIO(content))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answer: NDArray[Any] = session.run(None, {"features": features, "probabilities": probabilities})[0]
    return answer


def test_what_resembles_no_training_picture_is_less_sure() -> None:
    features, labels, folds = pictures(3, 20)
    found = fit(features, labels, 3, folds)
    own, own_labels, _ = pictures(3, 20, seed=1)
    strange, _, _ = pictures(3, 20, seed=1, first=3)
    sure = found.sureness(own, certain(own_labels, 3))
    unsure = found.sureness(strange, certain(own_labels, 3))
    assert np.median(sure) > 0.85
    assert sure.min() > unsure.max()
    assert unsure.max() < 0.3


def test_an_unsure_answer_to_a_familiar_picture_is_as_sure_as_its_confidence() -> None:
    features, labels, folds = pictures(2, 20)
    found = fit(features, labels, 2, folds)
    probabilities = np.array([[0.55, 0.45]], np.float32)
    np.testing.assert_allclose(found.sureness(features[:1], probabilities), [0.55], rtol=1e-6)


def test_less_alike_is_never_surer() -> None:
    features, labels, folds = pictures(2, 20)
    found = fit(features, labels, 2, folds)
    away = pictures(1, 1, seed=1, first=50)[0][0]
    shares = np.linspace(0, 1, 50)[:, None]
    path = ((1 - shares) * features[0] + shares * away).astype(np.float32)  # (50, D)
    sureness = found.sureness(path, np.full((50, 2), 0.5, np.float32))
    assert sureness[0] == pytest.approx(0.5)
    assert (np.diff(sureness) <= 1e-6).all()
    assert sureness[-1] < 0.1


def test_the_length_of_features_does_not_matter() -> None:
    features, labels, folds = pictures(2, 20)
    strange, _, _ = pictures(2, 20, seed=1, first=1)
    probabilities = certain(labels, 2)
    before = fit(features, labels, 2, folds).sureness(strange, probabilities)
    scaled = fit(100 * features, labels, 2, folds).sureness(5 * strange, probabilities)
    np.testing.assert_allclose(scaled, before, atol=1e-5)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("offset", [0, 3])
def test_the_graph_computes_the_same(others: bool, offset: int) -> None:
    features, labels, folds = pictures(3, 20)
    strange, _, _ = pictures(3, 10, seed=2, first=4)
    found = fit(features + offset, labels, 3, folds, strange + offset if others else None)
    asked = np.concatenate([features, pictures(3, 20, seed=3, noise=0.4)[0], strange, -features[:3]]) + offset
    asked = np.concatenate([asked, np.zeros((1, WIDTH), np.float32)]).astype(np.float32)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(asked)).astype(np.float32)
    here = found.sureness(asked, probabilities)
    there = computed(found, asked, probabilities)
    assert here.dtype == np.float32
    assert here.shape == there.shape == (len(asked),)
    assert here.min() >= 0
    assert here.max() <= 1
    assert here[-1] == 0  # no features, so not familiar
    np.testing.assert_allclose(there, here, atol=1e-5)


def test_a_row_of_the_graph_does_not_depend_on_the_others() -> None:
    features, labels, folds = pictures(3, 20)
    found = fit(features, labels, 3, folds, pictures(3, 10, seed=1, first=4)[0])
    probabilities = certain(labels, 3)
    together = computed(found, features, probabilities)
    for row in (0, 7, 59):
        alone = computed(found, features[row : row + 1], probabilities[row : row + 1])
        assert alone[0] == together[row]


def test_the_power_grows_where_all_cosines_are_close() -> None:
    features, labels, folds = pictures(3, 20)
    apart = fit(features, labels, 3, folds)
    close = fit(features + 1, labels, 3, folds)
    assert close.usual > apart.usual
    assert familiarity.POWERS[0] <= apart.power < close.power <= familiarity.POWERS[1]
    own, own_labels, _ = pictures(3, 20, seed=1)
    strange, _, _ = pictures(3, 20, seed=1, first=3)
    sure = close.sureness(own + 1, certain(own_labels, 3))
    unsure = close.sureness(strange + 1, certain(own_labels, 3))
    assert sure.min() > unsure.max()


def test_out_of_fold_a_picture_is_not_compared_with_its_own_fold() -> None:
    features, labels, folds = pictures(2, 20)
    lonely, _, _ = pictures(1, 1, seed=1, first=9)
    features = np.concatenate([features, lonely, lonely])  # a picture and its copy, which are like no other
    labels = np.append(labels, [0, 0])
    probabilities = certain(labels, 2)
    together = out_of_fold(features, labels, 2, np.append(folds, [2, 2]), probabilities)
    apart = out_of_fold(features, labels, 2, np.append(folds, [2, 3]), probabilities)
    assert together[-2:].max() < 0.2
    np.testing.assert_allclose(apart[-2:], 0.9, rtol=1e-6)


def test_out_of_fold_and_new_pictures_are_equally_sure() -> None:
    features, labels, folds = pictures(3, 60)
    own, own_labels, _ = pictures(3, 60, seed=1)
    held_out = out_of_fold(features, labels, 3, folds, certain(labels, 3))
    new = fit(features, labels, 3, folds).sureness(own, certain(own_labels, 3))
    assert held_out.dtype == np.float32
    assert abs(held_out.mean() - new.mean()) < 0.02


def test_others_are_not_sure_even_if_they_are_alike() -> None:
    features, labels, folds = pictures(2, 30, noise=0.2)
    between, new = (
        (pictures(1, 30, seed=seed)[0] + pictures(1, 30, seed=seed + 1, first=1)[0]) / np.float32(2) + np.float32(0.1)
        for seed in (3, 5)
    )
    own, own_labels, _ = pictures(2, 30, seed=1, noise=0.2)
    probabilities = certain(np.zeros(30, np.int64), 2)
    without, informed = (fit(features, labels, 2, folds, others) for others in (None, between))
    assert without.known is None
    assert informed.sureness(new, probabilities).max() < 0.5 * without.sureness(new, probabilities).min()
    assert np.median(informed.sureness(own, certain(own_labels, 2))) > 0.8
    features, labels, folds = np.append(features, new[:1], axis=0), np.append(labels, 0), np.append(folds, 0)
    probabilities = certain(labels, 2)
    held_out = out_of_fold(features, labels, 2, folds, probabilities, between)  # the last is like the others
    assert np.median(held_out) > 0.8
    assert held_out[-1] < 0.5 * out_of_fold(features, labels, 2, folds, probabilities)[-1]


def test_no_others_are_as_none() -> None:
    features, labels, folds = pictures(2, 10)
    empty = np.zeros((0, WIDTH), np.float32)
    assert fit(features, labels, 2, folds, empty).known is None
    probabilities = certain(labels, 2)
    expected = out_of_fold(features, labels, 2, folds, probabilities)
    np.testing.assert_array_equal(out_of_fold(features, labels, 2, folds, probabilities, empty), expected)


def test_the_bank_is_limited_and_holds_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiarity, "BANK", 30 * WIDTH)
    features, labels, folds = pictures(3, 40)
    labels[labels == 1] = 0  # 80 of class 0, 40 of class 2, and of class 1 none but two
    labels[:2] = 1
    found = fit(features, labels, 3, folds)
    assert found.bank.shape == (30, WIDTH)
    assert found.bank.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(found.bank.astype(float), axis=1), 1, atol=1e-3)
    rows = familiarity._bank(labels, 3, WIDTH)
    assert np.bincount(labels[rows]).tolist() == [14, 2, 14]
    assert len(set(rows.tolist())) == 30
    many, of_many, folds_of_many = pictures(50, 2)
    assert len(fit(many, of_many, 50, folds_of_many).bank) == 50


@pytest.mark.parametrize("classes", [2, 3])
def test_one_picture_a_class(classes: int) -> None:
    features, labels, _ = pictures(classes, 1, noise=0.05)
    found = fit(features, labels, classes, labels)
    new, _, _ = pictures(classes, 1, seed=1, noise=0.05)
    strange, _, _ = pictures(classes, 1, seed=2, first=10, noise=0.05)
    probabilities = certain(labels, classes)
    assert found.sureness(new, probabilities).min() > found.sureness(strange, probabilities).max()
    sureness = out_of_fold(features, labels, classes, labels, probabilities)
    assert np.isfinite(sureness).all()


def test_all_pictures_in_one_fold() -> None:
    features, labels, _ = pictures(2, 3)
    folds = np.zeros(6, np.int64)
    assert (out_of_fold(features, labels, 2, folds, certain(labels, 2)) == 0).all()
    assert np.isfinite(fit(features, labels, 2, folds).sureness(features, certain(labels, 2))).all()


def test_copies_and_pictures_without_features() -> None:
    features, labels, folds = pictures(2, 10)
    for same in (np.repeat(features[:1], 20, axis=0), np.zeros_like(features)):
        found = fit(same, labels, 2, folds, same[:2])
        for asked in (same, features, np.zeros_like(features)):
            sureness = found.sureness(asked, certain(labels, 2))
            assert np.isfinite(sureness).all()
            np.testing.assert_allclose(computed(found, asked, certain(labels, 2)), sureness, atol=1e-5)
        assert np.isfinite(out_of_fold(same, labels, 2, folds, certain(labels, 2), same[:1])).all()


def test_features_that_are_no_numbers() -> None:
    features, labels, folds = pictures(2, 10)
    broken = features.copy()
    broken[3, 4] = np.nan
    with pytest.raises(ValueError, match="finite"):
        fit(broken, labels, 2, folds)
    with pytest.raises(ValueError, match="finite"):
        out_of_fold(features, labels, 2, folds, certain(labels, 2), broken)
    with pytest.raises(ValueError, match="got none"):
        fit(features[:0], labels[:0], 2, folds[:0])


def test_the_threshold_keeps_95_of_100_right_answers() -> None:
    sureness = np.linspace(0, 1, 200, dtype=np.float32)
    right = np.arange(200) % 2 == 0
    found = threshold(sureness, right)
    assert (sureness[right] >= found).sum() == 95
    assert threshold(sureness, np.zeros(200, np.bool_)) == 1


def test_a_class_that_was_never_learnt_is_unsure_if_it_is_like_no_other() -> None:
    features, labels, folds = pictures(4, 20)
    # Without the class, the next one is certain, so the familiarity alone can tell.
    probabilities = certain(labels, 4, 1.0) * np.float32(0.9) + certain((labels + 1) % 4, 4, 1.0) * np.float32(0.1)
    share = unknown_class(features, labels, 4, folds, probabilities)
    assert share is not None
    assert share > 0.95


def test_a_class_that_was_never_learnt_is_known_if_it_is_like_another() -> None:
    features, labels, folds = pictures(2, 40)
    labels = labels + 2 * (np.arange(80) % 4 > 1)  # classes 0 and 2 show the same, and so do 1 and 3
    probabilities = certain(labels % 2, 2, 0.99)[:, [0, 1, 0, 1]] * np.float32(0.5)  # (N, 4)
    share = unknown_class(features, labels, 4, folds, probabilities)
    assert share is not None
    assert share < 0.2


def test_a_picture_of_a_class_that_was_never_learnt_is_compared_with_all_folds() -> None:
    features, labels, folds = pictures(2, 40)
    lonely, _, _ = pictures(1, 1, seed=1, first=9)
    features = np.concatenate([features, lonely, lonely])  # one of class 0, and in its fold a copy, all of class 2
    labels, folds = np.append(labels, [0, 2]), np.append(folds, [3, 3])
    probabilities = certain(labels, 3, 1.0) * np.float32(0.9) + certain((labels + 1) % 3, 3, 1.0) * np.float32(0.1)
    share = unknown_class(features, labels, 3, folds, probabilities)
    assert share == pytest.approx(2 / 3, abs=0.05)


def test_a_large_class_that_is_left_out_does_not_lower_what_is_usual() -> None:
    features, labels, folds = pictures(3, 60, noise=0.02)
    large = np.flatnonzero(labels == 2)
    features[large] = 0.6 * features[0] + features[large]  # somewhat like class 0
    kept = np.concatenate([np.flatnonzero(labels != 2)[:20], large])
    probabilities = certain(labels, 3, 0.9)
    probabilities[large] = [0.1, 0, 0.9]  # without class 2, certain
    share = unknown_class(features[kept], labels[kept], 3, folds[kept], probabilities[kept])
    assert share is not None
    assert share > 0.95


def test_without_a_class_its_pictures_probability_goes_to_the_others() -> None:
    features, labels, folds = pictures(3, 20, noise=0)
    features = np.ones_like(features)  # all are familiar, so that the confidence decides
    probabilities = certain(labels, 3, 0.98)
    probabilities[labels == 2] = [0.01, 0.01, 0.98]  # without class 2, one half each
    probabilities[labels == 1] = [0.04, 0.95, 0.01]  # without class 1, 0.8 for class 0
    probabilities[labels == 0] = [0.98, 0.001, 0.019]  # without class 0, 0.95 for class 2
    share = unknown_class(features, labels, 3, folds, probabilities)
    assert share == pytest.approx(1)
    probabilities[labels == 2] = [0.0198, 0.0002, 0.98]  # without class 2, 0.99 for class 0, surer than its own
    probabilities[labels == 0] = [0.98, 0.019, 0.001]
    share = unknown_class(features, labels, 3, folds, probabilities)
    assert share == pytest.approx(2 / 3)


@pytest.mark.parametrize(("classes", "low", "high"), [(20, 0, 0.3), (21, 0.9, 1), (43, 0.9, 1)])
def test_many_classes_are_left_out_in_groups(classes: int, low: float, high: float) -> None:
    features, shown, folds = pictures(10, 60)
    labels = shown + 10 * (np.arange(600) // 50 % ((classes - 1 - shown) // 10 + 1))  # every tenth class shows the same
    alike = (np.arange(classes) % 10 == shown[:, None]).astype(np.float32)  # (N, C)
    probabilities = (certain(labels, classes, 0.9) + alike) / (1 + alike.sum(axis=1, keepdims=True))
    share = unknown_class(features, labels, classes, folds, probabilities)
    assert share is not None
    assert low <= share <= high


def test_where_no_class_can_be_left_out() -> None:
    features, labels, folds = pictures(2, 10)
    assert unknown_class(features, labels, 2, folds, certain(labels, 2)) is None
    features, labels, folds = pictures(3, 1)
    wrong = certain((labels + 1) % 3, 3)
    wrong[:, :] = np.roll(np.eye(3, dtype=np.float32), 1, axis=1)
    assert unknown_class(features, labels, 3, labels, wrong) is None
