"""Layers that TensorFlow trains faster on a processor than Keras's own. They compute the same, up to rounding."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

CHANNELS = 256  # of input, from which on nine matrix products are the faster way to a kernel's gradient


def quicker(network: keras.Model) -> keras.Model:
    """A network with the same layers, names and weights in the same order, for training only.

    Args:
        network: Made of Keras's own layers, as it ships. On a GPU it stays as it is: nothing was measured there.
    """
    if tf.config.list_physical_devices("GPU"):
        return network
    clone = keras.models.clone_model(network, clone_function=_quicker)
    clone.set_weights(network.get_weights())
    return clone


def _quicker(layer: keras.Layer) -> keras.Layer:
    kind = type(layer)
    if isinstance(layer, layers.Conv2D) and layer.kernel_size == (3, 3) and layer.padding == "same":
        kind = Convolution
    elif isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1) and layer.strides == (1, 1):
        kind = Pointwise
    elif isinstance(layer, layers.BatchNormalization):
        kind = Normalization
    elif isinstance(layer, layers.Activation) and layer.activation is keras.activations.silu:
        kind = Silu
    return kind.from_config(layer.get_config())


class Convolution(layers.Conv2D):  # type: ignore[misc]  # Keras has no types
    """A padded 3×3 convolution with stride 1, whose kernel's gradient is computed as nine matrix products."""

    def convolution_op(self, inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        """`(N, S, T, I)` and `(3, 3, I, O)` → `(N, S, T, O)`."""
        kernel = tf.convert_to_tensor(kernel)
        if kernel.shape[2] < CHANNELS:
            return super().convolution_op(inputs, kernel)
        return _convolution(inputs, kernel)


class Pointwise(layers.Conv2D):  # type: ignore[misc]
    """A 1×1 convolution as a matrix product, whose gradients are matrix products too."""

    def convolution_op(self, inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        """`(N, S, T, I)` and `(1, 1, I, O)` → `(N, S, T, O)`."""
        matrix = tf.convert_to_tensor(kernel)[0, 0]  # (I, O)
        products = tf.matmul(tf.reshape(inputs, (-1, matrix.shape[0])), matrix)
        return tf.reshape(products, (-1, *inputs.shape[1:3], matrix.shape[1]))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _convolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        back = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(inputs), strides=1)
        padded = tf.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))  # (N, S + 2, T + 2, I)
        rows = tf.reshape(upstream, (-1, kernel.shape[3]))  # (N·S·T, O)
        products = [  # of the pictures, shifted, with what comes back: (I, O) each
            tf.matmul(tf.reshape(padded[:, y : y - 2 or None, x : x - 2 or None], (-1, kernel.shape[2])), rows, True)
            for y in range(3)
            for x in range(3)
        ]
        return back, tf.reshape(tf.stack(products), kernel.shape)

    return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradients


class Normalization(layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalization in one operation of TensorFlow. Keras's takes many, each of which passes over memory."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """`(N, S, T, C)` → the same shape. Other shapes, other uses and several devices get Keras's own."""
        if not training or len(inputs.shape) != 4 or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        channels = inputs.shape[3]
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones(channels),
            offset=tf.cast(self.beta, tf.float32),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        values = tf.cast(tf.size(inputs) // channels, tf.float32)  # of each channel
        variance *= 1 - 1 / values  # Keras keeps the batch's own, this operation estimates that of all pictures
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return outputs


class Silu(layers.Activation):  # type: ignore[misc]
    """SiLU whose gradient is computed in one pass over memory."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Any shape → the same."""
        return _silu(inputs)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _silu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    return tf.nn.silu(inputs), lambda upstream: _silu_gradient(inputs, upstream)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def _silu_gradient(inputs: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    values = tf.cast(inputs, tf.float32)
    sigmoid = tf.sigmoid(values)
    slope = sigmoid * (1 + values * (1 - sigmoid))
    return tf.cast(tf.cast(upstream, tf.float32) * slope, inputs.dtype)
