"""The weights of a model file, stored in half the bytes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from support import backbones

from thumbnet.errors import ExportError
from thumbnet.transfer.backbone import check_backbone
from thumbnet.transfer.shipped import LARGE, in_half

WIDTH = LARGE  # so that the backbone has a large constant


def test_large_constants_take_half_the_bytes_and_small_ones_stay() -> None:
    whole = backbones.backbone(width=WIDTH)
    half = in_half(whole)
    saved = len(whole) - len(half)
    assert saved == pytest.approx(3 * WIDTH * 2, abs=200)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load_from_string(half).graph.initializer}
    assert kinds["mixture/half"] == TensorProto.FLOAT16
    assert kinds["scale"] == TensorProto.FLOAT
    assert kinds["places"] == TensorProto.INT64
    assert "mixture" not in kinds


def test_what_is_stored_in_half_computes_nearly_the_same() -> None:
    squares = np.random.default_rng(0).integers(0, 256, (5, backbones.SIZE, backbones.SIZE, 3), np.uint8)
    whole = check_backbone(backbones.backbone(width=WIDTH), "whole")
    half = check_backbone(in_half(whole.content), "half")
    assert (half.name, half.licence, half.origin) == (whole.name, whole.licence, whole.origin)
    difference = np.abs(half.features(squares) - whole.features(squares)).max()
    assert 0 < difference < 2e-3


def test_a_file_without_large_constants_stays_the_same() -> None:
    content = backbones.backbone()
    assert onnx.load_from_string(in_half(content)) == onnx.load_from_string(content)


def test_twice_is_as_once() -> None:
    once = in_half(backbones.backbone(width=WIDTH))
    assert in_half(once) == once


def test_a_constant_too_large_for_float16_is_refused() -> None:
    model = onnx.load_from_string(backbones.backbone(width=WIDTH))
    large = next(tensor for tensor in model.graph.initializer if tensor.name == "mixture")
    large.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(large) * np.float32(1e5), "mixture"))
    with pytest.raises(ExportError, match="float16"):
        in_half(model.SerializeToString())
