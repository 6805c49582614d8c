"""Model file → model file of 8-bit integers, by ONNX Runtime's static quantisation. Needs `onnx`, not TensorFlow.

Activations are unsigned and weights signed. Each output channel has a scale of its own. Ranges are the observed minima
and maxima, not percentiles. The first convolution stays float32, and so do a backbone's front and its depthwise
convolutions: they hold few weights, and most of the loss of accuracy would come from them. docs/export.md has the
figures.
"""

import contextlib
import dataclasses
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization

from thumbnet.data.dataset import Splits
from thumbnet.errors import ExportError, needs
from thumbnet.evaluation.judge import evaluate
from thumbnet.model import graph as graph_module
from thumbnet.model.classifier import Classifier, batch_size
from thumbnet.model.info import ModelInfo, write_info

CALIBRATION = 512  # training images that the ranges are measured on
FRONT = 8  # where a backbone has not reduced the picture's sides so many times yet, it stays float32
BATCH = 64  # images a run of the calibration at the most, as it keeps what all layers give
TUNED = "tuned"  # what the recipe `tune` says of a file whose backbone it tuned
SAMPLES = 8  # images on which a relearnt head and its file are compared


def quantise(content: bytes, info: ModelInfo, splits: Splits) -> bytes:
    """Make a model file whose layers multiply in 8-bit integers.

    It is measured anew if the test images are those that the model file names. Otherwise it has no scores.

    Args:
        content: The model file.
        info: The model file's metadata.
        splits: The training images give the layers' ranges, the test images the scores.

    Raises:
        ExportError: The network has no layer to quantise, or is quantised already.
    """
    model = onnx.load_from_string(content)
    tuned = info.recipe.get("kept") == TUNED
    if info.backbone and not tuned:
        return _relearnt(content, info, splits)
    # A tuned network's head stays as it is: features of pictures that the backbone was tuned on teach none.
    layers = _robust(model, info.size) if tuned else graph_module.layers(model.graph)
    quantised = _quantised(model, layers, info, splits)
    info = dataclasses.replace(info, scores={}, origin=_origin(content, splits), thumbnails="")
    write_info(quantised, info)
    if splits.test.is_named(info.data.get("test")):
        scores = evaluate(Classifier(quantised.SerializeToString()), splits.test)
        write_info(quantised, dataclasses.replace(info, scores=scores.as_dict()))
    return bytes(quantised.SerializeToString())


def _origin(content: bytes, splits: Splits) -> dict[str, Any]:
    count = min(CALIBRATION, len(splits.train))
    return {"format": "int8", "sha256": hashlib.sha256(content).hexdigest(), "calibration_images": count}


def _relearnt(content: bytes, info: ModelInfo, splits: Splits) -> bytes:
    """A model file by the quantised backbone, with a head that learnt from that backbone's own features.

    The old head would lose many points on them.

    Raises:
        MissingExtraError: The packages of `transfer` are not installed.
    """
    with needs("learning from int8 features", "transfer"):
        from thumbnet.transfer.backbone import check_backbone
        from thumbnet.transfer.learn import seed_of
        from thumbnet.transfer.make import Part, Samples, make
        from thumbnet.transfer.shipped import backbone_of, in_full
    model = backbone_of(content, info)
    in_full(model)  # or its weights would count as activations
    quantised = _quantised(model, _robust(model, info.size), info, splits).SerializeToString()
    backbone = check_backbone(quantised, f"{info.backbone['name']} in int8")
    train, test = splits
    whole = test is train  # the file has learnt from all pictures
    parts = [Part(backbone.features(each.images), each.labels) for each in (train, test)[: 2 - whole]]
    samples = Samples(train.images[:SAMPLES], parts[0].features[:SAMPLES])
    made = make(
        backbone, info.names, parts[0], None if whole else parts[1], samples,
        seed=seed_of(info), data=info.data, origin=_origin(content, splits),
    )  # fmt: skip
    return made.content


def _robust(model: onnx.ModelProto, size: int) -> list[Any]:
    """The layers behind `features` that 8 bits spoil little, or all if there are none.

    Errors of the front, with its large maps, add up in all that follows, and a depthwise convolution has few products
    to average them. Both hold few weights.
    """
    layers = graph_module.layers(model.graph, "features")
    kernels = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: [each.dim_value for each in value.type.tensor_type.shape.dim] for value in known}

    def reduced(node: Any) -> bool:
        side: int = max(shapes.get(node.output[0], [])[2:], default=0)  # of maps (N, C, h, w); 0 if not known
        return side * FRONT <= size

    def depthwise(node: Any) -> bool:
        return node.op_type == "Conv" and bool(kernels[node.input[1]][1] == 1)  # (C, 1, h, w)

    return [node for node in layers if reduced(node) and not depthwise(node)] or layers


def _quantised(model: onnx.ModelProto, layers: list[Any], info: ModelInfo, splits: Splits) -> onnx.ModelProto:
    """The model with these layers in 8-bit integers, all but the first convolution."""
    first = next((node.input[1] for node in model.graph.node if node.op_type == "Conv"), None)
    layers = [node for node in layers if node.input[1] != first]  # which occurs once for each view
    if info.origin or not layers:
        came = "an int8 file" if info.origin else "a network without convolutions and dense layers"
        raise ExportError(f"expected a float32 model file to make int8 of, got {came}. Name the one that training left")
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            path,
            _Pictures(splits.train.images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=[node.name for node in layers],
        )
        return onnx.load(path)


class _Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]  # it is untyped
    def __init__(self, images: NDArray[np.uint8]) -> None:
        spread = images[:: max(1, len(images) // CALIBRATION)][:CALIBRATION]
        step = min(BATCH, batch_size(images.shape[1]))
        self._batches = (spread[start : start + step] for start in range(0, len(spread), step))

    def get_next(self) -> dict[str, Any] | None:
        return next(({"images": batch} for batch in self._batches), None)


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the root logger: quantisation advises there to optimise the graph first, which the converter has done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
