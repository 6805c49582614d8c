"""The networks are what the design says, layer by layer."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

from thumbnet.training import networks
from thumbnet.training.loop import renew_statistics


def test_the_seed_network_is_the_one_of_the_readme() -> None:
    model = networks.seed(32, 10)
    shapes = [(type(layer).__name__, layer.output.shape[1:]) for layer in model.layers]
    assert shapes == [
        ("Rescaling", (32, 32, 3)),
        ("Conv2D", (30, 30, 32)),
        ("MaxPooling2D", (15, 15, 32)),
        ("Conv2D", (13, 13, 64)),
        ("MaxPooling2D", (6, 6, 64)),
        ("Conv2D", (4, 4, 64)),
        ("Flatten", (1024,)),
        ("Dense", (64,)),
        ("Dense", (10,)),
    ]
    assert model.input_shape == (None, 32, 32, 3)
    assert model.count_params() == 122_570
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "relu", "softmax"]


def test_what_is_trained_for_the_seed_network_answers_as_the_network_that_ships() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 5, 5, 3), dtype=np.uint8).repeat(4, axis=1).repeat(4, axis=2)  # (N, 20, 20, 3)
    keras.utils.set_random_seed(3)
    trained = networks.seed_normalized(20, 3)
    renew_statistics(trained, pixels)
    weights = trained.get_weights()
    for place, weight in enumerate(trained.weights):
        if weight.name == "beta":
            weights[place] = rng.normal(size=weight.shape)
    trained.set_weights(weights)
    plain = networks.as_shipped("seed", 20, 3, weights)
    assert [type(layer) for layer in plain.layers] == [type(layer) for layer in networks.seed(20, 3).layers]
    answers = plain.predict(pixels, verbose=0)
    assert np.ptp(answers, axis=0).min() > 0.3
    np.testing.assert_allclose(answers, trained.predict(pixels, verbose=0), atol=1e-5)


def test_pixels_are_divided_by_255_and_nothing_else() -> None:
    rescaling = networks.seed(32, 10).layers[0]
    pixels = np.arange(256, dtype=np.uint8).repeat(12).reshape(1, 32, 32, 3)
    np.testing.assert_allclose(np.asarray(rescaling(pixels)), pixels / 255, rtol=1e-6)


@pytest.mark.parametrize(("size", "classes"), [(18, 2), (64, 7), (96, 100)])
def test_any_size_and_number_of_classes_gives_probabilities(size: int, classes: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    answers = networks.seed(size, classes).predict(pixels, verbose=0)
    assert answers.shape == (3, classes)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


def test_the_vgg_network_halves_the_side_three_times() -> None:
    model = networks.vgg(32, 10)
    shapes = [tuple(layer.output.shape[1:]) for layer in model.layers if type(layer).__name__ == "Activation"]
    assert shapes == [(15, 15, 64), (15, 15, 64), (7, 7, 256), (7, 7, 256), (3, 3, 256), (3, 3, 256)]
    assert model.count_params() == 1_975_106


def test_the_vgg_network_starts_with_all_classes_as_probable() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(networks.vgg(32, 4).predict(pixels, verbose=0), 0.25, rtol=1e-5)


@pytest.mark.parametrize(("size", "classes"), [(16, 2), (32, 10), (64, 7), (96, 100)])
def test_the_vgg_network_takes_any_size_and_number_of_classes(size: int, classes: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    answers = networks.vgg(size, classes).predict(pixels, verbose=0)
    assert answers.shape == (3, classes)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("network", [networks.seed, networks.seed_normalized, networks.vgg])
def test_bfloat16_stays_inside(network: Any) -> None:
    model = network(32, 10, "mixed_bfloat16")
    assert {layer.compute_dtype for layer in model.layers} == {"float32", "bfloat16"}
    assert model.outputs[0].dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
