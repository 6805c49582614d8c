"""A table of labels beside pictures, as spreadsheets, Kaggle and pandas write it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.trees import plain, tree

from thumbnet.data.dataset import Splits
from thumbnet.data.load import load_data, load_parts
from thumbnet.errors import DataError, DataWarning

CLASSES = ("cat", "dog")


def flat(root: Path, count: int = 20, folder: str = "") -> list[tuple[str, str]]:
    """Pictures in one folder, and for each its file and its class: cats have even numbers."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (root / folder / f"{number}.png").write_bytes(plain(number % 2, number))
    return [(f"{number}.png", CLASSES[number % 2]) for number in range(count)]


def written(
    path: Path, header: str, rows: list[tuple[str, ...]], delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    lines = [header.replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    path.write_bytes("\r\n".join(lines).encode(encoding))
    return path


def right(splits: Splits) -> bool:
    """Whether each picture has its label."""
    return all((part.images[:, 0, 0, 0] == part.labels).all() and part.names == CLASSES for part in splits)


HEADERS = [
    "file,label", "File,Label", "filename,class", "File Name,Category", "image,target", "path,class_name",
    "file_name,label", "IMAGE_ID,Label", "id,breed", "img,species", "Id,my own word", "img_path,y",
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("named", ["labels.csv", ""])
def test_table_is_known_by_its_usual_columns(header: str, named: str, tmp_path: Path) -> None:
    written(tmp_path / "labels.csv", header, list(flat(tmp_path)))
    splits = load_data(str(tmp_path / named), 8)
    assert right(splits)
    assert [len(part) for part in splits] == [16, 4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_table_may_have_any_delimiter_and_encoding(delimiter: str, encoding: str, tmp_path: Path) -> None:
    rows = [(file, label.replace("dog", "Käfer")) for file, label in flat(tmp_path)]
    path = written(tmp_path / "labels.csv", "file,label", list(rows), delimiter, encoding)
    assert load_data(str(path), 8).train.names == ("Käfer", "cat")


def test_table_of_excel_says_its_delimiter(tmp_path: Path) -> None:
    written(tmp_path / "labels.csv", "sep=|\r\nfile,label", list(flat(tmp_path)), "|")
    assert right(load_data(str(tmp_path), 8))


@pytest.mark.parametrize(
    "name", ["labels.csv", "Labels.CSV", "train.csv", "train_labels.csv", "labels.tsv", "metadata.csv"]
)
@pytest.mark.parametrize("folder", ["", "images", "train_images", "a/b"])
def test_table_is_found_beside_its_pictures(name: str, folder: str, tmp_path: Path) -> None:
    written(tmp_path / name, "file,label", list(flat(tmp_path, folder=folder)), "\t" if name.endswith("tsv") else ",")
    assert right(load_data(str(tmp_path), 8))


def test_table_may_leave_out_suffixes_and_folders(tmp_path: Path) -> None:
    rows = flat(tmp_path, folder="train")
    tree(tmp_path, {"test": 20})  # of the same names, without labels, as Kaggle has it
    written(tmp_path / "train.csv", "id,label", [(file.removesuffix(".png"), label) for file, label in rows])
    with pytest.warns(DataWarning, match=r"20 pictures in this folder are not in the table and are left out"):
        assert right(load_data(str(tmp_path), 8))


@pytest.mark.parametrize("prefix", ["train/", "./train/", "train\\", "data/train/"])
def test_table_may_name_folders(prefix: str, tmp_path: Path) -> None:
    rows = flat(tmp_path, folder="train")
    written(tmp_path / "labels.csv", "file,label", [(prefix + file, label) for file, label in rows])
    assert right(load_data(str(tmp_path), 8))


@pytest.mark.parametrize(("name", "test"), [("split", "test"), ("Set", "Validation"), ("subset", "val")])
def test_table_may_split(name: str, test: str, tmp_path: Path) -> None:
    rows = [(file, label, test if place < 6 else "Train") for place, (file, label) in enumerate(flat(tmp_path))]
    written(tmp_path / "labels.csv", f"file,label,{name}", list(rows))
    splits = load_data(str(tmp_path), 8)
    assert right(splits)
    assert sorted(splits.test.images[:, 0, 0, 1]) == list(range(6))


def test_folders_of_the_pictures_may_split_a_table(tmp_path: Path) -> None:
    rows = [(f"{part}/{file}", label) for part in ("train", "test") for file, label in flat(tmp_path, 8, part)]
    written(tmp_path / "labels.csv", "file,label", list(rows))
    splits = load_data(str(tmp_path), 8)
    assert right(splits)
    assert [len(part) for part in splits] == [8, 8]


def test_table_in_a_zip_file(tmp_path: Path) -> None:
    rows = flat(tmp_path / "a")
    written(tmp_path / "a/labels.csv", "file,label", list(rows))
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        for file in (tmp_path / "a").iterdir():
            archive.write(file, f"pics/{file.name}")
    assert right(load_data(str(tmp_path / "pics.zip"), 8))


def test_missing_pictures_are_reported(tmp_path: Path) -> None:
    rows = flat(tmp_path)
    (tmp_path / "3.png").unlink()
    written(tmp_path / "labels.csv", "file,label", list(rows))
    with pytest.warns(DataWarning, match=r"labels.csv: 1 of 20 pictures are not there: 3.png. They are left out"):
        assert sum(map(len, load_data(str(tmp_path), 8))) == 19
    for number in range(4, 7):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(
        DataError, match=r"4 of 20 pictures are not there: 3.png, 4.png.* expected them beside the table"
    ):
        load_data(str(tmp_path), 8)


@pytest.mark.parametrize(
    "name", ["../secret.png", "a/../../secret.png", "/etc/secret.png", "C:\\secret.png", "..\\x.png"]
)
def test_name_that_leaves_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(plain(0, 0))
    rows = [*flat(tmp_path / "a"), (name, "cat")]
    written(tmp_path / "a/labels.csv", "file,label", list(rows))
    with pytest.raises(DataError, match=r"labels.csv: expected names of files in this folder, got "):
        load_data(str(tmp_path / "a"), 8)


BAD: dict[str, tuple[str, list[tuple[str, ...]], str]] = {
    "no label": (
        "file,width,height",
        [("0.png", "1", "1")],
        "columns such as file and label, found file, width, height",
    ),
    "no file": ("label,cat", [("a", "b")], "expected columns such as file and label, found label, cat"),
    "one-hot": ("id,cat,dog", [("0", "1", "0")], "found id, cat, dog"),
    "nothing": ("", [], "expected columns such as file and label, found nothing"),
    "no rows": ("file,label", [], "expected a row for each picture, got none"),
    "no label in a row": ("file,label", [("0.png", "")], "expected a file and a label in each row, got '0.png,'"),
    "two labels": ("file,label", [("0.png", "cat"), ("0.png", "dog")], "0.png is there twice, with different labels"),
    "two splits": ("file,label,split", [("0.png", "cat", "train"), ("0.png", "cat", "test")], "0.png is there twice"),
    "a split of another name": ("file,label,split", [("0.png", "cat", "7")], "train, test or validation .* got '7'"),
    "no training": (
        "file,label,split",
        [("0.png", "cat", "val"), ("1.png", "dog", "test")],
        "splits train and test, got",
    ),
    "a quote": ("file,label", [('"0.png', "cat")], "this table is broken: unexpected end of data"),
    "one class": ("file,label", [("0.png", "cat"), ("2.png", "cat")], "expected at least two classes"),
}


@pytest.mark.filterwarnings("ignore:.*not in the table")
@pytest.mark.parametrize("case", BAD)
def test_bad_table_is_refused(case: str, tmp_path: Path) -> None:
    header, rows, message = BAD[case]
    flat(tmp_path)
    written(tmp_path / "labels.csv", header, rows)
    for named in ("", "labels.csv"):
        with pytest.raises(DataError, match=message) as error:
            load_data(str(tmp_path / named), 8)
        assert len(str(error.value).splitlines()) == 1


def test_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", "file,label", [("0.png", "Käfer")], encoding="latin-1")
    with pytest.raises(DataError, match=r"labels.csv: expected a table in UTF-8 or UTF-16: .* Save it so"):
        load_data(str(path), 8)


def test_name_that_fits_several_pictures_is_refused(tmp_path: Path) -> None:
    rows = flat(tmp_path, folder="a")
    flat(tmp_path, folder="b")
    written(tmp_path / "labels.csv", "file,label", list(rows))
    with pytest.raises(DataError, match=r"0.png may be any of a/0.png, b/0.png. Name its folder"):
        load_data(str(tmp_path), 8)


def test_picture_of_another_folder_is_not_taken(tmp_path: Path) -> None:
    rows = [(f"train/{file}", label) for file, label in flat(tmp_path, folder="test")]
    written(tmp_path / "labels.csv", "file,label", list(rows))
    with pytest.raises(DataError, match=r"20 of 20 pictures are not there: train/0.png"):
        load_data(str(tmp_path), 8)


def test_folders_are_the_classes_where_a_table_is_something_else(tmp_path: Path) -> None:
    tree(tmp_path, {"cat": 5, "dog": 5})
    (tmp_path / "labels.csv").write_text("id,label\n0,cat\n1,dog\n")
    with pytest.warns(DataWarning) as said:
        train, _ = load_data(str(tmp_path), 8)
    assert train.names == ("cat", "dog")
    assert any("the folders are the classes" in str(warning.message) for warning in said)


def test_labels_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    rows = [(file, str(number % 12)) for number, (file, _) in enumerate(flat(tmp_path, 36))]
    written(tmp_path / "labels.csv", "file,label", list(rows))
    [part] = load_parts(str(tmp_path), 8)
    assert part.names == tuple(map(str, range(12)))
    assert part.labels.tolist() == (np.arange(36) % 12).tolist()
