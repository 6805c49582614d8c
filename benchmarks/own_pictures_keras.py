"""Keras' guide on own pictures, from EfficientNet-Lite0's weights. `own_pictures.py` runs it.

    PYTHON benchmarks/own_pictures_keras.py TRAIN_FOLDER TEST_FOLDER --weights FILE.pth [--seed 0] [--no-mirror]

PYTHON has Thumbnet with what it needs for training, which reads the weights without PyTorch.

The training is that of https://keras.io/guides/transfer_learning/: flips and small rotations; the frozen base, an
average, dropout of 0.2 and a dense layer, 20 epochs with Adam's defaults; then all layers, 10 epochs with 1e-5; batches
of 32; batch norms keep their statistics. In place of the guide's Xception at 150 pixels is the network of the weights,
at 224. All the training pictures are learnt from, shuffled in each epoch; none is held out for validation, which here
would decide nothing.

Prints a line of JSON, `{"accuracy", "seconds", "images", "keras", "tensorflow"}`: accuracy on the test pictures, of
which there are `images`; seconds from the look for pictures to the trained network, without the imports before that and
the test after it. Pictures that cannot be read are left out of both folders.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from thumbnet.transfer.torch_weights import read_weights

SIZE = 224  # pixels a side
BATCH = 32
FROZEN_EPOCHS, EPOCHS = 20, 10
# Of each stage: blocks, kernel, stride of the first, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def lite0() -> keras.Model:
    """EfficientNet-Lite0 without its classifier: pixels less 127, divided by 128 `(N, S, S, 3)` → `(N, 7, 7, 1280)`.

    Layers are named as in the file of weights.
    """
    inputs = keras.Input((SIZE, SIZE, 3))
    x = normed(layers.Conv2D(32, 3, 2, "same", use_bias=False, name="_conv_stem")(inputs), "_bn0")  # (N, 112, 112, 32)
    block = 0
    for count, kernel, stride, expansion, channels in STAGES:
        for place in range(count):
            x = inverted(x, f"_blocks.{block}.", kernel, 1 if place else stride, expansion, channels)
            block += 1
    x = normed(layers.Conv2D(1280, 1, use_bias=False, name="_conv_head")(x), "_bn1")  # (N, 7, 7, 1280)
    return keras.Model(inputs, x)


def inverted(x: Any, name: str, kernel: int, stride: int, expansion: int, channels: int) -> Any:
    """An inverted bottleneck: wider, convolved, narrower, and with what came in added where it fits."""
    y, width = x, x.shape[-1]
    if expansion > 1:
        y = layers.Conv2D(expansion * width, 1, use_bias=False, name=f"{name}_expand_conv")(y)
        y = normed(y, f"{name}_bn0")
    y = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(y)
    y = normed(y, f"{name}_bn1")
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project_conv")(y)
    y = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn2")(y)
    return layers.Add()([x, y]) if stride == 1 and channels == width else y


def normed(x: Any, name: str) -> Any:
    """Batch norm and ReLU6."""
    return layers.ReLU(6)(layers.BatchNormalization(epsilon=1e-3, name=name)(x))


class Inference(layers.Layer):  # type: ignore[misc]
    """A network whose batch norms keep their statistics in training, too.

    The guide's `base_model(x, training=False)` does so no longer: https://github.com/keras-team/keras/issues/20285.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network

    def call(self, x: Any) -> Any:
        """Pixels `(N, S, S, 3)` → `(N, 7, 7, 1280)`."""
        return self.network(x, training=False)


def fill(network: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    """Give each layer its weights. PyTorch has kernels as (out, in, k, k), of depthwise ones as (channels, 1, k, k)."""
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([weights[f"{layer.name}.{part}"] for part in parts])
        elif layer.weights:
            axes = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
            layer.set_weights([weights[f"{layer.name}.weight"].transpose(axes)])


def pictures(folder: Path) -> tf.data.Dataset:
    """Squares and labels of the pictures that can be read: float32 `(S, S, 3)`, 0 to 255, and int32."""
    read = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIZE, SIZE), batch_size=None, shuffle=False, verbose=False
    )
    there = read.ignore_errors().cache()
    count = sum(1 for _ in there)
    return there.apply(tf.data.experimental.assert_cardinality(count))


def learn(folder: Path, weights: Path, *, mirror: bool) -> keras.Model:
    """A trained model, whose input are pixels and whose output are logits."""
    train = pictures(folder)
    classes = sum(path.is_dir() for path in folder.iterdir())
    base = lite0()
    fill(base, read_weights(weights.read_bytes()))
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.RandomFlip("horizontal")(inputs) if mirror else inputs
    x = layers.RandomRotation(0.1)(x)
    x = layers.Rescaling(1 / 128, -127 / 128)(x)
    x = layers.GlobalAveragePooling2D()(Inference(base)(x))  # (N, 1280)
    model = keras.Model(inputs, layers.Dense(classes)(layers.Dropout(0.2)(x)))
    batches = train.shuffle(len(train)).batch(BATCH).prefetch(10)
    for trainable, rate, epochs in ((False, 1e-3, FROZEN_EPOCHS), (True, 1e-5, EPOCHS)):
        base.trainable = trainable
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        model.fit(batches, epochs=epochs, verbose=0)
    return model


def main() -> None:
    """Train once, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN_FOLDER", help="a subfolder of pictures for each class")
    parser.add_argument("test", type=Path, metavar="TEST_FOLDER", help="likewise")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE.pth", help="of EfficientNet-Lite0")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--no-mirror", dest="mirror", action="store_false", help="mirror no pictures")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    start = time.monotonic()
    model = learn(arguments.train, arguments.weights, mirror=arguments.mirror)
    seconds = time.monotonic() - start
    test = pictures(arguments.test)
    _, accuracy = model.evaluate(test.batch(BATCH), verbose=0)
    result = {"accuracy": accuracy, "seconds": seconds, "images": len(test)}
    print(json.dumps(result | {"keras": keras.__version__, "tensorflow": tf.__version__}))


if __name__ == "__main__":
    main()
