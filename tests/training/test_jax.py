"""The same recipes with Keras on JAX, from data to a model file: `KERAS_BACKEND=jax`. In processes of their own."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

from support.trainings import BROKEN_OFF, stripes

import thumbnet

if importlib.util.find_spec("jax") is None:
    pytest.skip("JAX is not installed: pip install jax", allow_module_level=True)

FEW = ["train", "--data", "few.npz", "--size", "18", "--recipe", "seed", "--epochs", "3", "--precision", "float32"]
TRAIN, TEST = stripes(300, 0), stripes(100, 1)  # 270 to train on, in 16 steps; 30 are held out
INEXPRESSIBLE = """
import keras
import numpy as np
from thumbnet.errors import ExportError
from thumbnet.model.info import ModelInfo
from thumbnet.training.to_onnx import export
images = keras.Input((8, 8, 3), dtype="uint8")
x = keras.layers.MaxPooling2D()(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(images)))
x = keras.layers.Dense(4)(keras.layers.Flatten()(x))
x = keras.ops.gelu(x, approximate=False)  # needs Erfc, which ONNX lacks
network = keras.Model(images, keras.layers.Dense(2, activation="softmax")(x))
info = ModelInfo(("a", "b"), 8, "centre", threshold=0, temperature=1, mirror_average=False)
try:
    export(network, info, np.zeros((4, 8, 8, 3), np.uint8))
except ExportError as error:
    print(error)
"""


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    folder.mkdir(exist_ok=True)
    np.savez(folder / "few.npz", x_train=TRAIN.images, y_train=TRAIN.labels, x_test=TEST.images, y_test=TEST.labels)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jax")
    done = run(folder, "-m", "thumbnet", *FEW)
    assert done.returncode == 0, done.stderr
    return folder / "model.onnx"


def test_a_training_ends_in_a_model_file_that_knows_its_classes(trained: Path) -> None:
    classifier = thumbnet.load(trained)
    right = classifier.probabilities(TEST.images).argmax(axis=1) == TEST.labels
    assert right.mean() > 0.85
    assert classifier.info.scores["accuracy"] == right.mean()
    assert len(classifier.info.history) == 3
    assert len((trained.parent / "model.results.csv").read_text().splitlines()) == 4


def test_killed_and_resumed_is_uninterrupted(trained: Path, tmp_path: Path) -> None:
    broken = run(tmp_path, "-c", BROKEN_OFF, "20", str(int(signal.SIGKILL)), *FEW)  # in the second epoch
    assert broken.returncode == -signal.SIGKILL, broken.stderr
    resumed = run(tmp_path, "-m", "thumbnet", *FEW, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "model.onnx").read_bytes() == trained.read_bytes()


def test_the_network_of_fast_and_best_trains_too(tmp_path: Path) -> None:
    """On a small set of noise: whether it runs, and whether the file is what was trained, which `export` proves."""
    images = np.random.default_rng(0).integers(0, 256, (200, 24, 24, 3), dtype=np.uint8)
    labels = np.arange(200) % 3
    np.savez(
        tmp_path / "noise.npz", x_train=images[:150], y_train=labels[:150], x_test=images[150:], y_test=labels[150:]
    )
    done = run(
        tmp_path, "-m", "thumbnet", "train", "--data", "noise.npz", "--size", "24", "--recipe", "fast", "--epochs", "1"
    )
    assert done.returncode == 0, done.stderr
    assert len(thumbnet.load(tmp_path / "model.onnx").info.names) == 3


def test_a_failed_export_says_why(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", INEXPRESSIBLE)
    assert done.stdout.startswith("the network cannot be converted: "), done.stderr
