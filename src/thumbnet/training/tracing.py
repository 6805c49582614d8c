"""Keras → model file, and the proof that both agree. All that is known of the conversion stays in here.

What decides its form: a function of our own is converted, for Keras's exporter traces in training mode and leaves
the names to chance; opset 18, since tf2onnx refuses 21; a float32 network, since the exporter does not take another;
activations whose ONNX form exists (exact GELU's does not, and only loading the file shows it).
"""

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from thumbnet.classifier import Classifier
from thumbnet.errors import ExportError, ModelError
from thumbnet.model_file import ModelInfo, write_info
from thumbnet.training.calibrate import FLOOR, POWER
from thumbnet.training.networks import seen_maps

OPSET = 18
TOLERANCE = 1e-3  # of a probability, between Keras and ONNX Runtime
BATCH = 500  # pictures at once


def trace(network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]) -> bytes:
    """`export`, where TensorFlow is what Keras computes by. Arguments and errors are the same."""
    shipped = _as_shipped(network, info, samples)
    model, _ = tf2onnx.convert.from_function(shipped, shipped.input_signature, opset=OPSET)
    model.producer_name, model.producer_version = "thumbnet", info.version
    _put_in_order(model.graph)
    _name_in_order(model.graph)
    write_info(model, info)
    content: bytes = model.SerializeToString()
    try:  # tf2onnx leaves operations in the file that ONNX does not have, and only says so in its log
        onnx.checker.check_model(model, full_check=True)
        classifier = Classifier(content)
    except (onnx.checker.ValidationError, ModelError) as error:
        raise ExportError(f"the network cannot be converted: {error.__cause__ or error}") from error
    # Upside down, too: samples are as familiar as can be, and that shall not be all that is compared.
    _prove_equal(shipped, classifier, np.concatenate([samples, samples[:, ::-1]]))
    return content


def _as_shipped(
    network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]
) -> tf.types.experimental.PolymorphicFunction:
    """The whole computation of the model file, as a TensorFlow function: uint8 pictures → what `Classifier.ask` gives.

    How familiar a picture is tells the cosine between its features and the nearest of the samples' (Sun et al. 2022,
    "Out-of-distribution detection with deep nearest neighbors"): the averages of one of its `seen_maps` over all places
    and the standard deviations of the other, both of length 1.
    """
    signature = [tf.TensorSpec((None, info.size, info.size, 3), tf.uint8, name="images")]
    looked = keras.Model(network.inputs, [*seen_maps(network), *network.outputs])

    def seen(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        views = [images, tf.reverse(images, [2])] if info.mirror_average else [images]
        # (N, s, s, D), (N, t, t, E), (N, C) each
        last, entering, answers = zip(*(looked(view, training=False) for view in views), strict=True)
        # Averaged logarithms of softmaxes are averaged logits, up to a constant that the last softmax removes.
        logs = [tf.math.log(tf.maximum(each, FLOOR)) for each in answers]
        probabilities = tf.nn.softmax(tf.add_n(logs) / (len(logs) * info.temperature))  # (N, C)
        averages = tf.reduce_mean(tf.add_n(last), axis=[1, 2])  # (N, D); the mirror image's places need no order
        spreads = tf.add_n([tf.math.reduce_std(each, axis=[1, 2]) for each in entering])  # (N, E)
        parts = [tf.math.l2_normalize(part, axis=1) for part in (averages, spreads)]
        return tf.concat(parts, axis=1) / np.sqrt(len(parts), dtype=np.float32), probabilities  # (N, D + E), (N, C)

    # As an array, for what is a tensor outside of the function would be an input of its graph.
    familiar = np.concatenate([seen(tf.constant(batch))[0].numpy() for batch in _batches(samples)])  # (M, D + E)

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def shipped(images: tf.Tensor) -> dict[str, tf.Tensor]:
        features, probabilities = seen(images)
        cosines = tf.matmul(features, familiar, transpose_b=True)  # (N, M)
        familiarity = tf.clip_by_value(tf.reduce_max(cosines, axis=1), 0.0, 1.0)  # (N,)
        sureness = tf.reduce_max(probabilities, axis=1) * familiarity**POWER
        return {"probabilities": probabilities, "sureness": sureness}

    return shipped


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Order the nodes by the outputs that they serve, each behind what it takes.

    Of several that could come next, the converter takes one or another from run to run.
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

    The converter's own names come from counters and hashes that differ from run to run; the same weights shall give
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
    given = [shipped(tf.constant(batch)) for batch in _batches(samples)]
    ours = [np.concatenate([each[name].numpy() for each in given]) for name in ("probabilities", "sureness")]
    theirs = classifier.ask(samples)  # (N, C), (N,)
    moved = float(np.max([np.abs(mine - other).max() for mine, other in zip(ours, theirs, strict=True)]))  # NaN stays
    differing = int((ours[0].argmax(axis=1) != theirs.probabilities.argmax(axis=1)).sum())
    if differing or not moved <= TOLERANCE:
        raise ExportError(
            f"Keras and ONNX Runtime disagree on {differing} of {len(samples)} pictures, and by up to {moved:.1e} in a "
            f"probability (allowed: 0 and {TOLERANCE}). Nothing was written; try another version of tf2onnx"
        )
