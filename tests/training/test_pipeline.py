"""From data to a model file in use: the whole line, on the digits that need no download."""

import dataclasses
import itertools
import json
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

import thumbnet
from thumbnet import cli
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.data.digits import read_digits
from thumbnet.errors import DataError, ExportError, TrainingError
from thumbnet.evaluation import page
from thumbnet.evaluation.judge import judge
from thumbnet.evaluation.page import CURVES
from thumbnet.training import history, pipeline
from thumbnet.training.recipes import RECIPES


@pytest.fixture(scope="module")
def splits() -> Splits:
    return read_digits()


@pytest.fixture(scope="module")
def trained(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Trained:
    folder = tmp_path_factory.mktemp("trained")
    return thumbnet.train(splits, "seed", epochs=6, output=folder / "model" / "digits.onnx", logs=folder / "logs")


def test_a_trained_digits_model_reads_digits_from_its_file(
    trained: pipeline.Trained, splits: Splits, tmp_path: Path
) -> None:
    assert trained.scores.accuracy > 0.95
    classifier = thumbnet.load(trained.path)
    right = 0
    for row in range(40):
        path = tmp_path / f"{row}.png"
        cv2.imwrite(str(path), splits.test.images[row])
        right += classifier.predict(path).label == splits.test.names[splits.test.labels[row]]
    assert right >= 37


def test_the_file_tells_where_it_comes_from(trained: pipeline.Trained, splits: Splits) -> None:
    info = thumbnet.load(trained.path).info
    assert info.names == tuple("0123456789")
    assert (info.size, info.framing, info.mirror_average) == (32, "centre", False)  # mirrored digits are no digits
    assert info.recipe["name"] == "seed"
    assert info.recipe["epochs"] == 6
    assert info.data["train"] == splits.train.fingerprint()
    assert info.data["test"] == splits.test.fingerprint()
    assert info.scores == trained.scores.as_dict()
    assert info.version == thumbnet.__version__
    assert 0 < info.threshold < 1


def test_the_scores_are_those_of_the_file(trained: pipeline.Trained, splits: Splits) -> None:
    answers = thumbnet.load(trained.path).probabilities(splits.test.images).argmax(axis=1)
    assert trained.scores.accuracy == (answers == splits.test.labels).mean()


def test_the_keras_file_beside_it_is_the_same_network(trained: pipeline.Trained, splits: Splits) -> None:
    model = keras.models.load_model(trained.path.with_suffix(".keras"))
    ours = model.predict(splits.test.images, verbose=0).argmax(axis=1)
    theirs = thumbnet.load(trained.path).probabilities(splits.test.images).argmax(axis=1)
    np.testing.assert_array_equal(ours, theirs)


def test_nothing_but_these_files_is_left(trained: pipeline.Trained) -> None:
    names = sorted(path.name for path in trained.path.parent.iterdir())
    assert names == ["digits.keras", "digits.onnx", "results.csv"]


def test_the_table_of_epochs_is_drawn_in_the_report(trained: pipeline.Trained) -> None:
    assert history.TABLE == CURVES
    rows = page._epochs(trained.path.with_name(CURVES))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(tuple(row) == history.COLUMNS for row in rows)
    assert "accuracy over the epochs" in page._training(str(trained.path))


def test_the_logs_are_where_they_were_wanted(trained: pipeline.Trained) -> None:
    rows = page._epochs(trained.path.with_name(CURVES))
    read = logged(trained.path.parent.parent / "logs")
    expected = [(row["epoch"] - 1, pytest.approx(row["validation"])) for row in rows]
    assert read["validation", "epoch_accuracy"] == expected


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


@pytest.mark.parametrize(("recipe", "size"), [("seed", 96), ("fast", 64), ("best", 40)])
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
    assert capsys.readouterr().out.count(f"{trained.scores.accuracy:.2%} of 12 test images right") == 1
    server = pytest.importorskip("thumbnet.server", reason="serving is not installed: pip install -e '.[serve]'")
    from starlette.testclient import TestClient

    with TestClient(server.create_app(trained.classifier)) as client:
        answer = client.post("/classify", content=Path(picture).read_bytes()).json()
    assert answer["label"] == trained.classifier.predict(picture).label


def test_the_file_says_what_it_rejects_of_foreign_pictures(splits: Splits, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    few = Splits(splits.train.take(np.arange(200)), splits.test.take(np.arange(100)))
    for row in range(9):
        image = rng.integers(0, 256, (40, 50, 3), np.uint8) if row else cv2.resize(few.test.images[0], (64, 64))
        (tmp_path / "other" / f"{row % 2}").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "other" / f"{row % 2}" / f"{row}.png"), image)
    for name in ("notes.txt", "sizes.csv"):  # both look at the files that are named as pictures
        (tmp_path / "other" / name).write_text("not a picture")
    trained = thumbnet.train(few, "seed", epochs=2, output=tmp_path / "model.onnx", foreign=tmp_path / "other")
    judged = judge(str(trained.path), "digits", str(tmp_path / "other")).foreign
    assert judged is not None
    scores = thumbnet.load(trained.path).info.scores
    assert scores["foreign_images"] == judged[1].images == 9
    assert scores["foreign_rejected"] == judged[1].rejected
    assert 0.5 < scores["foreign_auroc"] <= 1
    assert {name: score for name, score in scores.items() if "foreign" not in name} == trained.scores.as_dict()


@pytest.mark.parametrize("made", [False, True])
def test_missing_foreign_pictures_are_told_before_the_training(splits: Splits, tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="other"):
        thumbnet.train(splits, "seed", epochs=1000, output=tmp_path / "model.onnx", foreign=tmp_path / "other")


@pytest.mark.parametrize("size", [17, 0, -1])
def test_a_size_without_room_for_the_networks_is_told_at_once(tmp_path: Path, size: int) -> None:
    with pytest.raises(TrainingError, match=rf"expected 18 pixels a side or more, .* got {size}"):
        thumbnet.train("no such folder", "seed", size=size, output=tmp_path / "model.onnx")


def test_splits_of_another_size_than_asked_for_are_refused(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the splits have 32 pixels a side, asked for are 64\. Leave out size"):
        thumbnet.train(splits, "seed", size=64, output=tmp_path / "model.onnx")


def test_splits_have_the_size_that_they_are_read_in(tmp_path: Path) -> None:
    trained = thumbnet.train(read_digits(18), "seed", epochs=1, output=tmp_path / "model.onnx")
    assert trained.classifier.info.size == 18


@pytest.mark.parametrize("content", ["epoch,box_loss\n1,2\n", "", None])
def test_another_programs_results_are_not_written_over(splits: Splits, tmp_path: Path, content: str | None) -> None:
    table = tmp_path / "results.csv"
    table.mkdir() if content is None else table.write_text(content)
    with pytest.raises(TrainingError, match=r"results\.csv is not of a training of Thumbnet\. Move it"):
        thumbnet.train(splits, "seed", output=tmp_path / "model.onnx")
    assert table.is_dir() if content is None else table.read_text() == content


@pytest.mark.parametrize(("images", "share"), [(50_000, 0.04), (20_000, 0.05), (10_000, 0.1), (300, 0.1)])
def test_of_a_small_set_more_is_held_out(images: int, share: float) -> None:
    assert pipeline.held_out_share(RECIPES["fast"], images) == pytest.approx(share)


def test_a_refit_ships_a_network_of_all_training_images(splits: Splits, tmp_path: Path) -> None:
    held_out = thumbnet.train(splits, "seed", epochs=1, output=tmp_path / "a.onnx").classifier
    refitted = thumbnet.train(splits, "seed", epochs=1, output=tmp_path / "b.onnx", refit=True).classifier
    assert refitted.info.recipe["refit"] is True
    assert (refitted.info.temperature, refitted.info.threshold) == (held_out.info.temperature, held_out.info.threshold)
    images = splits.test.images[:10]
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


@pytest.mark.parametrize("epoch", [1, 2])
def test_ctrl_c_in_the_refit_ships_what_came_before_it(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    whole = thumbnet.train(splits, "seed", epochs=2, output=tmp_path / "a.onnx").classifier
    # 64 steps an epoch of 1,293 pictures, then 65 of 1,437.
    interrupt_at(2 * 64 + 65 * (epoch - 1) + 5, monkeypatch)
    stopped = thumbnet.train(splits, "seed", epochs=2, output=tmp_path / "b.onnx", refit=True)
    assert stopped.interrupted
    assert stopped.classifier.info.recipe["refit"] is False
    images = splits.test.images[:10]
    np.testing.assert_array_equal(stopped.classifier.probabilities(images), whole.probabilities(images))
    assert (tmp_path / "b.onnx.refit.checkpoint").exists() is (epoch == 2)


def test_starting_over_forgets_the_refit_of_a_broken_training(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx.refit.checkpoint").write_bytes(b"of other settings")
    interrupt_at(70, monkeypatch)  # in the second epoch
    assert thumbnet.train(splits, "seed", epochs=2, output=tmp_path / "model.onnx", refit=True).interrupted
    assert [path.name for path in tmp_path.glob("*.checkpoint")] == ["model.onnx.checkpoint"]


def test_a_failed_export_leaves_the_old_files(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "model.onnx"
    output.write_bytes(b"old")
    monkeypatch.setattr("thumbnet.training.to_onnx_tensorflow.TOLERANCE", -1.0)
    with pytest.raises(ExportError):
        thumbnet.train(splits, "seed", epochs=1, output=output)
    assert output.read_bytes() == b"old"
    assert not output.with_suffix(".keras").exists()
    assert output.with_name("model.onnx.checkpoint").exists()  # so that hours of training are not lost


def test_at_least_a_thousand_pictures_from_all_over_prove_the_export() -> None:
    images = np.zeros((2500, 1, 1, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(2500) // 10
    samples = pipeline.samples(Dataset(images, np.zeros(2500, np.int64), ("a", "b")))
    assert len(samples) >= 1000
    assert samples.max() == 249


def test_an_unknown_recipe_is_named(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"no recipe 'sed'. There is: {', '.join(RECIPES)}"):
        thumbnet.train(splits, "sed", output=tmp_path / "model.onnx")


@pytest.mark.parametrize("length", [{"epochs": 0}, {"minutes": 0}, {"minutes": float("nan")}])
def test_a_training_of_no_length_is_refused(splits: Splits, tmp_path: Path, length: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match=r"expected 1 epoch or more, or minutes above 0"):
        thumbnet.train(splits, "seed", output=tmp_path / "model.onnx", **length)


def test_a_patience_of_no_epoch_is_refused(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"expected a patience of 1 epoch or more"):
        thumbnet.train(splits, "seed", output=tmp_path / "model.onnx", patience=0)


def test_the_precision_goes_into_the_recipe(splits: Splits, tmp_path: Path) -> None:
    trained = thumbnet.train(splits, "seed", epochs=1, output=tmp_path / "model.onnx", precision="float32")
    assert trained.classifier.info.recipe["precision"] == "float32"


def test_a_folder_in_place_of_the_model_file_is_told_before_the_training(splits: Splits, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"is a folder\. Expected a file's name"):
        thumbnet.train(splits, output=tmp_path)


def test_pictures_that_must_not_be_mirrored_are_not_mirrored_in_the_file_either(splits: Splits, tmp_path: Path) -> None:
    photographs = Splits(*(dataclasses.replace(split, mirrored=True) for split in splits))
    for mirror in (True, False):
        trained = thumbnet.train(photographs, "seed", epochs=1, output=tmp_path / "model.onnx", mirror=mirror)
        assert trained.classifier.info.mirror_average is mirror


def test_the_file_makes_pictures_square_as_its_training_images_were(splits: Splits, tmp_path: Path) -> None:
    cropped = Splits(*(dataclasses.replace(split, framing="crop") for split in splits))
    trained = thumbnet.train(cropped, "seed", epochs=1, output=tmp_path / "model.onnx")
    assert trained.classifier.info.framing == "crop"


def command(output: Path, *more: str, recipe: str = "seed", epochs: int = 3) -> list[str]:
    train = ["train", "--data", "digits", "--recipe", recipe, "--epochs", str(epochs), "--output", str(output)]
    return [sys.executable, "-m", "thumbnet", *train, *more]


def kill_in_second_epoch(output: Path, how: signal.Signals, **options: Any) -> tuple[int, str, str]:
    """Start a training and send it a signal as soon as its first epoch is on disk."""
    process = subprocess.Popen(
        command(output, **options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job has Ctrl-C switched off
    )  # fmt: skip
    assert process.stderr is not None
    shown = ""
    while not shown.endswith("*\n"):  # the first epoch's line
        line = process.stderr.readline()
        assert line, shown
        shown += line
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, shown + err


def test_killed_and_resumed_gives_the_file_of_an_uninterrupted_run(tmp_path: Path) -> None:
    options: dict[str, Any] = {"recipe": "fast", "epochs": 2}
    subprocess.run(command(tmp_path / "whole.onnx", **options), check=True, capture_output=True)
    code, _, _ = kill_in_second_epoch(tmp_path / "killed.onnx", signal.SIGKILL, **options)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "killed.onnx").exists()
    subprocess.run(command(tmp_path / "killed.onnx", "--resume", **options), check=True, capture_output=True)
    assert (tmp_path / "killed.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_ctrl_c_ships_the_best_so_far_and_can_be_resumed(tmp_path: Path) -> None:
    code, out, err = kill_in_second_epoch(tmp_path / "model.onnx", signal.SIGINT)
    assert code == 130
    assert "of 360 test images right" in out
    assert "The model is the best until then; --resume goes on" in err
    assert "Traceback" not in err
    assert thumbnet.load(tmp_path / "model.onnx").info.names == tuple("0123456789")
    done = subprocess.run(command(tmp_path / "model.onnx", "--resume"), capture_output=True, text=True, check=True)
    assert "\n    1 " not in done.stderr  # the first epoch is not trained again
    assert "\n    3 " in done.stderr


def test_a_training_says_when_it_replaces_the_checkpoint_of_a_broken_one(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.checkpoint").write_bytes(b"")
    done = subprocess.run(command(tmp_path / "model.onnx"), capture_output=True, text=True, check=True)
    assert "model.onnx.checkpoint is of a training that did not end: --resume would go on with it" in done.stderr
    assert json.dumps(done.stdout).count("\\n") == 1
