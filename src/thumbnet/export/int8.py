"""Model file → model file of 8-bit integers, through ONNX Runtime's static quantisation. Needs `onnx`, no TensorFlow.

What decides its form (docs/export.md has the figures): activations unsigned and weights signed, a scale for each
output channel, ranges as they occur (no percentiles); and the first convolution stays float32, as it holds next to no
weights and most of what quantisation loses is lost there.
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

CALIBRATION = 512  # training images on which the ranges are measured
BATCH = 64  # of them at once


def quantise(content: bytes, info: ModelInfo, splits: Splits) -> bytes:
    """The same network with its layers' products in 8-bit integers, as a model file again.

    Its scores are its own, measured, if the test images are those that it names; else it has none.

    Args:
        content: The model file.
        info: What it says of itself.
        splits: The ranges of the layers are taken from training images, all over the set; the scores from the others.

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
            nodes_to_quantize=[node.name for node in layers if node.input[1] != first],  # which is there for each view
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
    """Quantisation advises on its root logger to optimise the graph first, which the converter has done."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
