"""A model file by a backbone in 8-bit integers: the head learns again, from the quantised features."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from support import models, transferred
from support.backbones import SIZE, backbone
from support.trees import encoded

import thumbnet
from thumbnet import export as formats
from thumbnet.cli import main
from thumbnet.errors import ExportError, MissingExtraError
from thumbnet.evaluation.judge import judge_each
from thumbnet.export import int8
from thumbnet.export.agreement import Agreement, Tolerance, refuse
from thumbnet.model.classifier import Classifier, load
from thumbnet.transfer.backbone import open_backbone
from thumbnet.transfer.learn import cross_validated
from thumbnet.transfer.shipped import backbone_of, in_half


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model file that learnt red, green and blue from 20 pictures each, by two convolutions."""
    monkeypatch.chdir(tmp_path)
    info = models.info(size=transferred.SIZE, framing="stretch", backbone={
        "name": "tiny", "licence": "MIT", "origin": "these tests", "parts": [transferred.WIDTH],
    })  # fmt: skip
    Path("tiny.onnx").write_bytes(backbone_of(transferred.content(), info).SerializeToString())
    random = np.random.default_rng(0)
    for name, colour in list(models.RGB.items())[:3]:
        Path("pictures", name).mkdir(parents=True)
        for number in range(20):
            noisy = random.normal(colour, 60, (12, 12, 3)).clip(0, 255).astype(np.uint8)
            square = np.asarray(cv2.resize(noisy, (50, 50), interpolation=cv2.INTER_LINEAR), np.uint8)
            Path("pictures", name, f"{number}.png").write_bytes(encoded(square))
    return str(thumbnet.train("pictures", backbone="tiny.onnx", output="mine.onnx").path)


def test_its_head_learns_from_its_own_features(mine: str) -> None:
    done = formats.export(mine, "int8")
    before, after = load(mine), load(done.path)
    square = models.square("green", transferred.SIZE)[None]
    features = after.features(square)
    assert not np.array_equal(features, before.features(square))
    np.testing.assert_allclose(features, before.features(square), atol=0.05)
    assert after.predict(square[0]).label == "green"
    assert after.info.origin["format"] == "int8"
    assert after.info.scores["cross_validated"] is True
    assert after.info.scores["images"] == 60
    assert {**after.info.backbone, "sha256": ""} == {**before.info.backbone, "sha256": ""}
    assert after.info.backbone["sha256"] != before.info.backbone["sha256"]
    assert (after.has_heat, after.info.data) == (True, before.info.data)
    [judged] = judge_each([str(done.path)], "pictures", None, cross_validated)
    assert judged.scores.as_dict().items() <= after.info.scores.items()
    assert after.info.origin["calibration_images"] == 60
    before_scores, scores = before.info.scores["accuracy"], after.info.scores["accuracy"]
    assert str(done.agreement).startswith(
        f"{scores:.2%} right, cross-validated (the model file: {before_scores:.2%}); the same answer to "
    )
    assert "of 60 pictures that both learnt from" in str(done.agreement)


def test_of_the_built_in_backbone_the_front_and_depthwise_convolutions_stay_float32() -> None:
    model = onnx.load_from_string(open_backbone("lite0", 64).content)
    names = [node.name for node in int8._robust(model, 64)]
    kinds = ("expand", "project")
    assert names == ["block03/project", *(f"block{n:02}/{kind}" for n in range(4, 16) for kind in kinds), "head"]


def test_what_holds_most_weights_is_quantised_in_any_case() -> None:
    model = transferred.graph()  # 48 pixels: maps of 12 and 3, kernels of 768 and 4,096 weights
    assert [node.input[1] for node in int8._robust(model, 48)] == ["second kernels"]
    assert [node.input[1] for node in int8._robust(model, 16)] == ["second kernels"]
    [second] = [tensor for tensor in model.graph.initializer if tensor.name == "second kernels"]
    second.dims[:] = [16, 1, 4, 4]
    assert [node.input[1] for node in int8._robust(model, 48)] == ["first kernels", "second kernels"]


@pytest.mark.usefixtures("mine")
def test_a_backbone_of_dense_layers_is_quantised() -> None:
    """As a transformer, in which the last side of an output is no side of a map."""
    Path("dense.onnx").write_bytes(backbone())
    dense = thumbnet.train("pictures", backbone="dense.onnx", output="dense-mine.onnx").path
    made = formats.export(dense, "int8").path
    assert onnx.TensorProto.INT8 in {tensor.data_type for tensor in onnx.load(made).graph.initializer}


def test_weights_behind_other_nodes_and_nodes_without_names_are_found() -> None:
    given = onnx.load_from_string(backbone())
    graph = given.graph
    [product] = [node for node in graph.node if node.op_type == "MatMul"]
    product.input[1] = "same"
    graph.node.insert(0, onnx.helper.make_node("Identity", ["mixture"], ["same"]))
    assert int8._robust(given, SIZE) == []
    plain = int8._plain(given)
    names = [node.name for node in plain.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert plain.metadata_props == given.metadata_props
    assert [node.op_type for node in int8._robust(plain, SIZE)] == ["MatMul"]


def test_a_backbone_that_cannot_be_taken_out_is_reported() -> None:
    with pytest.raises(ExportError, match=r"^the model file's backbone cannot be taken out of it: .*INVALID_ARGUMENT"):
        int8._plain(
            onnx.helper.make_model(onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "", [], []))
        )


def test_weights_stored_in_half_are_quantised_too(mine: str) -> None:
    whole = formats.export(mine, "int8", "whole-int8.onnx").path
    Path("half.onnx").write_bytes(in_half(Path(mine).read_bytes()))
    half = formats.export("half.onnx", "int8").path
    kinds = [{t.name: t.data_type for t in onnx.load(path).graph.initializer} for path in (whole, half)]
    assert kinds[0] == kinds[1]
    assert onnx.TensorProto.INT8 in kinds[1].values()


def test_with_a_test_split_it_learns_from_the_training_part_alone(mine: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("red", "green", "blue"):
            (tmp_path / "split" / split / name).mkdir(parents=True)
    for file in sorted(Path("pictures").rglob("*.png")):
        split = "test" if int(file.stem) < 5 else "train"
        (tmp_path / "split" / split / file.parent.name / file.name).write_bytes(file.read_bytes())
    assert Path(mine).exists()
    whole = thumbnet.train("split", backbone="tiny.onnx", output="split.onnx").classifier
    after = load(formats.export("split.onnx", "int8").path)
    assert after.info.scores["images"] == whole.info.scores["images"] == 15
    assert "cross_validated" not in after.info.scores
    assert main(["evaluate", "split-int8.onnx", "--data", "split"]) == 0


def test_it_may_answer_otherwise_but_not_worse(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tolerance] = []
    monkeypatch.setattr(formats, "refuse", lambda _found, tolerance, _form: asked.append(tolerance))
    formats.export(mine, "int8")
    assert asked == [Tolerance(differing=1.0, lost=0.003)]
    worse = Agreement(images=1000, agreeing=100, accuracy_before=0.9, accuracy=0.8, lost_by_chance=False, moved=0.9)
    with pytest.raises(ExportError, match=r"int8 answers differently .* Tolerated: 0\.3 points of accuracy\. Nothing"):
        refuse(worse, asked[0], "int8")
    refuse(dataclasses.replace(worse, accuracy=0.898), asked[0], "int8")


def test_of_an_int8_file_no_other_is_made(mine: str) -> None:
    formats.export(mine, "int8", "small.onnx")
    with pytest.raises(ExportError, match="expected a float32 model file to make int8 of, got an int8 file"):
        formats.export("small.onnx", "int8", "smaller.onnx")


def test_keras_own_format_is_rejected_in_one_line(mine: str) -> None:
    others = "savedmodel, litert, int8, triton, web"
    with pytest.raises(ExportError, match=rf"^keras is not available for .*Expected one of: {others}$"):
        formats.export(mine, "keras")


def test_without_the_extra_it_is_named(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(thumbnet, "transfer", sys.modules["thumbnet.transfer"])  # put back at the end
    monkeypatch.delitem(sys.modules, "thumbnet.transfer.backbone")
    monkeypatch.setitem(sys.modules, "scipy", None)
    for name in [name for name in sys.modules if name.startswith(("thumbnet.transfer", "scipy."))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"int8 features needs scipy.*pip install 'thumbnet\[transfer\]'"):
        formats.export(mine, "int8")


def test_the_part_that_is_its_backbone(mine: str) -> None:
    whole = load(mine)
    part = backbone_of(Path(mine).read_bytes(), whole.info)
    assert [value.name for value in part.graph.output] == ["features", "maps"]
    assert not [node.name for node in part.graph.node if node.name.startswith("thumbnet/")]
    assert len(part.SerializeToString()) < Path(mine).stat().st_size
    assert isinstance(whole, Classifier)
