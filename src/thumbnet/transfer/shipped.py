"""Backbone + head → model file: one graph, in which nothing of the backbone is changed."""

import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from thumbnet.errors import ExportError
from thumbnet.model.classifier import Classifier
from thumbnet.model.graph import behind
from thumbnet.model.info import ModelInfo, write_info
from thumbnet.transfer.backbone import KEY, Backbone
from thumbnet.transfer.familiarity import Familiarity
from thumbnet.transfer.head import Head

LARGE = 1024  # numbers, from which on a constant is worth storing in half the bytes
TOLERANCE = 1e-3  # of probabilities, sureness and features, between the file and what was learnt from


def model_file(backbone: Backbone, head: Head, familiarity: Familiarity, info: ModelInfo) -> bytes:
    """The model file: uint8 `(N, S, S, 3)` → probabilities, sureness, features, and evidence if the backbone has maps.

    Args:
        backbone: Gives the features.
        head: The features' probabilities.
        familiarity: Their sureness.
        info: The file's metadata.
    """
    model = onnx.load_from_string(backbone.content)
    graph = model.graph
    classes = len(head.bias)

    def constant(name: str, values: NDArray[np.float32]) -> str:
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), f"thumbnet/{name}"))
        return f"thumbnet/{name}"

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        graph.node.append(helper.make_node(kind, inputs, [output], name=f"thumbnet/{output}", **attributes))
        return output

    graph.initializer.append(
        numpy_helper.from_array(np.array([0, backbone.width, 1, 1], np.int64), "thumbnet/shape")  # 0: as it is
    )
    graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "thumbnet/places"))
    # A 1×1 convolution is computed picture by picture, so that a row does not depend on how many there are. The kernel
    # of a matrix product does.
    column = node("Reshape", ["features", "thumbnet/shape"], "thumbnet/column")  # (N, D, 1, 1)
    weights = constant("weights", head.weights.T[..., None, None])  # (C, D, 1, 1)
    logits = node("Conv", [column, weights, constant("bias", head.bias)], "thumbnet/logits")  # (N, C, 1, 1)
    node("Softmax", [node("Flatten", [logits], "thumbnet/flat")], "probabilities", axis=1)  # (N, C)
    familiarity.add_to_graph(graph, "features", "probabilities", "sureness")
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes]),
        helper.make_tensor_value_info("sureness", TensorProto.FLOAT, ["N"]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", backbone.width]),
    ]
    if backbone.has_maps:
        flat = node("Squeeze", [weights, "thumbnet/places"], "thumbnet/flat_weights")  # (C, D)
        node("MatMul", ["maps", node("Transpose", [flat], "thumbnet/evidence")], "heat")  # (N, h, w, D) → (N, h, w, C)
        outputs.append(helper.make_tensor_value_info("heat", TensorProto.FLOAT, ["N", "h", "w", classes]))
    del graph.output[:]
    graph.output.extend(outputs)
    write_info(model, info)
    return bytes(model.SerializeToString(deterministic=True))


def in_half(content: bytes) -> bytes:
    """The same ONNX file with its large float32 constants stored as float16: half the bytes, at 3 to 4 digits.

    It still computes in float32. ONNX Runtime casts the constants once, as it loads the file.

    Raises:
        ExportError: A constant is too large for float16.
    """
    model = onnx.load_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE:
            name, half, values = tensor.name, f"{tensor.name}/half", numpy_helper.to_array(tensor)
            if not (np.abs(values) <= np.finfo(np.float16).max).all():
                raise ExportError(
                    f"expected constants that float16 can hold, got {name} with larger ones. Keep float32"
                )
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [name], f"{name}/cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString(deterministic=True))


def backbone_of(content: bytes, info: ModelInfo) -> onnx.ModelProto:
    """The backbone in a model file, as a file of its own: what `features` and `maps` are computed by."""
    model = onnx.load_from_string(content)
    graph = model.graph
    names = ["features", *(["maps"] if any(value.name == "heat" for value in graph.output) else [])]
    nodes = behind(graph, names)
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    features = next(value for value in graph.output if value.name == "features")
    width = features.type.tensor_type.shape.dim[1].dim_value
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", "h", "w", width])
    outputs = [features, maps][: len(names)]
    del graph.node[:], graph.initializer[:], graph.output[:], model.metadata_props[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.output.extend(outputs)
    about = {**{name: info.backbone[name] for name in ("name", "licence", "origin", "parts")}, "framing": info.framing}
    model.metadata_props.add(key=KEY, value=json.dumps(about))
    return model


def refuse_difference(
    content: bytes, squares: NDArray[np.uint8], features: NDArray[np.float32], head: Head, familiarity: Familiarity
) -> None:
    """Prove on some pictures that a model file answers as what it was made of.

    Args:
        content: The model file.
        squares: uint8 `(n, S, S, 3)`.
        features: Their features, `(n, D)`, as the head learnt from them.
        head: Part of the file.
        familiarity: Likewise.

    Raises:
        ExportError: It does not.
    """
    classifier = Classifier(content)
    asked = classifier.ask(squares)
    probabilities = np.exp(head.log_probabilities(features)).astype(np.float32)
    scale = float(np.abs(features).max(initial=0)) or 1.0
    apart = max(
        float(np.abs(classifier.features(squares) - features).max(initial=0)) / scale,
        float(np.abs(asked.probabilities - probabilities).max(initial=0)),
        float(np.abs(asked.sureness - familiarity.sureness(features, probabilities)).max(initial=0)),
    )
    if not apart <= TOLERANCE:
        raise ExportError(
            f"the model file's answers are {apart:.1e} apart from those it was made of, more than {TOLERANCE}. Remove "
            "features-1.sqlite in the cache folder, and train again"
        )
