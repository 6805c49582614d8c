"""From a folder of pictures to a model file, by a tiny backbone: what is written, measured, kept and reported."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.backbones import ABOUT, SIZE, WIDTH, backbone
from support.trees import encoded

import thumbnet
from thumbnet.cli import main
from thumbnet.data.load import load_parts
from thumbnet.errors import DataError, DataWarning, ExportError, ModelError, ThumbnetError, TrainingError
from thumbnet.evaluation import page
from thumbnet.evaluation.corruptions import robustness
from thumbnet.evaluation.judge import judge_each
from thumbnet.evaluation.trained import Trained
from thumbnet.files import cache_folder, exclusive
from thumbnet.model.classifier import Classifier, load
from thumbnet.model.info import with_info
from thumbnet.prediction import explain
from thumbnet.transfer import features, make, pipeline, shipped
from thumbnet.transfer.backbone import Backbone, open_backbone
from thumbnet.transfer.learn import cross_validated

COLOURS = {"blue": (30, 40, 220), "green": (40, 200, 60), "red": (220, 30, 40)}


def picture(colour: tuple[int, int, int], number: int, side: int = 12) -> bytes:
    """A noisy picture of about this colour."""
    noise = np.random.default_rng(number).normal(0, 40, (side, side + 2, 3))
    return encoded(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


def fill(root: Path, count: int = 12, colours: dict[str, tuple[int, int, int]] = COLOURS) -> Path:
    for place, (name, colour) in enumerate(colours.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(picture(colour, 1000 * place + number))
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny.onnx").write_bytes(backbone())
    return str(tmp_path / "tiny.onnx")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return fill(tmp_path / "pictures")


def train(pictures: Path, tiny: str, **options: Any) -> Trained:
    return thumbnet.train(str(pictures), backbone=tiny, output=pictures.parent / "mine.onnx", **options)


def test_the_file_knows_the_classes_and_where_it_comes_from(pictures: Path, tiny: str) -> None:
    trained = train(pictures, tiny, seed=5)
    info = load(trained.path).info
    assert trained.path == pictures.parent / "mine.onnx"
    assert (trained.interrupted, trained.written) == (False, True)
    assert (info.names, info.size, info.framing) == (("blue", "green", "red"), SIZE, "stretch")
    assert (info.recipe["name"], info.recipe["seed"]) == ("transfer", 5)
    assert info.recipe["folds"] == 5
    assert (info.data["source"], info.data["train_images"]) == (str(pictures), 36)
    assert info.backbone.items() >= {name: ABOUT[name] for name in ("name", "licence", "origin")}.items()
    for name, colour in COLOURS.items():
        answer = load(trained.path).predict(picture(colour, 77))
        assert (answer.label, answer.known) == (name, True)
    strange = load(trained.path).predict(encoded(np.full((9, 9, 3), (255, 255, 0), np.uint8)))
    assert strange.sureness < load(trained.path).predict(picture(COLOURS["red"], 77)).sureness


def test_without_a_test_split_the_scores_are_cross_validated(
    pictures: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["train", "--data", str(pictures), "--backbone", tiny, "--output", str(pictures.parent / "mine.onnx")])
        == 0
    )
    printed = capsys.readouterr().out
    scores = load(pictures.parent / "mine.onnx").info.scores
    assert scores["cross_validated"] is True
    assert scores["images"] == 36
    assert f"mine.onnx: {scores['accuracy']:.2%} of 36 pictures right, cross-validated (95 % interval " in printed
    assert f"Shown a class it never learnt, it is unsure about {scores['unknown_class']:.0%}" in printed
    assert main(["info", str(pictures.parent / "mine.onnx")]) == 0
    listed = capsys.readouterr().out
    assert "  cross_validated     true" in listed
    assert '  licence             "MIT"' in listed


def test_the_scores_are_honest_where_labels_mean_nothing(tmp_path: Path, tiny: str) -> None:
    alike = fill(tmp_path / "alike", 30, dict.fromkeys("ab", (120, 120, 120)))
    scores = train(alike, tiny).scores
    assert scores is not None
    assert scores.accuracy_low < 0.5 < scores.accuracy_high + 0.15
    assert scores.calibration_error < 0.2


def test_evaluating_on_the_same_pictures_gives_the_same_scores(
    pictures: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "red" / "0.png").rename(pictures / "blue" / "wrong.png")
    trained = train(pictures, tiny)
    assert trained.scores is not None
    [judged] = judge_each([str(trained.path)], str(pictures), None, cross_validated)
    assert judged.scores == trained.scores
    assert judged.note.endswith(
        f"by cross-validation on all 36 pictures of {pictures}: each is answered by a head that has not learnt from it"
    )
    capsys.readouterr()
    assert main(["evaluate", str(trained.path), "--data", str(pictures)]) == 0
    printed, reported = capsys.readouterr()
    assert f"{trained.scores.accuracy:.2%} of 36 pictures right, cross-validated" in printed
    assert "by cross-validation" in reported


def test_two_files_are_compared_each_by_its_own_cross_validation(
    pictures: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wide.onnx").write_bytes(backbone(width=30, maps=False))
    one, other = train(pictures, tiny).path, tmp_path / "other.onnx"
    thumbnet.train(str(pictures), backbone=tmp_path / "wide.onnx", output=other)
    info = dataclasses.replace(load(other).info, scores={"cross_validated": True})  # as with two classes
    other.write_bytes(with_info(other.read_bytes(), info))
    capsys.readouterr()
    assert main(["evaluate", str(one), str(other), "--data", str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"unsure of an unknown class +\d+\.\d% +–\n", printed)
    assert re.search(r"accuracy +\d+\.\d\d% +\d+\.\d\d%\n", printed)


def test_pictures_that_changed_since_are_reported(pictures: Path, tiny: str) -> None:
    trained = train(pictures, tiny)
    (pictures / "red" / "more.png").write_bytes(picture(COLOURS["red"], 99))
    with pytest.warns(DataWarning, match="have changed since the model learnt from them"):
        judge_each([str(trained.path)], str(pictures), None, cross_validated)


def test_other_pictures_without_a_split_may_have_been_learnt_from(pictures: Path, tiny: str, tmp_path: Path) -> None:
    trained = train(pictures, tiny)
    shutil.copytree(pictures, tmp_path / "copy")
    (tmp_path / "copy" / "red" / "0.png").unlink()
    with pytest.warns(DataWarning, match="not the pictures that the model learnt from. If some of them are"):
        judge_each([str(trained.path)], str(tmp_path / "copy"), None, cross_validated)


def test_a_mistake_is_explained_by_what_spoke_for_it(
    pictures: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "red" / "0.png").rename(pictures / "blue" / "wrong.png")
    trained = train(pictures, tiny)
    [judged] = judge_each([str(trained.path)], str(pictures), None, cross_validated)
    explained: list[int | None] = []

    def heat(_: Classifier, square: NDArray[np.uint8], answer: int | None = None) -> NDArray[np.float32]:
        explained.append(answer)
        return np.zeros(square.shape[:2], np.float32)

    monkeypatch.setattr(explain, "heat", heat)
    page.page(judged, robustness(judged.classifier, judged.dataset), None)
    wrong = ~judged.answers.right
    assert sorted(each for each in explained if each is not None) == sorted(judged.answers.guesses[wrong].tolist())


def test_with_a_test_split_the_scores_are_its(tmp_path: Path, tiny: str) -> None:
    fill(tmp_path / "set" / "train")
    fill(tmp_path / "set" / "test", 5)
    (tmp_path / "set" / "test" / "red" / "4.png").rename(tmp_path / "set" / "test" / "green" / "wrong.png")
    trained = train(tmp_path / "set", tiny)
    info = trained.classifier.info
    assert trained.scores is not None
    assert (trained.scores.images, info.data["train_images"], info.data["test_images"]) == (15, 36, 15)
    assert trained.scores.accuracy == pytest.approx(14 / 15)
    assert "cross_validated" not in info.scores
    [judged] = judge_each([str(trained.path)], str(tmp_path / "set"))
    assert judged.scores.accuracy == trained.scores.accuracy
    assert judged.scores.cross_entropy == pytest.approx(trained.scores.cross_entropy, abs=1e-4)


def test_the_same_pictures_and_seed_give_the_same_file(pictures: Path, tiny: str) -> None:
    first = train(pictures, tiny).path.read_bytes()
    assert train(pictures, tiny).path.read_bytes() == first  # from the cache
    (cache_folder() / "features-1.sqlite").unlink()
    assert train(pictures, tiny).path.read_bytes() == first


def test_only_what_is_new_is_run(pictures: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train(pictures, tiny)
    (pictures / "red" / "new.png").write_bytes(picture(COLOURS["red"], 500))
    (pictures / "red" / "1.png").rename(pictures / "green" / "moved.png")
    (pictures / "blue" / "3.png").unlink()
    framed: list[bytes] = []
    whole = features.frame

    def frame(content: bytes, own: Backbone) -> NDArray[np.uint8]:
        framed.append(content)
        return whole(content, own)

    monkeypatch.setattr(features, "frame", frame)
    trained = train(pictures, tiny)
    assert framed == [picture(COLOURS["red"], 500)]
    assert trained.classifier.info.data["train_images"] == 36


def test_other_pictures_teach_what_to_be_unsure_of(pictures: Path, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for number in range(12):
        (tmp_path / "other" / f"{number}.png").write_bytes(picture((240, 230, 40), number))
    (tmp_path / "other" / "broken.png").write_bytes(b"broken")
    strange = picture((240, 230, 40), 900)
    before = train(pictures, tiny).classifier.predict(strange)
    with pytest.warns(DataWarning, match=r"1 of 13 pictures of other things cannot be read.*left out"):
        after = train(pictures, tiny, other=tmp_path / "other").classifier
    assert after.info.data["other_images"] == 12
    assert not after.predict(strange).known
    assert after.predict(strange).sureness <= before.sureness
    assert after.predict(picture(COLOURS["red"], 77)).known


def test_foreign_pictures_are_measured(pictures: Path, tiny: str, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a.png").write_bytes(picture((250, 250, 250), 1))
    scores = train(pictures, tiny, foreign=tmp_path / "foreign").classifier.info.scores
    assert scores["foreign_images"] == 1
    assert 0 <= scores["foreign_auroc"] <= 1


@pytest.mark.parametrize("option", ["foreign", "other"])
def test_a_missing_folder_of_other_things_is_named_at_once(option: str, pictures: Path, tiny: str) -> None:
    with pytest.raises(DataError, match="nowhere: expected a folder of pictures"):
        train(pictures, tiny, **{option: "nowhere"})


# --- bad input ---


def test_one_class(pictures: Path, tiny: str) -> None:
    for name in ("red", "green"):
        for file in (pictures / name).iterdir():
            file.unlink()
        (pictures / name).rmdir()
    with pytest.raises(DataError, match="expected a subfolder for each class, at least two, got blue"):
        train(pictures, tiny)


def test_one_picture_of_each_class(tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained = train(fill(tmp_path / "few", 1), tiny)
    assert trained.scores is None
    assert "Not measured, so all answers are unsure: with one picture of each class" in capsys.readouterr().err
    assert trained.classifier.predict(picture(COLOURS["green"], 9)).label == "green"
    output = str(tmp_path / "mine.onnx")
    assert main(["train", "--data", str(tmp_path / "few"), "--backbone", tiny, "--output", output]) == 0
    assert capsys.readouterr().out == f"{output}: not measured\n"


def test_a_class_of_one_picture_among_others(pictures: Path, tiny: str) -> None:
    (pictures / "white").mkdir()
    (pictures / "white" / "a.png").write_bytes(picture((250, 250, 250), 1))
    trained = train(pictures, tiny)
    assert trained.classifier.predict(picture((250, 250, 250), 2)).label == "white"
    assert trained.scores is not None
    assert trained.scores.images == 37


def test_many_classes_of_three(tmp_path: Path, tiny: str) -> None:
    colours = {f"c{number:03}": tuple(np.random.default_rng(number).integers(0, 256, 3)) for number in range(120)}
    trained = train(fill(tmp_path / "many", 3, colours), tiny)
    assert len(trained.classifier.info.names) == 120


def test_unreadable_pictures_are_named_and_left_out(pictures: Path, tiny: str) -> None:
    (pictures / "red" / "empty.jpg").write_bytes(b"")
    (pictures / "red" / "cut.png").write_bytes(picture(COLOURS["red"], 3)[:60])
    with pytest.warns(DataWarning, match=r"2 of 38 pictures cannot be read: .*They are left out"):
        trained = train(pictures, tiny)
    assert trained.classifier.info.data["train_images"] == 36


def test_too_many_unreadable_pictures_are_an_error_and_nothing_is_lost(pictures: Path, tiny: str) -> None:
    before = train(pictures, tiny).path.read_bytes()
    for number in range(20):
        (pictures / "red" / f"bad{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match="20 of 56 pictures cannot be read"):
        train(pictures, tiny)
    assert (pictures.parent / "mine.onnx").read_bytes() == before


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000)])
def test_odd_pictures(shape: tuple[int, int], pictures: Path, tiny: str) -> None:
    (pictures / "red" / "odd.png").write_bytes(encoded(np.full((*shape, 3), (220, 30, 40), np.uint8)))
    assert train(pictures, tiny).classifier.info.data["train_images"] == 37


def test_a_backbone_that_gives_no_numbers_for_a_picture(
    pictures: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_self: Any, _names: list[str], squares: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.full((len(squares), WIDTH), np.nan, np.float32)]

    opened = open_backbone(tiny)
    monkeypatch.setattr(pipeline, "open_backbone", lambda _: opened)
    monkeypatch.setattr(Backbone, "_outputs", nothing)
    with pytest.raises(ModelError, match="the backbone tiny gives features that are not finite numbers"):
        train(pictures, tiny)


def test_a_file_that_answers_otherwise_is_not_written(
    pictures: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shipped.model_file

    def other(backbone: Any, head: Any, *rest: Any) -> bytes:
        return whole(backbone, type(head)(head.weights[:, ::-1], head.bias), *rest)

    monkeypatch.setattr(make, "model_file", other)
    with pytest.raises(ExportError, match=r"the model file's answers are .* apart"):
        train(pictures, tiny)
    assert not (pictures.parent / "mine.onnx").exists()


@pytest.mark.parametrize("output", ["mine.keras", "folder/", "mine"])
def test_a_place_that_is_no_model_file_is_rejected_first(
    output: str, pictures: Path, tiny: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        (TrainingError, ThumbnetError), match=r"expected a (name for the model that ends in \.onnx|file)"
    ):
        thumbnet.train(str(pictures), backbone=tiny, output=tmp_path / output)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(seed: int, pictures: Path, tiny: str) -> None:
    with pytest.raises(TrainingError, match=f"expected a seed from 0 to 4294967295, got {seed}"):
        train(pictures, tiny, seed=seed)


def test_a_class_name_that_cannot_be_printed_is_rejected_first(pictures: Path, tiny: str) -> None:
    (pictures / "red").rename(pictures / "new\nline")
    with pytest.raises(DataError, match=r"expected printable class names, got 'new\\nline'\. Rename them"):
        train(pictures, tiny)
    assert not (cache_folder() / "features-1.sqlite").exists()


def test_renamed_files_are_the_same_pictures(pictures: Path, tiny: str) -> None:
    trained = train(pictures, tiny)
    (pictures / "red" / "0.png").rename(pictures / "red" / "zzz.png")
    [judged] = judge_each([str(trained.path)], str(pictures), None, cross_validated)
    assert judged.cross_validated


def test_two_trainings_to_one_file(pictures: Path, tiny: str) -> None:
    lock = exclusive(pictures.parent / ".mine.onnx.lock")
    with lock, pytest.raises(ThumbnetError, match="another process writes to it"):
        train(pictures, tiny)


def test_two_trainings_at_once(pictures: Path, tiny: str) -> None:
    problems: list[BaseException] = []

    def run(number: int) -> None:
        try:
            thumbnet.train(str(pictures), backbone=tiny, output=pictures.parent / f"{number}.onnx")
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (pictures.parent / "0.onnx").read_bytes() == (pictures.parent / "1.onnx").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_leaves_nothing_behind_and_keeps_the_features(pictures: Path, tiny: str, tmp_path: Path) -> None:
    output = str(tmp_path / "a.onnx")
    code = f"""if True:
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell turns off for what runs behind it
        from thumbnet.cli import main
        from thumbnet.transfer import features
        whole, count = features.frame, 0
        def frame(content, own):
            global count
            count += 1
            if count == 20:
                os.kill(os.getpid(), signal.SIGINT)
            return whole(content, own)
        features.frame = frame
        features.batch_size = lambda _: 2
        sys.exit(main(["train", "--data", {str(pictures)!r}, "--backbone", {tiny!r}, "--output", {output!r}]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert "Stopped." in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if "onnx" in path.name) == ["tiny.onnx"]
    assert (cache_folder() / "features-1.sqlite").exists()


def test_zip_files_tables_and_arrays_are_data_too(pictures: Path, tiny: str, tmp_path: Path) -> None:
    names = [file.relative_to(pictures) for file in sorted(pictures.rglob("*.png"))]
    flat = tmp_path / "flat"
    flat.mkdir()
    lines = ["file,label"]
    for name in names:
        other = f"{name.parent.name}-{name.name}"
        (flat / other).write_bytes((pictures / name).read_bytes())
        lines.append(f"{other},{name.parent.name}")
    (flat / "labels.csv").write_text("\n".join(lines))
    [part] = load_parts(str(pictures), SIZE)
    np.savez(tmp_path / "arrays.npz", x=part.images, y=np.array(part.names)[part.labels])
    expected = train(pictures, tiny).classifier
    for data in (flat, tmp_path / "arrays.npz"):
        made = thumbnet.train(str(data), "transfer", backbone=tiny, output=tmp_path / "other.onnx").classifier
        assert made.info.names == expected.info.names
        assert made.info.data["train_images"] == 36
        assert made.predict(picture(COLOURS["blue"], 50)).label == "blue"


def test_the_report_shows_the_cross_validation(pictures: Path, tiny: str, tmp_path: Path) -> None:
    trained = train(pictures, tiny)
    assert main(["evaluate", str(trained.path), "--data", str(pictures), "--report", str(tmp_path / "report")]) == 0
    written_page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "by cross-validation" in written_page
    assert "a class it never learnt" in written_page
    written = json.loads((tmp_path / "report" / "scores.json").read_text(encoding="utf-8"))
    assert "by cross-validation" in written["note"]
    assert written["cross_validated"] is True
    assert written["unknown_class"] == trained.classifier.info.scores["unknown_class"]
