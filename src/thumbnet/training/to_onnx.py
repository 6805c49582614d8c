"""A trained network → its model file, on any backend of Keras. `to_onnx_tensorflow` makes the file."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import ExportError
from thumbnet.model.info import ModelInfo

# The files that the two processes exchange.
NETWORK, SAMPLES, INFO, MADE = "network.keras", "samples.npy", "info.json", "model.onnx"
REFUSED = 3  # exit code of an ExportError


def export(network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]) -> bytes:
    """The model file of a trained network, proven equal to it.

    Args:
        network: Float32; uint8 `(N, S, S, 3)` → probabilities `(N, C)`, not yet calibrated.
        info: The file's metadata. Temperature and mirror average also go into the graph.
        samples: Pictures that the network was trained on, `(N, S, S, 3)`, 1,000 or more if there are. Network and file
            are compared on them, and their features stay in the file as what is familiar.

    Raises:
        ExportError: The network cannot be converted, or the file answers differently from it.
    """
    if keras.backend.backend() != "tensorflow":
        return _apart(network, info, samples)
    from thumbnet.training.to_onnx_tensorflow import trace

    return trace(network, info, samples)


def _apart(network: keras.Model, info: ModelInfo, samples: NDArray[np.uint8]) -> bytes:
    """`export` in a process of its own, because Keras takes its backend once. That process uses no GPU."""
    with tempfile.TemporaryDirectory(prefix="thumbnet-export-") as name:
        folder = Path(name)
        network.save(folder / NETWORK)
        np.save(folder / SAMPLES, samples)
        (folder / INFO).write_text(json.dumps(info.to_metadata()))
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
        command = [sys.executable, "-m", "thumbnet.training.to_onnx", name]
        done = subprocess.run(  # noqa: S603  # this Python, this file
            command,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode == REFUSED:
            raise ExportError(done.stdout.strip())
        if done.returncode:
            raise ExportError(f"the process that makes the model file failed: {done.stderr.strip()}")
        return (folder / MADE).read_bytes()


def _main(folder: Path) -> None:
    """The work of that process."""
    network = keras.models.load_model(folder / NETWORK, compile=False)
    info = ModelInfo.from_metadata(json.loads((folder / INFO).read_text()))
    try:
        content = export(network, info, np.load(folder / SAMPLES))
    except ExportError as error:
        print(error)  # standard error has the converter's log
        sys.exit(REFUSED)
    (folder / MADE).write_bytes(content)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
