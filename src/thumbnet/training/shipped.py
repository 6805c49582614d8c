"""What a model file computes: network, mirror average, calibration and sureness, in Keras's own operations.

The model file and the formats of Keras and TensorFlow are all made from it.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from thumbnet.errors import ModelError
from thumbnet.model.info import ModelInfo
from thumbnet.training.calibrate import FLOOR, POWER
from thumbnet.training.networks import at_once, seen_maps

# Features that are shorter are not brought to length 1. The spreads of a picture of one colour are roundings
# alone, which differ between runtimes and would decide whether it is familiar.
FAINT = 1e-3


def computation(network: keras.Model, info: ModelInfo, familiar: NDArray[np.float32] | None) -> keras.Model:
    """The whole computation, which loads without Thumbnet: uint8 `(N, S, S, 3)` → what `Classifier.ask` returns.

    Args:
        network: Float32; pictures → probabilities `(N, C)`, not yet calibrated.
        info: Gives temperature and mirror average.
        familiar: The `features` of training pictures, `(M, D + E)`, with which the sureness compares a picture. Without
            them, the sureness is the confidence.

    Raises:
        ModelError: `familiar` holds other features than this version takes.
    """
    images, features, probabilities = _seen(network, info)
    sureness = ops.max(probabilities, axis=1)  # (N,)
    if familiar is not None:
        if features.shape[1] != familiar.shape[1]:
            raise ModelError(
                "the model file's sureness is that of an older Thumbnet, which took other features. Train it "
                f"again, or export it by the version that made it, {info.version or 'which it does not say'}"
            )
        compare = keras.layers.Dense(len(familiar), use_bias=False, trainable=False, name="familiar")
        cosines = compare(features)  # (N, M)
        compare.set_weights([familiar.T])
        sureness = sureness * ops.power(ops.clip(ops.max(cosines, axis=1), 0.0, 1.0), float(POWER))
    return keras.Model(images, {"probabilities": probabilities, "sureness": sureness}, name="thumbnet")


def as_function(whole: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    """The whole computation as a TensorFlow function of `images`: uint8 `(N, S, S, 3)` → its outputs by name."""
    size = whole.inputs[0].shape[1]

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.uint8, name="images")])  # type: ignore[untyped-decorator]
    def answered(images: tf.Tensor) -> dict[str, tf.Tensor]:
        given: dict[str, tf.Tensor] = whole(images, training=False)
        return given

    return answered


def features(network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The features by which pictures are compared: uint8 `(M, S, S, 3)` → float32 `(M, D + E)`.

    Each row has length 1, or less for a picture of one colour. It holds the averages of one of the network's
    `seen_maps` over all places and the standard deviations of the other. A picture is as familiar as the cosine between
    its features and the nearest training picture's (Sun et al. 2022, "Out-of-distribution detection with deep nearest
    neighbors").
    """
    images, seen, _ = _seen(network, info)
    looked = keras.Model(images, seen)
    given = [ops.convert_to_numpy(looked(batch, training=False)) for batch in batches(samples)]
    return np.concatenate(given)


def batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Pictures `(N, S, S, 3)` in batches that the network can answer in one go."""
    step = at_once(images.shape[1])
    return [images[start : start + step] for start in range(0, len(images), step)]


def _seen(network: keras.Model, info: ModelInfo) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Pictures, their features `(N, D + E)`, and calibrated probabilities `(N, C)`."""
    images = keras.Input((info.size, info.size, 3), dtype="uint8", name="images")
    looked = keras.Model(network.inputs, [*seen_maps(network), *network.outputs])
    views = [images, ops.flip(images, axis=2)] if info.mirror_average else [images]
    last, entering, answers = zip(*map(looked, views), strict=True)  # (N, s, s, D), (N, t, t, E), (N, C) each
    # The mean of softmaxes' logarithms is that of the logits, up to a constant that the last softmax removes.
    logs = [ops.log(ops.maximum(each, FLOOR)) for each in answers]
    probabilities = keras.layers.Softmax()(_sum(logs) / (len(logs) * info.temperature))
    averages = ops.mean(_places(_sum(last)), axis=1)  # (N, D); the mirror image's places need no order
    spreads = _sum([ops.std(_places(each), axis=1) for each in entering])  # (N, E)
    parts = [ops.normalize(part, axis=1, epsilon=FAINT) for part in (averages, spreads)]
    return images, ops.concatenate(parts, axis=1) / np.sqrt(len(parts), dtype=np.float32), probabilities


def _places(values: keras.KerasTensor) -> keras.KerasTensor:
    """A map's places in a row: `(N, s, s, D)` → `(N, s², D)`.

    From a sum over two axes, the converter to ONNX makes different graphs from run to run.
    """
    return ops.reshape(values, (-1, values.shape[1] * values.shape[2], values.shape[3]))


def _sum(terms: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """The sum of the terms: of one view, or of two."""
    return terms[0] if len(terms) == 1 else ops.add(*terms)
