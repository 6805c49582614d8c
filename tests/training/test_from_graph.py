"""The graph of a model file by a backbone answers the same in TensorFlow."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

if keras.backend.backend() != "tensorflow":
    pytest.skip("these formats are TensorFlow's", allow_module_level=True)

import tensorflow as tf
from support import models
from support.backbones import backbone as tiny_backbone

from thumbnet.errors import ModelError
from thumbnet.export import keras as formats
from thumbnet.model.classifier import Classifier, find
from thumbnet.model.info import ModelInfo
from thumbnet.training.from_graph import as_function
from thumbnet.transfer.backbone import check_backbone, open_backbone
from thumbnet.transfer.learn import learn
from thumbnet.transfer.shipped import model_file

SIZE, NAMES = 64, ("a", "b", "c")


def squares(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Noise of different brightness."""
    rng = np.random.default_rng(seed)
    noise, light = rng.integers(0, 128, (count, size, size, 3)), rng.integers(0, 128, (count, 1, 1, 3))
    return np.asarray(noise + light, np.uint8)


@pytest.fixture(scope="module")
def content() -> bytes:
    """A model file by the built-in backbone at 64 pixels, which learnt from other things as well."""
    network = open_backbone("lite0", SIZE)
    features = network.features(squares(24, SIZE))
    learned = learn(
        features[:18], np.arange(18) % 3, 3, parts=network.parts, others=network.features(squares(6, SIZE, 1))
    )
    info = ModelInfo(NAMES, SIZE, "stretch", learned.threshold, 1.0, False, backbone=network.about())
    return model_file(network, learned.head, learned.familiarity, info)


def assert_the_same(content: bytes) -> None:
    classifier = Classifier(content)
    seen = squares(5, classifier.info.size, 2)
    module, answered = as_function(content, classifier.info)
    found, expected = answered(images=tf.constant(seen)), classifier.ask(seen)
    assert module.weights
    for name, values in expected._asdict().items():
        np.testing.assert_allclose(found[name], values, atol=2e-5)
    assert np.ptp(expected.probabilities, axis=0).max() > 1e-2  # or all answers would be equal


def test_the_answers_are_those_of_the_file(content: bytes) -> None:
    assert_the_same(content)


def test_of_the_bundled_model_for_photographs() -> None:
    assert_the_same(find("cifar10-photo").read_bytes())


def test_the_formats_of_tensorflow_answer_so(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install -e '.[litert]'")
    classifier = Classifier(content)
    seen = squares(5, SIZE, 2)
    for write, name in ((formats.save_savedmodel, "saved"), (formats.save_litert, "small.tflite")):
        found = write(content, classifier.info, tmp_path / name)(seen)
        np.testing.assert_allclose(found.probabilities, classifier.ask(seen).probabilities, atol=1e-4)
        np.testing.assert_allclose(found.sureness, classifier.ask(seen).sureness, atol=1e-4)
    assert (tmp_path / "saved" / "assets" / "labels.txt").read_text().split() == list(NAMES)
    assert zipfile.ZipFile(tmp_path / "small.tflite").read("labels.txt").split() == [b"a", b"b", b"c"]


def test_another_graph_is_rejected() -> None:
    network = check_backbone(tiny_backbone(), "tiny")
    features = network.features(squares(6, network.size))
    learned = learn(features, np.arange(6) % 3, 3, parts=network.parts)
    info = models.info(size=network.size, names=NAMES, framing="stretch", backbone=network.about())
    with pytest.raises(ModelError, match="has the operators MatMul, ReduceMean, which are not known here"):
        as_function(model_file(network, learned.head, learned.familiarity, info), info)
