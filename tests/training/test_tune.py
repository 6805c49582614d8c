"""The recipe `tune`: the halves fit together, the better of probe and tuned network ships, and a stop loses nothing."""

import dataclasses
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.backbones import backbone as tiny_backbone

import thumbnet
from thumbnet.errors import DataError, DataWarning, ModelError, ThumbnetError, TrainingError
from thumbnet.evaluation import page, report
from thumbnet.evaluation.held_out import Source, choose
from thumbnet.evaluation.judge import evaluate, judge_each
from thumbnet.export import export
from thumbnet.model.classifier import load
from thumbnet.training import checkpoint, networks, tune, views
from thumbnet.training.places import Places
from thumbnet.training.recipes import TUNE
from thumbnet.transfer import halves
from thumbnet.transfer.backbone import open_backbone
from thumbnet.transfer.data import list_pictures
from thumbnet.transfer.head import Head

SIZE, A_CLASS = 64, 10


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs and squares of any colour, size and place."""
    root = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for split, count in (("train", A_CLASS), ("test", 4)):
        for name in ("disc", "square"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 256, (80, 80, 3), np.uint8) // 4 + rng.integers(0, 128, 3, np.uint8)
                colour, (x, y), half = rng.integers(0, 256, 3).tolist(), rng.integers(25, 55, 2).tolist(), 20
                if name == "disc":
                    cv2.circle(image, (x, y), half, colour, -1)
                else:
                    cv2.rectangle(image, (x - half, y - half), (x + half, y + half), colour, -1)
                cv2.imwrite(str(root / split / name / f"{number}.png"), image)
    return root


def run(pictures: Path, output: Path, **options: Any) -> thumbnet.evaluation.trained.Trained:
    return thumbnet.train(str(pictures), "tune", output=output, **{"size": SIZE, "epochs": 1, **options})


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> thumbnet.evaluation.trained.Trained:
    """A model whose tuned network shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "_judged", _worse_probe)
        return run(pictures, tmp_path_factory.mktemp("trained") / "mine.onnx")


_judged = tune._judged
_calls: list[int] = []


def _worse_probe(logs: Any, labels: Any) -> Any:
    """The probe is judged first, and gets a loss that anything beats."""
    _calls.append(1)
    found = _judged(logs, labels)
    return dataclasses.replace(found, loss=99.0) if len(_calls) % 2 else found


def test_both_halves_give_the_backbones_features() -> None:
    whole = open_backbone("lite0", SIZE)
    squares = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    network = networks.lite0_rest(SIZE, 3)
    tune._start(whole, Head(np.zeros((whole.width, 3), np.float32), np.zeros(3, np.float32)), network)
    seen = keras.Model(network.input, network.get_layer("features").output)
    found = keras.ops.convert_to_numpy(seen(halves.Front(whole).rows(squares)))
    expected = whole.features(squares)
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()  # rows are float16


def test_what_is_put_back_is_what_was_taken() -> None:
    whole = open_backbone("lite0", SIZE)
    constants = halves.rest(whole)
    assert halves.joined(whole, constants).sha256 == whole.sha256
    assert {name.split("/")[0] for name in constants} == {*(f"block{n:02}" for n in range(5, 16)), "head"}
    other = halves.joined(whole, {"head/bias": constants["head/bias"] + 1})
    assert other.sha256 != whole.sha256


def test_the_tuned_network_ships(trained: Any, pictures: Path) -> None:
    info = trained.classifier.info
    assert info.recipe["name"] == "tune"
    assert info.recipe["kept"] == "tuned"
    assert info.recipe["refit"] is True
    assert info.size == SIZE
    assert len(info.history) == 1
    assert info.backbone["sha256"] != open_backbone("lite0", SIZE).sha256
    [chosen] = choose([info], Source(str(pictures), False, ""))
    assert evaluate(trained.classifier, chosen.dataset).as_dict()["accuracy"] == info.scores["accuracy"]
    assert len(chosen.dataset) == 8
    table = trained.path.with_suffix(".results.csv").read_text().splitlines()
    assert len(table) == 2
    assert sorted(path.name for path in trained.path.parent.iterdir()) == ["mine.onnx", "mine.results.csv"]


@pytest.mark.parametrize("size", [32, 96])
def test_other_sizes_are_tuned(size: int, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    classifier = run(pictures, tmp_path / "mine.onnx", size=size).classifier
    assert classifier.info.size == size
    assert classifier.info.recipe["kept"] == "tuned"
    square = classifier.square(pictures / "test" / "disc" / "0.png")
    assert square.shape == (size, size, 3)
    assert classifier.evidence(square).places.shape == (size // 32, size // 32, 2)


def test_the_same_seed_gives_the_same_file(trained: Any, pictures: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    assert run(pictures, tmp_path / "again.onnx").path.read_bytes() == trained.path.read_bytes()


def test_the_probe_ships_if_it_is_better(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = tune._measured
    monkeypatch.setattr(tune, "_measured", lambda *given: dataclasses.replace(measured(*given), loss=99.0))
    monkeypatch.setattr(tune, "_again", lambda *_: pytest.fail("nothing to train again"))
    info = run(pictures, tmp_path / "mine.onnx").classifier.info
    assert info.recipe["kept"] == "probe"
    assert info.backbone["sha256"] == open_backbone("lite0", SIZE).sha256
    report = capsys.readouterr().err
    assert "The probe ships" in report
    assert "note: with fewer than 20 pictures a class, tuning gains little" in report


def test_a_training_that_was_stopped_goes_on(
    trained: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    save, count = checkpoint.save, 0

    def stopping(*given: Any) -> None:
        nonlocal count
        save(*given)
        count += 1
        if count == 2:  # in the second training
            raise RuntimeError("power cut")

    output = tmp_path / "mine.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", stopping)
        with pytest.raises(RuntimeError, match="power cut"):
            run(pictures, output)
    assert not output.exists()
    run(pictures, output, resume=True)
    assert output.read_bytes() == trained.path.read_bytes()


def test_nothing_to_resume_is_reported_before_the_views(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "see", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(TrainingError, match=r"nothing to resume: .*mine.onnx.checkpoint does not exist"):
        run(pictures, tmp_path / "mine.onnx", resume=True)


def test_a_new_training_takes_nothing_from_a_broken_one(
    trained: Any, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    output = tmp_path / "mine.onnx"
    places = Places(output)
    for path in places.checkpoints:
        path.write_bytes(b"of another training")
    save = checkpoint.save

    def stopping(*given: Any) -> None:
        save(*given)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", stopping)
        with pytest.raises(RuntimeError, match="power cut"):
            run(pictures, output)
    assert "Starting over. mine.onnx.checkpoint is of a training that did not end" in capsys.readouterr().err
    run(pictures, output, resume=True)
    assert output.read_bytes() == trained.path.read_bytes()
    assert "Starting over" not in capsys.readouterr().err


def test_ctrl_c_in_the_second_training_ships_the_first(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    monkeypatch.setattr(tune, "_again", lambda *_: None)
    found = run(pictures, tmp_path / "mine.onnx")
    assert found.interrupted
    assert found.classifier.info.recipe["refit"] is False
    assert found.classifier.info.recipe["kept"] == "tuned"
    assert (tmp_path / "mine.onnx.checkpoint").exists()


def test_data_without_a_test_split_are_split(pictures: Path, tmp_path: Path) -> None:
    info = run(pictures / "train", tmp_path / "mine.onnx").classifier.info
    assert (info.data["train_images"], info.data["test_images"], info.data["seed"]) == (16, 4, 0)
    [chosen] = choose([info], Source(str(pictures / "train"), False, ""))
    assert len(chosen.dataset) == 4
    assert "held out" in chosen.note


@pytest.mark.parametrize("size", [0, 100, 2048])
def test_a_size_that_does_not_fit_is_rejected(size: int, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"a multiple of 32, got {size}"):
        run(pictures, tmp_path / "mine.onnx", size=size)


def test_another_backbone_is_rejected(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_backbone())
    with pytest.raises(TrainingError, match="expected a built-in backbone to tune, got tiny"):
        run(pictures, tmp_path / "mine.onnx", size=None, backbone=tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match="Leave out the size"):
        run(pictures, tmp_path / "mine.onnx", backbone=tmp_path / "tiny.onnx")


def test_a_full_disk_is_reported(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(DataError, match=r"expected room for 0\.0 GiB of views: No space left on device"):
        run(pictures, tmp_path / "mine.onnx")


def test_a_cache_folder_that_cannot_be_made_is_reported_before_the_work(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_bytes(b"")
    monkeypatch.setenv("THUMBNET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tune, "see", lambda *_, **__: pytest.fail("too late"))
    with pytest.raises(DataError, match=r"home: expected a folder that takes views: File exists. Set THUMBNET_HOME"):
        run(pictures, tmp_path / "mine.onnx")


def test_an_unreadable_picture_is_named_once(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "_judged", _worse_probe)
    shutil.copytree(pictures, tmp_path / "data")
    (tmp_path / "data" / "train" / "disc" / "0.png").write_bytes(b"none")
    with pytest.warns(DataWarning) as notes:
        run(tmp_path / "data", tmp_path / "mine.onnx")
    [note] = [str(each.message) for each in notes if each.category is DataWarning]
    assert "1 of 28 pictures cannot be read" in note


@pytest.mark.parametrize(("kept_by_data", "asked", "expected"), [(True, True, True), (False, True, False),
                                                                 (True, False, False)])  # fmt: skip
def test_only_pictures_whose_mirror_image_keeps_its_class_are_mirrored(
    kept_by_data: bool, asked: bool, expected: bool, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def look(*_: Any, mirror: bool, **__: Any) -> None:
        given.append(mirror)
        raise DataError("enough")

    listed = dataclasses.replace(list_pictures(str(pictures), open_backbone("lite0", SIZE)), mirrored=kept_by_data)
    monkeypatch.setattr(tune, "list_pictures", lambda *_: listed)
    monkeypatch.setattr(tune, "look", look)
    with pytest.raises(DataError, match="enough"):
        run(pictures, tmp_path / "mine.onnx", mirror=asked)
    assert given == [expected]


def test_digits_are_not_mirrored_and_photographs_are(pictures: Path) -> None:
    network = open_backbone("lite0", SIZE)
    assert not list_pictures("digits", network).mirrored
    assert list_pictures(str(pictures), network).mirrored


def test_a_keras_file_is_not_in_the_way(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.keras").write_bytes(b"of another program")
    monkeypatch.setattr(tune, "_train", lambda *_: None)
    run(pictures, tmp_path / "mine.onnx")
    (tmp_path / "mine.onnx.refit.checkpoint").mkdir()
    with pytest.raises(ThumbnetError, match=r"refit\.checkpoint: expected a file"):
        run(pictures, tmp_path / "mine.onnx")


def test_pictures_that_look_alike_cannot_be_held_out(tmp_path: Path) -> None:
    for name, level in (("a", 20), ("b", 230)):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        for path in (tmp_path / "data" / "train" / name / "1.png", tmp_path / "data" / "test" / name / "2.png"):
            cv2.imwrite(str(path), np.full((80, 80, 3), level, np.uint8))
    with pytest.raises(DataError, match="expected two pictures a class or more that do not look alike"):
        run(tmp_path / "data", tmp_path / "mine.onnx")


def test_the_first_view_is_the_picture_and_the_others_differ() -> None:
    whole = open_backbone("lite0", SIZE)
    front = halves.Front(whole)
    squares = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)

    def made(seed: int, **options: Any) -> views.Views:
        given = [lambda row=row: squares[row] for row in range(3)]
        mirror = options.get("mirror", True)
        return views.look(TUNE, given, np.array([0, 1, 0]), ("a", "b"), front, mirror=mirror, seed=seed, mark="m")

    some = made(1)
    assert some.values.shape == (3, views.MOST, front.width)
    assert np.array_equal(some.plain(slice(0, 3)), front.rows(squares))
    assert len({some.values[0, view].tobytes() for view in range(views.MOST)}) == views.MOST
    assert np.array_equal(made(1).values, some.values)
    assert not np.array_equal(made(2).values[:, 1:], some.values[:, 1:])
    assert made(2).fingerprint() != some.fingerprint()
    part = some.take(np.array([2, 0]))
    assert part.labels.tolist() == [0, 0]
    assert np.array_equal(part.plain(slice(0, 1)), some.values[2:, 0])
    drawn = part.drawn(np.array([1]), np.random.default_rng(0))
    assert any(np.array_equal(drawn[0], some.values[0, view]) for view in range(views.MOST))


def test_many_pictures_get_fewer_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "ALL", 9)
    whole = open_backbone("lite0", SIZE)
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    for count, expected in ((3, 3), (9, 2)):
        made = views.look(
            TUNE, [lambda: square] * count, np.zeros(count, np.int64), ("a", "b"), halves.Front(whole),
            mirror=False, seed=0, mark="",
        )  # fmt: skip
        assert made.values.shape[:2] == (count, expected)


def test_its_int8_file_keeps_the_head(trained: Any, pictures: Path, tmp_path: Path) -> None:
    done = export(str(trained.path), "int8", data=str(pictures), output=tmp_path / "int8.onnx")
    before, after = (onnx.load(path).graph.initializer for path in (trained.path, done.path))
    heads = [
        {each.name: numpy_helper.to_array(each) for each in graph if "thumbnet/" in each.name}
        for graph in (before, after)
    ]
    assert np.array_equal(heads[0]["thumbnet/weights"], heads[1]["thumbnet/weights"])
    info = load(done.path).info
    assert (info.recipe["kept"], info.temperature) == ("tuned", trained.classifier.info.temperature)
    assert info.scores["images"] == 8
    assert done.path.stat().st_size < trained.path.stat().st_size / 2
    [judged] = judge_each([str(done.path)], str(pictures), None, lambda *_: pytest.fail("nothing to cross-validate"))
    assert judged.held_out is None  # those are the original's


def test_its_savedmodel_answers_the_same(trained: Any, pictures: Path, tmp_path: Path) -> None:
    done = export(str(trained.path), "savedmodel", data=str(pictures), output=tmp_path / "saved")
    assert done.agreement is not None
    assert str(done.agreement).startswith("the same answer to 8 of 8 test images")


def test_the_report_shows_both(trained: Any, pictures: Path, tmp_path: Path) -> None:
    [judged] = judge_each([str(trained.path)], str(pictures), None, lambda *_: pytest.fail("nothing to cross-validate"))
    recipe = trained.classifier.info.recipe
    assert judged.held_out == (recipe["held_out_probe"], recipe["held_out_tuned"])
    lines = report.text(judged).splitlines()
    assert f"{recipe['held_out_probe']:.1%}" in next(line for line in lines if line.startswith("held out, probe"))
    shown = page.write(tmp_path / "report", judged, spoil=False).read_text()
    assert f"the probe {recipe['held_out_probe']:.1%}. Shipped: tuned" in shown
    assert recipe["held_out_images"] > 0
