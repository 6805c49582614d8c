"""Thumbnails and photographs in one run, each answered by its network."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support import models, two_networks
from support.models import png

from thumbnet import cli
from thumbnet.errors import ModelError
from thumbnet.model.classifier import THUMBNAIL, Classifier, Prediction, batch_size, load
from thumbnet.pictures.decode import decode
from thumbnet.prediction import bulk, explain, rows
from thumbnet.sources.failure import Failure

SIDES = (8, 80, 63, 64, 300, 20)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """The classifier of both networks, `two.onnx` in the working folder."""
    monkeypatch.chdir(tmp_path)
    return load(two_networks.write(tmp_path, monkeypatch))


def written(count: int) -> list[str]:
    """Pictures of red, green and blue, small and large in turn."""
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Path(name).write_bytes(png(models.NAMES[number % 3], SIDES[number % len(SIDES)]))
    return names


@pytest.mark.parametrize("views", [False, True])
def test_rows_are_in_order_and_as_one_picture_alone(model: Classifier, views: bool) -> None:
    model.views = views
    names = written(150)
    found = list(bulk.predict(model, names, workers=4))
    assert found == [model.predict(Path(name)) for name in names]
    networks = [row.network for row in found if isinstance(row, Prediction)]
    assert networks == ["small" if SIDES[number % len(SIDES)] < 64 else "" for number in range(150)]


def test_a_bad_picture_among_them_fails_alone(model: Classifier) -> None:
    Path("broken.png").write_bytes(b"<html>")
    found = list(bulk.predict(model, ["broken.png", *written(6), "none.png"]))
    assert [isinstance(row, Failure) for row in found] == [True, *[False] * 6, True]


@pytest.mark.parametrize(
    ("sides", "taken"),
    [
        ([80] * 9, [4, 4, 1]),
        ([8] * 9, [9]),  # they do not go by fours because the other network takes four
        ([8, 8, 80, 8, 80, 8, 80, 8, 80, 8, 8], [9, 2]),
    ],
)
def test_a_batch_ends_where_a_run_of_one_network_is_full(
    monkeypatch: pytest.MonkeyPatch, sides: list[int], taken: list[int]
) -> None:
    monkeypatch.setattr(bulk, "batch_size", lambda size: 4 if size == two_networks.LARGE else batch_size(size))
    monkeypatch.setattr(bulk, "FULL", len(sides))
    monkeypatch.setattr(bulk, "PATIENCE", 20)
    sizes = [two_networks.SMALL if side < THUMBNAIL else two_networks.LARGE for side in sides]
    seen = [bulk._Seen(np.zeros((1, size, size, 3), np.uint8), None) for size in sizes]
    prepared = iter(seen)
    window = bulk._Window(iter([bulk.Held("", b"")] * len(sides)), str.encode, lambda _: next(prepared), 1, 64, 64)
    counts = []
    while slots := window.take():
        counts.append(len(slots))
    window.close()
    assert counts == taken


def test_a_model_for_thumbnails_that_does_not_fit_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = models.content(names=("blue", "green", "red"))
    wrong = Classifier(two_networks.content(tmp_path, monkeypatch, small=other))
    Path("large.png").write_bytes(png("red", 80))
    Path("small.png").write_bytes(png("red", 8))
    assert [row.source for row in bulk.predict(wrong, ["large.png"])] == ["large.png"]
    with pytest.raises(ModelError, match="same classes"):
        list(bulk.predict(wrong, ["large.png", "small.png"]))


def test_every_format_names_the_network(model: Classifier, capsys: pytest.CaptureFixture[str]) -> None:
    assert model.info.thumbnails == "small"
    names = written(2)

    def said(*arguments: str) -> str:
        assert cli.main(["predict", "--model", "two.onnx", *arguments, *names]) == 0
        return capsys.readouterr().out

    small, large = said().split("\n1.png: ")
    assert small.splitlines()[0] == "0.png: red (a thumbnail, by small)"
    assert large.splitlines()[0] == "green"
    assert said("--threshold", "0.9").splitlines()[0] == "0.png: red (unsure) (a thumbnail, by small)"
    head, small, large, _ = said("--format", "csv").split("\n")
    assert dict(zip(head.split(","), small.split(","), strict=True))["network"] == "small"
    assert dict(zip(head.split(","), large.split(","), strict=True))["network"] == ""
    lines = [json.loads(line) for line in said("--format", "jsonl").splitlines()]
    assert [line.get("network") for line in lines] == ["small", None]


@pytest.mark.parametrize("form", rows.RESUMABLE)
def test_a_run_resumes_after_a_thumbnail(model: Classifier, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert model.info.thumbnails
    names = written(4)
    command = ["predict", "--model", "two.onnx", "--format", form, "-o", "out"]
    assert cli.main([*command, *names]) == 0
    whole = Path("out").read_bytes()
    part = b"".join(whole.splitlines(keepends=True)[: 3 if form == "csv" else 2])
    Path("out").unlink()
    Path("out.part").write_bytes(part + whole[len(part) : len(part) + 5])
    assert cli.main([*command, "--resume", *names]) == 0
    assert Path("out").read_bytes() == whole
    assert "has 2 rows; continuing" in capsys.readouterr().err


def test_tables_have_a_column_for_it(model: Classifier) -> None:
    cluster = pytest.importorskip("thumbnet.prediction.cluster", reason="Ray is not installed")
    written(2)
    table = cluster._columnar(bulk.predict(model, ["0.png", "1.png", "none.png"]))
    assert table["network"].to_pylist() == ["small", None, None]


def test_the_map_of_a_thumbnail_is_that_of_the_network_that_answers(model: Classifier) -> None:
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[:30] = models.RGB["red"]
    alone = load("small")
    assert not alone.has_heat
    assert model.has_heat
    square = model.square(picture)
    np.testing.assert_array_equal(explain.heat(model, square), explain.heat(alone, square))
    np.testing.assert_array_equal(explain.drawn(model, picture), explain.drawn(alone, picture))
    large = np.repeat(np.repeat(picture, 4, axis=0), 4, axis=1)
    assert not np.array_equal(explain.drawn(model, large), explain.drawn(alone, large))


def test_maps_of_both_kinds_are_written(model: Classifier) -> None:
    names = written(4)
    assert len(list(bulk.predict(model, names, maps=Path("maps")))) == 4
    for number, name in enumerate(names, 1):
        file = Path("maps", explain.file_name(number, name))
        drawn = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
        np.testing.assert_array_equal(drawn, explain.drawn(model, decode(Path(name).read_bytes())))
