"""The first convolution starts as a whitening of the data, and the others may hand it on."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

from thumbnet.training import networks
from thumbnet.training.first_weights import hand_on, whiten


def test_the_filters_answers_are_uncorrelated_centred_and_of_variance_one() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (400, 9, 9, 3), dtype=np.uint8)
    images = coarse.repeat(2, axis=1).repeat(2, axis=2)  # (N, 18, 18, 3): neighbours are alike
    model = networks.seed(18, 2)
    whiten(model, images)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, bias = layer.get_weights()  # (3, 3, 3, 32), (32,)
    np.testing.assert_allclose(kernel[..., :16], -kernel[..., 16:])
    tiles = images.reshape(-1, 6, 3, 6, 3, 3).swapaxes(2, 3)  # (N, 6, 6, 3, 3, 3)
    patches = tiles.reshape(-1, 27) / 255  # (N·36, 27)
    answers = patches @ kernel.reshape(27, 32)[:, :16] + bias[:16]
    np.testing.assert_allclose(answers.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(np.cov(answers, rowvar=False), np.eye(16), atol=0.05)


def test_without_a_bias_the_filters_are_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 18, 18, 3), dtype=np.uint8)
    kernels = []
    for model in (networks.seed(18, 2), networks.seed_normalized(18, 2)):
        whiten(model, images)
        kernels.append(model.get_weights()[0])
    np.testing.assert_array_equal(*kernels)


def test_pictures_without_any_difference_give_finite_filters() -> None:
    model = networks.seed(18, 2)
    whiten(model, np.zeros((3, 18, 18, 3), np.uint8))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_colours_that_grey_pictures_do_not_have_are_not_enlarged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 18, 18, 1), dtype=np.uint8).repeat(3, axis=3)
    model = networks.seed(18, 2)
    layer = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    start = layer.get_weights()[0]  # (3, 3, 3, 32)
    whiten(model, images)
    kernel = layer.get_weights()[0]
    np.testing.assert_allclose(kernel[..., :9], -kernel[..., 9:18])  # nine pixels' brightness, and no more directions
    np.testing.assert_array_equal(kernel[..., 18:], start[..., 18:])


@pytest.mark.parametrize("size", [18, 32, 64, 96])
def test_larger_pictures_are_fewer_so_that_memory_stays(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    patches: list[int] = []
    original = np.cov

    def noting(rows: Any, **options: Any) -> Any:
        patches.append(len(rows))
        return original(rows, **options)

    monkeypatch.setattr(np, "cov", noting)
    monkeypatch.setattr("thumbnet.training.first_weights.SAMPLES", 36)
    whiten(networks.vgg(size, 2), np.zeros((228, size, size, 3), np.uint8))
    assert 0.5 * 36 * 256 < patches[0] <= 1.2 * 36 * 256


def test_it_is_the_same_each_time() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 18, 18, 3), dtype=np.uint8)
    kernels = []
    for _ in range(2):
        model = networks.seed(18, 2)
        whiten(model, images)
        kernels.append(model.get_weights()[0])
    np.testing.assert_array_equal(*kernels)


def test_what_is_handed_on_reaches_the_end() -> None:
    model = keras.Sequential(
        [
            keras.Input((9, 9, 3)),
            keras.layers.Conv2D(4, 2, use_bias=False),
            keras.layers.Conv2D(6, 3, padding="same"),
            keras.layers.Conv2D(5, 3, padding="same"),
        ]
    )
    images = np.random.default_rng(0).random((2, 9, 9, 3), np.float32)
    hand_on(model)
    first, answers = model.layers[0](images), model(images)
    np.testing.assert_array_equal(answers[..., :4], first)
    assert np.ptp(answers[..., 4]) > 0  # of a filter that had nothing to hand on, and kept its random start
