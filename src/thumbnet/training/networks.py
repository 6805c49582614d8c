"""The networks, for any number of classes and size. Each takes raw pixels and gives probabilities."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from thumbnet.transfer import efficientnet, halves

LEAST = 18  # pixels a side; the least that every network has room for


def seed(size: int, classes: int, precision: str = "float32") -> keras.Model:
    """The README's CNN: 122,570 parameters for ten classes at 32 pixels.

    Args:
        size: Pixels a side, 18 or more: convolutions are unpadded, so the picture shrinks.
        classes: Number of classes.
        precision: A Keras dtype policy for the hidden layers. Input and output are float32.

    Returns:
        uint8 `(N, size, size, 3)` → float32 `(N, classes)`, each row a softmax.
    """
    return keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8", name="images"),
            layers.Rescaling(1 / 255, dtype="float32"),
            layers.Conv2D(32, 3, activation="relu", dtype=precision),  # (N, 30, 30, 32)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 15, 15, 32)
            layers.Conv2D(64, 3, activation="relu", dtype=precision),  # (N, 13, 13, 64)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 6, 6, 64)
            layers.Conv2D(64, 3, activation="relu", dtype=precision),  # (N, 4, 4, 64)
            layers.Flatten(dtype=precision),  # (N, 1024)
            layers.Dense(64, activation="relu", dtype=precision),  # (N, 64)
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="seed",
    )


def seed_normalized(size: int, classes: int, precision: str = "float32") -> keras.Model:
    """`seed` as it is trained: with batch normalization (Ioffe & Szegedy 2015) before each ReLU.

    `as_shipped` turns it into `seed` exactly: a normalization here has no scale of its own, and the division by a
    deviation and the ReLU may as well come before the pooling. After it, they have a quarter of the work.

    It takes and returns what `seed` does.
    """

    def activated() -> list[keras.Layer]:
        norm = layers.BatchNormalization(scale=False, momentum=0.95, epsilon=1e-5, dtype=precision)
        return [norm, layers.Activation("relu", dtype=precision)]

    return keras.Sequential(
        [
            keras.Input((size, size, 3), dtype="uint8", name="images"),
            layers.Rescaling(1 / 255, dtype="float32"),
            layers.Conv2D(32, 3, use_bias=False, dtype=precision),  # (N, 30, 30, 32)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 15, 15, 32)
            *activated(),
            layers.Conv2D(64, 3, use_bias=False, dtype=precision),  # (N, 13, 13, 64)
            layers.MaxPooling2D(2, dtype=precision),  # (N, 6, 6, 64)
            *activated(),
            layers.Conv2D(64, 3, use_bias=False, dtype=precision),  # (N, 4, 4, 64)
            *activated(),
            layers.Flatten(dtype=precision),  # (N, 1024)
            layers.Dense(64, use_bias=False, dtype=precision),  # (N, 64)
            *activated(),
            layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities"),
        ],
        name="seed_normalized",
    )


def vgg(size: int | None, classes: int, precision: str = "float32") -> keras.Model:
    """Three stages of 64, 256 and 256 channels, two 3×3 convolutions each: 1,975,106 parameters for ten classes.

    The shape of airbench94's network (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU"), a small one of
    the family of VGG (Simonyan & Zisserman 2015), with SiLU in place of GELU. The 2×2 convolution is unpadded, so sides
    go from 32 to 31, 15, 7 and 3: a fifth less work than from 32 to 16, 8 and 4.

    Args:
        size: Pixels a side, 16 or more; None for a network that takes any, batch by batch.
        classes: Number of classes.
        precision: A Keras dtype policy for the hidden layers. Input and output are float32.

    Returns:
        uint8 `(N, size, size, 3)` → float32 `(N, classes)`, each row a softmax.
    """

    def convolved(values: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        return layers.Conv2D(channels, 3, padding="same", use_bias=False, dtype=precision)(values)

    def activated(values: keras.KerasTensor) -> keras.KerasTensor:
        values = layers.BatchNormalization(momentum=0.95, epsilon=1e-5, dtype=precision)(values)
        return layers.Activation("silu", dtype=precision)(values)

    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    x = layers.Rescaling(1 / 255, dtype="float32")(images)
    x = layers.Conv2D(24, 2, activation="relu", dtype=precision)(x)  # (N, 31, 31, 24), of 32 pixels a side
    for channels in (64, 256, 256):
        x = activated(layers.MaxPooling2D(2, dtype=precision)(convolved(x, channels)))  # (N, 15, 15, 64), half a side
        x = activated(convolved(x, channels))
    x = layers.GlobalMaxPooling2D(dtype=precision)(x)  # (N, 256)
    # Zeros: at first all classes are equally probable, so no random answer has to be unlearned.
    head = layers.Dense(
        classes, activation="softmax", kernel_initializer="zeros", dtype="float32", name="probabilities"
    )
    return keras.Model(images, head(x), name="vgg")


def lite0_rest(size: int, classes: int, precision: str = "float32") -> keras.Model:
    """Most of EfficientNet-Lite0 and a head: what the recipe `tune` trains (`transfer.halves`).

    Batch normalizations are folded into the convolutions. The depthwise convolutions stay as they are: their gradients
    would take as long as all others together.

    Args:
        size: Pixels a side of the pictures; a multiple of 32.
        classes: Number of classes.
        precision: A Keras dtype policy for the hidden layers. The features and the output are float32.

    Returns:
        float16 rows `(N, L)` of the first half → float32 `(N, classes)`, each row a softmax. Its layer `features` gives
        the features of the whole network, `(N, 2024)`.
    """
    side = size // halves.REDUCTION
    places = side**2 * halves.CHANNELS
    rows = keras.Input((places + halves.EARLIER,), dtype="float16", name="images")
    wide = layers.Identity(dtype="float32")(rows)  # float32 from here on
    x = layers.Reshape((side, side, halves.CHANNELS), dtype=precision)(wide[:, :places])
    later = []  # features
    for number, block in enumerate(efficientnet.BLOCKS[halves.FIRST :], halves.FIRST):
        before, name = x, f"block{number:02}"
        x = layers.Conv2D(block.inner, 1, name=f"{name}_expand", dtype=precision)(x)
        x = layers.Activation("relu6", dtype=precision)(x)
        x = layers.DepthwiseConv2D(
            block.kernel, block.stride, "same", name=f"{name}_depthwise", trainable=False, dtype=precision
        )(x)
        x = layers.Activation("relu6", dtype=precision)(x)
        x = layers.Conv2D(block.channels, 1, name=f"{name}_project", dtype=precision)(x)
        x = layers.Add(dtype=precision)([x, before]) if block.adds else x
        if number in efficientnet.EARLIER_BLOCKS:
            later.append(layers.Rescaling(efficientnet.EARLIER, dtype="float32")(_direction(x)))
    x = layers.Conv2D(efficientnet.HEAD, 1, name="head", dtype=precision)(x)
    last = _direction(layers.Activation("relu6", dtype=precision)(x))
    features = layers.Concatenate(name="features", dtype="float32")([last, wide[:, places:], *later])  # (N, 2024)
    head = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")
    return keras.Model(rows, head(features), name="lite0_rest")


def _direction(maps: keras.KerasTensor) -> keras.KerasTensor:
    """A map's averages over its places, brought to length 1: `(N, h, w, C)` → `(N, C)`."""
    return layers.UnitNormalization(dtype="float32")(layers.GlobalAveragePooling2D(dtype="float32")(maps))


Build = Callable[..., keras.Model]  # of size, classes and precision

SHIPPED: dict[str, Build] = {"seed": seed, "vgg": vgg, "lite0_rest": lite0_rest}
"""The networks that ship, by their names in recipes and model files; of `lite0_rest`, the weights ship."""

TRAINED: dict[str, Build] = {**SHIPPED, "seed": seed_normalized}
"""The networks that are trained, from which `as_shipped` makes those that ship."""


def as_shipped(name: str, size: int, classes: int, weights: Sequence[NDArray[Any]]) -> keras.Model:
    """The network that ships, all in float32.

    Args:
        name: One in `SHIPPED`.
        size: Pixels a side.
        classes: Number of classes.
        weights: The weights of the network in `TRAINED`, in Keras's order.
    """
    network = TRAINED[name](size, classes)
    network.set_weights(weights)
    if TRAINED[name] is SHIPPED[name]:
        return network
    folded: list[NDArray[np.float32]] = []  # a kernel and a bias a layer
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            shift, mean, variance = layer.get_weights()  # (F,) each
            deviation = np.sqrt(variance + layer.epsilon)
            folded[-1:] = [folded[-1] / deviation, shift - mean / deviation]
        else:
            folded += layer.get_weights()
    plain = SHIPPED[name](size, classes)
    plain.set_weights(folded)
    return plain


def at_once(size: int) -> int:
    """How many pictures of `size` pixels a side are answered in one go: as many pixels as 1,000 pictures of 32 have."""
    return max(1, 1000 * 32**2 // size**2)


def seen_maps(network: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The two maps that give a picture its features, by which pictures are alike: `(N, s, s, D)` and `(N, t, t, E)`.

    The first is the last convolution's output, which tells what is there. The second is the input of the last
    convolution before the last pooling, which still tells how it looks.
    """
    maps: list[keras.KerasTensor] = [layer.output for layer in network.layers if len(layer.output.shape) == 4]
    last_pooling = max(place for place, layer in enumerate(network.layers) if isinstance(layer, layers.MaxPooling2D))
    convolutions = [layer for layer in network.layers[:last_pooling] if isinstance(layer, layers.Conv2D)]
    return maps[-1], convolutions[-1].input
