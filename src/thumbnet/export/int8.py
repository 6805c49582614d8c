"""Model file → model file of 8-bit integers, by ONNX Runtime's static quantisation. Needs `onnx`, not TensorFlow.

Activations are unsigned and weights signed. Each output channel has a scale of its own. Ranges are the observed minima
and maxima, not percentiles. The first convolution stays float32, and so do a backbone's first blocks and its
depthwise convolutions: they hold few weights, and most of the loss of accuracy would come from them. The figures are in
docs/experiments.md, at "Eight bits".
"""

import contextlib
import dataclasses
import hashlib
import logging
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization

from thumbnet.data.dataset import Splits
from thumbnet.errors import ExportError, needs
from thumbnet.evaluation.judge import evaluate
from thumbnet.model import graph as graph_module
from thumbnet.model.classifier import Classifier, batch_size
from thumbnet.model.info import ModelInfo, write_info
from thumbnet.text import one_line

CALIBRATION = 512  # training images that the ranges are measured on
STRIDE = 8  # a backbone's convolutions with maps above an eighth of the picture a side stay float32
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
    layers = _robust(model, info.size) if tuned else _later(model, graph_module.layers(model.graph))
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
        from thumbnet.transfer.shipped import backbone_of
    model = _plain(backbone_of(content, info))
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


def _plain(backbone: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with constants in the place of what only depends on constants, and with named nodes.

    Weights behind a Cast or an Identity would count as activations.

    Raises:
        ExportError: ONNX Runtime rejects it.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC  # for all machines
        options.optimized_model_filepath = str(Path(folder) / "plain.onnx")
        try:
            onnxruntime.InferenceSession(backbone.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's have no closer base class
            raise ExportError(f"the model file's backbone cannot be taken out of it: {one_line(str(error))}") from error
        model = onnx.load(options.optimized_model_filepath)
    for place, node in enumerate(model.graph.node):  # nodes without a name cannot be told apart
        node.name = node.name or f"thumbnet/node{place}"
    del model.metadata_props[:]
    model.metadata_props.extend(backbone.metadata_props)
    return model


def _robust(model: onnx.ModelProto, size: int) -> list[Any]:
    """The layers behind `features` that 8 bits spoil little.

    Errors of a backbone's first blocks, with their large maps, add up in all that follows, and a depthwise convolution
    has few products to average them. In most networks both hold few weights. If they hold more than half of them, they
    are taken, too, the first convolution last.
    """
    kernels = {
        tensor.name: tuple(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    }
    layers = [node for node in graph_module.layers(model.graph, "features") if node.input[1] in kernels]
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: [each.dim_value for each in value.type.tensor_type.shape.dim] for value in known}

    def spoilt(node: Any) -> bool:
        if node.op_type != "Conv":
            return False
        side = max(shapes.get(node.output[0], [])[2:], default=0)  # of maps (N, C, h, w); 0 if not known
        return side * STRIDE > size or kernels[node.input[1]][1] == 1  # (C, 1, h, w)

    def weights(nodes: list[Any]) -> int:
        return sum(math.prod(kernels[node.input[1]]) for node in nodes)

    later = _later(model, layers)
    robust = [node for node in later if not spoilt(node)]
    return next((some for some in (robust, later) if 2 * weights(some) >= weights(layers)), layers)


def _later(model: onnx.ModelProto, layers: list[Any]) -> list[Any]:
    """These layers without the first convolution, which occurs once for each view."""
    first = next((node.input[1] for node in model.graph.node if node.op_type == "Conv"), None)
    return [node for node in layers if node.input[1] != first]


def _quantised(model: onnx.ModelProto, layers: list[Any], info: ModelInfo, splits: Splits) -> onnx.ModelProto:
    """The model with these layers in 8-bit integers."""
    if info.origin or not layers:
        came = "an int8 file" if info.origin else "a network without convolutions and dense layers in float32"
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
