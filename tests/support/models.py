"""Tiny model files, made without TensorFlow, and pictures for them: the class is the strongest colour on average.

path = write(tmp_path / "model.onnx", threshold=0.9)  # a model file that knows red, green and blue
load(path).predict(square("red")).label == "red"
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from thumbnet.model.info import ModelInfo, write_info

NAMES = ("red", "green", "blue")
RGB = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (128, 128, 128)}
SIZE = 4  # pixels a side of the model's input
SHARPNESS = 10.0  # of the softmax: a pure colour is answered with 99.99 %


def info(**changes: Any) -> ModelInfo:
    """What a tiny model file says of itself."""
    fields = {"names": NAMES, "size": SIZE, "framing": "crop", "threshold": 0.5}
    return ModelInfo(**{"temperature": 1.0, "mirror_average": False, **fields, **changes})


def graph(size: int = SIZE, sharpness: float = SHARPNESS, extra: tuple[onnx.NodeProto, ...] = ()) -> onnx.ModelProto:
    """The network alone, without metadata. Nodes in `extra` make `probabilities` of `raw`, its own answer."""
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [sharpness / 255]),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),  # (N, S, S, 3) → (N, 3)
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["raw" if extra else "probabilities"], axis=1),
        *extra,
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])
    whole = helper.make_graph(nodes, "tiny", [images], [probabilities], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def with_sureness(operator: str, **attributes: Any) -> onnx.ModelProto:
    """A network whose sureness is this of its probabilities, `(N, 3)` → `(N,)`."""
    model = graph()
    model.graph.initializer.append(helper.make_tensor("last", TensorProto.INT64, [1], [1]))
    model.graph.node.append(helper.make_node(operator, ["probabilities", "last"], ["sureness"], **attributes))
    model.graph.output.append(helper.make_tensor_value_info("sureness", TensorProto.FLOAT, ["N"]))
    return model


def content(model: onnx.ModelProto | None = None, **changes: Any) -> bytes:
    """A model file's bytes: this network or the usual one, and the usual information with `changes`."""
    model = model or graph()
    write_info(model, info(**changes))
    return bytes(model.SerializeToString())


def write(path: Path, **changes: Any) -> Path:
    """A model file at `path`."""
    path.write_bytes(content(**changes))
    return path


def square(colour: str, size: int = 8) -> NDArray[np.uint8]:
    """A picture of one colour: uint8 `(size, size, 3)`, RGB."""
    return np.full((size, size, 3), RGB[colour], np.uint8)


def lost() -> NDArray[np.uint8]:
    """Something green in the middle of a large picture that is red rather, as a whole: uint8 `(64, 64, 3)`."""
    picture = np.full((64, 64, 3), (255, 157, 0), np.uint8)
    picture[16:48, 16:48] = RGB["green"]
    return picture


def encode(image: NDArray[Any], suffix: str = ".png") -> bytes:
    """A picture file's bytes, from RGB, grey or RGBA."""
    channels = image.shape[2] if image.ndim == 3 else 1
    stored = image if channels == 1 else cv2.cvtColor(image, {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[channels])
    done, data = cv2.imencode(suffix, stored)
    assert done
    return data.tobytes()


def png(colour: str, size: int = 8) -> bytes:
    """A PNG of one colour."""
    return encode(square(colour, size))
