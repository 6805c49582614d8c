"""Model file → Keras: build the network again that a model file was made of, and give it the file's weights.

The converter keeps a network's convolutions and dense layers in their order, and each weight once, however many views
of the picture pass through it. It folds a normalisation into the convolution before it, unless a pooling is between
them: then the normalisation stays, as a product and a sum. Here both become the normalisation's scale and shift, and
its averages are 0 and 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import onnx
from keras import layers
from numpy.typing import NDArray

from thumbnet.errors import ModelError
from thumbnet.model.graph import layers as layers_of
from thumbnet.model.info import ModelInfo
from thumbnet.training.networks import SHIPPED


@dataclass
class _Step:
    """A convolution or dense layer as a file holds it, and what follows it: kernel → scale → shift."""

    kernel: NDArray[np.float32]  # as Keras has it: (k, k, in, out) or (in, out)
    scale: NDArray[np.float32]  # (out,)
    shift: NDArray[np.float32]  # (out,)


def rebuild(content: bytes, info: ModelInfo) -> keras.Model:
    """The network inside a model file, before mirror average and calibration: uint8 pictures → probabilities.

    Args:
        content: The model file's bytes.
        info: Its metadata.

    Raises:
        ModelError: Its recipe names no network known here, or its weights are not those of that network.
    """
    name = info.recipe.get("network")
    if not isinstance(name, str) or name not in SHIPPED:
        raise ModelError(
            f"the model file's network is {name!r:.40}. Expected one that is known here: {', '.join(SHIPPED)}"
        )
    network = SHIPPED[name](info.size, len(info.names))
    try:
        _fill(network, list(_steps(onnx.load_from_string(content).graph)))
    except (KeyError, ValueError) as error:  # the graph is not what the converter makes of such a network
        raise ModelError(
            f"the model file's weights are not those of the network {name!r}: {error}. Expected a model file as "
            "training leaves it; instead of an int8 file, take the one that it was made of"
        ) from error
    return network


def familiar(content: bytes) -> NDArray[np.float32] | None:
    """The training pictures' features that a model file's sureness compares with: `(M, D)`. Old files have none."""
    graph = onnx.load_from_string(content).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    of_the_network = {node.input[1] for node in layers_of(graph)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants and node.input[1] not in of_the_network:
            return np.array(onnx.numpy_helper.to_array(constants[node.input[1]]).T, np.float32)
    return None


def _fill(network: keras.Model, steps: list[_Step]) -> None:
    """Give the network its weights. Raises ValueError where they do not fit."""
    kernels = [layer for layer in network.layers if isinstance(layer, layers.Conv2D | layers.Dense)]
    if len(kernels) != len(steps):
        raise ValueError(f"expected {len(kernels)} layers with float32 weights, got {len(steps)}")
    remaining = iter(steps)
    for layer in network.layers:
        if layer in kernels:
            step = next(remaining)
            layer.set_weights([step.kernel * step.scale, step.shift] if layer.use_bias else [step.kernel])
        elif isinstance(layer, layers.BatchNormalization):
            nothing, one = np.zeros_like(step.shift), np.ones_like(step.shift)
            layer.set_weights([step.scale, step.shift, nothing, one - layer.epsilon])  # which Keras adds again


def _steps(graph: onnx.GraphProto) -> Iterator[_Step]:
    """The layers with weights, in their order."""
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    seen = set()
    for node in layers_of(graph):
        if node.input[1] in seen:
            continue
        seen.add(node.input[1])
        kernel = constants[node.input[1]]
        if node.op_type == "Conv":
            kernel = kernel.transpose(2, 3, 1, 0)  # (out, in, k, k) → (k, k, in, out)
        step = _Step(kernel, np.ones(kernel.shape[-1], np.float32), np.zeros(kernel.shape[-1], np.float32))
        if len(node.input) > 2:
            step.shift = constants[node.input[2]]
        while len(following := users.get(node.output[0], [])) == 1:
            node = following[0]
            values = [constants[name].reshape(-1) for name in node.input if name in constants]  # (out,) each
            if node.op_type == "Mul" and values:
                step.scale, step.shift = step.scale * values[0], step.shift * values[0]
            elif node.op_type == "Add" and values:
                step.shift = step.shift + values[0]
            elif node.op_type != "MaxPool":
                break
        yield step
