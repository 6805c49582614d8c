"""Which network is measured, of a model file that has one for thumbnails apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import models, two_networks
from support.models import NAMES, png

from thumbnet import cli
from thumbnet.data.load import shorter_sides
from thumbnet.errors import DataError
from thumbnet.evaluation import judge as judge_module
from thumbnet.evaluation.held_out import are_thumbnails
from thumbnet.evaluation.judge import judge, judge_each
from thumbnet.model import classifier as classifier_module
from thumbnet.model.classifier import BUNDLED, PRETRAINED, load

NOTE = "these are thumbnails, which small answers"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model file `two.onnx` in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(judge_module, "SECONDS", 0.0)
    two_networks.write(tmp_path, monkeypatch)


def folder(*sides: int) -> str:
    """A folder of as many pictures of each colour as there are `sides`."""
    for name in NAMES:
        Path("pictures", name).mkdir(parents=True)
        for number, side in enumerate(sides):
            Path("pictures", name, f"{number}.png").write_bytes(png(name, side))
    return "pictures"


def arrays(height: int, width: int) -> str:
    """An `.npz` file of three pictures of these sides."""
    x = np.stack([np.full((height, width, 3), models.RGB[name], np.uint8) for name in NAMES])
    np.savez("arrays.npz", x=x, y=np.array(NAMES))
    return "arrays.npz"


def as_folder() -> str:
    return folder(8, 63, 32)


def as_arrays() -> str:
    return arrays(100, 63)


@pytest.mark.parametrize("data", [as_folder, as_arrays])
def test_thumbnails_throughout_measure_the_network_that_answers_them(data: Any) -> None:
    source = data()
    both, alone = judge_each(["two.onnx", "small"], source)
    assert NOTE in both.note
    assert NOTE not in alone.note
    assert both.model == "two.onnx"
    assert both.dataset.size == two_networks.SMALL
    np.testing.assert_array_equal(both.answers.probabilities, alone.answers.probabilities)
    assert both.scores == alone.scores
    assert both.scores.known == 1.0  # by the threshold of the network that answers: 0.58 is below the other's


@pytest.mark.parametrize("data", [lambda: folder(80, 64), lambda: folder(8, 80), lambda: arrays(64, 64)])
def test_photographs_measure_the_files_own_network(data: Any) -> None:
    judged = judge("two.onnx", data())
    assert NOTE not in judged.note
    assert judged.dataset.size == two_networks.LARGE
    assert judged.answers.probabilities.max(axis=1).min() > 0.99


def test_the_command_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "two.onnx", "--data", folder(8, 32), "--report", "report"]) == 0
    assert f"note: {NOTE}; pictures has no test split" in capsys.readouterr().err
    assert NOTE in Path("report", "index.html").read_text()


def test_a_model_of_one_network_is_measured_by_it_without_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "are_thumbnails", None)
    models.write(Path("one.onnx"))
    assert judge("one.onnx", folder(8, 32)).scores.accuracy == 1


def test_built_in_data_are_thumbnails() -> None:
    assert are_thumbnails("cifar10")
    assert are_thumbnails("digits")


def test_sides_are_those_of_headers() -> None:
    assert sorted(shorter_sides(folder(8, 63, 32))) == sorted([8, 63, 32] * 3)
    Path("pictures", "red", "0.png").write_bytes(b"\x89PNG broken")
    assert sorted(shorter_sides("pictures")) == sorted([63, 32, *[8, 63, 32] * 2])
    assert shorter_sides(arrays(20, 30)) == [20]
    np.savez("grey.npz", x_train=np.zeros((2, 70, 40)), y_train=[0, 1], x_test=np.zeros((2, 90, 50)), y_test=[0, 1])
    assert shorter_sides("grey.npz") == [50]


def test_nothing_that_can_be_read_is_no_thumbnail() -> None:
    source = folder(8)
    for name in NAMES:
        Path(source, name, "0.png").write_bytes(b"\x89PNG broken")
    assert not are_thumbnails(source)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_broken_arrays_are_told(content: bytes) -> None:
    Path("broken.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"^broken\.npz: this is no \.npz file"):
        shorter_sides("broken.npz")
    with pytest.raises(DataError, match=r"^broken\.npz: this is no \.npz file"):
        judge("two.onnx", "broken.npz")


def test_arrays_of_other_keys_are_told() -> None:
    np.savez("other.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match=r"^other\.npz: .*expected the keys x_train"):
        shorter_sides("other.npz")


def test_the_bundled_model_is_measured_on_cifar10_by_the_other(
    cifar10_forms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_module, "PRETRAINED", PRETRAINED)
    monkeypatch.setattr(classifier_module, "BUNDLED", BUNDLED)
    monkeypatch.setenv("THUMBNET_CIFAR10", str(cifar10_forms / "cifar10.npz"))
    asked: list[Any] = []

    def enough(classifier: Any, dataset: Any) -> Any:
        asked.append((classifier.info, dataset.size))
        raise DataError("far enough")

    monkeypatch.setattr(judge_module, "answer", enough)
    with pytest.raises(DataError, match="far enough"):
        judge(None)
    assert asked == [(load("cifar10-best").info, 32)]
