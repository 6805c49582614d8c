"""`evaluate` measures pictures that the training has not seen, and says where it cannot tell."""

import re
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import NAMES, SIZE, info, png, write
from support.trees import tree

from thumbnet import cli
from thumbnet.data.cifar_archives import NAMES as CIFAR10
from thumbnet.data.load import load_data
from thumbnet.errors import DataError, DataWarning
from thumbnet.evaluation import judge as judge_module
from thumbnet.evaluation.held_out import source_for
from thumbnet.evaluation.judge import judge, judge_each
from thumbnet.sources import fetch


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(judge_module, "SECONDS", 0.0)
    monkeypatch.setattr(fetch, "download", None)


def trained(data: str, seed: int = 0, name: str = "m.onnx", **changes: Any) -> str:
    """A model file that says that it was trained on these data."""
    splits = load_data(data, SIZE, framing="crop", seed=seed)
    said = {
        "train": splits.train.fingerprint(), "train_images": len(splits.train),
        "test": splits.test.fingerprint(), "test_images": len(splits.test),
        "source": data, "seed": seed, **changes.pop("said", {}),
    }  # fmt: skip
    said = {key: value for key, value in said.items() if value != "not there"}
    return str(write(Path(name), data=said, **{"names": splits.train.names, **changes}))


@pytest.fixture
def pics() -> str:
    return str(tree(Path("pics"), {"cat": 20, "dog": 20, "emu": 20}))


@pytest.fixture
def split_pics() -> str:
    counts = {"train": 5, "test": 4}
    return str(
        tree(Path("split"), {f"{part}/{name}": counts[part] for part in counts for name in ("cat", "dog", "emu")})
    )


def numbers(images: Any) -> list[int]:
    return sorted(int(label) * 100 + int(number) for label, number in images[:, 0, 0, :2])


@pytest.mark.parametrize("said", [{}, {"seed": "not there", "source": "not there"}])
def test_the_split_of_the_training_is_repeated(said: dict[str, Any], pics: str) -> None:
    """By the seed that the file names; older files have it in the recipe."""
    model = trained(pics, 7, said=said, recipe={"seed": 7})
    judged = judge(model, pics)
    assert numbers(judged.dataset.images) == numbers(load_data(pics, SIZE, framing="crop", seed=7).test.images)
    assert judged.note == (
        "pics has no test split: the 12 of 60 pictures are measured that the training held out for testing (seed 7)"
    )


def test_data_that_the_model_was_not_trained_on_count_whole(pics: str, split_pics: str) -> None:
    model = trained(split_pics)
    with pytest.warns(DataWarning, match="pics: these pictures are not the test pictures that the model file names"):
        judged = judge(model, pics)
    assert len(judged.dataset) == 60
    assert judged.note == "pics has no test split: all 60 pictures are measured"


@pytest.mark.parametrize("said", [{}, {"seed": None}])
def test_the_folder_of_the_test_pictures_counts_whole(said: dict[str, Any], split_pics: str) -> None:
    model = trained(split_pics, said=said)
    for data in (split_pics, f"{split_pics}/test"):
        judged = judge(model, data)
        assert numbers(judged.dataset.images) == numbers(load_data(split_pics, SIZE, framing="crop").test.images)
    assert judged.note == "split/test has no test split: all 12 pictures are measured"


def test_pictures_that_were_trained_on_are_said(split_pics: str) -> None:
    model = trained(split_pics)
    with pytest.warns(
        DataWarning, match="split/train: the model was trained on these pictures. What is measured is its"
    ):
        judge(model, f"{split_pics}/train")


def test_data_that_have_changed_are_said(pics: str, split_pics: str) -> None:
    models = {pics: trained(pics, 3), split_pics: trained(split_pics, name="s.onnx")}
    Path(pics, "cat/99.png").write_bytes(png("red"))
    Path(split_pics, "test/cat/99.png").write_bytes(png("red"))
    for data, model in models.items():
        for named in (data, f"./{data}/"):
            with pytest.warns(DataWarning, match="these pictures have changed since the model was trained, and it may"):
                judge(model, named)


def test_other_pixels_of_the_same_files_are_split_alike(pics: str) -> None:
    """As of another release of OpenCV: the fingerprint differs, and the rows do not."""
    model = trained(pics, 5, said={"train": "0" * 64, "test": "0" * 64})
    with pytest.warns(DataWarning, match="have changed since the model was trained"):
        judged = judge(model, pics)
    assert numbers(judged.dataset.images) == numbers(load_data(pics, SIZE, framing="crop", seed=5).test.images)


@pytest.mark.parametrize("seed", [None, -1, 2**32, True, 1.5, "0", [], "not there"])
def test_a_seed_that_is_none_is_no_error(seed: object, pics: str) -> None:
    model = trained(pics, 0, said={"seed": seed})
    with pytest.warns(DataWarning, match="have changed since"):
        assert len(judge(model, pics).dataset) == 60


@pytest.mark.parametrize("left", [["cat", "emu"], ["dog"]])
def test_pictures_of_some_of_the_classes_are_measured(left: list[str], split_pics: str, tmp_path: Path) -> None:
    model = trained(split_pics)
    other = tree(tmp_path / "other", dict.fromkeys(left, 5))
    with pytest.warns(DataWarning) as said:
        judged = judge(model, str(other))
    lacking = ", ".join(name for name in ("cat", "dog", "emu") if name not in left)
    assert any(str(each.message).endswith(f"which cannot be measured: {lacking}") for each in said)
    assert sorted({judged.dataset.names[label] for label in judged.dataset.labels}) == left
    assert [each.images for each in judged.classes if each.images] == [5] * len(left)


def test_a_class_that_the_model_does_not_know_is_named(split_pics: str, tmp_path: Path) -> None:
    model = trained(split_pics)
    other = tree(tmp_path / "other", {"cat": 5, "yak": 5, "gnu": 5})
    with pytest.raises(DataError, match=r"classes that the model does not know: gnu, yak\. It knows: cat, dog, emu"):
        judge(model, str(other))


def test_names_are_one_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    data = tree(tmp_path / "a", {f"{part}/{name}": 3 for part in ("train", "test") for name in (decomposed, "m", "z")})
    model = str(write(Path("m.onnx"), names=("m", "z", composed)))
    assert judge(model, str(data)).dataset.names == ("m", "z", composed)
    old = str(write(Path("old.onnx"), names=("m", "z", decomposed)))  # as earlier versions wrote it on macOS
    assert judge(old, str(data)).dataset.names == ("m", "z", decomposed)


def test_npz_and_tables_are_measured_by_name(tmp_path: Path) -> None:
    model = str(write(Path("m.onnx")))  # red, green, blue
    squares = np.stack([np.full((8, 8, 3), rgb, np.uint8) for rgb in ((0, 0, 255), (255, 0, 0), (0, 0, 255))])
    np.savez("some.npz", x=squares, y=np.array(["blue", "red", "blue"]))
    with pytest.warns(DataWarning, match="cannot be measured: green"):
        judged = judge(model, "some.npz")
    assert judged.dataset.labels.tolist() == [2, 0, 2]
    assert judged.scores.accuracy == 1
    for name in NAMES:
        (tmp_path / f"{name}.png").write_bytes(png(name))
    (tmp_path / "labels.csv").write_text("file,label\nred.png,red\nblue.png,blue\n")
    with pytest.warns(DataWarning):
        judged = judge(model, "labels.csv")
    assert judged.dataset.labels.tolist() == [2, 0]
    np.savez("more.npz", x=squares, y=np.array([7, 8, 7]))
    with pytest.raises(DataError, match="classes that the model does not know: 7, 8"):
        judge(model, "more.npz")


def test_two_models_are_asked_about_the_same_pictures(pics: str) -> None:
    one, same, other = (trained(pics, seed, f"{name}.onnx") for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    stranger = str(write(Path("d.onnx"), names=("cat", "dog", "emu")))
    first, second = judge_each([one, same], pics)
    assert first.dataset.fingerprint() == second.dataset.fingerprint()
    for pair in ([one, stranger], [stranger, one]):
        first, second = judge_each(pair, pics)
        assert first.dataset.fingerprint() == second.dataset.fingerprint()
        assert len(first.dataset) == 12
    with pytest.raises(DataError, match=r"pics: the models were trained on different splits .*\(seeds 1 and 2\)"):
        judge_each([one, other], pics)


def test_without_data_it_is_what_the_model_was_trained_on(pics: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained(pics, 2)
    assert cli.main(["evaluate", model]) == 0
    captured = capsys.readouterr()
    assert " of 12 test images right" in captured.out
    assert captured.err == (
        "note: measured on pics, which the model file names as its data; pics has no test split: the 12 of 60 pictures "
        "are measured that the training held out for testing (seed 2)\n"
    )


@pytest.mark.parametrize("source", ["gone", "", " ", "//host/share", "\\\\host\\share", "a\0b", 7, None, ["pics"]])
def test_without_data_that_are_here_it_says_what_to_give(source: object, pics: str) -> None:
    model = trained(pics, said={"source": source})
    with pytest.raises(DataError, match=r"m.onnx: .*Name the data to measure it on, such as `--data FOLDER`"):
        judge(model)


def test_nothing_is_downloaded_on_a_guess(pics: str) -> None:
    """The stand-in for the download would fail otherwise."""
    assert source_for("m.onnx", info(names=CIFAR10), None)[:2] == ("cifar10", False)
    with pytest.raises(DataError, match=r"CIFAR-10 was not found\. .* `--data cifar10` downloads it"):
        judge(trained(pics, said={"source": "cifar10"}))


def test_bundled_models_are_measured_on_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise DataError("far enough")

    monkeypatch.setattr(fetch, "download", download)
    for model in (None, "cifar10-seed"):
        with pytest.raises(DataError, match="far enough"):
            judge(model)
    assert len(asked) == 2


def test_wrong_foreign_pictures_are_known_before_the_work(pics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "answer", None)
    with pytest.raises(DataError, match="expected a folder of pictures, got none"):
        judge(trained(pics), pics, "missing")


def test_a_plain_test_split_says_nothing(split_pics: str, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge(trained(split_pics), split_pics).note == ""
    assert cli.main(["evaluate", "m.onnx", "--data", split_pics]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.match(r"[\d.]+% of 12 test images right", captured.out)
