"""What a folder's names say: splits, classes, litter and what is no picture."""

import sys
import threading
import unicodedata
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.trees import plain, tree

from thumbnet.data import folder as folder_module
from thumbnet.data.folder import read_folder, role_of
from thumbnet.errors import DataError, DataWarning
from thumbnet.pictures import decode, framing
from thumbnet.sources.expand import expand

TRAIN = (
    "train",
    "Train",
    "TRAIN",
    "training",
    "Training",
    "train_set",
    "training set",
    "train-images",
    "seg_train",
    "trn",
)
TEST = ("test", "Test", "testing", "Testing", "test_set", "TestData", "test.images", "seg_test")
VALIDATION = ("val", "valid", "Validation", "validate", "dev", "development", "eval", "holdout", "val_set", "hold-out")


@pytest.mark.parametrize(("role", "names"), [("train", TRAIN), ("test", TEST), ("validation", VALIDATION)])
def test_splits_are_known_by_the_names_that_people_use(role: str, names: tuple[str, ...]) -> None:
    assert [role_of(name) for name in names] == [role] * len(names)


@pytest.mark.parametrize("name", ["cat", "trains", "contest", "value", "device", "tested", "training_day", ""])
def test_other_names_are_no_splits(name: str) -> None:
    assert role_of(name) is None


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "validation"), ("Train", "Test"), ("Training", "Testing"), ("train", "valid"), ("training_set", "dev")],
)
def test_folder_with_two_splits_however_they_are_called(train: str, test: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {f"{train}/cat": 3, f"{train}/dog": 4, f"{test}/cat": 2, f"{test}/dog": 1})
    splits = read_folder(root, 8)
    assert splits.train.names == ("cat", "dog")
    assert [len(part) for part in splits] == [7, 3]


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {f"{split}/{name}": 2 for split in ("train", "Training", "test") for name in "xy"})
    with pytest.raises(DataError, match=r"expected one folder for each split, got Training, train"):
        read_folder(root)


@pytest.mark.parametrize("tops", [("teach", "proof"), ("train", "proof"), ("test", "val"), ("part1", "part2", "part3")])
def test_folders_that_all_have_the_same_subfolders_are_no_classes(tops: tuple[str, ...], tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {f"{top}/{name}": 5 for top in tops for name in ("cat", "dog")})
    with pytest.raises(DataError, match=r"has the same subfolders, cat, dog, so .* Expected train/ and test/"):
        read_folder(root)


def test_a_split_of_no_known_name_may_lack_a_class(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 5, "train/dog": 5, "train/emu": 5, "proof/cat": 5, "proof/dog": 5})
    with pytest.raises(DataError, match=r"each of proof, train has the same subfolders, cat, dog, so"):
        read_folder(root)


@pytest.mark.parametrize("beside", ["unlabelled", "more/x"])
def test_one_split_beside_other_pictures_is_no_class(beside: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 5, "train/dog": 5, beside: 5})
    with pytest.raises(DataError, match=r"got the subfolders cat, dog\. If these are the classes, name .*a/train as"):
        read_folder(root)


@pytest.mark.parametrize("inside", ["train", "train/steam"])
def test_a_class_called_train_may_hold_pictures_or_one_folder(inside: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {inside: 5, "car": 5, "car/red": 5, "car/blue": 5})
    assert read_folder(root).train.names == ("car", "train")


def test_splits_below_the_classes_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {f"{name}/{split}": 5 for name in ("cat", "dog") for split in ("train", "test")})
    with pytest.raises(DataError, match=r"each of cat, dog has the same subfolders, test, train"):
        read_folder(root)


@pytest.mark.parametrize(
    "classes",
    [
        {"cat/images": 5, "dog/images": 5},
        {"cat/2019": 5, "cat/2020": 5, "dog/2020": 5},
        {"cat": 1, "cat/old": 4, "cat/new": 4, "dog/old": 4, "dog/new": 4},
    ],
)
def test_classes_may_have_subfolders(classes: dict[str, int], tmp_path: Path) -> None:
    train, test = read_folder(tree(tmp_path / "a", classes), 8)
    assert train.names == ("cat", "dog")
    assert len(train) + len(test) == sum(classes.values())


def test_links_to_splits_and_classes_are_read(tmp_path: Path) -> None:
    tree(tmp_path, {"far/cat": 5, "far/dog": 5})
    (tmp_path / "a/train").mkdir(parents=True)
    for name in ("cat", "dog"):
        (tmp_path / "a/train" / name).symlink_to(tmp_path / "far" / name, target_is_directory=True)
    (tmp_path / "a/test").symlink_to(tmp_path / "far", target_is_directory=True)
    assert [len(part) for part in read_folder(tmp_path / "a", 8)] == [10, 10]


LITTER = [
    "@eaDir/0.png/SYNOFILE_THUMB_M.png", "#recycle/0.png", "@Recycle/0.png", ".@__thumb/0.png", "@__thumb/0.png",
    "0.png~", "0.png.crdownload", "0.png.part", ".AppleDouble/0.png",
    "__MACOSX/0.png", "._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found/0.png", ".thumbnails/0.png",
    ".dtrash/0.png", "$RECYCLE.BIN/0.png", "My.photoslibrary/originals/0.png", ".picasaoriginals/0.png",
    "#snapshot/0.png", "Catalog Previews.lrdata/0.png", ".ipynb_checkpoints/0.png", "[Originals]/0.png",
]  # fmt: skip


@pytest.mark.parametrize("litter", LITTER)
def test_litter_is_no_picture_and_no_class(litter: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 2, "train/dog": 2, "test/cat": 2, "test/dog": 2})
    for folder in ("", "train", "train/cat"):
        (root / folder / litter).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / litter).write_bytes(plain(0, 99))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, test = read_folder(root, 8)
    assert (train.names, len(train), len(test)) == (("cat", "dog"), 4, 4)
    assert len(list(expand([str(root)]))) == 8
    assert len(list(expand([f"{root}/**/*.png"]))) == 8


def test_class_names_are_one_in_either_form_of_unicode(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    classes = {f"train/{composed}": 2, "train/tea": 2, f"test/{decomposed}": 2, "test/tea": 2}
    train, test = read_folder(tree(tmp_path / "a", classes), 8)
    assert train.names == test.names == (composed, "tea")
    assert sorted(train.labels) == sorted(test.labels) == [0, 0, 1, 1]


def test_class_of_which_no_picture_can_be_read_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 20, "dog": 20})
    (root / "emu").mkdir()
    for number in range(3):
        (root / f"emu/{number}.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with (
        pytest.warns(DataWarning, match=r"3 of 43 pictures cannot be read"),
        pytest.raises(
            DataError, match=r"classes of which no picture can be read: emu. Mend or .*this is a HEIC picture"
        ),
    ):
        read_folder(root)


@pytest.mark.parametrize("split", ["", "train/"])
def test_stray_folder_without_a_picture_is_no_class(split: str, tmp_path: Path) -> None:
    root = tree(
        tmp_path / "a", {f"{split}cat": 5, f"{split}dog": 5, **({"test/cat": 1, "test/dog": 1} if split else {})}
    )
    (root / split / "notes").mkdir()
    (root / split / "notes/todo.txt").write_text("take more")
    with (
        pytest.warns(DataWarning, match=r"these files are no pictures"),
        pytest.raises(DataError, match=r"classes without a picture: notes. Fill or delete"),
    ):
        read_folder(root)


def test_what_is_not_named_as_a_picture_is_counted(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 10, "dog": 10})
    for number in range(10):
        (root / f"cat/{number}.png.json").write_text("{}")
        (root / f"dog/{number}.MOV").write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    (root / "dog/0.CR2").write_bytes(b"II*\0\x10\0\0\0CR")  # a camera's, beside its JPEG
    with pytest.warns(DataWarning) as said:
        train, test = read_folder(root, 8)
    assert len(train) + len(test) == 20
    assert [str(warning.message) for warning in said] == [
        f"{root}: these files are no pictures and are left out: .json (10), .mov (10), .cr2 (1)"
    ]


def test_a_class_may_be_deeper_than_python_recurses(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 5, "dog": 5})
    deep = root / "cat"
    for _ in range(sys.getrecursionlimit() + 100):  # pathlib recurses where it makes several at once
        deep = deep / "d"
        deep.mkdir()
    (deep / "deep.png").write_bytes(plain(0, 99))
    assert sum(len(part) for part in read_folder(root, 8)) == 11
    (deep / "deep.png").unlink()
    while deep.name == "d":  # pytest's own cleaning recurses
        deep.rmdir()
        deep = deep.parent


def test_names_may_be_longer_numbers_than_python_reads(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"2": 5, "10": 5, "1" + "0" * 200: 5})
    assert read_folder(root, 8).train.names == ("2", "10", "1" + "0" * 200)


def test_pictures_in_hand_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Huge pictures wait for each other; small ones do not."""
    root = tree(tmp_path / "a", {"cat": 12, "dog": 12})
    for number in range(6):
        (root / f"cat/big {number}.png").write_bytes(
            cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
        )
    monkeypatch.setattr(folder_module, "MAX_PIXELS", 25_000)
    lock, current, most, real = threading.Lock(), 0, 0, framing.square

    def square(data: bytes, *arguments: object) -> object:
        nonlocal current, most
        claimed = decode.pixels(data)
        with lock:
            current += claimed
            most = max(most, current)
        threading.Event().wait(0.01)
        with lock:
            current -= claimed
        return real(data, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder_module, "square", square)
    assert sum(len(part) for part in read_folder(root, 8)) == 30
    assert 10_000 < most <= 25_000
