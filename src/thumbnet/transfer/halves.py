"""A built-in backbone in two halves: the front stays as it is, and the rest may be tuned and put back.

    images ─ stem ─ block00 … block04 ┐                  ┌ block05 … block15 ─ head ─ features
              (front, ONNX Runtime)   └ a row a picture ─┘  (rest, trained by Keras)

A row holds the map of the front's last block and the features of its earlier ones, so that the rest needs nothing else.
"""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from thumbnet.errors import TrainingError
from thumbnet.model.graph import behind
from thumbnet.transfer.backbone import Backbone, check_backbone
from thumbnet.transfer.efficientnet import BLOCKS, EARLIER_BLOCKS, map_of

FIRST = 5  # the first block of the rest; docs/experiments.md compares it with a later one
_MAP = map_of(FIRST - 1)
_FEATURES = [f"block{number:02}/features" for number in EARLIER_BLOCKS if number < FIRST]
CHANNELS, REDUCTION = BLOCKS[FIRST - 1].channels, BLOCKS[FIRST - 1].reduction  # of the map
EARLIER = sum(BLOCKS[number].channels for number in EARLIER_BLOCKS if number < FIRST)  # features of the front


class Front:
    """The half that stays."""

    def __init__(self, backbone: Backbone) -> None:
        """Cut the front out of a built-in backbone.

        Raises:
            TrainingError: The backbone is another network, which has no such halves.
        """
        model = onnx.load_from_string(backbone.content)
        graph = model.graph
        outputs = [_MAP, *_FEATURES]
        if not {name for node in graph.node for name in node.output}.issuperset(outputs):
            raise TrainingError(f"expected a built-in backbone to tune, got {backbone.name}. Leave --backbone out")
        nodes = behind(graph, outputs)
        used = {name for node in nodes for name in node.input}
        constants = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.node[:], graph.initializer[:], graph.output[:]
        graph.node.extend(nodes)
        graph.initializer.extend(constants)
        graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.width = (backbone.size // REDUCTION) ** 2 * CHANNELS + EARLIER  # numbers in a row

    def rows(self, squares: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Squares, uint8 `(N, S, S, 3)` → rows, float16 `(N, width)`: the map by places, then the features."""
        found = self._session.run(None, {"images": squares})
        maps = found[0].transpose(0, 2, 3, 1)  # (N, h, w, C)
        return np.concatenate([each.reshape(len(squares), -1) for each in (maps, *found[1:])], axis=1, dtype=np.float16)


def rest(backbone: Backbone) -> dict[str, NDArray[np.float32]]:
    """The constants of the rest's convolutions by their names in the graph, such as `block05/expand/weight`."""
    first = tuple(f"block{number:02}/" for number in range(FIRST, len(BLOCKS)))
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(backbone.content).graph.initializer
        if tensor.name.startswith((*first, "head/")) and tensor.name.endswith(("/weight", "/bias"))
    }


def joined(backbone: Backbone, tuned: Mapping[str, NDArray[np.float32]]) -> Backbone:
    """The backbone with other constants in its rest.

    Args:
        backbone: The whole network.
        tuned: Some of what `rest` gives, with other values.

    Raises:
        ModelError: The tuned network gives no usable features.
    """
    model = onnx.load_from_string(backbone.content)
    for tensor in model.graph.initializer:
        if tensor.name in tuned:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(tuned[tensor.name], np.float32), tensor.name))
    return check_backbone(bytes(model.SerializeToString(deterministic=True)), f"the tuned {backbone.name}")
