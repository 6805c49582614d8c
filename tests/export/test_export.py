"""export: each format answers as the model file does, or is not written."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from support import models, transferred, two_networks

import thumbnet
from thumbnet import cli
from thumbnet import export as formats
from thumbnet.cli import arguments
from thumbnet.data import load
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.errors import DataError, DataWarning, ExportError, ModelError, ThumbnetError
from thumbnet.evaluation.scores import Answers
from thumbnet.export import FORMATS, INT8, Format, Original, triton
from thumbnet.export.agreement import Agreement, Answer, Tolerance, agreement, refuse
from thumbnet.model.classifier import Asked, Classifier, find
from thumbnet.model.info import write_info

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and devices of POSIX")
BY_KERAS = ("keras", "savedmodel", "litert")


def need(form: str) -> None:
    """Skip where a format's packages are not installed."""
    if form in BY_KERAS:
        pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
    if form == "litert":
        pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed: pip install -e '.[litert]'")


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Pictures labelled by their strongest colour: to quantise by and to compare on."""

    def part(count: int) -> Dataset:
        images = smooth(count)
        return Dataset(images, images.mean(axis=(1, 2)).argmax(axis=1), models.NAMES)

    return Splits(part(64), part(300))


@pytest.fixture(scope="module")
def trained(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model file of each network, with chance weights whose answers differ."""
    pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")
    from thumbnet.training.to_onnx import export

    folder = tmp_path_factory.mktemp("trained")
    for name in ("seed", "vgg"):
        fields: dict[str, Any] = {
            "recipe": {"network": name},
            "data": {"source": "digits", "test": splits.test.fingerprint()},
        }
        info = models.info(size=32, temperature=1.3, mirror_average=True, scores={"accuracy": 2.0}, **fields)
        (folder / f"{name}.onnx").write_bytes(export(network(name), info, splits.test.images[:20]))
    return {path.stem: path for path in folder.iterdir()}


def smooth(count: int, size: int = 32) -> NDArray[np.uint8]:
    """Pictures of four by four fields: uint8 `(count, size, size, 3)`."""
    side = -(-size // 4)
    fields = np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return fields.repeat(side, axis=1).repeat(side, axis=2)[:, :size, :size]


def network(name: str, size: int = 32, classes: int = 3) -> Any:
    """A network with chance weights that gives each class to some pictures."""
    import keras

    from thumbnet.training import networks

    keras.utils.set_random_seed(1)
    made = getattr(networks, name)(size, classes)
    random = np.random.default_rng(1)
    for layer in made.layers:
        weights = layer.get_weights()
        if len(weights) == 4:  # of a normalisation, in ranges that leave more than eight bits' steps
            ranges = ((0.5, 1.5), (0, 0.5), (0, 0.5), (0.2, 0.6))  # scale, shift, mean, variance
            layer.set_weights([random.uniform(low, high, weights[0].shape) for low, high in ranges])
        elif weights:
            layer.set_weights([weight + random.normal(0, 0.05, weight.shape) for weight in weights])
    head = made.layers[-1]
    logs = np.log(made.predict(smooth(200, size), verbose=0) + 1e-30)
    logs -= logs.mean(axis=1, keepdims=True)
    kernel, bias = head.get_weights()
    sharper = 2 / logs.std(axis=0).mean()
    head.set_weights([kernel * sharper, (bias - logs.mean(axis=0)) * sharper])
    return made


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance weights lose more in eight bits than trained ones."""
    form = dataclasses.replace(FORMATS["int8"], tolerance=Tolerance(differing=0.2, lost=0.2))
    monkeypatch.setitem(FORMATS, "int8", form)


@pytest.fixture(autouse=True)
def _data(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder, and these pictures in place of all data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "load_parts", lambda *_, **__: list(splits))


def answers_of(form: str, path: Path, images: NDArray[np.uint8]) -> Asked:
    """What a user gets from an exported thing, by nothing but its own package."""
    if form == "keras":
        import keras

        return Asked(**keras.models.load_model(path).predict(images, verbose=0))
    if form == "savedmodel":
        import tensorflow as tf

        given = tf.saved_model.load(path).signatures["serving_default"](images=images)
        return Asked(**{name: each.numpy() for name, each in given.items()})
    if form == "litert":
        from ai_edge_litert.interpreter import Interpreter

        given = Interpreter(str(path)).get_signature_runner()(images=images)
        return Asked(**{name: each.copy() for name, each in given.items()})
    return thumbnet.load(path).ask(images)


# The formats


@pytest.mark.parametrize(
    ("form", "name"),
    [("keras", "seed"), ("keras", "vgg"), ("savedmodel", "seed"), ("litert", "seed"), ("int8", "vgg")],
)
@pytest.mark.usefixtures("lenient")
def test_it_answers_as_the_model_file_does(form: str, name: str, trained: dict[str, Path], splits: Splits) -> None:
    need(form)
    done = formats.export(str(trained[name]), form)
    assert done.agreement is not None
    assert done.agreement.images == 300
    # Upside down, too: of training's own pictures, all are as familiar as can be.
    images = np.concatenate([splits.test.images, splits.test.images[:, ::-1]])
    expected = thumbnet.load(trained[name]).ask(images)
    assert len(np.unique(expected.probabilities.argmax(axis=1))) == 3  # or the comparison would say little
    assert (expected.sureness < 0.99 * expected.probabilities.max(axis=1)).any()
    given, one = answers_of(form, done.path, images), answers_of(form, done.path, images[:1])
    for wanted, mine, alone in zip(expected, given, one, strict=True):
        np.testing.assert_allclose(mine, wanted, atol=0.4 if form == "int8" else 1e-4)
        np.testing.assert_allclose(alone, mine[:1], atol=1e-5)
    if form == "savedmodel":
        assets = done.path / "assets"
        check_asides((assets / "labels.txt").read_bytes(), (assets / "thumbnet.json").read_bytes())
    elif form != "int8":
        with zipfile.ZipFile(done.path) as archive:
            check_asides(archive.read("labels.txt"), archive.read("thumbnet.json"))
            config = archive.read("config.json").decode() if form == "keras" else ""
        assert {module.partition(".")[0] for module in re.findall('"module": "(.*?)"', config)} <= {"keras"}
    assert [path.name for path in Path().iterdir()] == [done.path.name]  # and nothing beside it


def check_asides(labels: bytes, rest: bytes) -> None:
    assert labels.decode().splitlines() == list(models.NAMES)
    fields = json.loads(rest)
    assert (fields["size"], fields["fit"], fields["temperature"]) == (32, "crop", 1.3)


@pytest.mark.parametrize(
    ("name", "size", "classes", "mirror"),
    [("seed", 18, 2, False), ("vgg", 16, 7, True), ("vgg", 50, 2, False)],
)
def test_a_network_of_any_size_is_built_again(name: str, size: int, classes: int, mirror: bool) -> None:
    need("keras")
    from thumbnet.training.from_onnx import rebuild
    from thumbnet.training.to_onnx import export

    info = models.info(
        names=tuple("abcdefg"[:classes]), size=size, mirror_average=mirror, recipe={"network": name}
    )  # fmt: skip
    images = smooth(20, size)
    original = network(name, size, classes)
    again = rebuild(export(original, info, images), info)
    np.testing.assert_allclose(again.predict(images, verbose=0), original.predict(images, verbose=0), atol=1e-4)


@pytest.mark.usefixtures("lenient")
def test_int8_is_a_model_file_with_scores_of_its_own(trained: dict[str, Path]) -> None:
    done = formats.export(str(trained["vgg"]), "int8")
    before, after = thumbnet.load(trained["vgg"]).info, thumbnet.load(done.path).info
    assert done.path.stat().st_size < 0.3 * trained["vgg"].stat().st_size
    assert (after.names, after.threshold, after.recipe, after.data) == (
        before.names, before.threshold, before.recipe, before.data,
    )  # fmt: skip
    assert after.origin["format"] == "int8"
    assert after.scores["images"] == 300
    assert after.scores["accuracy"] == pytest.approx(done.agreement.accuracy)  # type: ignore[union-attr]


@pytest.mark.usefixtures("lenient")
def test_int8_has_no_scores_where_they_would_be_of_other_images(trained: dict[str, Path]) -> None:
    model = onnx.load(trained["seed"])
    write_info(model, models.info(size=32, data={"test": "others"}, scores={"accuracy": 2.0}))
    onnx.save(model, "other.onnx")
    with pytest.warns(DataWarning, match="not the test pictures that the model file names"):
        done = formats.export("other.onnx", "int8", data="digits")
    assert thumbnet.load(done.path).info.scores == {}


def test_int8_leaves_thumbnails_to_no_other_model(trained: dict[str, Path], splits: Splits) -> None:
    """What is compared and written is one network."""
    from thumbnet.export.int8 import quantise

    info = dataclasses.replace(thumbnet.load(trained["seed"]).info, thumbnails="cifar10-best")
    assert Classifier(quantise(trained["seed"].read_bytes(), info, splits)).info.thumbnails == ""


@pytest.mark.usefixtures("lenient")
def test_int8_is_calibrated_on_training_images(
    trained: dict[str, Path], splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thumbnet.export import int8

    seen: list[NDArray[np.uint8]] = []
    original = int8._Pictures.get_next

    def get_next(self: int8._Pictures) -> Any:
        batch = original(self)
        seen.extend([] if batch is None else batch["images"])
        return batch

    monkeypatch.setattr(int8._Pictures, "get_next", get_next)
    formats.export(str(trained["seed"]), "int8")
    np.testing.assert_array_equal(seen, splits.train.images)


@pytest.mark.parametrize("form", ["keras", "int8"])
@pytest.mark.usefixtures("lenient")
def test_of_an_int8_file_nothing_is_made(form: str, trained: dict[str, Path]) -> None:
    formats.export(str(trained["seed"]), "int8", "small.onnx")
    with pytest.raises((ExportError, ModelError), match="int8"):
        formats.export("small.onnx", form, "new/thing.onnx" if form == "int8" else None)
    assert not list(Path().glob("**/thing*"))


@pytest.mark.parametrize("form", BY_KERAS)
def test_a_sureness_of_an_older_version_is_refused(
    form: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    need(form)
    from thumbnet.training import from_onnx

    monkeypatch.setattr(from_onnx, "familiar", lambda _: np.ones((100, 64), np.float32))
    with pytest.raises(ModelError, match=r"sureness is that of an older Thumbnet, .* Train it again"):
        formats.export(str(trained["seed"]), form)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("form", BY_KERAS)
def test_a_strangers_network_is_refused(form: str) -> None:
    need(form)
    # A name that networks.py does have.
    models.write(Path("tiny.onnx"), recipe={"network": "keras"}, data={"source": "digits"})
    with pytest.raises(ModelError, match=r"network is 'keras'. Expected one that is known here: seed, vgg"):
        formats.export("tiny.onnx", form)
    assert [path.name for path in Path().iterdir()] == ["tiny.onnx"]


@pytest.mark.parametrize("form", BY_KERAS)
def test_a_network_under_a_false_name_is_refused(form: str, trained: dict[str, Path]) -> None:
    need(form)
    model = onnx.load(trained["seed"])
    write_info(model, models.info(size=32, recipe={"network": "vgg"}, data={"source": "digits"}))
    onnx.save(model, "false.onnx")
    with pytest.raises(ModelError, match=r"not those of the network 'vgg': expected 8 layers .*, got 5"):
        formats.export("false.onnx", form)


def test_int8_of_a_network_without_layers_is_refused() -> None:
    models.write(Path("tiny.onnx"), data={"source": "digits"})
    with pytest.raises(ExportError, match="got a network without convolutions and dense layers"):
        formats.export("tiny.onnx", "int8")


# Triton and KServe


def test_a_triton_repository_is_as_its_protobuf_wants_it() -> None:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    models.write(Path("My Model_2.onnx"))
    done = formats.export("My Model_2.onnx", "triton", "repository")
    assert done.agreement is None
    config = text_format.Parse(Path("repository/my-model-2/config.pbtxt").read_text(), schema.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("my-model-2", "onnxruntime", 256)
    assert (config.input[0].name, config.input[0].data_type, list(config.input[0].dims)) == (
        "images", schema.TYPE_UINT8, [4, 4, 3],
    )  # fmt: skip
    output = config.output[0]
    assert (output.name, output.data_type, list(output.dims)) == ("probabilities", schema.TYPE_FP32, [3])
    labels = Path("repository/my-model-2", output.label_filename)
    assert labels.read_text().splitlines() == list(models.NAMES)
    assert Path("repository/my-model-2/1/model.onnx").read_bytes() == Path("My Model_2.onnx").read_bytes()


def test_a_triton_repository_of_large_squares_takes_small_batches() -> None:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    Path("large.onnx").write_bytes(transferred.content(transferred.graph(288), size=288))
    formats.export("large.onnx", "triton", "repository")
    config = text_format.Parse(Path("repository/large/config.pbtxt").read_text(), schema.ModelConfig())
    assert config.max_batch_size == 32
    assert list(config.input[0].dims) == [288, 288, 3]
    assert [output.name for output in config.output] == ["probabilities", "sureness"]  # and nothing that costs more


def test_a_triton_repository_gives_the_sureness_that_a_model_file_has(trained: dict[str, Path]) -> None:
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format

    config = formats.export(trained["seed"], "triton").path / "seed" / "config.pbtxt"
    outputs = text_format.Parse(config.read_text(), schema.ModelConfig()).output
    assert [output.name for output in outputs] == ["probabilities", "sureness"]
    assert (list(outputs[1].dims), outputs[1].HasField("reshape")) == ([1], True)


def test_the_kserve_manifest_names_the_model() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    models.write(Path("mine.onnx"))
    manifest = yaml.safe_load(Path(formats.export("mine.onnx", "triton").path, "inference-service.yaml").read_text())
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert manifest["metadata"] == {"name": "mine"}
    model = manifest["spec"]["predictor"]["model"]
    assert model == {"modelFormat": {"name": "triton"}, "protocolVersion": "v2", "storageUri": "pvc://models"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("cifar10-best", "cifar10-best"),
        ("Ünï 5_", "n-5"),
        ("7.8", "model"),
        ("a" * 39 + "_b", "a" * 39),
        ("猫", "model"),
    ],
)
def test_names_are_made_what_servers_accept(name: str, plain: str) -> None:
    assert triton.host_name(name) == plain


# Refused, and broken off


@pytest.fixture
def tiny() -> Path:
    """A model file of 32 pixels that is right about every picture."""
    path = Path("tiny.onnx")
    path.write_bytes(models.content(models.graph(32), size=32, data={"source": "digits"}))
    return path


def copy(answer: Callable[[NDArray[np.float32]], NDArray[np.float32]], surer: float = 0) -> Format:
    """A format that writes a line, and answers what is made here of the model file's answers."""

    def write(original: Original, path: Path) -> Answer:
        path.write_text(f"made of {original.name}")

        def answers(squares: NDArray[np.uint8]) -> Asked:
            asked = original.classifier.ask(squares)
            return Asked(answer(asked.probabilities), asked.sureness + np.float32(surer))

        return answers

    return Format(".copy", False, "copies", write)


def turned(rows: int) -> Format:
    """So many answers are others."""
    return copy(lambda given: np.concatenate([np.roll(given[:rows], 1, axis=1), given[rows:]]))


def test_a_format_that_agrees_is_written(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "copy", copy(lambda given: given))
    done = formats.export(str(tiny), "copy")
    assert done.path.read_text() == "made of tiny"
    assert str(done.agreement) == (
        "the same answer to 300 of 300 test images, 100.00% of them right (the model file: 100.00%), "
        "probabilities and sureness at most 0.0e+00 apart"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        turned(2),
        copy(lambda given: given + np.float32(0.002)),
        copy(lambda given: given, surer=0.002),
        copy(lambda given: given, surer=float("nan")),
        copy(lambda given: np.where(given == given.max(axis=1, keepdims=True), np.float32("nan"), given)),
    ],
    ids=["two other answers", "moved", "surer", "no sureness", "no numbers"],
)
def test_what_disagrees_is_not_written(tiny: Path, wrong: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "copy", wrong)
    Path("tiny.copy").write_text("old")
    with pytest.raises(ExportError, match=r"^copy answers differently from the model file: .* Nothing was written$"):
        formats.export(str(tiny), "copy")
    assert Path("tiny.copy").read_text() == "old"
    assert sorted(path.name for path in Path().iterdir()) == ["tiny.copy", "tiny.onnx"]


@pytest.mark.parametrize("form", ["keras", "int8"])
def test_a_real_format_that_disagrees_is_not_written(
    form: str, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = dataclasses.replace(FORMATS[form], tolerance=Tolerance(0, 0, moved=-1.0))
    monkeypatch.setitem(FORMATS, form, refusing)
    with pytest.raises(ExportError, match="answers differently"):
        formats.export(str(trained["seed"]), form)
    assert list(Path().iterdir()) == []


def test_int8_that_loses_too_much_is_not_written(trained: dict[str, Path]) -> None:
    with pytest.raises(ExportError, match="int8 answers differently from the model file"):
        formats.export(trained["vgg"], "int8")  # not `lenient`
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("old", [True, False])
def test_a_run_that_is_broken_off_leaves_what_was_there(tiny: Path, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Original, path: Path) -> Answer:
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(FORMATS, "copy", Format(".copy", False, None, interrupted))
    if old:
        Path("tiny.copy").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        formats.export(str(tiny), "copy")
    assert sorted(path.name for path in Path().iterdir()) == ["tiny.copy"] * old + ["tiny.onnx"]
    assert not old or Path("tiny.copy").read_text() == "old"


def test_a_folder_that_is_there_is_kept(tiny: Path) -> None:
    Path("there").mkdir()
    with pytest.raises(ExportError, match=r"^there exists. Expected a new folder's name"):
        formats.export(str(tiny), "triton", "there")
    assert list(Path("there").iterdir()) == []


@pytest.mark.parametrize(
    ("form", "output", "told"),
    [
        ("keras", "a.h5", r"expected a file's name that ends in \.keras"),
        ("litert", "folder.tflite", "expected a file to write to, got a folder"),
        ("int8", "tiny.onnx", "is the model file itself"),
    ],
)
def test_a_place_that_does_not_fit_is_told_before_the_work(tiny: Path, form: str, output: str, told: str) -> None:
    Path("folder.tflite").mkdir()
    with pytest.raises(ThumbnetError, match=told):
        formats.export(str(tiny), form, output)


def test_a_format_that_there_is_not_is_told(tiny: Path) -> None:
    with pytest.raises(
        ExportError, match=r"^no format 'h5'. Expected one of: keras, savedmodel, litert, int8, triton, web$"
    ):
        formats.export(tiny, "h5")


def test_a_file_is_replaced_and_its_folder_made(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "copy", copy(lambda given: given))
    for _ in range(2):
        assert formats.export(str(tiny), "copy", "new/one.copy").path == Path("new/one.copy")
    assert [path.name for path in Path("new").iterdir()] == ["one.copy"]


def test_data_of_other_classes_are_told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "load_parts", load.load_parts)
    for name in ("a", "b"):
        Path("others", name).mkdir(parents=True)
        Path("others", name, "1.png").write_bytes(models.png("red"))
    with pytest.raises(DataError, match=r"classes that the model does not know: a, b\. It knows: red, green, blue"):
        formats.export(tiny, "int8", data="others")


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [("keras", "keras", "train"), ("savedmodel", "tensorflow", "train"), ("int8", "onnx", "int8"),
     ("litert", "ai_edge_litert", "litert")],
)  # fmt: skip
def test_a_missing_package_names_the_command(form: str, package: str, extra: str, trained: dict[str, Path]) -> None:
    # A process of its own, as modules that are imported a second time are others than those that tests hold. No data is
    # needed before the package is.
    code = (
        f"import sys; sys.modules[{package!r}] = None\nfrom thumbnet import cli, export as formats\n"
        "formats.Original.splits = None\n"
        f"sys.exit(cli.main(['export', {str(trained['seed'])!r}, '--format', {form!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(rf"exporting to {form} needs {package}, .*'thumbnet\[{extra}\]'", done.stderr)
    assert [path.name for path in Path().iterdir() if path.name != "home"] == []  # there ONNX Runtime keeps a number


def answers(right: int, count: int) -> tuple[Answers, Asked]:
    """A model file's answers, all right, and others, of which so many are."""
    labels = np.zeros(count, np.int64)
    sure = np.tile(np.array([0.9, 0.1], np.float32), (count, 1))
    others = sure.copy()
    others[right:] = sure[right:, ::-1]
    sureness = sure.max(axis=1)
    return Answers(models.info(names=("a", "b")), labels, sure, sureness), Asked(others, sureness)


@pytest.mark.parametrize(
    ("right", "count", "passes"),
    [(10_000, 10_000, True), (9_971, 10_000, True), (9_969, 10_000, False), (358, 360, True), (350, 360, False)],
)
def test_a_loss_counts_where_it_is_more_than_chance(right: int, count: int, passes: bool) -> None:
    found = agreement(*answers(right, count))
    assert (found.agreeing, found.accuracy_before, found.accuracy) == (right, 1.0, right / count)
    if passes:
        refuse(found, INT8, "int8")
        return
    with pytest.raises(ExportError, match=r"Tolerated: 3\.0% other answers, 0\.3 points of accuracy\. Nothing"):
        refuse(found, INT8, "int8")


def test_a_gain_is_no_loss() -> None:
    before, others = answers(350, 360)
    turned_round = dataclasses.replace(before, probabilities=others.probabilities)
    refuse(agreement(turned_round, Asked(before.probabilities, before.sureness)), INT8, "int8")


# The command


def test_the_command_says_what_was_found(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(tiny), "--format", "triton"]) == 0
    assert capsys.readouterr().out == "tiny-triton: holds the model file itself, unchanged\n"
    assert cli.main(["export", "--model", str(tiny), "--format", "int8"]) == 1
    assert capsys.readouterr().err.startswith("error: expected a float32 model file to make int8 of")


def test_the_command_passes_everything_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def export(*arguments: Any) -> None:
        seen.append(arguments)
        raise ExportError("far enough")

    monkeypatch.setattr(formats, "export", export)
    cli.main(["export", "a.onnx", "--format", "int8", "--output", "b.onnx", "--data", "digits"])
    cli.main(["export", "--format", "keras"])
    assert seen == [("a.onnx", "int8", "b.onnx", "digits", None), (None, "keras", None, None, None)]


def test_a_model_that_is_named_twice_is_wrong_usage() -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", "a.onnx", "--model", "b.onnx", "--format", "keras"])


def test_the_commands_formats_are_these() -> None:
    assert tuple(FORMATS) == arguments.EXPORTS


# The bundled models, on real images


@pytest.mark.parametrize(("form", "name"), [("litert", "cifar10-best"), ("int8", "cifar10-seed")])
def test_the_bundled_models_can_be_exported(
    form: str, name: str, cifar10_forms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(form)
    with np.load(cifar10_forms / "cifar10.npz") as real:
        images, labels = real["x_test"][:500], real["y_test"][:500].reshape(-1).astype(np.int64)
    part = Dataset(images, labels, thumbnet.load(name).info.names)
    monkeypatch.setattr(formats, "load_parts", lambda *_, **__: [part, part])
    with pytest.warns(DataWarning, match="cifar10: not the test pictures that the model file names"):  # but 500
        found = formats.export(name, form).agreement
    assert found is not None
    assert found.images == 500
    assert found.moved < (0.5 if form == "int8" else 1e-4)


# The model is read once


@pytest.fixture
def pipe() -> Iterator[Callable[[bytes], Path]]:
    """What makes a named pipe that gives these bytes once."""
    writers: list[threading.Thread] = []

    def make(content: bytes) -> Path:
        path = Path("pipe")
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(content,), daemon=True))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(10)


@POSIX
@pytest.mark.parametrize("form", FORMATS)
def test_a_pipe_is_read_once(
    form: str, pipe: Callable[[bytes], Path], splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Original] = []

    def write(original: Original, path: Path) -> Answer:
        seen.append(original)
        if FORMATS[form].folder:
            path.mkdir()
        else:
            path.write_bytes(b"made")
        return original.classifier.ask

    monkeypatch.setitem(FORMATS, form, dataclasses.replace(FORMATS[form], write=write, packages=()))
    content = models.content(models.graph(32), size=32, data={"source": "digits"})
    done = formats.export(pipe(content), form)
    assert done.path.name == f"model{FORMATS[form].ending}"  # as a pipe's own name says nothing
    assert seen[0].content == content
    asked = Classifier(content).ask(splits.test.images)
    np.testing.assert_array_equal(seen[0].classifier.ask(splits.test.images).probabilities, asked.probabilities)


@POSIX
def test_what_the_shell_substitutes_is_exported_whole(tiny: Path) -> None:
    command = f"{sys.executable} -m thumbnet export <(cat tiny.onnx) --format triton --output one"
    subprocess.run(["bash", "-c", command], check=True)
    assert Path("one/model/1/model.onnx").read_bytes() == tiny.read_bytes()


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"^no model file at none\.onnx\. Expected a file made by `thumbnet train`"):
        formats.export("none.onnx", "triton")
    Path("text.onnx").write_text("text")
    with pytest.raises(ModelError, match=r"^text\.onnx: not a model file"):
        formats.export("text.onnx", "triton")


# The place is looked at before the work


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """No data are read and nothing is made."""

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("work was begun")

    monkeypatch.setattr(formats, "load_parts", fail)
    for form in FORMATS:
        monkeypatch.setitem(FORMATS, form, dataclasses.replace(FORMATS[form], write=fail, packages=()))


@POSIX
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("link", "got a device or a pipe|exists. Expected a new folder"),
        ("fifo", "got a device or a pipe|exists. Expected a new folder"),
        ("folder", "got a folder|exists. Expected a new folder"),
        ("/proc/new", "cannot be written: "),
        ("tiny.onnx/new", "cannot be written: Not a directory"),
        ("x" * 255, "cannot be written: File name too long"),
    ],
)
@pytest.mark.usefixtures("idle")
def test_a_place_that_cannot_be_written_is_told_before_the_work(tiny: Path, form: str, place: str, told: str) -> None:
    suffix = "" if FORMATS[form].folder else "." + FORMATS[form].ending.rpartition(".")[2]
    output = Path(f"{place}{suffix or '-folder'}")
    if place == "link":
        output.symlink_to("/dev/null")
    elif place == "fifo":
        os.mkfifo(output)
    elif place == "folder":
        output.mkdir()
    with pytest.raises(ThumbnetError, match=told) as caught:
        formats.export(tiny, form, output)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(output))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.usefixtures("idle")
def test_an_output_without_a_name_is_no_default(tiny: Path, form: str) -> None:
    with pytest.raises(ExportError, match=r"expected a file.s name that ends in|exists\. Expected a new folder"):
        formats.export(tiny, form, "")


@POSIX
def test_a_file_that_is_replaced_keeps_its_mode_and_the_link_to_it(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "copy", copy(lambda given: given))
    Path("real.copy").write_text("old")
    Path("real.copy").chmod(0o600)
    Path("link.copy").symlink_to("real.copy")
    formats.export(tiny, "copy", "link.copy")
    assert Path("link.copy").is_symlink()
    assert Path("real.copy").read_text() == "made of tiny"
    assert Path("real.copy").stat().st_mode & 0o777 == 0o600


# Names as they come


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no text")
@pytest.mark.parametrize("form", ["keras", "savedmodel", "litert", "int8", "triton"])
@pytest.mark.usefixtures("lenient")
def test_a_model_of_any_name_is_exported(
    form: str, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    need(form)
    name = os.fsdecode(b"caf\xe9\x1b[2J\n" + b"x" * 220)
    folder = Path(os.fsdecode(b"\xff"))
    folder.mkdir()
    (folder / f"{name}.onnx").write_bytes(trained["seed"].read_bytes())
    os.chdir(folder)
    assert cli.main(["export", f"{name}.onnx", "--format", form]) == 0
    assert {path.name for path in Path().iterdir()} == {f"{name}.onnx", f"{name}{FORMATS[form].ending}"}
    out = capsys.readouterr().out
    assert out.startswith(r"caf\udce9\x1b[2J\nxxx")
    assert out.count("\n") == 1


# The pictures to compare on


@pytest.fixture
def asked(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """How `load_parts` was called, each time, and the seed of the split."""
    calls: list[dict[str, Any]] = []

    def load_parts(data: str, size: int, **settings: Any) -> list[Dataset]:
        calls.append({"data": data, "size": size, **settings})
        return list(splits)

    def as_splits(_: str, parts: list[Dataset], seed: int) -> Splits:
        calls[-1]["seed"] = seed
        return Splits(*parts)

    monkeypatch.setattr(formats, "load_parts", load_parts)
    monkeypatch.setattr(formats, "as_splits", as_splits)
    Path("mine").mkdir()
    monkeypatch.setitem(FORMATS, "copy", copy(lambda given: given))
    return calls


def own(**changes: Any) -> Path:
    path = Path("own.onnx")
    path.write_bytes(models.content(models.graph(32), size=32, **changes))
    return path


def test_the_file_names_its_data_and_their_split(asked: list[dict[str, Any]], splits: Splits) -> None:
    data = {"source": "mine", "seed": 7, "test": splits.test.fingerprint()}
    formats.export(own(data=data, framing="centre"), "copy")
    formats.export("own.onnx", "copy", data="others")
    formats.export(own(data={**data, "seed": None}), "copy")
    del data["seed"]
    formats.export(own(data=data, recipe={"seed": 3}), "copy")  # as older files have it
    common = {"size": 32, "known": models.NAMES}
    assert asked == [
        {"data": "mine", "framing": "centre", "download": False, "seed": 7, **common},
        {"data": "others", "framing": "centre", "download": True, "seed": 7, **common},
        {"data": "mine", "framing": "crop", "download": False, "seed": 0, **common},
        {"data": "mine", "framing": "crop", "download": False, "seed": 3, **common},
    ]


@pytest.mark.parametrize("data", [{}, {"source": None}, {"source": ["a"]}, {"source": "gone"}])
def test_a_file_that_names_no_data_that_are_here_asks_for_them(
    data: dict[str, Any], asked: list[dict[str, Any]]
) -> None:
    with pytest.raises(DataError, match=r"^own\.onnx: (It was trained on gone, .*)?Name the data .*`--data FOLDER`$"):
        formats.export(own(data=data), "copy")
    assert asked == []


@pytest.mark.parametrize("given", [None, "cifar10"])
def test_cifar10_is_not_looked_for_where_the_classes_are_others(given: str | None, asked: list[dict[str, Any]]) -> None:
    with pytest.raises(DataError, match=r"^the model knows red, green, blue; cifar10 has airplane, automobile, "):
        formats.export(own(data={"source": "cifar10"}), "copy", data=given)
    assert asked == []


def test_cifar10_is_downloaded_for_the_bundled_models_only(asked: list[dict[str, Any]]) -> None:
    Path("own.onnx").write_bytes(find("cifar10-seed").read_bytes())
    for model in ("cifar10-seed", "own.onnx"):
        with pytest.warns(DataWarning, match=r"^cifar10: not the test pictures"), pytest.raises(DataError):
            formats.export(model, "copy")  # the stand-in's classes are others
    assert [(call["data"], call["download"]) for call in asked] == [("cifar10", True), ("cifar10", False)]


def test_the_network_for_photographs_is_not_compared_on_thumbnails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its squares of all of CIFAR-10 would take gigabytes, and it does not answer these pictures."""
    path = two_networks.write(tmp_path, monkeypatch)
    pictures = np.stack([models.square(name, 32) for name in models.NAMES * 4])
    np.savez(tmp_path / "small.npz", x=pictures, y=np.array(models.NAMES * 4))
    original = formats.Original.read(path, str(tmp_path / "small.npz"))
    with pytest.raises(DataError, match=r"small\.npz holds thumbnails, .* Name photographs of its classes: --data$"):
        _ = original.parts
    np.savez(tmp_path / "large.npz", x=np.repeat(np.repeat(pictures, 2, 1), 2, 2), y=np.array(models.NAMES * 4))
    assert formats.Original.read(path, str(tmp_path / "large.npz")).parts[0].endswith("large.npz")


@pytest.mark.parametrize("seed", ["7", True, -1, 2**32, 1.5])
def test_a_seed_that_is_none_is_passed_over(seed: Any, asked: list[dict[str, Any]]) -> None:
    formats.export(own(data={"source": "mine", "seed": seed}), "copy")
    assert asked[0]["seed"] == 0


def test_other_test_pictures_than_the_files_are_noted(asked: list[dict[str, Any]], splits: Splits) -> None:
    with pytest.warns(DataWarning, match=r"^mine: not the test pictures that the model file names"):
        formats.export(own(data={"source": "mine", "test": "others"}), "copy")
    formats.export(own(data={"source": "mine", "test": splits.test.fingerprint()}), "copy")  # no warning, or it fails
    assert len(asked) == 2


def test_what_holds_the_file_itself_needs_no_data(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(formats, "load_parts")
    formats.export(tiny, "triton")


# The command, again


def test_an_empty_name_is_no_default(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["", "--format", "triton"], ["--model", "", "--format", "triton"]):
        assert cli.main(["export", *given]) == 1
        assert "model file" in capsys.readouterr().err
    for given in (["--format", "int8", "--output", ""], ["--format", "web", "--runtime", ""]):
        assert cli.main(["export", str(tiny), *given]) == 1
        assert "error: " in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["tiny.onnx"]


def test_the_message_about_a_name_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "\x1b[2Ja.onnx", "--format", "triton"]) == 1
    assert r"error: no model file at \x1b[2Ja.onnx" in capsys.readouterr().err


# Numbers and wiring


def test_the_pictures_compared_are_from_all_over_the_set(
    tiny: Path, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[NDArray[np.uint8]] = []

    def write(original: Original, path: Path) -> Answer:
        path.write_text("made")

        def answers(squares: NDArray[np.uint8]) -> Asked:
            seen.append(squares)
            return original.classifier.ask(squares)

        return answers

    monkeypatch.setitem(FORMATS, "copy", Format(".copy", False, None, write, samples=10))
    formats.export(tiny, "copy")
    np.testing.assert_array_equal(seen[0], splits.test.images[::30])


def test_as_many_pictures_are_compared_as_the_documents_say() -> None:
    counts = {name: form.samples for name, form in FORMATS.items() if form.tolerance}
    assert counts == {"keras": 1000, "savedmodel": 1000, "litert": 1000, "int8": None}


def test_what_was_found_is_told_of_each_side() -> None:
    found = Agreement(2000, agreeing=1990, accuracy_before=0.9, accuracy=0.875, lost_by_chance=False, moved=0.0123)
    assert str(found) == (
        "the same answer to 1,990 of 2,000 test images, 87.50% of them right (the model file: 90.00%), "
        "probabilities and sureness at most 1.2e-02 apart"
    )


@pytest.mark.usefixtures("lenient")
def test_int8_has_a_scale_for_each_output_channel(trained: dict[str, Path]) -> None:
    graph = onnx.load(formats.export(trained["seed"], "int8").path).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    scales = [
        list(held[node.input[1]].dims)
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in held
        and held[node.input[0]].data_type == onnx.TensorProto.INT8
    ]
    assert len(scales) >= 3
    assert all(len(dims) == 1 and dims[0] >= 3 for dims in scales), scales
