"""Temperature and threshold, on answers whose right calibration is known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support import models

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras
from scipy.special import log_softmax

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.scores import Answers, calibration_error
from thumbnet.training import calibrate


def overconfident(factor: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Answers of a model that knows the true probabilities but states its logits times `factor`."""
    rng = np.random.default_rng(0)
    true = log_softmax(rng.normal(0, 1.5, (20_000, 5)), axis=1)  # (N, C)
    labels = (rng.random((len(true), 1)) > np.exp(true).cumsum(axis=1)).sum(axis=1)  # (N,)
    return true * factor, np.minimum(labels, 4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_over_and_underconfidence(factor: float) -> None:
    log_probs, labels = overconfident(factor)
    temperature = calibrate.temperature(log_probs, labels)
    assert temperature == pytest.approx(factor, rel=0.05)
    calibrated = np.exp(log_softmax(log_probs / temperature, axis=1))
    error = calibration_error(calibrated.max(axis=1), calibrated.argmax(axis=1) == labels)
    assert error < 0.01


@pytest.mark.parametrize("count", [3, 30, 300])
def test_where_every_answer_is_right_they_are_as_sure_as_that_many_can_tell(count: int) -> None:
    labels = np.arange(count) % 3
    log_probs = log_softmax(np.eye(3)[labels] * 5, axis=1)
    confidence = np.exp(log_softmax(log_probs / calibrate.temperature(log_probs, labels), axis=1)).max(axis=1)
    assert confidence.mean() == pytest.approx(1 - 2 / 3 / (count + 2), abs=1e-3)


@pytest.mark.parametrize("labels", [[1, 2, 0], [0, 0, 0]])
def test_the_temperature_of_useless_answers_stays_finite(labels: list[int]) -> None:
    log_probs = log_softmax(np.eye(3) * 5, axis=1)
    assert 1 < calibrate.temperature(log_probs, np.array(labels)) <= 20


def test_the_threshold_keeps_95_percent_of_the_right_answers() -> None:
    log_probs, labels = overconfident(2.0)
    probabilities = np.exp(log_softmax(log_probs / 2.0, axis=1)).astype(np.float32)
    sureness = np.random.default_rng(1).random(len(labels)).astype(np.float32)
    answers = Answers(models.info(names=tuple("abcde")), labels, probabilities, sureness)
    assert (sureness[answers.right] >= calibrate.threshold(answers)).mean() == pytest.approx(0.95, abs=1e-3)


def test_without_a_right_answer_nothing_is_unsure() -> None:
    probabilities = np.array([[0.9, 0.1]], np.float32)
    assert (
        calibrate.threshold(
            Answers(models.info(names=("a", "b")), np.array([1]), probabilities, probabilities.max(axis=1))
        )
        == 0
    )


def test_mirror_averaging_averages_the_logits_of_both_views() -> None:
    network = keras.Sequential(
        [keras.Input((4, 4, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
         keras.layers.Dense(3, activation="softmax")]
    )  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    dataset = Dataset(images, np.zeros(6, np.int64), ("a", "b", "c"))
    plain, mirrored = (network.predict(view, verbose=0) for view in (images, images[:, :, ::-1]))
    np.testing.assert_allclose(
        calibrate.log_probabilities(network, dataset, mirror=True), (np.log(plain) + np.log(mirrored)) / 2, rtol=1e-5
    )
    np.testing.assert_allclose(calibrate.log_probabilities(network, dataset, mirror=False), np.log(plain), rtol=1e-5)
