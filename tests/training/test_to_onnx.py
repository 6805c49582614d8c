"""Keras → model file: the same answers, and a failed export where they are not the same."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import keras

from thumbnet.errors import ExportError
from thumbnet.model.classifier import Asked, Classifier
from thumbnet.model.info import ModelInfo, with_info
from thumbnet.training import networks, to_onnx_tensorflow
from thumbnet.training.to_onnx import export

NAMES = tuple("abcdefghij")
INFO = ModelInfo(NAMES, 32, "crop", threshold=0.3, temperature=1.7, mirror_average=True, version="0")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    network = networks.seed(32, 10)
    # Untrained answers are all alike; with larger weights they differ, as a trained network's do.
    network.set_weights([weight * 1.7 for weight in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def samples() -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    smooth = rng.integers(0, 256, (300, 4, 4, 3), dtype=np.uint8)
    return smooth.repeat(8, axis=1).repeat(8, axis=2)  # (N, 32, 32, 3)


@pytest.mark.parametrize("mirror_average", [True, False])
def test_the_file_scales_mirrors_and_calibrates_by_itself(
    network: keras.Model, samples: NDArray[np.uint8], mirror_average: bool
) -> None:
    info = dataclasses.replace(INFO, mirror_average=mirror_average)
    classifier = Classifier(export(network, info, samples))
    views = [samples, samples[:, :, ::-1]] if mirror_average else [samples]
    logits = np.mean([np.log(network.predict(view, verbose=0)) for view in views], axis=0) / info.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(classifier.probabilities(samples), expected, atol=1e-4)
    assert len(np.unique(expected.argmax(axis=1))) > 1  # or the comparison would say little


@pytest.mark.parametrize("mirror_average", [True, False])
def test_sureness_is_the_confidence_less_where_no_sample_is_like_the_picture(
    network: keras.Model, samples: NDArray[np.uint8], mirror_average: bool
) -> None:
    classifier = Classifier(export(network, dataclasses.replace(INFO, mirror_average=mirror_average), samples[:100]))
    maps = keras.Model(network.inputs, [network.layers[5].output, network.layers[3].input])  # 4×4×64 and 15×15×32
    views = [samples, samples[:, :, ::-1]] if mirror_average else [samples]
    last, entering = zip(*(maps.predict(view, verbose=0) for view in views), strict=True)
    parts = np.mean(last, axis=(0, 2, 3)), np.mean(np.std(entering, axis=(2, 3)), axis=0)  # (N, D), (N, E)
    features = np.hstack([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]) / np.sqrt(2)
    nearest = (features @ features[:100].T).max(axis=1)  # (N,)
    probabilities, sureness = classifier.ask(samples)
    np.testing.assert_allclose(sureness, probabilities.max(axis=1) * nearest**16, atol=1e-4)
    np.testing.assert_allclose(sureness[:100], probabilities[:100].max(axis=1), atol=1e-4)
    assert (nearest[100:] < 0.999).all()


def test_a_picture_that_gives_no_features_is_not_familiar(samples: NDArray[np.uint8]) -> None:
    network = networks.seed(32, 10)
    for layer in (network.layers[1], network.layers[5]):  # the first and the last convolution
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    assert Classifier(export(network, INFO, samples[:20])).ask(samples).sureness.tolist() == [0] * 300


def test_the_file_says_all_that_it_was_given(network: keras.Model, samples: NDArray[np.uint8]) -> None:
    content = export(network, INFO, samples)
    assert Classifier(content).info == INFO
    scored = dataclasses.replace(INFO, scores={"accuracy": 0.5})
    assert Classifier(with_info(content, scored)).info == scored


def test_nodes_come_in_one_order_however_the_converter_left_them(
    network: keras.Model, samples: NDArray[np.uint8]
) -> None:
    graph = onnx.load_from_string(export(network, INFO, samples[:20])).graph
    expected = [node.name for node in graph.node]
    turned_round = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(graph.node)]
    del graph.node[:]
    graph.node.extend(turned_round)
    to_onnx_tensorflow._put_in_order(graph)
    assert [node.name for node in graph.node] == expected


def test_one_picture_and_many_give_the_same(network: keras.Model, samples: NDArray[np.uint8]) -> None:
    classifier = Classifier(export(network, INFO, samples))
    many = classifier.probabilities(samples[:20])
    one_by_one = np.concatenate([classifier.probabilities(samples[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(many, one_by_one, atol=1e-6)


class _Wrong(Classifier):
    """A model file whose answers are moved, as a broken conversion's would be."""

    moved = 0.0
    output = "probabilities"

    def ask(self, squares: NDArray[np.uint8]) -> Asked:
        asked = super().ask(squares)
        getattr(asked, self.output)[..., 0] += self.moved
        return asked


@pytest.mark.parametrize("output", ["probabilities", "sureness"])
@pytest.mark.parametrize("moved", [0.002, 1.0, float("nan")])
def test_the_export_fails_where_the_answers_differ(
    network: keras.Model, samples: NDArray[np.uint8], moved: float, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Wrong, "moved", moved)
    monkeypatch.setattr(_Wrong, "output", output)
    monkeypatch.setattr("thumbnet.training.to_onnx_tensorflow.Classifier", _Wrong)
    with pytest.raises(ExportError, match=r"Keras and ONNX Runtime disagree on .* of 600 pictures"):
        export(network, INFO, samples)


def test_a_network_that_onnx_cannot_express_fails_at_export(samples: NDArray[np.uint8]) -> None:
    network: Any = keras.Sequential(
        [keras.Input((32, 32, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3),
         keras.layers.MaxPooling2D(), keras.layers.Flatten(),
         keras.layers.Dense(4, activation=lambda x: keras.activations.gelu(x, approximate=False)),
         keras.layers.Dense(10, activation="softmax")]
    )  # fmt: skip
    with pytest.raises(ExportError, match="cannot be converted"):
        export(network, INFO, samples)
