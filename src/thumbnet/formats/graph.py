"""What stands in a model file's graph."""

from typing import Any


def layers(graph: Any) -> list[Any]:
    """The convolutions and dense layers that `probabilities` come of, as nodes of an `onnx.GraphProto`, in its order.

    What only the sureness comes of, the comparison with the training's pictures, is no layer of the network.
    """
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    wanted, needed = ["probabilities"], set()
    while wanted:
        name = wanted.pop()
        if name in makers and name not in needed:
            needed.add(name)
            wanted += makers[name].input
    return [
        node
        for node in graph.node
        if node.op_type in ("Conv", "MatMul") and node.input[1] in constants and needed.intersection(node.output)
    ]
