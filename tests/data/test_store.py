"""Pictures in a ZIP file are read where they are; what is not harmless is refused."""

import io
import stat
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.trees import plain, tree

from thumbnet import cli
from thumbnet.data import store as store_module
from thumbnet.data.load import load_data
from thumbnet.data.store import Archive
from thumbnet.errors import DataError, DataWarning, SourceError


def packed(path: Path, classes: dict[str, int], prefix: str = "") -> Path:
    """A ZIP file with so many pictures for each class."""
    names = list(dict.fromkeys(name.split("/")[-1] for name in classes))
    with zipfile.ZipFile(path, "w") as archive:
        for name, count in classes.items():
            for number in range(count):
                picture = plain(names.index(name.split("/")[-1]), number)
                archive.writestr(f"{prefix}{name}/{number}.png", picture, zipfile.ZIP_DEFLATED)
    return path


SPLIT = {"train/cat": 4, "train/dog": 3, "test/cat": 2, "test/dog": 1}


@pytest.mark.parametrize("prefix", ["", "pics/", "a/b/", "./", "pics\\"])
def test_zip_of_class_folders_is_as_good_as_the_folder(prefix: str, tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", SPLIT, prefix)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/pics/train/cat/._0.png", b"litter")
        archive.writestr(f"{prefix}train/cat/Thumbs.db", b"litter")
    before = sorted(tmp_path.rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load_data(str(path), 8)
    assert sorted(tmp_path.rglob("*")) == before
    folder = load_data(str(tree(tmp_path / "a", SPLIT)), 8)
    assert [part.fingerprint() for part in splits] == [part.fingerprint() for part in folder]


def test_zip_without_a_split_is_split(tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 10, "dog": 10}, "pics/")
    path.rename(tmp_path / "pictures")  # its bytes count
    assert [len(part) for part in load_data(str(tmp_path / "pictures"), 8)] == [16, 4]


def test_zip_is_checked_like_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 3, "dog": 3})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cat/again.png", plain(0, 1))
        archive.writestr("cat/note.png", b"a note")
    report = tmp_path / "check.html"
    assert cli.main(["check-data", "--data", str(path), "--report", str(report)]) == 3
    out = capsys.readouterr().out
    assert "cat/again.png – cat/1.png: the same pixels" in out
    assert "cat/note.png: this is text" in out
    assert "<img" in report.read_text(encoding="utf-8")


def member(name: str, content: bytes = b"x", mode: int = stat.S_IFREG | 0o644) -> Callable[[zipfile.ZipFile], None]:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content)

    return add


BAD: dict[str, tuple[Callable[[zipfile.ZipFile], None], str]] = {
    "up": (member("../cat/9.png"), r"a name that leaves the folder: \.\./cat/9.png"),
    "up within": (member("cat/../../9.png"), "a name that leaves the folder"),
    "up on Windows": (member("cat\\..\\..\\9.png"), "a name that leaves the folder"),
    "absolute": (member("/etc/9.png"), "an absolute name: /etc/9.png"),
    "a drive": (member("C:/9.png"), "an absolute name: C:/9.png"),
    "a link": (member("cat/9.png", b"/etc/passwd", stat.S_IFLNK | 0o777), "a link: cat/9.png"),
    "twice": (member("cat\\0.png"), "there twice: cat"),
}


@pytest.mark.parametrize("case", BAD)
def test_zip_with_a_hostile_name_is_refused(case: str, tmp_path: Path) -> None:
    add, message = BAD[case]
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(path, "a") as archive:
        add(archive)
    with pytest.raises(DataError, match=rf"pics.zip: expected plain files, got one that is {message}"):
        load_data(str(path), 8)


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag of the first member
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"one that is encrypted: cat/0.png. Unpack it yourself"):
        load_data(str(path), 8)


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/9.png", bytes(2**22))
    monkeypatch.setattr(store_module, "HARMLESS", 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(DataError, match=r"would unpack to 4,19.,..., more than 200 times as many"):
        load_data(str(path), 8)


def test_members_over_each_other_are_a_bomb(tmp_path: Path) -> None:
    """A few bytes that many names share unpack to more than any packing could."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/0.png", np.random.default_rng(0).bytes(2**20))
        first = archive.infolist()[0]
        for number in range(1, 1000):
            copy = zipfile.ZipInfo(f"cat/{number}.png")
            for key in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(copy, key, getattr(first, key))
            archive.filelist.append(copy)
    (tmp_path / "pics.zip").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"would unpack to 1,048,576,000, more than 200 times as many"):
        load_data(str(tmp_path / "pics.zip"), 8)


def test_one_huge_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_BYTES", 2**20)
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("cat/9.png", bytes(2**20 + 1))
    with pytest.raises(DataError, match=r"one that is larger than 1 MiB: cat/9.png"):
        load_data(str(path), 8)


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_MEMBERS", 3)
    with pytest.raises(DataError, match=r"expected at most 3 files, got 4"):
        load_data(str(packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})), 8)


def test_size_that_is_a_lie_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/9.png", bytes(2**20))
    content = path.read_bytes()
    at = content.rindex(b"PK\1\2") + 24  # the size that the directory gives for the last member
    path.write_bytes(content[:at] + (1000).to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(SourceError, match="cannot unpack it: Bad CRC-32"):
        Archive(path).read("cat/9.png")


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_zip_that_is_cut_off_is_refused(kept: float, tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 2, "dog": 2})
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(DataError, match=r"pics.zip: this is no ZIP file, or it is broken or cut off"):
        load_data(str(path), 8)


def test_broken_member_is_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    path = packed(tmp_path / "pics.zip", {"cat": 10, "dog": 10})
    content = bytearray(path.read_bytes())
    at = content.index(b"cat/3.png") + len("cat/3.png") + 20
    content[at : at + 10] = bytes(10)
    path.write_bytes(content)
    with pytest.warns(DataWarning, match=r"1 of 20 pictures cannot be read: .*pics.zip/cat/3.png: cannot unpack it"):
        assert sum(map(len, load_data(str(path), 8))) == 19


def test_zip_of_nothing_says_what_is_expected(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        archive.writestr("README.txt", b"hello")
    with pytest.raises(DataError, match=r"expected a subfolder for each class, at least two, got nothing"):
        load_data(str(tmp_path / "pics.zip"), 8)


def test_file_without_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "a", {"cat": 10, "dog": 10})
    monkeypatch.setattr(store_module, "MAX_BYTES", 2**16)
    (root / "cat/9.png").write_bytes(bytes(2**16 + 1))
    read = store_module.Folder(root).read
    with pytest.raises(SourceError, match=r"larger than 0 MiB"):
        read("cat/9.png", 2**16)
    assert len(read("cat/9.png", 100)) == 100
    assert sys.getsizeof(read("cat/0.png", 2**16)) < 1000
