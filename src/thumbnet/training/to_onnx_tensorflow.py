"""Keras → model file by TensorFlow, and the proof that both agree. All knowledge of the conversion stays here.

Why it looks so: we convert a function of our own, because Keras's exporter traces in training mode and leaves the names
to chance. The opset is 18, because tf2onnx refuses 21. The network is float32, because the exporter takes no other.
Every activation must have a form in ONNX: exact GELU has none, which shows only when the file is loaded.
"""

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from thumbnet.errors import ExportError, ModelError
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.model.info import ModelInfo, write_info
from thumbnet.training.shipped import as_function, batches, computation, features

OPSET = 18
TOLERANCE = 1e-3  # of a probability, between Keras and ONNX Runtime


def trace(network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]) -> bytes:
    """`export` with Keras on TensorFlow. Arguments and errors are the same."""
    shipped = as_function(computation(network, info, features(network, info, samples)))
    model, _ = tf2onnx.convert.from_function(shipped, shipped.input_signature, opset=OPSET)
    model.producer_name, model.producer_version = "thumbnet", info.version
    _put_in_order(model.graph)
    _name_in_order(model.graph)
    write_info(model, info)
    content: bytes = model.SerializeToString()
    try:  # tf2onnx leaves operations in the file that ONNX does not have, and reports that only in its log
        onnx.checker.check_model(model, full_check=True)
        classifier = Classifier(content)
    except (onnx.checker.ValidationError, ModelError) as error:
        raise ExportError(f"the network cannot be converted: {error.__cause__ or error}") from error
    # Upside down, too, because the samples themselves are as familiar as can be, and less familiar ones matter too.
    _prove_equal(shipped, classifier, np.concatenate([samples, samples[:, ::-1]]))
    return content


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Order the nodes by the outputs that they serve, each after its inputs.

    The converter's order differs from run to run.
    """
    makers = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}  # by their first output

    def put(name: str) -> None:
        if name in makers and (node := makers[name]).output[0] not in ordered:
            for taken in node.input:
                put(taken)
            ordered[node.output[0]] = onnx.NodeProto.FromString(node.SerializeToString())

    for output in graph.output:
        put(output.name)
    del graph.node[:]
    graph.node.extend(ordered.values())


def _name_in_order(graph: onnx.GraphProto) -> None:
    """Name each node by what it does and its place, and each tensor by its node.

    The converter's own names come from counters and hashes that differ from run to run, and the same weights must give
    the same file, byte for byte.
    """
    names = {tensor.name: tensor.name for tensor in [*graph.input, *graph.output]} | {"": ""}
    for place, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{place}"
        for index, old in enumerate(node.output):
            names.setdefault(old, f"{node.name}:{index}")
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for index, old in enumerate(node.input):
            names.setdefault(old, f"{node.name}.{index}")
            node.input[index] = names[old]
        for index, old in enumerate(node.output):
            node.output[index] = names[old]
    graph.name, graph.doc_string = "thumbnet", ""
    for tensor in [*graph.input, *graph.output]:
        tensor.type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:], graph.initializer[:]
    for old, new in names.items():  # in the order of their use
        if old in initializers:
            initializers[old].name = new
            graph.initializer.append(initializers[old])


def _prove_equal(
    shipped: tf.types.experimental.PolymorphicFunction, classifier: Classifier, samples: NDArray[np.uint8]
) -> None:
    given = [shipped(tf.constant(batch)) for batch in batches(samples)]
    ours = Asked(*(np.concatenate([each[name].numpy() for each in given]) for name in Asked._fields))
    theirs = classifier.ask(samples)
    moved = float(np.max([np.abs(mine - other).max() for mine, other in zip(ours, theirs, strict=True)]))  # NaN stays
    differing = int((ours.probabilities.argmax(axis=1) != theirs.probabilities.argmax(axis=1)).sum())
    if differing or not moved <= TOLERANCE:
        raise ExportError(
            f"Keras and ONNX Runtime disagree on {differing} of {len(samples)} pictures, and by up to {moved:.1e} in a "
            f"probability (allowed: 0 and {TOLERANCE}). Nothing was written; try another version of tf2onnx"
        )
