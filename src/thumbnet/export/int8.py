"""Model file → model file of 8-bit integers, by ONNX Runtime's static quantisation. Needs `onnx`, not TensorFlow.

Activations are unsigned and weights signed. Each output channel has a scale of its own. Ranges are the observed minima
and maxima, not percentiles. The first convolution stays float32: it holds few weights, and most of the loss of accuracy
would come from it. docs/export.md has the figures.
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
from thumbnet.errors import ExportError
from thumbnet.evaluation.judge import evaluate
from thumbnet.model import graph as graph_module
from thumbnet.model.classifier import Classifier
from thumbnet.model.info import ModelInfo, write_info

CALIBRATION = 512  # training images that the ranges are measured on
BATCH = 64  # images a run of the calibration


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
    layers = graph_module.layers(model.graph)
    if info.origin or not layers:
        came = "an int8 file" if info.origin else "a network without convolutions and dense layers"
        raise ExportError(f"expected a float32 model file to make int8 of, got {came}. Name the one that training left")
    first = next((node.input[1] for node in layers if node.op_type == "Conv"), None)
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
            nodes_to_quantize=[
                node.name for node in layers if node.input[1] != first
            ],  # which occurs once for each view
        )
        quantised = onnx.load(path)
    origin = {"format": "int8", "sha256": hashlib.sha256(content).hexdigest(), "calibration_images": CALIBRATION}
    info = dataclasses.replace(info, scores={}, origin=origin)
    write_info(quantised, info)
    if info.data.get("test") == splits.test.fingerprint():
        scores = evaluate(Classifier(quantised.SerializeToString()), splits.test)
        write_info(quantised, dataclasses.replace(info, scores=scores.as_dict()))
    return bytes(quantised.SerializeToString())


class _Pictures(quantization.CalibrationDataReader):  # type: ignore[misc]  # it is untyped
    def __init__(self, images: NDArray[np.uint8]) -> None:
        spread = images[:: max(1, len(images) // CALIBRATION)][:CALIBRATION]
        self._batches = (spread[start : start + BATCH] for start in range(0, len(spread), BATCH))

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
