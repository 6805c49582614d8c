"""A tiny backbone: the averages of a picture's colours in its left and right halves, and fixed mixtures of them."""

import json
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, WIDTH = 8, 12
FACTORS = {"none": 0, "one": 1, "huge": 1e18}  # constants for `changes`
ABOUT = {"name": "tiny", "licence": "MIT", "origin": "these tests", "framing": "stretch"}


def backbone(
    *,
    size: int = SIZE,
    width: int = WIDTH,
    about: dict[str, Any] | str | None = ABOUT,
    maps: bool = True,
    opset: int = 18,
    changes: tuple[onnx.NodeProto, ...] = (),
    declared: dict[str, list[Any]] | None = None,
) -> bytes:
    """A backbone file's bytes.

    Args:
        size: Pixels a side.
        width: Features.
        about: Its metadata; a text is written as it is, None leaves it out.
        maps: Whether it gives maps.
        opset: ONNX's.
        changes: Nodes that make `features` of `raw`, `(N, width)`.
        declared: The shapes of inputs and outputs that it claims, by name, where they are not the true ones.
    """
    mixture = np.random.default_rng(1).normal(size=(3, width)).astype(np.float32)
    constants = [
        numpy_helper.from_array(np.array([0, 2, size // 2, 2, size // 2, 3], np.int64), "quarters"),
        numpy_helper.from_array(np.array([2, 4], np.int64), "within"),
        numpy_helper.from_array(np.array([1, 2], np.int64), "places"),
        numpy_helper.from_array(mixture, "mixture"),
        numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"),
        *(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in FACTORS.items()),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["pixels", "scale"], ["light"]),
        helper.make_node("Reshape", ["light", "quarters"], ["parts"]),  # (N, 2, S/2, 2, S/2, 3)
        helper.make_node("ReduceMean", ["parts", "within"], ["colours"], keepdims=0),  # (N, 2, 2, 3)
        helper.make_node("MatMul", ["colours", "mixture"], ["maps"]),  # (N, 2, 2, D)
        helper.make_node("ReduceMean", ["maps", "places"], ["raw" if changes else "features"], keepdims=0),
        *([helper.make_node("Mul", ["raw", "none"], ["still"])] if changes else []),
        *changes,
    ]
    shapes = {"images": ["N", size, size, 3], "features": ["N", width], "maps": ["N", 2, 2, width], **(declared or {})}
    inputs = [helper.make_tensor_value_info("images", TensorProto.UINT8, shapes["images"])]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
        for name in ("features", *(["maps"] if maps else []))
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    if about is not None:
        text = about if isinstance(about, str) else json.dumps(about)
        model.metadata_props.add(key="thumbnet.backbone", value=text)
    return bytes(model.SerializeToString())
