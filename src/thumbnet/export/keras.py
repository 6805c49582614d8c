"""Model file → the formats of Keras and TensorFlow. Each computes the probabilities and the sureness by itself.

Each also holds `labels.txt`, with a class name a line, and `thumbnet.json`, with the model file's metadata. They are
members of the archive that a .keras file is, assets of a SavedModel, and an archive at the end of a LiteRT file, as
TensorFlow's own tools attach labels.
"""

import json
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thumbnet.export.agreement import Answer
from thumbnet.model.classifier import Asked
from thumbnet.model.info import ModelInfo
from thumbnet.training import from_graph, from_onnx
from thumbnet.training.shipped import as_function, computation

BATCH = 500  # pictures of 32 pixels a side a run


def save_keras(content: bytes, info: ModelInfo, path: Path) -> Answer:
    """Write a `.keras` file of Keras's own layers and operations. It loads without Thumbnet.

    Args:
        content: The model file.
        info: The model file's metadata. Its temperature and mirror average become part of the network.
        path: The file to write; it ends in `.keras`.

    Returns:
        A function that runs the written file.

    Raises:
        ModelError: The model file's network or its sureness is not known here.
    """
    _rebuilt(content, info).save(path)
    _attach(path, info)
    loaded = keras.models.load_model(path)
    return _in_batches(lambda batch: loaded.predict(batch, batch_size=BATCH, verbose=0))


def save_savedmodel(content: bytes, info: ModelInfo, path: Path) -> Answer:
    """Write a SavedModel, a folder. Its signature `serving_default` maps `images` to `probabilities` and `sureness`.

    Arguments, result and errors are those of `save_keras`.
    """
    if info.backbone:
        module, answered = from_graph.as_function(content, info)
    else:
        whole = _rebuilt(content, info)
        module, answered = tf.Module(), as_function(whole)
        # TensorFlow's variables: the LiteRT converter silently drops Keras's.
        module.weights = [weight.value for weight in whole.variables]
    with tempfile.TemporaryDirectory() as folder:
        _write_asides(Path(folder), info)
        module.assets = [tf.saved_model.Asset(str(aside)) for aside in sorted(Path(folder).iterdir())]
        tf.saved_model.save(module, str(path), signatures=answered)
    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return _in_batches(lambda batch: signature(images=tf.constant(batch)))


def save_litert(content: bytes, info: ModelInfo, path: Path) -> Answer:
    """Write a LiteRT (TensorFlow Lite) file of float32, for any number of pictures at once.

    Arguments and result are those of `save_keras`.

    Raises:
        ModelError: As for `save_keras`.
        ModuleNotFoundError: The package ai-edge-litert, which runs the file, is not installed.
    """
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as folder:  # through a SavedModel, which keeps the names
        save_savedmodel(content, info, Path(folder))
        converted = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    path.write_bytes(converted)
    _attach(path, info)
    runner = Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    return _in_batches(lambda batch: runner(images=batch))


def _rebuilt(content: bytes, info: ModelInfo) -> keras.Model:
    """Rebuild what a model file computes as a Keras model."""
    return computation(from_onnx.rebuild(content, info), info, from_onnx.familiar(content))


def _in_batches(answer: Callable[[NDArray[np.uint8]], Mapping[str, Any]]) -> Answer:
    def answers(squares: NDArray[np.uint8]) -> Asked:
        step = max(1, BATCH * 32**2 // squares.shape[1] ** 2)
        given = (answer(squares[start : start + step]) for start in range(0, len(squares), step))
        # LiteRT returns views of memory that its next call overwrites.
        rows = [[np.array(each[name]) for name in Asked._fields] for each in given]
        return Asked(*map(np.concatenate, zip(*rows, strict=True)))

    return answers


def _attach(path: Path, info: ModelInfo) -> None:
    """Add the texts to the ZIP archive that a file is, or append one to it."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "a") as archive:
        _write_asides(Path(folder), info)
        for aside in sorted(Path(folder).iterdir()):
            archive.write(aside, aside.name)


def _write_asides(folder: Path, info: ModelInfo) -> None:
    folder.joinpath("labels.txt").write_text("".join(f"{name}\n" for name in info.names), encoding="utf-8")
    fields = {key.partition(".")[2]: json.loads(text) for key, text in info.to_metadata().items()}
    folder.joinpath("thumbnet.json").write_text(json.dumps(fields, ensure_ascii=False, indent=1), encoding="utf-8")
