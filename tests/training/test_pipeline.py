"""From data to a model file in use: the whole line, on the digits that need no download."""

import dataclasses
import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

import cv2
import keras
from support.tensorboard import logged
from support.trainings import BROKEN_OFF, TINY, know_tiny, stripes

import thumbnet
from thumbnet import cli
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.data.digits import read_digits
from thumbnet.errors import DataError, ExportError, ThumbnetError, TrainingError
from thumbnet.evaluation import page
from thumbnet.evaluation.judge import judge
from thumbnet.evaluation.trained import Trained
from thumbnet.files import exclusive
from thumbnet.training import pipeline
from thumbnet.training.history import COLUMNS
from thumbnet.training.recipes import RECIPES

FEW = Splits(stripes(120, 0), stripes(40, 1))  # 108 to train on, in 6 steps; 12 are held out


@pytest.fixture(scope="module")
def splits() -> Splits:
    return read_digits()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    return thumbnet.train("digits", "seed", epochs=6, output=folder / "model" / "digits.onnx", logs=folder / "logs")


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    know_tiny(monkeypatch)


tiny = pytest.mark.usefixtures("_tiny")


def train_few(output: Path, data: Splits = FEW, **options: Any) -> Trained:
    """A real training of the network `tiny`, to the model file; `@tiny` goes before the test."""
    return thumbnet.train(data, TINY, **{"epochs": 1, "precision": "float32", "output": output, **options})


def test_a_trained_digits_model_reads_digits_from_its_file(trained: Trained, splits: Splits, tmp_path: Path) -> None:
    assert trained.scores is not None
    assert trained.scores.accuracy > 0.95
    classifier = thumbnet.load(trained.path)
    right = 0
    for row in range(40):
        path = tmp_path / f"{row}.png"
        cv2.imwrite(str(path), splits.test.images[row])
        right += classifier.predict(path).label == splits.test.names[splits.test.labels[row]]
    assert right >= 37


def test_the_file_tells_where_it_comes_from(trained: Trained, splits: Splits) -> None:
    info = thumbnet.load(trained.path).info
    assert info.names == tuple("0123456789")
    assert (info.size, info.framing, info.mirror_average) == (32, "centre", False)  # mirrored digits are no digits
    assert info.recipe["name"] == "seed"
    assert info.recipe["epochs"] == 6
    assert (info.recipe["seed"], info.recipe["refit"], info.recipe["minutes"]) == (0, False, None)
    assert info.data == {
        "source": "digits", "seed": 0,
        "train": splits.train.fingerprint(), "train_images": 1437,
        "test": splits.test.fingerprint(), "test_images": 360,
    }  # fmt: skip
    assert trained.scores is not None
    assert info.scores == trained.scores.as_dict()
    assert info.version == thumbnet.__version__
    assert 0 < info.threshold < 1


def test_the_scores_are_those_of_the_file(trained: Trained, splits: Splits) -> None:
    answers = thumbnet.load(trained.path).probabilities(splits.test.images).argmax(axis=1)
    assert trained.scores is not None
    assert trained.scores.accuracy == (answers == splits.test.labels).mean()


def test_the_keras_file_beside_it_is_the_same_network(trained: Trained, splits: Splits) -> None:
    model = keras.models.load_model(trained.path.with_suffix(".keras"))
    ours = model.predict(splits.test.images, verbose=0).argmax(axis=1)
    theirs = thumbnet.load(trained.path).probabilities(splits.test.images).argmax(axis=1)
    np.testing.assert_array_equal(ours, theirs)


def table(model: Path) -> list[dict[str, float]]:
    """The rows of a model's table of epochs."""
    head, *rows = [line.split(",") for line in model.with_suffix(".results.csv").read_text().splitlines()]
    assert tuple(head) == COLUMNS
    return [dict(zip(head, map(float, row), strict=True)) for row in rows]


def test_nothing_but_these_files_is_left(trained: Trained) -> None:
    names = sorted(path.name for path in trained.path.parent.iterdir())
    assert names == ["digits.keras", "digits.onnx", "digits.results.csv"]


def test_the_model_holds_its_history_as_its_table_does(trained: Trained) -> None:
    history = thumbnet.load(trained.path).info.history
    rows = table(trained.path)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    for kept, row in zip(history, rows, strict=True):
        assert {key: kept[key] for key in ("epoch", "loss", "training", "validation")} == {
            key: row[key] for key in ("epoch", "loss", "training", "validation")
        }
        assert "seconds" not in kept  # or the same seed would not give the same file
    assert "accuracy over the epochs" in page._training(history)


def test_the_logs_are_where_they_were_wanted(trained: Trained) -> None:
    read = logged(trained.path.parent.parent / "logs")
    expected = [(row["epoch"] - 1, pytest.approx(row["validation"])) for row in table(trained.path)]
    assert read["validation", "epoch_accuracy"] == expected


@tiny
def test_two_trainings_in_one_folder_share_nothing(tmp_path: Path) -> None:
    for name, epochs in (("one", 1), ("two", 2)):
        train_few(tmp_path / f"{name}.onnx", epochs=epochs)
    assert [len(table(tmp_path / f"{name}.onnx")) for name in ("one", "two")] == [1, 2]
    assert [len(thumbnet.load(tmp_path / f"{name}.onnx").info.history) for name in ("one", "two")] == [1, 2]
    assert len(list(tmp_path.iterdir())) == 6


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes that differ in what a network can only see: stripes across, down, and neither."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("across", "down", "plain")):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                image = rng.integers(0, 100, (100, 120, 3), dtype=np.uint8)
                stripes = image if label == 0 else image.transpose(1, 0, 2)
                stripes[:: 4 if label < 2 else 1000] += 100
                cv2.imwrite(str(root / split / name / f"{index}.png"), cv2.resize(image, (240, 200)))
    return root


@pytest.mark.parametrize(("recipe", "size"), [("seed", 96), ("fast", 48), ("best", 40)])
def test_own_pictures_in_another_size_go_all_the_way(
    pictures: Path, tmp_path: Path, recipe: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = thumbnet.train(str(pictures), recipe, epochs=1, size=size, output=tmp_path / "model.onnx")
    model = str(trained.path)
    assert trained.classifier.info.size == size
    assert keras.models.load_model(trained.path.with_suffix(".keras")).input_shape[1:3] == (size, size)
    picture = str(pictures / "test" / "down" / "0.png")
    assert cli.main(["predict", "--model", model, picture, "--explain", str(tmp_path / "maps")]) == 0
    assert len(list((tmp_path / "maps").iterdir())) == 1
    assert cli.main(["evaluate", model, "--data", str(pictures)]) == 0
    assert trained.scores is not None
    assert capsys.readouterr().out.count(f"{trained.scores.accuracy:.2%} of 12 test images right") == 1
    server = pytest.importorskip("thumbnet.server", reason="serving is not installed: pip install -e '.[serve]'")
    from starlette.testclient import TestClient

    with TestClient(server.create_app(trained.classifier)) as client:
        answer = client.post("/classify", content=Path(picture).read_bytes()).json()
    assert answer["label"] == trained.classifier.predict(picture).label


@tiny
def test_the_file_says_what_it_rejects_of_foreign_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", **arrays(FEW))
    rng = np.random.default_rng(0)
    for row in range(9):
        image = rng.integers(0, 256, (40, 50, 3), np.uint8) if row else cv2.resize(FEW.test.images[0], (64, 64))
        (tmp_path / "other" / f"{row % 2}").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "other" / f"{row % 2}" / f"{row}.png"), image)
    for name in ("notes.txt", "sizes.csv"):  # only files that are named as pictures count
        (tmp_path / "other" / name).write_text("not a picture")
    trained = train_few(tmp_path / "model.onnx", epochs=2, foreign=tmp_path / "other")
    judged = judge(str(trained.path), str(tmp_path / "few.npz"), str(tmp_path / "other")).foreign
    assert judged is not None
    scores = thumbnet.load(trained.path).info.scores
    assert scores["foreign_images"] == judged[1].images == 9
    assert scores["foreign_rejected"] == judged[1].rejected
    assert scores["foreign_auroc"] == judged[1].auroc
    assert trained.scores is not None
    assert {name: score for name, score in scores.items() if "foreign" not in name} == trained.scores.as_dict()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "expected a folder of pictures, got none"),
        ({}, "no picture"),
        ({"notes.txt": b"text"}, "no picture"),
        ({"a.png": b"", "b.png": b"<html>"}, "no picture can be read: .*a.png: expected"),
    ],
)
def test_missing_foreign_pictures_are_reported_before_the_training(
    tmp_path: Path, content: dict[str, bytes] | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "other").mkdir()
        for name, data in content.items():
            (tmp_path / "other" / name).write_bytes(data)
    with pytest.raises(DataError, match=f"other: {problem}"):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx", foreign=tmp_path / "other")


def flat(count: int, seed: int, *, grey: bool) -> Dataset:
    """Pictures of one colour each: mostly red, green or blue; or dark, grey or light."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    colours = rng.integers(0, 80, (count, 3))
    if grey:
        colours = (80 * labels + rng.integers(0, 40, count))[:, None].repeat(3, axis=1)
    else:
        colours[np.arange(count), labels] += 160
    images = np.broadcast_to(colours[:, None, None], (count, 18, 18, 3)).astype(np.uint8)
    return Dataset(images, labels, ("a", "b", "c"))


@pytest.mark.parametrize("grey", [False, True])
def test_pictures_of_one_colour_can_be_trained_on(tmp_path: Path, grey: bool) -> None:
    splits = Splits(flat(200, 0, grey=grey), flat(60, 1, grey=grey))
    trained = thumbnet.train(splits, "seed", epochs=4, output=tmp_path / "model.onnx")
    assert trained.scores is not None
    assert trained.scores.accuracy > 0.9
    assert trained.scores.known > 0.8


@pytest.mark.parametrize("size", [17, 0, -1])
def test_a_size_without_room_for_the_networks_is_told_at_once(tmp_path: Path, size: int) -> None:
    with pytest.raises(TrainingError, match=rf"expected 18 pixels a side or more, .* got {size}"):
        thumbnet.train("no such folder", "seed", size=size, output=tmp_path / "model.onnx")


def test_splits_of_another_size_than_asked_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the splits have 18 pixels a side, but 64 are asked for\. Leave out size"):
        thumbnet.train(FEW, "seed", size=64, output=tmp_path / "model.onnx")


@tiny
def test_splits_have_the_size_that_they_are_read_in(tmp_path: Path) -> None:
    trained = train_few(tmp_path / "model.onnx", Splits(stripes(60, 0, 20), stripes(40, 1, 20)))
    assert trained.classifier.info.size == 20


@pytest.mark.parametrize("content", ["epoch,box_loss\n1,2\n", ""])
def test_another_programs_results_are_not_written_over(tmp_path: Path, content: str) -> None:
    table = tmp_path / "model.results.csv"
    table.write_text(content)
    with pytest.raises(TrainingError, match=r"results\.csv is not of a training of Thumbnet\. Move it"):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx")
    assert table.read_text() == content


@pytest.mark.parametrize("name", ["model.keras", "results.csv", "v1.2", "model", "model.onnx.gz"])
def test_a_model_needs_a_name_that_ends_in_onnx(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"the user's")
    with pytest.raises(TrainingError, match=rf"{name}: expected a name for the model that ends in \.onnx, such as "):
        thumbnet.train("no such folder", "seed", output=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"the user's"


@tiny
def test_an_own_keras_file_is_not_written_over_and_one_of_a_training_is(tmp_path: Path) -> None:
    output, beside = tmp_path / "keep.onnx", tmp_path / "keep.keras"
    for content in (b"any", b""):
        beside.write_bytes(content)
        with pytest.raises(TrainingError, match=r"keep\.keras would be replaced, and was not written by this version"):
            train_few(output)
        assert beside.read_bytes() == content
    beside.unlink()
    train_few(output)
    train_few(output, seed=1)
    network = keras.models.load_model(beside)
    network.save(beside)  # trained further, say, under the same name
    with pytest.raises(TrainingError, match=r"keep\.keras would be replaced"):
        train_few(output)


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "model.keras", "model.results.csv", "model.onnx.checkpoint", "model.onnx.refit.checkpoint"],
)
@pytest.mark.parametrize("kind", ["folder", "device"])
def test_what_cannot_be_written_is_reported_before_the_training(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).mkdir() if kind == "folder" else (tmp_path / name).symlink_to("/dev/null")
    with pytest.raises(ThumbnetError, match=rf"{name}: expected a file to write to, got a {kind}"):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx")


@pytest.mark.parametrize("option", ["output", "logs"])
def test_a_file_in_place_of_a_folder_is_reported_before_the_training(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    places: dict[str, Any] = {"output": tmp_path / "model.onnx", option: tmp_path / "file" / "model.onnx"}
    with pytest.raises(ThumbnetError, match=r"model\.onnx.*: cannot be written: (Not a directory|File exists)"):
        thumbnet.train("no such folder", "seed", **places)


def test_logs_that_are_a_file_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install -e '.[logs]'")
    (tmp_path / "logs").write_bytes(b"")
    with pytest.raises(TrainingError, match="logs: expected a folder for --logs, got a file"):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx", logs=tmp_path / "logs")


@tiny
def test_a_source_with_a_split_of_its_own_has_no_seed(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", **arrays(FEW))
    data = str(tmp_path / "few.npz")
    for source, named in ((data, data), (FEW, None)):
        info = thumbnet.train(source, TINY, epochs=1, size=18, seed=5, output=tmp_path / "model.onnx").classifier.info
        assert (info.data["source"], info.data["seed"], info.recipe["seed"]) == (named, None, 5)


def test_two_trainings_to_one_file_do_not_run_at_once(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / ".model.onnx.lock"),
        pytest.raises(ThumbnetError, match="another process writes to it"),
    ):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx")
    with pytest.raises(DataError):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("images", "share"), [(50_000, 0.04), (20_000, 0.05), (10_000, 0.1), (300, 0.1)])
def test_of_a_small_set_more_is_held_out(images: int, share: float) -> None:
    assert pipeline.held_out_share(RECIPES["fast"], images) == pytest.approx(share)


@tiny
def test_a_refit_ships_a_network_of_all_training_images(tmp_path: Path) -> None:
    held_out = train_few(tmp_path / "a.onnx").classifier
    refitted = train_few(tmp_path / "b.onnx", refit=True).classifier
    assert refitted.info.recipe["refit"] is True
    assert (refitted.info.temperature, refitted.info.threshold) == (held_out.info.temperature, held_out.info.threshold)
    images = FEW.test.images[:10]
    assert not np.array_equal(refitted.probabilities(images), held_out.probabilities(images))
    assert not list(tmp_path.glob("*.checkpoint"))


def interrupt_at(last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in place of this step."""
    steps = itertools.count()
    original = keras.Model.train_on_batch

    def interrupted(self: keras.Model, *batch: Any) -> Any:
        if next(steps) == last:
            raise KeyboardInterrupt
        return original(self, *batch)

    monkeypatch.setattr(keras.Model, "train_on_batch", interrupted)


@tiny
@pytest.mark.parametrize("epoch", [1, 2])
def test_ctrl_c_in_the_refit_ships_what_came_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    whole = train_few(tmp_path / "a.onnx", epochs=2).classifier
    interrupt_at(2 * 6 + 7 * (epoch - 1) + 3, monkeypatch)  # 6 steps an epoch, then 7 of all 120 pictures
    stopped = train_few(tmp_path / "b.onnx", epochs=2, refit=True)
    assert stopped.interrupted
    assert stopped.classifier.info.recipe["refit"] is False
    images = FEW.test.images[:10]
    np.testing.assert_array_equal(stopped.classifier.probabilities(images), whole.probabilities(images))
    assert (tmp_path / "b.onnx.refit.checkpoint").exists() is (epoch == 2)


@tiny
def test_starting_over_forgets_the_refit_of_a_broken_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx.refit.checkpoint").write_bytes(b"of other settings")
    interrupt_at(8, monkeypatch)  # in the second epoch
    assert train_few(tmp_path / "model.onnx", epochs=2, refit=True).interrupted
    assert [path.name for path in tmp_path.glob("*.checkpoint")] == ["model.onnx.checkpoint"]


@tiny
def test_a_failed_export_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(b"old")
    monkeypatch.setattr("thumbnet.training.to_onnx_tensorflow.TOLERANCE", -1.0)
    with pytest.raises(ExportError):
        train_few(output)
    assert output.read_bytes() == b"old"
    assert not output.with_suffix(".keras").exists()
    assert output.with_name("model.onnx.checkpoint").exists()  # so that hours of training are not lost


def test_at_least_a_thousand_pictures_from_all_over_prove_the_export() -> None:
    images = np.zeros((2500, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(2500) // 10
    samples = pipeline.samples(Dataset(images, np.zeros(2500, np.int64), ("a", "b")))
    assert len(samples) >= 1000
    assert samples.max() == 249


def test_an_unknown_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"no recipe 'sed'. Expected one of: {', '.join(RECIPES)}"):
        thumbnet.train(FEW, "sed", output=tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "expected 1 epoch or more, got 0"),
        ({"minutes": 0}, "expected minutes above 0, got 0"),
        ({"minutes": float("nan")}, "expected minutes above 0, got nan"),
        ({"patience": 0}, "expected a patience of 1 epoch or more, got 0"),
        ({"seed": 2**32}, "expected a seed from 0 to 4294967295, got 4294967296"),
        ({"seed": -1}, "expected a seed from 0 to 4294967295, got -1"),
    ],
)
def test_options_out_of_their_range_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=f"^{message}$"):
        thumbnet.train("no such folder", "seed", output=tmp_path / "model.onnx", **options)


@tiny
def test_the_precision_goes_into_the_recipe(tmp_path: Path) -> None:
    for precision in ("float32", "mixed_bfloat16"):
        trained = train_few(tmp_path / "model.onnx", precision=precision)
        assert trained.classifier.info.recipe["precision"] == precision


@tiny
def test_pictures_that_must_not_be_mirrored_are_not_mirrored_in_the_file_either(tmp_path: Path) -> None:
    letters = Splits(*(dataclasses.replace(split, mirrored=False) for split in FEW))
    for data, mirror, average in ((FEW, True, True), (FEW, False, False), (letters, True, False)):
        trained = train_few(tmp_path / "model.onnx", data, mirror=mirror)
        assert trained.classifier.info.mirror_average is average


@tiny
def test_the_file_makes_pictures_square_as_its_training_images_were(tmp_path: Path) -> None:
    cropped = Splits(*(dataclasses.replace(split, framing="crop") for split in FEW))
    assert train_few(tmp_path / "model.onnx", cropped).classifier.info.framing == "crop"


def arrays(splits: Splits) -> dict[str, Any]:
    """What an `.npz` file of these splits holds."""
    train, test = splits
    return {
        "x_train": train.images, "y_train": train.labels, "x_test": test.images, "y_test": test.labels,
        "names": np.array(train.names),
    }  # fmt: skip


def break_off(step: int, how: signal.Signals, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a training in a process of its own, which gets a signal in this step."""
    return subprocess.run(
        [sys.executable, "-c", BROKEN_OFF, str(step), str(int(how)), *command], capture_output=True, text=True
    )


def command(folder: Path, name: str, recipe: str, epochs: int) -> list[str]:
    """A training on few pictures, by the shell."""
    np.savez(folder / "few.npz", **arrays(FEW))
    options = f"train --data {folder / 'few.npz'} --size 18 --recipe {recipe} --epochs {epochs}"
    return [*options.split(), "--output", str(folder / name)]


def test_killed_and_resumed_gives_the_file_of_an_uninterrupted_run(tmp_path: Path) -> None:
    whole, killed = (command(tmp_path, f"{name}.onnx", "fast", 2) for name in ("whole", "killed"))
    assert cli.main(whole) == 0
    assert break_off(9, signal.SIGKILL, *killed).returncode == -signal.SIGKILL  # in the second epoch
    assert not (tmp_path / "killed.onnx").exists()
    assert cli.main([*killed, "--resume"]) == 0
    assert (tmp_path / "killed.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_ctrl_c_ships_the_best_so_far_and_can_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = command(tmp_path, "model.onnx", "seed", 3)
    done = break_off(9, signal.SIGINT, *typed)
    assert done.returncode == 130
    assert "of 40 test images right" in done.stdout
    assert "The model is the best so far; --resume continues" in done.stderr
    assert "Traceback" not in done.stderr
    info = thumbnet.load(tmp_path / "model.onnx").info
    assert info.names == FEW.train.names
    assert len(info.history) == 1
    assert cli.main([*typed, "--resume"]) == 0
    err = capsys.readouterr().err
    assert "\n    1 " not in err  # the first epoch is not trained again
    assert "\n    3 " in err


def test_a_training_says_when_it_replaces_the_checkpoint_of_a_broken_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.onnx.checkpoint").write_bytes(b"")
    assert cli.main(command(tmp_path, "model.onnx", "seed", 1)) == 0
    out, err = capsys.readouterr()
    assert "model.onnx.checkpoint is of a training that did not end: --resume would continue it" in err
    assert out.count("\n") == 1
