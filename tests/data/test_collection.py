"""Pictures are sorted by hand: every action can be undone, nothing is deleted, and nothing leaves the folder."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.trees import plain, tree

from thumbnet.data import collection
from thumbnet.data.collection import Collection, MissingError, Place, TakenError, class_name, file_name
from thumbnet.errors import DataError, SourceError

PNG = plain(1, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree(tmp_path / "pictures", {"cats": 3, "dogs": 2})


@pytest.fixture
def folder(root: Path) -> Collection:
    folder = Collection(root)
    folder.list()
    return folder


def files(root: Path, *, kept: bool = False) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and (kept or ".thumbnet" not in path.parts)
    }


def names(folder: Collection) -> dict[str, list[str]]:
    return {label: sorted(entries) for label, entries in folder.classes.items()}


def test_what_is_there_is_listed(folder: Collection, root: Path) -> None:
    assert names(folder) == {"cats": ["0.png", "1.png", "2.png"], "dogs": ["0.png", "1.png"]}
    (root / "cats/deep").mkdir()
    (root / "cats/deep/a.jpg").write_bytes(PNG)
    (root / "cats/no ending").write_bytes(PNG)
    (root / "cats/notes.txt").write_text("no picture")
    (root / "cats/.hidden.png").write_bytes(PNG)
    (root / ".git").mkdir()
    (root / "loose.png").write_bytes(PNG)
    assert folder.list()
    assert names(folder)["cats"] == ["0.png", "1.png", "2.png", "deep/a.jpg", "no ending"]
    assert list(folder.classes) == ["cats", "dogs"]
    assert not folder.list()


def test_a_folder_that_is_gone_is_an_error(folder: Collection, root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        folder.list()


def test_a_picture_is_added_under_a_free_name(folder: Collection, root: Path) -> None:
    assert folder.add("cats", "0.png", PNG) == "0 2.png"
    assert folder.add("cats", "0.PNG", PNG) == "0.PNG"
    assert (root / "cats/0 2.png").read_bytes() == PNG
    assert "0 2.png" in folder.classes["cats"]


def test_pictures_are_in_their_natural_order_however_they_come(folder: Collection) -> None:
    for name in ("10.png", "b.png", "3.png", "a.png"):
        folder.add("cats", name, PNG)
    shown = ["0.png", "1.png", "2.png", "3.png", "10.png", "a.png", "b.png"]
    assert list(folder.classes["cats"]) == shown
    assert not folder.list()
    folder.rename_class("cats", "class 10")
    folder.rename_class("dogs", "class 9")
    assert list(folder.classes) == ["class 9", "class 10"]
    assert list(folder.classes["class 10"]) == shown


def test_many_of_one_name_all_find_a_place(folder: Collection, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "NUMBERED", 4)
    stored = {folder.add("cats", "image.png", PNG) for _ in range(8)}
    assert len(stored) == 8
    assert len(files(root)) == 5 + 8


def test_pictures_that_come_together_are_undone_together(folder: Collection, root: Path) -> None:
    before = files(root)
    for number in range(3):
        folder.add("cats", f"new {number}.png", PNG)
    assert folder.last == "Add 3 pictures to cats"
    assert folder.undo() == "Add 3 pictures to cats"
    assert files(root) == before
    assert len(list((root / ".thumbnet/removed/cats").iterdir())) == 3
    assert folder.last is None


def test_pictures_that_come_later_are_undone_alone(folder: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "TOGETHER", 0.0)
    folder.add("cats", "one.png", PNG)
    folder.add("dogs", "two.png", PNG)
    assert folder.undo() == "Add 1 picture to dogs"
    assert folder.undo() == "Add 1 picture to cats"


def test_pictures_are_moved_and_back(folder: Collection, root: Path) -> None:
    before = files(root)
    folder.move([Place("cats", "0.png"), Place("cats", "2.png"), Place("dogs", "1.png")], "dogs")
    assert names(folder) == {"cats": ["1.png"], "dogs": ["0 2.png", "0.png", "1.png", "2.png"]}
    assert folder.last == "Move 2 pictures to dogs"
    folder.undo()
    assert files(root) == before


def test_pictures_are_removed_and_back(folder: Collection, root: Path) -> None:
    before = files(root)
    folder.move([Place("cats", "0.png"), Place("dogs", "0.png")], None)
    assert (root / ".thumbnet/removed/cats/0.png").read_bytes() == before["cats/0.png"]
    assert (root / ".thumbnet/removed/dogs/0.png").exists()
    folder.undo()
    assert files(root) == before


def test_what_is_removed_twice_is_kept_twice(folder: Collection, root: Path) -> None:
    folder.move([Place("cats", "0.png")], None)
    folder.add("cats", "0.png", PNG)
    folder.move([Place("cats", "0.png")], None)
    assert len(list((root / ".thumbnet/removed/cats").iterdir())) == 2


def test_a_class_is_made_renamed_and_back(folder: Collection, root: Path) -> None:
    assert folder.add_class("  mice ") == "mice"
    assert folder.rename_class("mice", "rats") == "rats"
    folder.add("rats", "a.png", PNG)
    assert names(folder)["rats"] == ["a.png"]
    assert [folder.undo() for _ in range(3)] == ["Add 1 picture to rats", "Rename mice to rats", "Add the class mice"]
    assert list(folder.classes) == ["cats", "dogs"]
    assert not (root / "mice").exists()


def test_renaming_keeps_the_pictures_and_their_stamps(folder: Collection) -> None:
    stamps = {name: entry.stamp for name, entry in folder.classes["cats"].items()}
    folder.rename_class("cats", "felines")
    assert {name: entry.stamp for name, entry in folder.classes["felines"].items()} == stamps


@pytest.mark.parametrize("name", ["dogs", "Dogs", " dogs "])
def test_a_name_that_is_taken_is_refused(folder: Collection, root: Path, name: str) -> None:
    before = files(root)
    with pytest.raises(TakenError, match="there is a class dogs already"):
        folder.rename_class("cats", name)
    with pytest.raises(TakenError, match="there is a class dogs already"):
        folder.add_class(name)
    assert files(root) == before


def test_a_name_in_another_case_is_no_other_class(folder: Collection) -> None:
    assert folder.rename_class("cats", "Cats") == "Cats"
    assert len(folder.classes["Cats"]) == 3


def test_a_file_or_a_link_of_this_name_is_in_the_way(folder: Collection, root: Path) -> None:
    (root / "mice").symlink_to(root / "cats")
    (root / "rats").write_text("")
    for name in ("mice", "rats"):
        with pytest.raises(TakenError, match="which is no class"):
            folder.add_class(name)
        with pytest.raises(TakenError, match="which is no class"):
            folder.rename_class("cats", name)


@pytest.mark.parametrize(("first", "second"), [("train", "Test"), ("validation", "training"), ("TEST", "train")])
def test_classes_do_not_become_splits(folder: Collection, root: Path, first: str, second: str) -> None:
    folder.add_class(first)
    with pytest.raises(DataError, match=f"another name than {second}, as folders with the names train and test"):
        folder.add_class(second)
    with pytest.raises(DataError, match="another name"):
        folder.rename_class("dogs", second)
    assert not (root / second).exists()
    assert folder.rename_class(first, second) == second  # there is but one of them then
    folder.add_class("testing ground")


def test_classes_are_merged_and_back(folder: Collection, root: Path) -> None:
    (root / "cats/notes.txt").write_text("mine")
    before = files(root)
    folder.list()
    assert folder.rename_class("cats", "DOGS", merge=True) == "dogs"
    assert names(folder) == {"dogs": ["0 2.png", "0.png", "1 2.png", "1.png", "2.png"]}
    assert (root / "dogs/notes.txt").exists()
    assert folder.undo() == "Merge cats into dogs"
    assert files(root) == before


def test_a_class_is_removed_and_back(folder: Collection, root: Path) -> None:
    before = files(root)
    folder.move([Place("cats", "0.png")], None)
    folder.remove_class("cats")
    assert list(folder.classes) == ["dogs"]
    assert len(files(root, kept=True)) == len(before)
    folder.undo()
    folder.undo()
    assert files(root) == before


def test_what_is_not_there_is_told(folder: Collection, root: Path) -> None:
    before = files(root)
    with pytest.raises(MissingError, match="no class mice"):
        folder.add("mice", "a.png", PNG)
    with pytest.raises(MissingError, match="no class mice"):
        folder.move([Place("cats", "0.png")], "mice")
    with pytest.raises(MissingError, match=r"no picture 9\.png in cats"):
        folder.move([Place("cats", "0.png"), Place("cats", "9.png")], "dogs")
    with pytest.raises(MissingError, match="no class mice"):
        folder.remove_class("mice")
    with pytest.raises(MissingError, match="nothing to undo"):
        folder.undo()
    assert files(root) == before


@pytest.mark.parametrize("name", ["../dogs/0.png", "/etc/passwd", "..", "", "0.png/../../dogs/0.png"])
def test_no_name_leads_out_of_its_class(folder: Collection, name: str) -> None:
    with pytest.raises(MissingError):
        folder.move([Place("cats", name)], None)


def test_a_class_that_another_program_removed_is_not_made_again(folder: Collection, root: Path) -> None:
    (root / "cats").rename(root.parent / "cats")
    with pytest.raises(MissingError, match="no class cats"):
        folder.add("cats", "a.png", PNG)
    assert not (root / "cats").exists()


def test_a_target_that_another_program_removed_takes_no_picture(folder: Collection, root: Path) -> None:
    (root / "dogs").rename(root.parent / "dogs")
    with pytest.raises(FileNotFoundError):
        folder.move([Place("cats", "0.png")], "dogs")
    assert (root / "cats/0.png").exists()
    assert folder.last is None


def test_what_was_done_before_an_error_can_be_undone(folder: Collection, root: Path) -> None:
    before = files(root)
    (root / "cats/1.png").rename(root.parent / "1.png")
    with pytest.raises(FileNotFoundError):
        folder.move([Place("cats", "0.png"), Place("cats", "1.png"), Place("cats", "2.png")], None)
    assert names(folder)["cats"] == ["2.png"]
    (root.parent / "1.png").rename(root / "cats/1.png")
    folder.undo()
    assert files(root) == before


def test_undoing_leaves_what_another_program_has_moved(folder: Collection, root: Path) -> None:
    folder.move([Place("cats", "0.png"), Place("cats", "1.png")], "dogs")
    (root / "dogs/1 2.png").unlink()
    (root / "cats").rename(root.parent / "cats")
    folder.undo()
    assert names(folder) == {"cats": ["0.png"], "dogs": ["0.png", "1.png"]}


def test_undoing_overwrites_nothing(folder: Collection, root: Path) -> None:
    folder.move([Place("cats", "0.png")], None)
    (root / "cats/0.png").write_bytes(b"another")
    folder.undo()
    assert (root / "cats/0.png").read_bytes() == b"another"
    assert (root / "cats/0 2.png").exists()


def test_a_full_disk_leaves_nothing_behind(folder: Collection, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = files(root, kept=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.add("cats", "a.png", PNG)
    assert files(root, kept=True) == before
    assert folder.last is None


# --- links ---


def test_links_are_shown_and_not_followed(folder: Collection, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.png").write_bytes(PNG)
    (root / "cats/link.png").symlink_to(tmp_path / "outside/secret.png")
    (root / "cats/inside").symlink_to(tmp_path / "outside")
    (root / "linked").symlink_to(tmp_path / "outside")
    folder.list()
    assert list(folder.classes) == ["cats", "dogs"]
    assert sorted(folder.classes["cats"]) == ["0.png", "1.png", "2.png", "link.png"]
    with pytest.raises(SourceError, match="this is a link"):
        folder.read(folder.entry(Place("cats", "link.png")))
    folder.move([Place("cats", "link.png")], None)
    assert (root / ".thumbnet/removed/cats/link.png").is_symlink()
    assert (tmp_path / "outside/secret.png").read_bytes() == PNG


def test_a_class_that_became_a_link_is_not_read(folder: Collection, root: Path, tmp_path: Path) -> None:
    entry = folder.entry(Place("cats", "0.png"))
    assert folder.read(entry)
    (root / "cats").rename(tmp_path / "cats")
    (root / "cats").symlink_to(tmp_path / "cats")
    with pytest.raises(SourceError, match="this is a link"):
        folder.read(entry)


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: folder.undo(),
        lambda folder: folder.move([Place("cats", "1.png")], "dogs"),
        lambda folder: folder.add("dogs", "a.png", PNG),
    ],
)
def test_no_picture_is_put_behind_a_link(
    folder: Collection, root: Path, tmp_path: Path, act: Callable[[Collection], object]
) -> None:
    folder.move([Place("dogs", "1.png")], "cats")
    (root / "dogs").rename(tmp_path / "elsewhere")
    (root / "dogs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MissingError):
        act(folder)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["0.png"]
    assert len(files(root)) == 4


def test_no_picture_is_taken_from_behind_a_link(folder: Collection, root: Path, tmp_path: Path) -> None:
    (root / "dogs").rename(tmp_path / "elsewhere")
    (root / "dogs").symlink_to(tmp_path / "elsewhere")
    for to in ("cats", None):
        with pytest.raises(MissingError):
            folder.move([Place("dogs", "0.png")], to)
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["0.png", "1.png"]


def test_what_is_removed_is_not_moved_behind_a_link(folder: Collection, root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / ".thumbnet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MissingError, match="is a link by now"):
        folder.move([Place("dogs", "0.png")], None)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_picture_that_became_a_link_or_a_pipe_is_not_read(folder: Collection, root: Path) -> None:
    entry = folder.entry(Place("cats", "0.png"))
    (root / "cats/0.png").unlink()
    (root / "cats/0.png").symlink_to(root / "cats/1.png")
    with pytest.raises(SourceError, match="cannot read it"):
        folder.read(entry)
    (root / "cats/0.png").unlink()
    os.mkfifo(root / "cats/0.png")
    assert folder.read(entry) == b""


@pytest.mark.parametrize("link", ["", "removed", "removed/cats", "thumbnails", "model.onnx", "thumbnails/a.jpg"])
def test_links_in_what_is_kept_are_refused(root: Path, tmp_path: Path, link: str) -> None:
    target = tmp_path / "outside"
    target.mkdir()
    place = root / ".thumbnet" / link
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target / "file" if "." in link else target)
    with pytest.raises(DataError, match="expected no link here"):
        Collection(root)


def test_removed_pictures_may_be_links(folder: Collection, root: Path) -> None:
    (root / "cats/link.png").symlink_to(root / "cats/1.png")
    folder.list()
    folder.move([Place("cats", "link.png")], None)
    again = Collection(root)
    again.list()
    assert "1.png" in again.classes["cats"]
    assert "link.png" not in again.classes["cats"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, every name is text")
def test_names_that_are_no_text_are_named(folder: Collection, root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root / "cats") + b"/\xff.png")).write_bytes(PNG)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).mkdir()
    folder.list()
    assert folder.classes["cats"]["\\udcff.png"].problem == "its name is no text. Rename the file"
    assert list(folder.classes) == ["cats", "dogs"]


# --- names ---


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" cats ", "cats"),
        ("Katzen & Hunde", "Katzen & Hunde"),
        ("e\u0301", "\u00e9"),
        ("猫", "猫"),
        ("a" * 80, "a" * 80),
    ],
)
def test_names_of_classes(text: str, name: str) -> None:
    assert class_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "../x", "a/b", "a\\b", ".git", ".", "..", "x.", "CON", "nul", "Com1.txt", "lpt9", "<img onerror=x>",
        "a:b", 'a"b', "a|b", "a?b", "a*b", "a\nb", "a\0b", "\u202eab", "a" * 81, "猫" * 80, "@eaDir", "Thumbs.db", "x~",
        "\ud800", "\u2028",
    ],
)  # fmt: skip
def test_names_that_no_class_can_have(folder: Collection, root: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"^expected "):
        folder.add_class(text)
    with pytest.raises(DataError, match=r"^expected "):
        folder.rename_class("cats", text)
    assert sorted(path.name for path in root.iterdir()) == ["cats", "dogs"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat.png", "cat.png"),
        ("cat.PNG", "cat.PNG"),
        ("cat.jpg", "cat.png"),
        ("cat.v2", "cat.v2.png"),
        ("cat", "cat.png"),
        ("", "picture.png"),
        ("../../etc/passwd", "passwd.png"),
        ("C:\\pictures\\cat.png", "cat.png"),
        (".git", "git.png"),
        (".png", "png.png"),
        ("CON.png", "_CON.png"),
        ("nul", "_nul.png"),
        ("<img onerror=x>.png", "_img onerror=x_.png"),
        ("a\0b\n.png", "a b.png"),
        ("x" * 300 + ".png", "x" * 180 + ".png"),
        ("猫" * 100 + ".png", "猫" * 60 + ".png"),
        ("\ud800.png", "png.png"),
        ("e\u0301.png", "\u00e9.png"),
    ],
)
def test_names_of_pictures_are_made_safe(text: str, name: str) -> None:
    assert file_name(text, PNG) == name
