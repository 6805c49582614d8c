"""What an ONNX graph holds: its layers, and weights in other files, which are rejected."""

from collections.abc import Iterable
from typing import IO, Any

from thumbnet.errors import ModelError

BLOCK = 2**16  # bytes read at once
METADATA_PROPS = 14  # the field of ONNX's ModelProto


def refuse_external_data(file: IO[bytes]) -> None:
    """Reject a model whose graph names other files for its weights; ONNX Runtime up to 1.23 would open them.

    In ONNX's protobuf such a tensor has an entry with the key `location`; none of our graphs holds that word. A class
    may have this name, so the metadata is skipped.

    Args:
        file: The model, from its beginning. It is read in blocks, so that the weights take no memory.

    Raises:
        ModelError: There is such a tensor, or the bytes are not a protobuf.
    """
    while start := file.read(1):
        tag = _varint(file, start)
        if tag & 7 == 0:  # a number
            _varint(file)
        elif tag & 7 == 2:  # a text or a message, after its length
            names_a_file = _holds(file, _varint(file), b"location")
            if names_a_file and tag >> 3 != METADATA_PROPS:
                raise ModelError("the model file's weights are in other files, which are not read. Save it as one")
        else:
            raise ModelError("not a model file, or a broken one. Make or fetch it again")


def _holds(file: IO[bytes], length: int, word: bytes) -> bool:
    """Whether a word is in the next `length` bytes. All of them are read."""
    found, seen = False, b""
    while length > 0 and (block := file.read(min(length, BLOCK))):
        length -= len(block)
        seen = seen[1 - len(word) :] + block  # the word may straddle two blocks
        found = found or word in seen
    return found


def _varint(file: IO[bytes], start: bytes = b"") -> int:
    """The number that begins with `start`, or at the file's position (protobuf.dev/programming-guides/encoding)."""
    value = 0
    for count in range(10):
        byte = start if start and count == 0 else file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << 7 * count
        if byte[0] < 0x80:
            return value
    raise ModelError("not a model file, or a broken one. Make or fetch it again")


def layers(graph: Any, output: str = "probabilities") -> list[Any]:
    """The convolutions and dense layers behind an output, as nodes of an `onnx.GraphProto`, in its order.

    Nodes that serve only the sureness, by comparing with the training's pictures, are not layers of the network.
    """
    constants = {tensor.name for tensor in graph.initializer}
    return [
        node for node in behind(graph, [output]) if node.op_type in ("Conv", "MatMul") and node.input[1] in constants
    ]


def behind(graph: Any, outputs: Iterable[str]) -> list[Any]:
    """The nodes of an `onnx.GraphProto` that compute these tensors, in its order."""
    makers = {name: node for node in graph.node for name in node.output}
    wanted, needed = list(outputs), set()
    while wanted:
        name = wanted.pop()
        if name in makers and name not in needed:
            needed.add(name)
            wanted += makers[name].input
    return [node for node in graph.node if needed.intersection(node.output)]
