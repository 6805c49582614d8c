"""A tiny model file as a training by a backbone leaves it, with features and exact evidence; made without training.

Classifier(transferred.content()).predict(square("red", 48)).label == "red"

Its answer is the strongest colour on average. The backbone is two convolutions: of the features, three are the colours,
and the others are random mixtures, which the head hardly minds.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from support import models

SIZE = 48  # pixels a side of the model's input
WIDTH = 16  # features of a picture
STEP = 4  # pixels a side that each convolution makes one of
SHARPNESS = 10.0  # of the softmax: a pure colour is answered with 99.99 %
BIAS = (0.3, 0.0, -0.3)


def graph(size: int = SIZE, sharpness: float = SHARPNESS, *, heat: bool = True) -> onnx.ModelProto:
    """The network alone, without metadata: `size` is a multiple of 16, and there are `size / 16` places a side."""
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(WIDTH, inputs, STEP, STEP)) / 20 for inputs in (3, WIDTH))
    for kernels in (first, second):
        kernels[:3] = 0
        kernels[range(3), range(3)] = STEP**-2  # the mean of a colour
    weights = random.normal(size=(WIDTH, 3)) / 20
    weights[:3] = sharpness * np.eye(3)
    constants: dict[str, NDArray[Any]] = {
        "255": np.array(255, np.float32),
        "column": np.array([0, WIDTH, 1, 1], np.int64),
        "last": np.array([1], np.int64),
        "first kernels": first.astype(np.float32),
        "second kernels": second.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kernel of the head": weights.T[..., None, None].astype(np.float32),
        "bias": np.array(BIAS, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "255"], ["light"]),
        helper.make_node("Transpose", ["light"], ["channels"], perm=[0, 3, 1, 2]),  # (N, S, S, 3) → (N, 3, S, S)
        helper.make_node("Conv", ["channels", "first kernels"], ["early"], strides=[STEP, STEP]),
        helper.make_node("Relu", ["early"], ["early maps"]),
        helper.make_node("Conv", ["early maps", "second kernels"], ["late"], strides=[STEP, STEP]),
        helper.make_node("Relu", ["late"], ["planes"]),  # (N, D, h, w)
        helper.make_node("GlobalAveragePool", ["planes"], ["averages"]),
        helper.make_node("Flatten", ["averages"], ["features"]),  # (N, D)
        helper.make_node("Reshape", ["features", "column"], ["columns"]),  # (N, D, 1, 1)
        helper.make_node("Conv", ["columns", "kernel of the head", "bias"], ["head"]),  # (N, C, 1, 1)
        helper.make_node("Flatten", ["head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "last"], ["sureness"], keepdims=0),
        helper.make_node("Transpose", ["planes"], ["maps"], perm=[0, 2, 3, 1]),  # (N, D, h, w) → (N, h, w, D)
        helper.make_node("MatMul", ["maps", "weights"], ["heat"]),  # (N, h, w, C)
    ]
    shapes: dict[str, list[Any]] = {
        "probabilities": ["N", 3], "sureness": ["N"], "features": ["N", WIDTH], "heat": ["N", "h", "w", 3],
    }  # fmt: skip
    if not heat:
        del shapes["heat"], nodes[-2:]
    whole = helper.make_graph(
        nodes, "transferred",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )  # fmt: skip
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def content(model: onnx.ModelProto | None = None, **changes: Any) -> bytes:
    """A model file's bytes: this network or the usual one, and the usual information with `changes`."""
    about = {"name": "tiny", "licence": "MIT", "origin": "these tests", "sha256": "0" * 64}
    return models.content(model or graph(), **{"size": SIZE, "framing": "stretch", "backbone": about, **changes})
