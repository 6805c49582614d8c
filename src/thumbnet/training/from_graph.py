"""Model file → TensorFlow function: its graph, operator by operator. For models that learnt by a backbone.

TensorFlow's convolutions want the channels last on a processor, and ONNX's have them first. So a tensor of four
dimensions is kept with its channels last throughout, and what an operator says of its axes is translated. Then nothing
is turned around but the few constants.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from thumbnet.errors import ModelError
from thumbnet.model.graph import behind
from thumbnet.model.info import ModelInfo

OUTPUTS = ("probabilities", "sureness")
LAST = (0, 3, 1, 2)  # where each axis of four is once the channels are last
Attributes = Mapping[str, Any]
Operator = Callable[[Sequence[Any], Attributes], tf.Tensor]


def as_function(content: bytes, info: ModelInfo) -> tuple[tf.Module, tf.types.experimental.PolymorphicFunction]:
    """A model file's computation.

    Args:
        content: The model file's bytes.
        info: Its metadata.

    Returns:
        A module that holds the weights, and a function that maps `images`, uint8 `(N, S, S, 3)`, to `probabilities`,
        `(N, C)`, and `sureness`, `(N,)`.

    Raises:
        ModelError: The graph has an operator that is not known here.
    """
    graph = onnx.load_from_string(content).graph
    nodes = behind(graph, OUTPUTS)
    constants: dict[str, NDArray[Any]] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in [each for each in nodes if each.op_type == "Cast" and each.input[0] in constants]:
        constants[node.output[0]] = constants[node.input[0]].astype(np.float32)  # all casts are to float32
        nodes.remove(node)
    if unknown := {node.op_type for node in nodes} - OPERATORS.keys():
        raise ModelError(
            f"the model file's graph has the operators {', '.join(sorted(unknown))}, which are not known here. "
            "Expected one by a built-in backbone; instead of an int8 file, take the one that it was made of"
        )
    module = tf.Module()
    module.weights = []
    weights: dict[str, Any] = {}
    for node in nodes:
        attributes = _attributes(node)
        for place, name in enumerate(node.input):
            if name in constants and name not in weights:
                values = constants[name]
                if node.op_type == "Conv" and place == 1:
                    depthwise = attributes.get("group", 1) > 1
                    values = values.transpose(2, 3, 0, 1) if depthwise else values.transpose(2, 3, 1, 0)
                    weights[name] = tf.Variable(values, trainable=False)
                    module.weights.append(weights[name])
                else:
                    weights[name] = values.transpose(1, 2, 0) if values.ndim == 3 else values

    @tf.function(input_signature=[tf.TensorSpec((None, info.size, info.size, 3), tf.uint8, name="images")])  # type: ignore[untyped-decorator]
    def answered(images: tf.Tensor) -> dict[str, tf.Tensor]:
        values = {**weights, "images": images}
        for node in nodes:
            inputs = [values[name] for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](inputs, _attributes(node))
        return {name: values[name] for name in OUTPUTS}

    return module, answered


def _attributes(node: Any) -> Attributes:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def _convolution(inputs: Sequence[Any], attributes: Attributes) -> tf.Tensor:
    maps, kernel, *bias = inputs
    padding = "SAME" if attributes.get("auto_pad") == b"SAME_UPPER" else "VALID"
    strides = list(attributes.get("strides", (1, 1)))
    if attributes.get("group", 1) > 1:  # as many groups as channels
        found = tf.nn.depthwise_conv2d(maps, kernel, [1, *strides, 1], padding)
    else:
        found = tf.nn.conv2d(maps, kernel, strides, padding)
    return tf.nn.bias_add(found, bias[0]) if bias else found


def _axes(values: tf.Tensor, axes: Sequence[int]) -> list[int]:
    return [LAST[axis] if len(values.shape) == 4 else axis for axis in axes]


def _flattened(inputs: Sequence[Any], _: Attributes) -> tf.Tensor:
    [values] = inputs
    return tf.reshape(values, (-1, values.shape[-1]))  # of one place


def _column(inputs: Sequence[Any], _: Attributes) -> tf.Tensor:
    """`(N, D)` → a map of one place, `(N, 1, 1, D)`."""
    return inputs[0][:, None, None, :]


def _reduced(reduce: Callable[..., tf.Tensor]) -> Operator:
    def work(inputs: Sequence[Any], attributes: Attributes) -> tf.Tensor:
        values, axes = inputs
        return reduce(values, axis=_axes(values, axes.tolist()), keepdims=bool(attributes.get("keepdims", 1)))

    return work


def _sliced(inputs: Sequence[Any], _: Attributes) -> tf.Tensor:
    values, [start], [end], [axis] = inputs
    return values[(slice(None),) * int(axis) + (slice(int(start), int(end)),)]


OPERATORS: dict[str, Operator] = {
    "Add": lambda inputs, _: tf.add(*inputs),
    "Cast": lambda inputs, _: tf.cast(inputs[0], tf.float32),
    "Clip": lambda inputs, _: tf.clip_by_value(*inputs),
    "Concat": lambda inputs, attributes: tf.concat(inputs, _axes(inputs[0], [attributes["axis"]])[0]),
    "Conv": _convolution,
    "Div": lambda inputs, _: tf.divide(*inputs),
    "Flatten": _flattened,
    "GlobalAveragePool": lambda inputs, _: tf.reduce_mean(inputs[0], (1, 2), keepdims=True),
    "Max": lambda inputs, _: tf.maximum(*inputs),
    "Mul": lambda inputs, _: tf.multiply(*inputs),
    "Pow": lambda inputs, _: tf.pow(*inputs),
    "ReduceL2": _reduced(lambda values, **where: tf.sqrt(tf.reduce_sum(values**2, **where))),
    "ReduceMax": _reduced(tf.reduce_max),
    "Reshape": _column,
    "Sigmoid": lambda inputs, _: tf.sigmoid(inputs[0]),
    "Slice": _sliced,
    "Softmax": lambda inputs, _: tf.nn.softmax(inputs[0]),  # of the channels, which are last
    "Squeeze": lambda inputs, _: tf.squeeze(inputs[0], inputs[1].tolist()),
    "Sub": lambda inputs, _: tf.subtract(*inputs),
    "Transpose": lambda inputs, _: inputs[0],  # of the pictures, which have their channels last
    "Unsqueeze": _column,
}
"""What the graphs of `transfer` are made of."""
