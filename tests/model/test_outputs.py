"""classifier: the features and the evidence of a file that was trained by a backbone, and large squares in few runs."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from support import models, transferred
from support.models import square
from support.transferred import SIZE, WIDTH, content, graph

from thumbnet.errors import ModelError
from thumbnet.model.classifier import BATCH, Asked, Classifier, batch_size


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(content())


def pictures(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def watch(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], int]]:
    """The outputs that the network is asked for from now on, and the squares of each run."""
    asked: list[tuple[tuple[str, ...], int]] = []
    session = classifier._session

    class Watched:
        def run(self, names: list[str], inputs: dict[str, Any]) -> Any:
            asked.append((tuple(names), len(inputs["images"])))
            return session.run(names, inputs)

    monkeypatch.setattr(classifier, "_session", Watched())
    return asked


# What a file gives


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (models.content(), (False, False, False)),
        (models.content(models.with_sureness("ReduceMin", keepdims=0)), (True, False, False)),
        (content(graph(heat=False)), (True, True, False)),
        (content(), (True, True, True)),
    ],
    ids=["probabilities", "sureness", "features", "heat"],
)
def test_a_classifier_tells_what_its_file_gives(model: bytes, given: tuple[bool, ...]) -> None:
    for classifier in (Classifier(model), copy.copy(Classifier(model))):
        assert (classifier.has_sureness, classifier.has_features, classifier.has_heat) == given


@pytest.mark.parametrize("colour", models.NAMES)
def test_answers_are_those_of_any_file(classifier: Classifier, colour: str) -> None:
    answer = classifier.predict(square(colour))
    assert answer.label == colour
    assert answer.known
    assert answer.sureness == pytest.approx(answer.confidence)
    assert classifier.info.backbone["name"] == "tiny"


def test_features_are_averages_of_the_maps(classifier: Classifier) -> None:
    squares = np.stack([square(colour, SIZE) for colour in models.NAMES])
    found = classifier.features(squares)
    assert found.shape == (3, WIDTH)
    assert found.dtype == np.float32
    assert found[:, :3] == pytest.approx(np.eye(3), abs=1e-5)


def test_evidence_averaged_and_a_constant_are_the_logits(classifier: Classifier) -> None:
    for picture in pictures(5):
        probabilities, places = classifier.evidence(picture)
        assert probabilities.tolist() == classifier.probabilities(picture[None])[0].tolist()
        assert places.shape == (3, 3, 3)
        logits = places.mean(axis=(0, 1)) + np.array(transferred.BIAS)
        assert np.exp(logits) / np.exp(logits).sum() == pytest.approx(probabilities, abs=1e-5)


def test_evidence_is_of_its_place(classifier: Classifier) -> None:
    picture = square("red", SIZE)
    picture[16:32, 32:] = models.RGB["blue"]
    places = classifier.evidence(picture).places
    best = places.argmax(axis=2)
    assert models.NAMES[best[1, 2]] == "blue"
    assert (np.delete(best.ravel(), 5) == models.NAMES.index("red")).all()


def test_an_answer_fetches_nothing_more(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watch(classifier, monkeypatch)
    classifier.predict(square("red"))
    classifier.features(pictures(1))
    classifier.evidence(pictures(1)[0])
    assert asked == [(("probabilities", "sureness"), 1), (("features",), 1), (("probabilities", "heat"), 1)]


def test_no_squares_have_no_features(classifier: Classifier) -> None:
    assert classifier.features(pictures(0)).shape == (0, WIDTH)
    assert classifier.ask(pictures(0)).sureness.shape == (0,)


def test_what_a_file_does_not_give_is_told() -> None:
    plain, without_heat = Classifier(models.content()), Classifier(content(graph(heat=False)))
    with pytest.raises(ModelError, match=r"^the model file gives no features\. Expected one that was trained by"):
        plain.features(pictures(1, models.SIZE))
    for classifier in (plain, without_heat):
        with pytest.raises(ModelError, match=r"^the model file gives no evidence of places\. Expected one"):
            classifier.evidence(pictures(1, classifier.info.size)[0])


# Rows and runs


def test_rows_do_not_depend_on_the_batch(classifier: Classifier) -> None:
    squares = pictures(9)
    probabilities, sureness = classifier.ask(squares)
    features = classifier.features(squares)
    for count in range(1, 10):
        for start in range(10 - count):
            rows = slice(start, start + count)
            asked = classifier.ask(squares[rows])
            assert np.array_equal(asked.probabilities, probabilities[rows])
            assert np.array_equal(asked.sureness, sureness[rows])
            assert np.array_equal(classifier.features(squares[rows]), features[rows])


def test_a_file_with_features_gets_no_square_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for model, runs in ((content(), [1, 3]), (models.content(models.graph(SIZE), size=SIZE), [2, 4])):
        classifier = Classifier(model)
        asked = watch(classifier, monkeypatch)
        classifier.ask(pictures(1))
        classifier.ask(pictures(3))
        assert [count for _, count in asked] == runs


@pytest.mark.parametrize(
    ("size", "squares"),
    [(1, 256), (4, 256), (32, 256), (33, 240), (48, 112), (64, 64), (128, 16), (224, 4), (288, 2), (4096, 2)],
)
def test_larger_squares_go_in_smaller_batches(size: int, squares: int) -> None:
    assert batch_size(size) == squares <= BATCH


def test_large_squares_go_in_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(content(graph(288), size=288))
    asked = watch(classifier, monkeypatch)
    squares = pictures(5, 288)
    found: Asked = classifier.ask(squares)
    assert [count for _, count in asked] == [2, 2, 1]
    alone = [classifier.ask(each[None]) for each in squares]
    assert np.array_equal(found.probabilities, np.concatenate([each.probabilities for each in alone]))
    assert np.array_equal(found.sureness, np.concatenate([each.sureness for each in alone]))


# Files that are none


def changed(change: Callable[[onnx.GraphProto], None]) -> bytes:
    model = graph()
    change(model.graph)
    return content(model)


def declare(place: int, name: str, kind: int, shape: list[int | str]) -> Callable[[onnx.GraphProto], None]:
    """Declare the output at this place as something else."""

    def change(whole: onnx.GraphProto) -> None:
        outputs = list(whole.output)
        outputs[place] = helper.make_tensor_value_info(name, kind, shape)
        del whole.output[:]
        whole.output.extend(outputs)

    return change


def swap(whole: onnx.GraphProto) -> None:
    outputs = list(whole.output)
    del whole.output[:]
    whole.output.extend([*outputs[:2], outputs[3], outputs[2]])


def without(place: int) -> Callable[[onnx.GraphProto], None]:
    def change(whole: onnx.GraphProto) -> None:
        del whole.output[place]

    return change


def four_classes(whole: onnx.GraphProto) -> None:
    [weights] = [each for each in whole.initializer if each.name == "weights"]
    weights.CopyFrom(numpy_helper.from_array(np.zeros((WIDTH, 4), np.float32), "weights"))
    declare(3, "heat", FLOAT, ["N", "h", "w", 4])(whole)


FLOAT = TensorProto.FLOAT


@pytest.mark.parametrize(
    "change",
    [
        swap,
        without(1),
        without(2),
        declare(2, "late", FLOAT, ["N", 16, 3, 3]),
        declare(2, "logits", FLOAT, ["N", 3]),
        declare(3, "maps", FLOAT, ["N", "h", "w", 16]),
        four_classes,
        declare(3, "heat", FLOAT, [1, "h", "w", 3]),
        lambda whole: whole.output.append(helper.make_tensor_value_info("logits", FLOAT, ["N", 3])),
    ],
    ids=[
        "swapped", "no sureness", "no features", "features of places", "another name",
        "evidence of another name", "evidence of four classes", "one picture", "five outputs",
    ],
)  # fmt: skip
def test_other_outputs_are_refused(change: Callable[[onnx.GraphProto], None]) -> None:
    told = (
        r"^expected a graph that takes images uint8 \(N, 48, 48, 3\) and gives probabilities float \(N, 3\), then "
        r"perhaps sureness float \(N\), features float \(N, D\), heat float \(N, h, w, 3\), as the metadata says, got "
    )
    with pytest.raises(ModelError, match=told):
        Classifier(changed(change))


def replace(name: str, *nodes: onnx.NodeProto) -> Callable[[onnx.GraphProto], None]:
    """Let these nodes make the output `name` of `raw`, the true one. Its shape is not declared any more."""

    def change(whole: onnx.GraphProto) -> None:
        for node in whole.node:
            node.output[:] = ["raw" if each == name else each for each in node.output]
        whole.node.extend(nodes)

    return change


def no_numbers(name: str) -> tuple[onnx.NodeProto, ...]:
    """Nodes that make `name` of `raw`: the square root of what is below zero."""
    return helper.make_node("Neg", ["raw"], ["below"]), helper.make_node("Sqrt", ["below"], [name])


def test_features_that_are_no_numbers_are_refused() -> None:
    def spoil(whole: onnx.GraphProto) -> None:
        replace("features", *no_numbers("features"))(whole)
        [head] = [node for node in whole.node if node.op_type == "Reshape"]
        head.input[0] = "raw"

    classifier = Classifier(changed(spoil))
    assert classifier.predict(square("red")).label == "red"
    with pytest.raises(ModelError, match="features that are no numbers"):
        classifier.features(square("red", SIZE)[None])


def test_evidence_that_is_no_numbers_is_refused() -> None:
    classifier = Classifier(changed(replace("heat", *no_numbers("heat"))))
    assert classifier.predict(square("red")).label == "red"
    with pytest.raises(ModelError, match="evidence that is no numbers"):
        classifier.evidence(square("red", SIZE))


def test_outputs_of_another_shape_are_refused() -> None:
    twice = helper.make_node("Concat", ["raw", "raw"], ["heat"], axis=0)
    classifier = Classifier(changed(replace("heat", twice)))
    with pytest.raises(ModelError, match=r"gives heat \(2, 3, 3, 3\), which it does not declare"):
        classifier.evidence(square("red", SIZE))
