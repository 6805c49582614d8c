"""The same recipes with Keras on JAX, from data to a model file: `KERAS_BACKEND=jax`. In processes of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import thumbnet
from thumbnet.data.digits import read_digits

for module, extra in (("keras", "pip install -e '.[train]'"), ("jax", "pip install jax")):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: {extra}", allow_module_level=True)

DIGITS = ["train", "--data", "digits", "--recipe", "seed", "--precision", "float32", "--output", "model.onnx"]
INTERRUPTED = 130
BROKEN_OFF = """
import keras, sys
from thumbnet import cli
steps = 0
original = keras.Model.train_on_batch
def counting(*arguments, **options):
    global steps
    steps += 1
    if steps > 80:  # in the second epoch of 64 steps
        raise KeyboardInterrupt
    return original(*arguments, **options)
keras.Model.train_on_batch = counting
sys.exit(cli.main(sys.argv[1:]))
"""
INEXPRESSIBLE = """
import keras
import numpy as np
from thumbnet.errors import ExportError
from thumbnet.model_file import ModelInfo
from thumbnet.training.export import export
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
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jax")
    done = run(folder, "-m", "thumbnet", *DIGITS, "--epochs", "3")
    assert done.returncode == 0, done.stderr
    return folder / "model.onnx"


def test_a_training_ends_in_a_model_file_that_reads_digits(trained: Path) -> None:
    classifier = thumbnet.load(trained)
    test = read_digits().test
    right = classifier.probabilities(test.images).argmax(axis=1) == test.labels
    assert right.mean() > 0.85
    assert classifier.info.scores["accuracy"] == right.mean()
    assert len((trained.parent / "results.csv").read_text().splitlines()) == 4


def test_interrupted_and_resumed_is_uninterrupted(trained: Path, tmp_path: Path) -> None:
    broken = run(tmp_path, "-c", BROKEN_OFF, *DIGITS, "--epochs", "3")
    assert broken.returncode == INTERRUPTED, broken.stderr
    resumed = run(tmp_path, "-m", "thumbnet", *DIGITS, "--epochs", "3", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert (tmp_path / "model.onnx").read_bytes() == trained.read_bytes()


def test_the_network_of_fast_and_best_trains_too(tmp_path: Path) -> None:
    """On a small set of noise: whether it runs, and whether the file is what was trained, which `export` proves."""
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(200) % 3
    np.savez(
        tmp_path / "noise.npz", x_train=images[:150], y_train=labels[:150], x_test=images[150:], y_test=labels[150:]
    )
    done = run(tmp_path, "-m", "thumbnet", "train", "--data", "noise.npz", "--recipe", "fast", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    assert len(thumbnet.load(tmp_path / "model.onnx").info.names) == 3


def test_a_failed_export_says_why(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", INEXPRESSIBLE)
    assert done.stdout.startswith("the network cannot be converted: "), done.stderr
