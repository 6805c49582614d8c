"""The two scripts, and the bundled model on the real CIFAR-10 images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("keras", reason="training is not installed: pip install -e '.[train]'")

from support.cifar10 import few_cifar10
from support.web import Web, ok

import thumbnet
from thumbnet.data.cifar10 import read_cifar10
from thumbnet.evaluation.judge import evaluate

ROOT = Path(__file__).parent.parent


def script(
    name: str, folder: Path, *options: str, typed: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run train.py or predict.py in `folder`."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, str(ROOT / name), *options], cwd=folder, input=typed, env={**os.environ, **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_train_py_gives_the_same_file_from_arrays_and_folders_and_predict_py_uses_it(tmp_path: Path, web: Web) -> None:
    contents = set()
    for form in few_cifar10(tmp_path / "cifar10"):  # that the official archives are read alike is tests/data/'s
        folder = tmp_path / form.name
        done = script("train.py", folder, "--epochs", "1", THUMBNET_CIFAR10=str(form))
        assert "of 100 test images right" in done.stdout
        assert (folder / "model.keras").exists()
        contents.add((folder / "model.onnx").read_bytes())
    assert len(contents) == 1

    web.pages["/cat.png"] = ok((ROOT / "examples" / "cat.png").read_bytes())
    asked = script("predict.py", tmp_path / "few", typed=web.url("/cat.png") + "\n")
    assert asked.stderr.startswith("Model: model.onnx\nURL of an image: ")
    assert asked.stdout.split()[0] in thumbnet.load().info.names


def test_predict_py_knows_the_cat_at_a_url_with_the_bundled_model(tmp_path: Path, web: Web) -> None:
    web.pages["/cat.png"] = ok((ROOT / "examples" / "cat.png").read_bytes())
    asked = script("predict.py", tmp_path / "empty", typed=web.url("/cat.png") + "\n")
    assert asked.stderr.startswith("Model: cifar10-seed\n")
    assert asked.stdout.splitlines()[0] == "cat"


def test_the_bundled_models_scores_are_true(cifar10_forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBNET_CIFAR10", str(cifar10_forms / "cifar10.npz"))
    splits = read_cifar10()
    classifier = thumbnet.load("cifar10-seed")
    info = classifier.info
    assert info.data["train"] == splits.train.fingerprint()
    assert info.data["test"] == splits.test.fingerprint()
    # Other processors round otherwise, which moves a handful of answers at most.
    own = {name: score for name, score in info.scores.items() if not name.startswith("foreign_")}
    assert evaluate(classifier, splits.test).as_dict() == pytest.approx(own, abs=5e-4)
    assert 0.5 < info.scores["foreign_rejected"] < 1  # of photographs that the repository does not have
    assert info.scores["accuracy"] >= 0.8
    assert info.recipe["name"] == "seed"
