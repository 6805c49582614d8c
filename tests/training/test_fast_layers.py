"""What trains in less time computes what Keras's own layers do."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

from thumbnet.training import networks

if keras.backend.backend() != "tensorflow":
    pytest.skip("these layers are TensorFlow's", allow_module_level=True)

import tensorflow as tf

from thumbnet.training import fast_layers


def both(name: str, size: int, precision: str = "float32") -> tuple[keras.Model, keras.Model]:
    """A network, its kernels and norms of all sizes, and the same for training."""
    plain = networks.TRAINED[name](size, 10, precision)
    rng = np.random.default_rng(0)
    plain.set_weights([weights + rng.normal(0, 0.05, weights.shape) for weights in plain.get_weights()])
    return plain, fast_layers.quicker(plain)


def pictures(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, and the classes as rows of an identity."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return images, np.eye(10, dtype=np.float32)[rng.integers(0, 10, count)]


def trained(network: keras.Model, images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """What it answers in training, and the gradients of the loss."""
    with tf.GradientTape() as tape:
        answers = network(images, training=True)
        loss = keras.losses.CategoricalCrossentropy()(targets, answers)
    return np.asarray(answers), [np.asarray(each) for each in tape.gradient(loss, network.trainable_weights)]


def statistics(network: keras.Model) -> list[np.ndarray]:
    return [np.asarray(each) for each in network.non_trainable_weights if "moving" in each.name]


@pytest.mark.parametrize(("name", "size"), [("vgg", 24), ("vgg", 21), ("seed", 20)])
def test_answers_gradients_and_statistics_are_those_of_keras(name: str, size: int) -> None:
    plain, quicker = both(name, size)
    images, targets = pictures(6, size)
    answers, gradients = trained(plain, images, targets)
    same_answers, same_gradients = trained(quicker, images, targets)
    np.testing.assert_allclose(same_answers, answers, atol=1e-5)
    for gradient, same in zip(gradients, same_gradients, strict=True):
        np.testing.assert_allclose(same, gradient, atol=1e-4 * np.abs(gradient).max())
    for expected, found in zip(statistics(plain), statistics(quicker), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(quicker(images), plain(images), atol=1e-5)  # and out of training


def test_a_pointwise_convolution() -> None:
    rng = np.random.default_rng(0)
    inputs, upstream = tf.constant(rng.normal(size=(2, 3, 5, 8)), tf.float32), rng.normal(size=(2, 3, 5, 6))
    plain = keras.layers.Conv2D(6, 1)
    quicker = fast_layers.Pointwise.from_config(plain.get_config())
    found: list[Any] = []
    for layer in (plain, quicker):
        layer.build(inputs.shape)
        layer.set_weights([rng.normal(size=(1, 1, 8, 6)), np.arange(6)] if layer is plain else plain.get_weights())
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        found.append(
            (outputs, *tape.gradient(outputs, [inputs, *layer.trainable_weights], tf.constant(upstream, tf.float32)))
        )
    for expected, same in zip(*found, strict=True):
        np.testing.assert_allclose(same, expected, rtol=1e-4, atol=1e-5)


def test_the_tuned_half_trains_its_pointwise_convolutions_so() -> None:
    network = fast_layers.quicker(networks.lite0_rest(64, 3))
    kinds = {type(layer) for layer in network.layers if "_expand" in layer.name or "_project" in layer.name}
    assert kinds == {fast_layers.Pointwise}
    assert not [weight for weight in network.trainable_weights if "depthwise" in weight.path]


def test_in_bfloat16_gradients_are_as_near_to_those_of_float32_as_keras_s_are() -> None:
    batch = pictures(64, 24)
    exact = trained(both("vgg", 24)[0], *batch)[1]
    keras_s, ours = (trained(network, *batch)[1] for network in both("vgg", 24, "mixed_bfloat16"))

    def off(found: list[np.ndarray]) -> np.ndarray:
        return np.array([np.linalg.norm(f - e) / np.linalg.norm(e) for f, e in zip(found, exact, strict=True)])

    assert (off(ours) < 1.25 * off(keras_s) + 0.01).all()


def test_a_convolution_of_what_is_not_square() -> None:
    rng = np.random.default_rng(0)
    inputs, upstream = (tf.constant(rng.normal(size=(2, 3, 5, 256)), tf.float32) for _ in range(2))
    plain = keras.layers.Conv2D(256, 3, padding="same", use_bias=False)
    quicker = fast_layers.Convolution.from_config(plain.get_config())
    found: list[Any] = []
    for layer in (plain, quicker):
        layer.build(inputs.shape)
        layer.set_weights([rng.normal(size=(3, 3, 256, 256))] if not found else plain.get_weights())
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        found.append([outputs, *tape.gradient(outputs, [inputs, layer.kernel.value], upstream)])
    for expected, same in zip(*found, strict=True):
        np.testing.assert_allclose(same, expected, rtol=1e-3, atol=1e-2)


def test_layers_keep_names_order_and_weights() -> None:
    plain, quicker = both("vgg", 24)
    assert [layer.name for layer in quicker.layers] == [layer.name for layer in plain.layers]
    for expected, found in zip(plain.get_weights(), quicker.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    kinds = [type(layer) for layer in quicker.layers]
    assert [kinds.count(kind) for kind in (fast_layers.Convolution, fast_layers.Normalization, fast_layers.Silu)] == [
        6,
        6,
        6,
    ]


def test_on_a_gpu_a_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = networks.seed_normalized(20, 3)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert fast_layers.quicker(network) is network
