"""classifier: every kind of source, and every model file that is none."""

import contextlib
import copy
import io
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image
from support import web as pages
from support.models import NAMES, SIZE, content, graph, lost, png, square, with_sureness, write
from support.web import Web

from thumbnet.errors import FetchError, ImageError, ModelError, SourceError
from thumbnet.model import classifier as classifier_module
from thumbnet.model.classifier import BATCH, PRETRAINED, Asked, Classifier, Guess, Prediction, Source, load, together
from thumbnet.model.graph import refuse_external_data
from thumbnet.model.info import ModelInfo
from thumbnet.sources.read import read


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(content())


@pytest.fixture
def red_file(tmp_path: Path) -> Path:
    path = tmp_path / "röt 赤.png"
    path.write_bytes(png("red"))
    return path


class Located:
    """A path that is no `pathlib.Path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return self.path


# One picture


@pytest.mark.parametrize("colour", NAMES)
def test_class_is_found(classifier: Classifier, colour: str) -> None:
    prediction = classifier.predict(square(colour))
    assert prediction.label == colour
    assert prediction.known
    assert prediction.confidence == pytest.approx(1, abs=1e-3)
    assert sum(guess.confidence for guess in prediction.top) == pytest.approx(1, abs=1e-5)


def test_every_kind_of_source_gives_the_same(classifier: Classifier, red_file: Path, web: Web) -> None:
    web.pages["/red"] = pages.ok(png("red"))
    content = png("red")
    with red_file.open("rb") as file, red_file.open("rb") as again:
        sources: list[Source] = [
            red_file, str(red_file), content, square("red"), web.url("/red"), bytearray(content), memoryview(content),
            np.bytes_(content), io.BytesIO(content), file, Image.fromarray(square("red")), Located(str(red_file)),
        ]  # fmt: skip
        predictions = [classifier.predict(source) for source in sources]
        sources[8:10] = [io.BytesIO(content), again]
        assert classifier.predict(iter(sources)) == predictions
    assert {prediction.top for prediction in predictions} == {predictions[0].top}
    assert predictions[0].label == "red"
    named = [str(red_file), str(red_file), "<bytes>", "<ndarray>", web.url("/red"), "<bytearray>", "<memoryview>"]
    named += ["<bytes_>", "<BytesIO>", "<BufferedReader>", "<Image>", str(red_file)]
    assert [prediction.source for prediction in predictions] == named


def test_array_of_names_is_many(classifier: Classifier, red_file: Path) -> None:
    for kind in (np.str_, object):
        assert [each.label for each in classifier.predict(np.array([str(red_file)] * 2, kind))] == ["red", "red"]


@pytest.mark.parametrize("number", [0, True, np.int64(0), 1.5, None])
def test_what_is_no_source_is_named_and_never_opened(classifier: Classifier, number: Any) -> None:
    for source in (number, [number], iter([number])):
        with pytest.raises(SourceError, match=f"expected a path, .*, got {type(number).__name__}$"):
            classifier.predict(source)


def test_prediction_in_json() -> None:
    prediction = Prediction("a.png", (Guess("cat", 0.75), Guess("dog", 0.2499996)), known=False, sureness=2 / 3)
    assert prediction.as_dict() == {
        "source": "a.png",
        "label": "cat",
        "confidence": 0.75,
        "known": False,
        "sureness": 0.666667,
        "top": [{"label": "cat", "confidence": 0.75}, {"label": "dog", "confidence": 0.25}],
    }
    assert list(prediction.as_dict()) == ["source", "label", "confidence", "known", "sureness", "top"]


def test_prediction_is_rounded_only_where_it_is_written(classifier: Classifier) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    answer = classifier.predict(picture)[0]
    assert answer.confidence == float(classifier.probabilities(picture).max()) != round(answer.confidence, 6)
    assert answer.as_dict()["confidence"] == round(answer.confidence, 6)


# Several views


def test_views_find_what_is_lost_in_the_whole(classifier: Classifier) -> None:
    closely = Classifier(content(), views=True)
    assert classifier.predict(lost()).label == "red"
    found = closely.predict(lost())
    assert found.label == "green"
    alone = [classifier.predict(view) for view in closely.squares(lost())]
    assert [view.label for view in alone] == ["red", "green"]
    assert found.sureness == pytest.approx(np.mean([view.sureness for view in alone]))


def test_small_pictures_have_one_view() -> None:
    closely = Classifier(content(), views=True)
    for size, views in ((12, 1), (13, 2)):
        assert closely.squares(lost()[:size]).shape == (views, SIZE, SIZE, 3)
        assert closely.squares(lost()[:, :size]).shape == (views, SIZE, SIZE, 3)


def test_views_change_nothing_for_their_neighbours(classifier: Classifier) -> None:
    small = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    closely = Classifier(content(), views=True)
    found = closely.predict([small, lost(), small, lost()])
    assert found[0] == found[2] == closely.predict(small) == classifier.predict(small)
    assert found[1] == found[3] == closely.predict(lost())


def test_the_surest_view_counts_most() -> None:
    probabilities = np.array([[0.5, 0.5], [0.4, 0.6], [0.9, 0.1], [0.2, 0.8]], np.float32)
    given = together(Asked(probabilities, np.array([0.5, 0.2, 0.4, 0], np.float32)), [1, 2, 1])
    assert given.sureness.tolist() == pytest.approx([0.5, 0.3, 0])
    assert given.probabilities == pytest.approx(np.array([[0.5, 0.5], [2.2 / 3, 0.8 / 3], [0.2, 0.8]]))
    assert given.probabilities.dtype == given.sureness.dtype == np.float32


def test_views_of_which_none_is_sure_count_alike() -> None:
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1]], np.float32)
    given = together(Asked(probabilities, np.zeros(2, np.float32)), [2])
    assert given.probabilities == pytest.approx(np.array([[0.65, 0.35]]))


@pytest.mark.parametrize(("top_k", "named"), [(1, 1), (2, 2), (3, 3), (4, 3), (10**9, 3)])
def test_top_k_is_the_most_there_is(classifier: Classifier, top_k: int, named: int) -> None:
    top = classifier.predict(square("green"), top_k=top_k).top
    assert [guess.label for guess in top] == ["green", "red", "blue"][:named]  # equal ones in the model's order


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_below_one_is_refused(classifier: Classifier, top_k: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be 1 or more, got {top_k}"):
        classifier.predict(square("red"), top_k=top_k)


@pytest.mark.parametrize(("threshold", "known"), [(0.0, True), (0.33, True), (0.34, False), (1.0, False)])
def test_answer_below_the_threshold_is_unsure(threshold: float, known: bool) -> None:
    assert Classifier(content(threshold=threshold)).predict(square("grey")).known is known


def test_a_threshold_given_replaces_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", threshold=0.9)
    for threshold, known in ((None, False), (0, True), (0.33, True), (np.float64(0.34), False), (1, False)):
        for classifier in (load(path, threshold=threshold), Classifier(path, threshold=threshold)):
            assert classifier.predict(square("grey")).known is known
            assert type(classifier.info.threshold) is float
            assert classifier.info.threshold == pytest.approx(0.9 if threshold is None else threshold)
            ModelInfo.from_metadata(classifier.info.to_metadata())


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_out_of_its_range_is_refused(threshold: float, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx")
    for open_model in (load, Classifier):
        with pytest.raises(ValueError, match=f"threshold must be 0 to 1, got {threshold}"):
            open_model(path, threshold=threshold)


def test_the_network_gets_an_even_number_of_pictures(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime computes an odd one otherwise, so a row would depend on what came with it."""
    asked, session = [], classifier._session

    class Watched:
        def run(self, names: Any, inputs: Any) -> Any:
            asked.append(len(inputs["images"]))
            return session.run(names, inputs)

    monkeypatch.setattr(classifier, "_session", Watched())
    for number in (1, 2, 3, BATCH, BATCH + 1):
        assert len(classifier.probabilities(np.zeros((number, 4, 4, 3), np.uint8))) == number
    assert asked == [2, 2, 4, BATCH, BATCH, 2]


@pytest.mark.parametrize(("framing", "label"), [("crop", "green"), ("stretch", "red")])
def test_fit_is_the_model_files(framing: str, label: str) -> None:
    picture = np.hstack([square("red"), square("green"), square("red")])  # (8, 24, 3), green in the middle
    assert Classifier(content(framing=framing)).predict(picture).label == label


# Many pictures


def as_generator(many: list[Any]) -> Iterator[Any]:
    yield from many


@pytest.mark.parametrize("container", [list, tuple, as_generator, np.stack])
def test_many_are_answered_in_their_order(classifier: Classifier, container: Callable[[list[Any]], Any]) -> None:
    colours = ["blue", "red", "green", "red"]
    predictions = classifier.predict(container([square(colour) for colour in colours]))
    assert [prediction.label for prediction in predictions] == colours


def test_kinds_may_be_mixed(classifier: Classifier, red_file: Path) -> None:
    predictions = classifier.predict([png("green", 3), red_file, square("blue")])
    assert [prediction.label for prediction in predictions] == ["green", "red", "blue"]


@pytest.mark.parametrize("nothing", [[], (), iter([]), np.zeros((0, 8, 8, 3), np.uint8)])
def test_nothing_gives_nothing(classifier: Classifier, nothing: Any) -> None:
    assert classifier.predict(nothing) == []


def test_more_than_a_batch_is_as_one_by_one(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
    whole = classifier.probabilities(squares)
    monkeypatch.setattr(classifier_module, "BATCH", 3)
    assert np.array_equal(classifier.probabilities(squares), whole)
    assert np.array_equal(np.concatenate([classifier.probabilities(each[None]) for each in squares]), whole)
    assert whole.dtype == np.float32


def test_no_squares_give_no_rows(classifier: Classifier) -> None:
    assert classifier.probabilities(np.zeros((0, SIZE, SIZE, 3), np.uint8)).shape == (0, 3)


# Sources that are none


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 1), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((8, 8, 3), np.int64),
        np.zeros((8, 8, 3), bool),
        np.zeros(3, np.uint8),
        np.zeros((), np.uint8),
        np.zeros((1, 1, 8, 8, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_array_that_is_no_picture_is_told_as_it_came(classifier: Classifier, array: NDArray[Any]) -> None:
    with pytest.raises(ImageError) as caught:
        classifier.predict(array)
    assert f"uint8 (H, W, 3), got {array.dtype} {array.shape}" in str(caught.value)


def test_array_of_pictures_that_are_none_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ImageError, match=r"got float64 \(8, 8, 3\)"):
        classifier.predict(np.zeros((2, 8, 8, 3)))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("missing.png", "no such file"),
        ("www.example.org/cat.png", "no such file"),
        (".", "this is a folder"),
        (Path(), "this is a folder"),
        ("a\0b", "cannot read it"),
        ("a" * 5000, "cannot read it"),
        ("red.png/red.png", "cannot read it"),
    ],
)
def test_file_that_cannot_be_read_is_told(
    classifier: Classifier, source: str | Path, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "red.png").write_bytes(png("red"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=told):
        classifier.predict(source)


def test_device_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbnet.sources.read.MAX_BYTES", 2**20)
    with pytest.raises(SourceError, match=r"^larger than 1 MiB\. Expected a picture's path or its URL$"):
        read("/dev/zero")


def test_file_without_permission_is_told(red_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")  # what root never sees

    monkeypatch.setattr("thumbnet.sources.read.open", refuse, raising=False)
    with pytest.raises(SourceError, match=r"^cannot read it: Permission denied$"):
        read(red_file)


def test_empty_file_is_told(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match="0 bytes"):
        classifier.predict(tmp_path / "empty.png")


def test_url_that_fails_is_told(classifier: Classifier, web: Web) -> None:
    with pytest.raises(FetchError, match="404"):
        classifier.predict(web.url("/nothing"))


def test_page_in_place_of_a_picture_is_told(classifier: Classifier, web: Web) -> None:
    web.pages["/cat.jpg"] = pages.ok(b"<!doctype html>", "image/jpeg")
    with pytest.raises(ImageError, match="web page"):
        classifier.predict(web.url("/cat.jpg"))


# Model files


def test_load_takes_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "модель.onnx", version="9.9")
    assert load(path).info.version == load(str(path)).info.version == "9.9"


def test_load_takes_a_bundled_name_and_the_best_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "best.onnx", version="best")
    write(tmp_path / "other.onnx", version="other")
    monkeypatch.setattr(classifier_module, "PRETRAINED", tmp_path)
    monkeypatch.setattr(classifier_module, "BUNDLED", ("best", "other"))
    assert load().info.version == load("best").info.version == "best"
    assert load("other").info.version == "other"


def test_classifier_takes_bytes_and_paths_of_every_kind(tmp_path: Path) -> None:
    path, data = write(tmp_path / "model.onnx"), content()
    for model in (data, bytearray(data), memoryview(data), path, str(path), Located(str(path))):
        assert Classifier(model).predict(square("red")).label == "red"
    with pytest.raises(TypeError):
        Classifier(0)  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_load_takes_a_pipe_and_a_name_in_no_encoding(tmp_path: Path) -> None:
    named = tmp_path / os.fsdecode(b"\xff.onnx")
    if sys.platform == "linux":  # macOS has no such names
        assert load(write(named)).info.names == NAMES
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(content())
    assert load(f"/dev/fd/{read_end}").info.names == NAMES
    os.close(read_end)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is read into memory")
def test_load_takes_no_copy_of_the_file() -> None:
    path = PRETRAINED / "cifar10-best.onnx"
    tracemalloc.start()
    load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


def test_load_uses_the_file_that_was_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = write(tmp_path / "model.onnx", version="checked"), write(tmp_path / "other.onnx", version="other")

    def then_replace(file: IO[bytes]) -> None:
        refuse_external_data(file)
        other.replace(path)

    monkeypatch.setattr(classifier_module, "refuse_external_data", then_replace)
    assert load(path).info.version == "checked"
    monkeypatch.undo()
    assert load(path).info.version == "other"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.onnx", "no model file at missing.onnx.*one of: cifar10-photo, cifar10-best, cifar10-seed"),
        ("", "cannot read the model file"),
        (".", "cannot read the model file"),
        ("a\0b", "cannot read the model file"),
        ("a" * 5000, "cannot read the model file"),
    ],
)
def test_load_tells_what_it_cannot_read(name: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        load(name)


def test_load_names_the_broken_file(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError, match=r"broken\.onnx: not a model file"):
        load(tmp_path / "broken.onnx")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        random.Random(0).randbytes(1000),
        b"<!doctype html>",
        png("red"),
        b"\x18\0\0\0ORTM" + b"\0" * 100,
        content()[:-1],
        content()[:100],
        content().replace(b'"crop"', b'"\xff\xfeop"'),
    ],
    ids=["empty", "zero", "random", "html", "png", "ort", "cut", "cut in half", "no utf-8"],
)
def test_what_is_no_model_file_is_told(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="not a model file, or a broken one"):
        Classifier(data)
    assert capfd.readouterr() == ("", "")


def test_other_onnx_file_is_told() -> None:
    with pytest.raises(ModelError, match="not a model file of Thumbnet"):
        Classifier(graph().SerializeToString())


def changed(change: Callable[[onnx.ModelProto], None]) -> onnx.ModelProto:
    model = graph()
    change(model)
    return model


def one_picture_only(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def floats(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["N", 3]))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (graph(size=5), {}),
        (graph(), {"size": 5}),
        (graph(), {"names": ("red", "green")}),
        (graph(), {"names": ("red", "green", "blue", "grey")}),
        (changed(one_picture_only), {}),
        (changed(floats), {}),
        (changed(second_output), {}),
    ],
    ids=["larger", "smaller", "less classes", "more classes", "one picture", "floats", "two outputs"],
)
def test_graph_and_metadata_have_to_agree(model: onnx.ModelProto, says: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="expected a graph that takes images uint8"):
        Classifier(content(model, **says))


@pytest.mark.parametrize("sharpness", [float("nan"), float("inf")], ids=["not a number", "infinite"])
def test_numbers_that_are_no_probabilities_are_refused(sharpness: float) -> None:
    with pytest.raises(ModelError, match="no probabilities"):
        Classifier(content(graph(sharpness=sharpness))).predict(square("red"))


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("Neg", {}), ("Exp", {}), ("ReduceMax", {"keepdims": 1}), ("Concat", {"axis": 0})],
    ids=["negative", "above one", "one number", "a row more"],
)
def test_network_that_does_not_keep_its_word_is_refused(operator: str, attributes: dict[str, Any]) -> None:
    inputs = ["raw", "raw"] if operator == "Concat" else ["raw"]
    model = graph(extra=(helper.make_node(operator, inputs, ["probabilities"], **attributes),))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_param="N")
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=3)
    with pytest.raises(ModelError):
        Classifier(content(model)).predict(square("red"))


def test_a_sureness_of_its_own_decides_what_is_known() -> None:
    plain, own = Classifier(content()), Classifier(content(with_sureness("ReduceMin", keepdims=0)))
    for colour, least in (("red", 0), ("grey", 1 / 3)):
        usual, answer = plain.predict(square(colour)), own.predict(square(colour))
        assert usual.top == answer.top
        assert usual.sureness == pytest.approx(usual.confidence, abs=1e-6)
        assert usual.known == (colour == "red")
        assert answer.sureness == pytest.approx(least, abs=1e-3)
        assert not answer.known
    assert Classifier(content(with_sureness("ReduceMin", keepdims=0), threshold=0.3)).predict(square("grey")).known


def test_a_sureness_above_one_is_refused() -> None:
    with pytest.raises(ModelError, match="no probabilities"):
        Classifier(content(with_sureness("ReduceLogSumExp", keepdims=0))).predict(square("red"))


def test_network_that_fails_is_told() -> None:
    count = helper.make_node("Shape", ["raw"], ["count"], start=0, end=1)
    beyond = helper.make_node("Gather", ["raw", "count"], ["beyond"], axis=0)  # row N of N
    add = helper.make_node("Add", ["raw", "beyond"], ["probabilities"])
    classifier = Classifier(content(graph(extra=(count, beyond, add))))
    with pytest.raises(ModelError, match="network fails"):
        classifier.predict(square("red"))


def external(name: str, location: str) -> onnx.TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1, 3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def branch(location: str, name: str) -> onnx.GraphProto:
    """A graph inside the graph; ONNX Runtime looks at the files that these name by other code."""
    node = helper.make_node("Identity", [f"{name} weights"], [name])
    output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3])
    return helper.make_graph([node], name, [], [output], [external(f"{name} weights", location)])


@pytest.mark.parametrize("location", ["weights.bin", "{folder}/weights.bin", "../weights.bin", "missing.bin"])
@pytest.mark.parametrize("inner", [False, True])
def test_other_files_are_not_read(location: str, inner: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    for folder in (tmp_path, tmp_path / "here"):
        np.zeros(3, np.float32).tofile(folder / "weights.bin")
    monkeypatch.chdir(tmp_path / "here")
    location = location.format(folder=tmp_path)
    add = helper.make_node("Add", ["raw", "weights"], ["probabilities"])
    if inner:
        highest = helper.make_node("ReduceMax", ["raw"], ["highest"], keepdims=0)
        condition = helper.make_node("Cast", ["highest"], ["condition"], to=TensorProto.BOOL)
        choose = helper.make_node(
            "If", ["condition"], ["weights"], then_branch=branch(location, "yes"), else_branch=branch(location, "no")
        )
        model = graph(extra=(highest, condition, choose, add))
    else:
        model = graph(extra=(add,))
        model.graph.initializer.append(external("weights", location))
    told = "weights are in other files, which are not read"
    with pytest.raises(ModelError, match=told):
        Classifier(content(model))
    (tmp_path / "here" / "model.onnx").write_bytes(content(model))
    with pytest.raises(ModelError, match=told):
        load("model.onnx")


def test_a_class_may_be_called_location() -> None:
    names = ("location", "external_data", "else")
    assert Classifier(content(names=names)).info.names == names


def test_damaged_file_is_told_or_works(capfd: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(0)
    for _ in range(500):
        data = bytearray(content())
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ModelError):
            Classifier(bytes(data)).predict(square("red"))
    assert capfd.readouterr() == ("", "")


def test_the_number_of_threads_changes_no_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx")
    squares = np.stack([square(colour, SIZE) for colour in NAMES])
    np.testing.assert_array_equal(load(path, threads=1).probabilities(squares), load(path).probabilities(squares))
    assert load(path, threads=1)._session.get_session_options().intra_op_num_threads == 1


# Copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("kind", ["a file", "a relative path", "bytes", "a pipe"])
def test_copy_answers_as_the_classifier_does(
    copied: Callable[[Classifier], Classifier], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "model.onnx", version="9.9")
    settings: dict[str, Any] = {"threads": 1, "views": True, "threshold": 0.25}
    if kind == "bytes":
        classifier = Classifier(path.read_bytes(), **settings)
    elif kind == "a pipe":
        monkeypatch.setattr(Path, "is_file", lambda _: False)  # as of what has no descriptor to open once more
        classifier = load(path, **settings)
        path.unlink()
    else:
        classifier = load(path if kind == "a file" else path.name, **settings)
    monkeypatch.chdir("/")
    other = copied(classifier)
    assert other is not classifier
    assert other.info == classifier.info
    assert other.info.threshold == 0.25
    assert other.predict([lost(), png("grey")]) == classifier.predict([lost(), png("grey")])
    assert other._session.get_session_options().intra_op_num_threads == 1
    assert copied(other).predict(lost()) == classifier.predict(lost())


def test_classifier_is_sent_to_another_process(tmp_path: Path) -> None:
    classifier = load(write(tmp_path / "model.onnx"))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).info.names)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(classifier), capture_output=True, check=True)
    assert done.stdout.decode().strip() == repr(NAMES)


@pytest.mark.parametrize("change", ["removed", "replaced", "written over"])
def test_copy_of_a_model_whose_file_has_changed_is_refused(change: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx")
    classifier = load(path)
    if change == "removed":
        path.unlink()
    elif change == "replaced":
        write(tmp_path / "other.onnx").replace(path)
    else:
        path.write_bytes(content(version="other"))
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(ModelError, match=r"model\.onnx has changed since it was loaded.*Load it again"):
            copied(classifier)
    assert classifier.predict(square("red")).label == "red"  # which itself goes on


def test_three_classes_are_named_unless_told_otherwise() -> None:
    bundled = load("cifar10-seed")
    squares = [bundled.squares(square("red", 32))]
    assert [len(each.top) for each in bundled.describe(["red"], squares)] == [3]
    assert len(bundled.predict(square("red", 32)).top) == 3


@pytest.mark.parametrize("wrong", [np.array("cat.png"), np.array(3), np.array(None)])
def test_an_array_without_dimensions_is_no_picture(wrong: Any) -> None:
    with pytest.raises(ImageError, match=r"expected an RGB array, uint8 \(H, W, 3\), got \S+ \(\)"):
        load("cifar10-seed").predict(wrong)
