"""explain: the heat lies where the answer comes from, on the original picture, for every fit."""

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from support import transferred
from support.imports import modules
from support.models import content, encode, graph, square

from thumbnet import cli
from thumbnet.cli import terminal
from thumbnet.errors import ModelError, ThumbnetError
from thumbnet.model.classifier import Classifier
from thumbnet.pictures.decode import RGB, decode
from thumbnet.pictures.framing import FRAMINGS, Framing, region
from thumbnet.prediction import bulk, explain
from thumbnet.sources.failure import Failure

SIZE = 16
QUADRANTS = list(itertools.product((0, 1), (0, 1)))  # (row, column)


def looking_at(quadrant: tuple[int, int], mirror: bool = False, sharpness: float = 10.0, **changes: object) -> bytes:
    """A model file whose answer is the strongest colour of one quadrant; or of it and of the mirror image's."""
    model = graph(SIZE, sharpness)
    pixels: NDArray[np.float32] = np.zeros((1, SIZE, SIZE, 1), np.float32)
    rows, columns = (slice(half * SIZE // 2, (half + 1) * SIZE // 2) for half in quadrant)
    pixels[:, rows, columns] = 4  # as a quarter is left of the mean
    if mirror:
        pixels = np.asarray((pixels + pixels[:, :, ::-1]) / 2, np.float32)
    model.graph.node[0].output[0] = "all pixels"  # of Cast
    model.graph.node.insert(1, helper.make_node("Mul", ["all pixels", "looked at"], ["pixels"]))
    model.graph.initializer.append(numpy_helper.from_array(pixels, "looked at"))
    return content(model, size=SIZE, mirror_average=mirror, **changes)


def scene(height: int, width: int) -> RGB:
    """A picture that is green in the upper half and red in the lower one, with grain."""
    picture = np.random.default_rng(0).integers(0, 60, (height, width, 3), np.uint8)
    picture[: height // 2, :, 1] += 150
    picture[height // 2 :, :, 0] += 150
    return picture


def middle(weight: NDArray[np.float32]) -> tuple[float, float]:
    """Where the weight lies on average: row and column, 0 to 1."""
    height, width = weight.shape
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return float(weight.sum(1) @ rows / weight.sum()), float(weight.sum(0) @ columns / weight.sum())


def colourful(drawn: RGB) -> NDArray[np.float32]:
    """How far each pixel is from grey."""
    return np.asarray(np.ptp(drawn, axis=2), np.float32)


# The heat


@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_heat_lies_where_the_answer_comes_from(quadrant: tuple[int, int]) -> None:
    heat = explain.heat(Classifier(looking_at(quadrant)), scene(SIZE, SIZE))
    assert heat.shape == (SIZE, SIZE)
    assert heat.dtype == np.float32
    assert heat.max() == 1
    assert heat.min() >= -1
    rows, columns = (slice(half * SIZE // 2, (half + 1) * SIZE // 2) for half in quadrant)
    inside = np.zeros(heat.shape, bool)
    inside[rows, columns] = True
    assert heat[inside].mean() > 0.5
    assert np.abs(heat[~inside]).mean() < 0.1


def test_a_mirror_average_is_explained_as_a_whole() -> None:
    heat = explain.heat(Classifier(looking_at((1, 0), mirror=True)), scene(SIZE, SIZE))
    assert heat[SIZE // 2 :].mean() > 0.5
    assert heat[SIZE // 2 :, : SIZE // 2].mean() == pytest.approx(heat[SIZE // 2 :, SIZE // 2 :].mean(), abs=0.1)
    assert np.abs(heat[: SIZE // 2]).mean() < 0.1


def test_what_speaks_against_the_answer_is_below_zero() -> None:
    picture = square("green", SIZE)
    picture[:, SIZE // 2 :] = (230, 0, 0)
    heat = explain.heat(Classifier(content(graph(SIZE), size=SIZE)), picture)  # green by a little
    assert heat[:, : SIZE // 2 - 1].min() > 0.3
    assert heat[:, SIZE // 2 + 1 :].max() < -0.3


@pytest.mark.parametrize("size", [1, 4, 16, 33, 70])
def test_any_size_is_mapped(size: int) -> None:
    heat = explain.heat(Classifier(content(graph(size), size=size)), scene(size, size))
    assert heat.shape == (size, size)
    assert np.isfinite(heat).all()


def test_a_picture_of_one_colour_has_no_part_that_decides() -> None:
    assert not explain.heat(Classifier(looking_at((0, 0))), square("red", SIZE)).any()


def test_a_network_that_does_not_look_has_no_part_that_decides() -> None:
    assert not explain.heat(Classifier(looking_at((0, 0), sharpness=0)), scene(SIZE, SIZE)).any()


def test_a_very_sure_network_is_explained() -> None:
    picture = scene(SIZE, SIZE)
    classifier = Classifier(looking_at((0, 1), sharpness=30))
    assert classifier.probabilities(picture[None]).max() > 1 - 1e-7
    assert middle(np.maximum(explain.heat(classifier, picture), 0)) == pytest.approx((0.25, 0.75), abs=0.1)


def test_the_same_square_gives_the_same_map() -> None:
    model, picture = looking_at((0, 1)), scene(SIZE, SIZE)
    first = explain.heat(Classifier(model), picture)
    explain._design.cache_clear()
    assert explain.heat(Classifier(model), picture).tobytes() == first.tobytes()


def test_the_network_is_asked_a_few_hundred_times(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, asked = Classifier(looking_at((0, 0))), 0
    ask = classifier.probabilities

    def counted(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal asked
        asked += len(squares)
        return ask(squares)

    monkeypatch.setattr(classifier, "probabilities", counted)
    explain.heat(classifier, scene(SIZE, SIZE))
    assert asked == explain.MASKS + 1 <= 300


def test_numbers_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ModelError, match="no probabilities"):
        explain.heat(Classifier(looking_at((0, 0), sharpness=float("nan"))), scene(SIZE, SIZE))


# The heat that a file itself gives


@pytest.fixture
def exact() -> Classifier:
    return Classifier(transferred.content())


def asked_of(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The squares of each run of the network from now on."""
    runs: list[int] = []
    session = classifier._session

    class Watched:
        def run(self, names: list[str], inputs: dict[str, NDArray[np.uint8]]) -> Any:
            runs.append(len(inputs["images"]))
            return session.run(names, inputs)

    monkeypatch.setattr(classifier, "_session", Watched())
    return runs


@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_the_files_own_evidence_is_one_run(
    exact: Classifier, quadrant: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = square("grey", transferred.SIZE) // 4
    row, column = (32 * half for half in quadrant)
    picture[row : row + 16, column : column + 16] = (0, 0, 250)
    runs = asked_of(exact, monkeypatch)
    heat = explain.heat(exact, picture)
    assert runs == [1]
    assert heat.shape == picture.shape[:2]
    assert heat.dtype == np.float32
    assert middle(np.maximum(heat, 0)) == pytest.approx(((row + 8) / 48, (column + 8) / 48), abs=0.05)
    assert heat.max() == 1
    assert explain.heat(exact, picture).tobytes() == heat.tobytes()


def test_evidence_for_another_class_is_below_zero(exact: Classifier) -> None:
    picture = square("red", transferred.SIZE)
    picture[:, 32:] = (0, 255, 0)
    heat = explain.heat(exact, picture)
    assert heat[:, :24].min() > 0.5
    assert heat[:, 40:].max() < -0.5


def test_what_says_nothing_is_near_zero(exact: Classifier) -> None:
    picture = np.zeros((transferred.SIZE, transferred.SIZE, 3), np.uint8)
    picture[:16] = (0, 250, 0)
    heat = explain.heat(exact, picture)
    assert heat[0].min() > 0.9
    assert np.abs(heat[24:]).max() < 0.1


def test_heat_is_what_the_log_odds_would_be_if_all_were_like_the_part() -> None:
    sharpness = 2.0
    exact = Classifier(transferred.content(transferred.graph(sharpness=sharpness)))
    colours = np.random.default_rng(2).integers(0, 256, (3, 3, 3), np.uint8)
    picture = colours.repeat(16, axis=0).repeat(16, axis=1)
    sure = exact.probabilities(picture[None])[0].astype(np.float64)
    answer = sure.argmax()
    others = np.delete(sure, answer) / (1 - sure[answer])  # (C - 1,), as they are probable
    heat = explain.heat(exact, picture)
    wanted = []
    for colour in colours.reshape(9, 3):
        alone = exact.probabilities(np.broadcast_to(colour, (1, *picture.shape)))[0].astype(np.float64)
        wanted.append(np.log(alone[answer]) - np.log(np.delete(alone, answer)) @ others)
    assert min(wanted) < -0.1
    assert max(wanted) > 0.1
    of_parts = heat[8::16, 8::16].ravel()
    assert of_parts == pytest.approx(np.array(wanted) / np.abs(wanted).max(), abs=0.05)


def test_a_picture_of_one_colour_has_no_own_evidence_that_decides(exact: Classifier) -> None:
    assert not explain.heat(exact, square("red", transferred.SIZE)).any()


def test_a_very_sure_file_is_explained_by_its_own_evidence() -> None:
    classifier = Classifier(transferred.content(transferred.graph(sharpness=100)))
    picture = np.zeros((transferred.SIZE, transferred.SIZE, 3), np.uint8)
    picture[:16] = (0, 250, 0)
    assert classifier.probabilities(picture[None]).max() == 1
    heat = explain.heat(classifier, picture)
    assert heat[0].min() > 0.9
    assert np.isfinite(heat).all()
    assert np.abs(heat[24:]).max() < 0.1


def test_a_large_square_without_own_evidence_is_explained_by_masks() -> None:
    classifier = Classifier(transferred.content(transferred.graph(288, heat=False), size=288))
    picture = np.full((288, 288, 3), 60, np.uint8)
    picture[:144, :144] = (0, 0, 250)
    assert middle(np.maximum(explain.heat(classifier, picture), 0)) == pytest.approx((0.25, 0.25), abs=0.05)


def test_a_map_is_written_by_the_files_own_evidence(tmp_path: Path) -> None:
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[:20] = (250, 0, 0)
    explain.write_map(Classifier(transferred.content()), tmp_path, 1, "a.png", picture)
    drawn = decode((tmp_path / "000001-a.png").read_bytes())
    assert drawn.shape == (192, 320, 3)
    assert middle(colourful(drawn))[0] == pytest.approx(1 / 6, abs=0.1)


# The drawing


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(("height", "width"), [(90, 90), (60, 150), (151, 61), (700, 1301)])
@pytest.mark.parametrize("quadrant", QUADRANTS)
def test_colour_lies_on_the_original_picture(
    framing: Framing, height: int, width: int, quadrant: tuple[int, int]
) -> None:
    classifier, picture = Classifier(looking_at(quadrant, framing=framing)), scene(height, width)
    drawn = explain.overlay(picture, explain.heat(classifier, classifier.square(picture)), framing)
    top, left, bottom, right = region(height, width, SIZE, framing)
    row, column = middle(colourful(drawn))
    at = (
        (top + (bottom - top) * (0.25 + quadrant[0] / 2)) / height,
        (left + (right - left) * (0.25 + quadrant[1] / 2)) / width,
    )
    assert (row, column) == pytest.approx(at, abs=0.05)


def test_what_is_not_seen_is_dark() -> None:
    picture = np.full((100, 200, 3), 200, np.uint8)
    drawn = explain.overlay(picture, np.zeros((4, 4), np.float32), "crop")  # enlarged to (160, 320, 3)
    assert (drawn[:, 80:240] == 200).all()
    assert (drawn[:, :80] == 70).all()
    assert (drawn[:, 240:] == 70).all()


def test_what_speaks_against_is_not_coloured() -> None:
    drawn = explain.overlay(scene(64, 64), np.full((4, 4), -1, np.float32), "crop")
    assert not colourful(drawn).any()


def test_hotter_is_lighter_on_black() -> None:
    heat = np.tile(np.linspace(0.1, 1, 64, dtype=np.float32), (64, 1))
    drawn = explain.overlay(np.zeros((320, 320, 3), np.uint8), heat, "stretch")
    lightness = cv2.cvtColor(drawn, cv2.COLOR_RGB2LAB)[160, :, 0].astype(int)  # (320,)
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] > lightness[0] + 100


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((32, 32), (320, 320)), ((1, 1), (320, 320)), ((3, 9), (107, 320)), ((320, 200), (320, 200)),
        ((500, 400), (500, 400)), ((1280, 640), (640, 320)), ((4000, 3), (640, 1)), ((3, 4000), (1, 640)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("framing", FRAMINGS)
def test_size_of_the_drawing(shape: tuple[int, int], drawn: tuple[int, int], framing: Framing) -> None:
    made = explain.overlay(np.zeros((*shape, 3), np.uint8), np.ones((4, 4), np.float32), framing)
    assert made.shape == (*drawn, 3)
    assert made.dtype == np.uint8


# The files


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("cat.png", "000007-cat.png"),
        ("a/b\\c.d/röt 赤.jpeg", "000007-röt-赤.png"),
        ("photos/a#1?.png", "000007-a-1.png"),
        ("https://example.org/a/cat.jpg?size=1/2#x/y", "000007-cat.png"),
        ("https://example.org/a/", "000007-a.png"),
        ("https://example.org", "000007-example.png"),
        ("https://example.org?../..", "000007-example.png"),
        ("data:image/png;base64,iVBORw0/KGgo.AAAA", "000007.png"),
        ("-", "000007.png"),
        ("", "000007.png"),
        ("..", "000007.png"),
        ("../..", "000007.png"),
        ("/", "000007.png"),
        (".hidden", "000007-hidden.png"),
        ("..\\..\\evil.exe", "000007-evil.png"),
        ("C:evil.png", "000007-C-evil.png"),
        ("a\0b\nc\x1b[31m\udcff.png", "000007-a-b-c-31m.png"),
        ("con.", "000007-con.png"),
        ("x" * 5000 + ".png", "000007-" + "x" * 32 + ".png"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe", "000007-gnp.png"),
    ],
)
def test_name_of_a_file(source: str, name: str, tmp_path: Path) -> None:
    assert explain.file_name(7, source) == name
    assert (tmp_path / name).parent == tmp_path
    (tmp_path / name).touch()  # the file system takes it


def test_longest_name_is_taken(tmp_path: Path) -> None:
    explain.write_map(Classifier(looking_at((0, 1))), tmp_path, 10**9, "\U00020000" * 300, square("red"))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model that looks at the upper right, a wide picture, a broken one and a grey one."""
    (tmp_path / "model.onnx").write_bytes(looking_at((0, 1)))
    (tmp_path / "wide.png").write_bytes(encode(scene(60, 150)))
    (tmp_path / "broken.png").write_bytes(b"<html>")
    (tmp_path / "grey.png").write_bytes(encode(square("grey")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments: str) -> int:
    return cli.main(["predict", "--model", "model.onnx", *arguments])


def test_each_answer_has_a_map(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = ["wide.png", "broken.png", "missing.png", "grey.png", "./wide.png"]
    plain = predict("--format", "jsonl", *sources), *capsys.readouterr()
    explained = predict("--format", "jsonl", "--explain", "new/maps", *sources), *capsys.readouterr()
    assert explained == plain
    assert explained[0] == terminal.SOME_FAILED
    names = sorted(path.name for path in (work / "new" / "maps").iterdir())
    assert names == ["000001-wide.png", "000004-grey.png", "000005-wide.png"]
    drawn = decode((work / "new" / "maps" / "000001-wide.png").read_bytes())
    assert drawn.shape == (128, 320, 3)
    assert middle(colourful(drawn)) == pytest.approx((0.25, 0.6), abs=0.05)  # the middle 60 of 150 columns are seen


def test_numbers_go_on_after_a_break(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--format", "csv", "--output", "answers.csv", "--explain", "maps", "grey.png", "wide.png"]
    assert predict(*arguments) == terminal.DONE
    whole = Path("answers.csv").read_bytes()
    Path("answers.csv.part").write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    for path in (work / "maps").iterdir():
        path.unlink()
    assert predict(*arguments, "--resume") == terminal.DONE
    assert Path("answers.csv").read_bytes() == whole
    assert [path.name for path in (work / "maps").iterdir()] == ["000002-wide.png"]
    capsys.readouterr()


def test_map_is_there_before_its_row(work: Path) -> None:
    rows = bulk.predict(Classifier(looking_at((0, 1))), ["grey.png", "wide.png"], maps=work / "maps")
    next(rows)
    assert [path.name for path in (work / "maps").iterdir()] == ["000001-grey.png"]


def test_failure_that_is_known_already_is_a_row(work: Path) -> None:
    failure = Failure("list", ThumbnetError("cannot read this list"))
    rows = list(bulk.predict(Classifier(looking_at((0, 1))), [failure, "grey.png"], maps=work / "maps"))
    assert rows[0] is failure
    assert [path.name for path in (work / "maps").iterdir()] == ["000002-grey.png"]


def test_number_of_the_first_map(work: Path) -> None:
    list(bulk.predict(Classifier(looking_at((0, 1))), ["missing.png", "grey.png"], maps=work / "maps", first=7))
    assert [path.name for path in (work / "maps").iterdir()] == ["000008-grey.png"]


def test_few_whole_pictures_wait_for_their_map(work: Path) -> None:
    taken: list[int] = []
    sources = ("grey.png" for _ in iter(lambda: taken.append(1), "never"))
    rows = bulk.predict(Classifier(looking_at((0, 1))), sources, maps=work / "maps")
    next(rows)
    before = -1
    while len(taken) > before:
        before = len(taken)
        assert before <= 2 * bulk.MAPPED < 32
        time.sleep(0.3)
    rows.close()


def test_picture_on_standard_input_has_a_map(work: Path) -> None:
    command = [sys.executable, "-m", "thumbnet", "predict", "--model", "model.onnx", "--explain", "maps", "-"]
    subprocess.run(command, cwd=work, input=encode(scene(9, 9)), check=True, capture_output=True)
    assert [path.name for path in (work / "maps").iterdir()] == ["000001.png"]


def test_hostile_names_stay_in_the_folder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path for path in work.rglob("*") if "maps" not in path.parts}
    (work / "sub").mkdir()
    hostile = ["sub/../wide.png", str(work / "wide.png"), "data:image/png;base64,../../evil"]
    predict("--explain", "maps", *hostile)
    after = {path for path in work.rglob("*") if "maps" not in path.parts}
    assert after - before == {work / "sub"}
    assert sorted(path.name for path in (work / "maps").iterdir()) == ["000001-wide.png", "000002-wide.png"]
    capsys.readouterr()


def test_folder_that_is_a_file_is_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "maps").touch()
    assert predict("--format", "json", "--explain", "maps", "wide.png", "grey.png") == terminal.FAILED
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", "error: maps: expected a folder for the maps, or a place for one: File exists\n")


@pytest.mark.parametrize(
    ("writes", "message"),
    [
        (0, "{}: cannot be written: No space left on device. Free the place, or name another"),
        (1, "cannot write the map {}: No space left on device"),
    ],
)
def test_folder_that_cannot_be_written_to_is_told(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, writes: int, message: str
) -> None:
    left, sync = iter(range(writes)), os.fsync

    def refuse(file: int) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        sync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    assert predict("--explain", "maps", "wide.png") == terminal.FAILED
    name = ["000001.png", "000001-wide.png"][writes]
    assert capsys.readouterr() == ("", f"error: {message.format(os.path.join('maps', name))}\n")  # noqa: PTH118
    assert list((work / "maps").iterdir()) == []


@pytest.mark.parametrize("folder", ["photos", "photos/maps", "photos/../photos/a/b"])
def test_folder_among_the_pictures_is_refused(work: Path, capsys: pytest.CaptureFixture[str], folder: str) -> None:
    (work / "photos").mkdir()
    with pytest.raises(SystemExit, match="2"):
        predict("--explain", folder, "wide.png", "photos")
    assert re.search(r"FOLDER is in photos, so its maps\s+would be taken for pictures", capsys.readouterr().err)
    assert list((work / "photos").iterdir()) == []


def test_predict_alone_does_not_import_it(work: Path) -> None:
    for options, loaded in (((), False), (("--explain", "maps"), True)):
        arguments = ("predict", "--model", "model.onnx", *options, "wide.png")
        assert ("thumbnet.prediction.explain" in modules("-m", "thumbnet", *arguments, cwd=work)) == loaded


def test_a_layer_is_clear_where_nothing_supports_the_answer() -> None:
    heat = np.array([[-1, 0], [0.5, 1]], np.float32)
    layer = explain.layer(heat)
    assert layer.shape == (2, 2, 4)
    assert layer.dtype == np.uint8
    assert layer[..., 3].tolist() == [[0, 0], [round(explain.OPACITY * 127.5), round(explain.OPACITY * 255)]]
    grey = np.full((320, 320, 3), 90, np.uint8)
    shown = explain.overlay(grey, np.ones((2, 2), np.float32), "stretch")[0, 0]
    laid = layer[1, 1, :3] * explain.OPACITY + 90 * (1 - explain.OPACITY)
    np.testing.assert_allclose(shown, laid, atol=1)
