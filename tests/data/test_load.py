"""Every source of a data set, good and bad. The network is never asked: `fetch.download` is a stand-in."""

import contextlib
import hashlib
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.models import content as model_file

from thumbnet.data import cifar_archives, load, npz
from thumbnet.data import dataset as dataset_module
from thumbnet.data import folder as folder_module
from thumbnet.data.cifar10 import read_cifar10
from thumbnet.data.dataset import Dataset, Splits, available_memory, check_memory, hold_out
from thumbnet.data.digits import read_digits
from thumbnet.data.folder import read_folder
from thumbnet.data.load import load_data
from thumbnet.errors import DataError, DataWarning, FetchError, MissingExtraError
from thumbnet.files import cache_folder
from thumbnet.model.classifier import Classifier
from thumbnet.sources import fetch

ROWS = 10  # pictures in a batch of the small CIFAR-10 of these tests
SOURCE = Path(load.__file__).parents[1]
BATCHES = (*cifar_archives.TRAIN, cifar_archives.TEST)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./data` is nobody's, and no test downloads."""
    monkeypatch.chdir(tmp_path)

    def refuse(url: str, *_: object, **__: object) -> None:
        raise FetchError(f"{url}: there is no network")

    monkeypatch.setattr(fetch, "download", refuse)


def tiny(count: int = 6, classes: int = 2, size: int = 4) -> Dataset:
    pixels = np.arange(count * size * size * 3, dtype=np.uint8).reshape(count, size, size, 3)
    return Dataset(pixels, np.arange(count) % classes, tuple(f"class {label}" for label in range(classes)))


# --- Dataset ---


def test_dataset_takes_rows_in_their_order() -> None:
    dataset = Dataset(tiny().images, tiny().labels, ("a", "b"), mirrored=False, framing="crop")
    taken = dataset.take(np.array([3, 0]))
    assert len(dataset) == 6
    assert len(taken) == 2
    assert taken.labels.tolist() == [1, 0]
    assert (taken.images == dataset.images[[3, 0]]).all()
    assert taken.names == ("a", "b")
    assert taken.mirrored is False
    assert taken.framing == "crop"


@pytest.mark.parametrize(
    ("pixels", "labels", "names", "message"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2, np.int64), ("a", "b"), "uint8 (N, S, S, 3), got float32"),
        (np.zeros((2, 4, 5, 3), np.uint8), np.zeros(2, np.int64), ("a", "b"), "got uint8 (2, 4, 5, 3)"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int64), ("a", "b"), "got uint8 (2, 4, 4, 1)"),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), ("a", "b"), "got uint8 (2, 4, 4)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.uint8), ("a", "b"), "int64 (2,), got uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3, np.int64), ("a", "b"), "got int64 (3,)"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 2]), ("a", "b"), "from 0 to 1, got 0 to 2"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.array([-1, 1]), ("a", "b"), "from 0 to 1, got -1 to 1"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64), ("a",), "two classes, each named once, got 'a'"),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64), ("a", "a"), "each named once, got 'a', 'a'"),
    ],
)
def test_dataset_refuses_what_is_not_one(pixels: Any, labels: Any, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError) as error:
        Dataset(pixels, labels, names)
    assert message in str(error.value)


def test_fingerprint_covers_names_shape_pixels_and_labels_and_nothing_else() -> None:
    dataset = tiny()
    other_pixel = dataset.images.copy()
    other_pixel[5, 3, 3, 2] ^= 1
    other_label = dataset.labels.copy()
    other_label[5] ^= 1
    others = [
        Dataset(dataset.images, dataset.labels, ("class 0", "class 2")),
        Dataset(dataset.images, dataset.labels, ("class 1", "class 0")),
        Dataset(other_pixel, dataset.labels, dataset.names),
        Dataset(dataset.images, other_label, dataset.names),
        dataset.take(np.arange(5)),
        dataset.take(np.arange(6)[::-1]),
    ]
    assert len({dataset.fingerprint(), *(other.fingerprint() for other in others)}) == 7
    in_another_layout = Dataset(np.asfortranarray(dataset.images), dataset.labels[::-1][::-1], dataset.names)
    assert in_another_layout.fingerprint() == dataset.fingerprint()


def test_fingerprint_is_the_same_in_every_version() -> None:
    """It is in every model file: a change here makes all models look as if they were trained on other data."""
    dataset = tiny()
    content = b'[["class 0", "class 1"], [6, 4, 4, 3]]' + bytes(np.arange(288, dtype=np.uint8))
    content += struct.pack("<6q", 0, 1, 0, 1, 0, 1)
    assert dataset.fingerprint() == hashlib.sha256(content).hexdigest()


# --- hold_out ---


def test_hold_out_takes_the_same_share_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    pixels = np.zeros((100, 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.arange(100)
    dataset = Dataset(pixels, labels, ("a", "b", "c"), mirrored=False)
    rest, held_out = hold_out(dataset, 0.2, seed=3)
    assert np.bincount(held_out.labels).tolist() == [12, 6, 2]
    assert np.bincount(rest.labels).tolist() == [48, 24, 8]
    places = [part.images[:, 0, 0, 0].tolist() for part in (rest, held_out)]
    assert sorted(places[0] + places[1]) == list(range(100))
    assert places == [sorted(places[0]), sorted(places[1])]  # in the order that they had
    assert (rest.labels == labels[places[0]]).all()
    assert rest.mirrored is held_out.mirrored is False
    assert hold_out(dataset, 0.2, seed=3)[1].fingerprint() == held_out.fingerprint()
    assert hold_out(dataset, 0.2, seed=4)[1].fingerprint() != held_out.fingerprint()


def test_hold_out_leaves_a_class_without_pictures_alone() -> None:
    dataset = Dataset(tiny(20).images, tiny(20).labels, ("class 0", "class 1", "nothing here"))
    assert [len(part) for part in hold_out(dataset, 0.2, 0)] == [16, 4]


def test_hold_out_names_the_class_with_too_few_pictures() -> None:
    dataset = Dataset(tiny().images, np.array([0, 0, 0, 0, 0, 1]), ("dog", "lynx"))
    with pytest.raises(DataError, match=r"which cannot be split: lynx"):
        hold_out(dataset, 0.5, 0)


def test_hold_out_says_how_many_pictures_a_class_needs() -> None:
    """A class of two has one left after the test pictures; whoever trains is not told that it had one."""
    rest, _ = hold_out(tiny(4), 0.5, 0)
    with pytest.raises(
        DataError, match=r"classes with a single picture left.*: class 0, class 1. Each class needs three or"
    ):
        hold_out(rest, 0.1, 0)


def test_hold_out_takes_one_picture_of_each_class_at_the_least() -> None:
    rest, held_out = hold_out(tiny(12, classes=4), 0.1, 0)
    assert sorted(held_out.labels) == [0, 1, 2, 3]
    assert len(rest) == 8


def test_hold_out_says_when_too_few_pictures_would_be_left() -> None:
    with pytest.raises(DataError, match=r"11 of 12 pictures in 4 classes cannot be held out: ."):
        hold_out(tiny(12, classes=4), 0.9, 0)


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31mred"])
def test_class_names_that_cannot_be_printed_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"expected printable class names, got "):
        Dataset(tiny().images, tiny().labels, ("fine", name))


@pytest.mark.parametrize("needs_it", [lambda: hold_out(tiny(), 0.5, 0), read_digits])
def test_missing_scikit_learn_is_answered_by_the_command_that_adds_it(
    needs_it: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sklearn", "sklearn.model_selection", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thumbnet\[train\]'"):
        needs_it()


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, thumbnet.data.load; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=SOURCE, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "cv2" in loaded
    assert not {"sklearn", "tqdm", "tensorflow", "keras", "matplotlib"} & set(loaded)


# --- digits ---


def test_digits() -> None:
    train, test = read_digits()
    assert train.images.shape == (1437, 32, 32, 3)
    assert test.images.shape == (360, 32, 32, 3)
    assert train.names == test.names == tuple("0123456789")
    assert train.mirrored is test.mirrored is False
    assert np.bincount(test.labels).min() >= 34  # stratified: 174 to 183 of each digit, a fifth of them
    assert (train.images[..., 0] == train.images[..., 2]).all()


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    expected = {
        (bytes(np.rint(i / 16 * 255).astype(np.uint8)), int(t)) for i, t in zip(*source_of(source), strict=True)
    }
    splits = read_digits(size=8, seed=1)
    got = [(bytes(image[..., 1]), int(label)) for part in splits for image, label in zip(part.images, part.labels)]  # noqa: B905
    assert len(got) == 1797
    assert set(got) == expected
    assert splits.train.images.min() == 0
    assert splits.train.images.max() == 255
    assert read_digits(size=8, seed=2).test.fingerprint() != splits.test.fingerprint()
    assert read_digits(size=8, seed=1).test.fingerprint() == splits.test.fingerprint()


def source_of(source: Any) -> tuple[Any, Any]:
    return source.images, source.target


# --- home, load ---


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/thumbnet"),
        ("linux", {"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/thumbnet"),
        ("darwin", {"XDG_CACHE_HOME": "/var/cache/me"}, "home/Library/Caches/thumbnet"),
        ("win32", {"LOCALAPPDATA": "/c/Local"}, "/c/Local/thumbnet"),
        ("win32", {}, "home/AppData/Local/thumbnet"),
        ("linux", {"THUMBNET_HOME": "/srv/nets"}, "/srv/nets"),
        ("linux", {"THUMBNET_HOME": "~/nets"}, "home/nets"),
        ("linux", {"THUMBNET_HOME": ""}, "home/.cache/thumbnet"),
    ],
)
def test_home(
    platform: str, variables: dict[str, str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("THUMBNET_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == tmp_path / expected


def test_load_passes_on_what_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    for name in ("read_cifar10", "unsplit_digits", "read_labelled", "read_parts", "npz_parts", "as_splits"):

        def record(*args: object, _name: str = name, **options: object) -> list[str]:
            calls.append((_name, *args, *([options] if options else [])))
            return [_name]

        monkeypatch.setattr(load, name, record)
    (tmp_path / "home").mkdir()
    for name, member in (("data.zip", "x.npy"), ("pictures.zip", "cat/1.png")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, "b")
    for name in ("broken.npz", "broken.zip", "labels.csv"):
        (tmp_path / name).touch()
    for data in ("cifar10", "digits", "data.zip", "broken.npz"):
        load_data(data, 16, framing="crop", seed=7)
    assert calls == [
        ("read_cifar10", 16, {"download": True}),
        ("as_splits", "cifar10", ["read_cifar10"], 7),
        ("unsplit_digits", 16),
        ("as_splits", "digits", [["unsplit_digits"]], 7),
        ("npz_parts", Path("data.zip"), 16, "crop", None, None),
        ("as_splits", "data.zip", ["npz_parts"], 7),
        ("npz_parts", Path("broken.npz"), 16, "crop", None, None),
        ("as_splits", "broken.npz", ["npz_parts"], 7),
    ]
    for data in (str(tmp_path), "~", "pictures.zip", "broken.zip", "labels.csv"):
        calls.clear()
        load_data(data, 16, framing="crop", seed=7)
        assert calls == [
            ("read_labelled", Path(data).expanduser(), None),
            ("read_parts", ["read_labelled"], 16, "crop"),
            ("as_splits", data, ["read_parts"], 7),
        ]


@pytest.mark.parametrize(
    ("name", "came"),
    [
        ("mnist", "no such file or folder"),
        ("a.txt", "a file of another kind"),
        ("", "an empty name"),
        (" ", "an empty"),
    ],
)
def test_load_names_what_it_accepts(name: str, came: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("label,file\n")
    with pytest.raises(DataError, match=rf"^{name}: {came}.* Expected cifar10, digits, a folder .*, or an .npz file"):
        load_data(name)


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_a_folder_with_the_name_of_a_built_in_set_is_said(name: str, tmp_path: Path) -> None:
    tree(tmp_path / name, {"cat": 5, "dog": 5})
    assert load_data(f"./{name}", 8).train.names == ("cat", "dog")
    with (
        pytest.warns(DataWarning, match=rf"{name} means the built-in data set; .* write \./{name}"),
        contextlib.suppress(DataError),  # there is no CIFAR-10
    ):
        assert len(load_data(name, 8).train.names) == 10


# --- CIFAR-10: a small one, with 10 pictures in a batch ---


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar_archives, "ROWS", ROWS)


def batch(number: int, mark: int = 0) -> tuple[list[int], NDArray[np.uint8]]:
    """Labels and planes `(10, 3, 32, 32)` of a batch. The first pixel of all is `mark`, and tells copies apart."""
    planes = np.random.default_rng(number).integers(0, 256, (ROWS, 3, 32, 32), np.uint8)
    planes[0, 0, 0, 0] = mark
    return [(number + row) % 10 for row in range(ROWS)], planes


def binary_batch(labels: list[int], planes: NDArray[np.uint8]) -> bytes:
    return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, planes, strict=True))


def python_batch(labels: list[int], planes: NDArray[np.uint8], order: str = "labels data filenames") -> bytes:
    """As Python 2 pickled it, with the memo's opcodes, and lists appended in two portions."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode() + b"q\x01"

    pixels = planes.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85" + text("b") + b"\x87R("
    array += b"K\x01K\x0aM\x00\x0c\x86cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R(K\x03" + text("|")
    array += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(pixels)) + pixels + b"tb"
    numbers = [b"K" + bytes([label]) for label in labels]
    parts = {
        "labels": b"]q\x05(" + b"".join(numbers[:6]) + b"e(" + b"".join(numbers[6:]) + b"e",
        "data": array,
        "filenames": b"](" + b"".join(text(f"labeled_data_s_{row:06d}.png") for row in range(ROWS)) + b"e",
    }
    body = text("batch_label") + text("training batch 1 of 5")
    return b"\x80\x02}q\x01(" + body + b"".join(text(key) + parts[key] for key in order.split()) + b"u."


def contents(kind: str, mark: int = 0) -> dict[str, bytes]:
    """The six files of the `bin` or the `py` archive."""
    batches = {name: batch(number, mark) for number, name in enumerate(BATCHES)}
    if kind == "bin":
        return {f"{name}.bin": binary_batch(*content) for name, content in batches.items()}
    return {name: python_batch(*content) for name, content in batches.items()}


def pack(path: Path, files: dict[str, bytes], prefix: str = "cifar-10-batches/", mode: Any = "w:gz") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in {"readme.html": b"<html>", **files, "batches.meta": b"not read"}.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def unpack(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def expected(mark: int = 0) -> tuple[Dataset, Dataset]:
    batches = [batch(number, mark) for number in range(6)]
    images = [planes.transpose(0, 2, 3, 1) for _, planes in batches]
    labels = [np.array(labels) for labels, _ in batches]
    train = Dataset(np.concatenate(images[:5]), np.concatenate(labels[:5]), cifar_archives.NAMES)
    return train, Dataset(images[5], labels[5], cifar_archives.NAMES)


def fingerprints(splits: tuple[Dataset, Dataset]) -> list[str]:
    return [dataset.fingerprint() for dataset in splits]


def mark_of(splits: tuple[Dataset, Dataset]) -> int:
    return int(splits[0].images[0, 0, 0, 0])


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["bin", "py"])
@pytest.mark.parametrize("form", ["w:gz", "w", "w:xz", "unpacked", "in a folder", "unpacked in a folder"])
def test_cifar10_reads_each_form_of_each_archive(
    kind: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match form:
        case "unpacked":
            named = unpack(tmp_path / "mine", contents(kind))
        case "in a folder":
            official = "cifar-10-binary.tar.gz" if kind == "bin" else "cifar-10-python.tar.gz"
            named = pack(tmp_path / "mine" / official, contents(kind)).parent
        case "unpacked in a folder":
            named = unpack(tmp_path / "mine" / f"cifar-10-batches-{kind}", contents(kind)).parent
        case _:
            named = pack(tmp_path / "my.archive", contents(kind), mode=form)
    monkeypatch.setenv("THUMBNET_CIFAR10", str(named))
    splits = read_cifar10()
    assert fingerprints(splits) == fingerprints(expected())
    assert splits.train.names == cifar_archives.NAMES
    assert splits.train.mirrored is True
    assert splits.train.framing == splits.test.framing == "soft-centre"


@pytest.mark.usefixtures("small")
def test_cifar10_reads_npz_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = expected()
    x: Any = {"x_train": train.images, "x_test": test.images}
    np.savez("mine.npz", y_train=train.labels.astype(np.uint8)[:, None], y_test=test.labels.astype(np.uint8), **x)
    (tmp_path / "mine.npz").rename("mine")  # its bytes count, as for all others
    for split, dataset in (("train", train), ("test", test)):
        for place, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
            write(tmp_path / "tree" / split / dataset.names[label] / f"{place}.png", image)
    for name in ("~/../mine", "tree"):  # ~ is tmp_path/home
        (tmp_path / "home").mkdir(exist_ok=True)
        monkeypatch.setenv("THUMBNET_CIFAR10", name)
        assert fingerprints(read_cifar10()) == fingerprints((train, test))


@pytest.mark.usefixtures("small")
def test_cifar10_is_resized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBNET_CIFAR10", str(pack(tmp_path / "a.tar.gz", contents("bin"))))
    train, test = read_cifar10(16)
    assert train.images.shape == (50, 16, 16, 3)
    assert test.images.shape == (10, 16, 16, 3)
    assert (train.images[7] == cv2.resize(expected()[0].images[7], (16, 16), interpolation=cv2.INTER_AREA)).all()


PLACES = [
    "home/.keras/datasets/cifar-10-batches-py",
    "home/.keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py",
    "home/.keras/datasets/cifar-10-batches-py-target_archive",
    "home/.keras/datasets/cifar-10-batches-py-target.tar.gz",
    "home/.keras/datasets/cifar-10-batches-py.tar.gz",
    "data/cifar-10-batches-py",
    "data/cifar-10-python.tar.gz",
    "thumbnet-home/cifar-10-binary.tar.gz",
]


def put(place: str, mark: int) -> None:
    path = Path(place)
    if path.name == "cifar-10-batches-py":
        unpack(path, contents("py", mark))
    else:
        pack(path, contents("bin" if "binary" in place else "py", mark))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", PLACES)
def test_cifar10_finds_the_copies_of_others(place: str) -> None:
    put(place, mark=77)
    assert fingerprints(read_cifar10()) == fingerprints(expected(mark=77))


@pytest.mark.usefixtures("small")
def test_cifar10_looks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBNET_CIFAR10", str(pack(tmp_path / "named.tar", contents("py", mark=1))))
    for mark, place in enumerate([PLACES[0], PLACES[6], PLACES[7]], start=2):
        put(place, mark)
    monkeypatch.setattr(fetch, "download", lambda _, path, **__: pack(path, contents("bin", mark=5)))
    marks = [mark_of(read_cifar10())]
    monkeypatch.setenv("THUMBNET_CIFAR10", "")  # as good as not set
    for gone in ("home", "data", "thumbnet-home", None):
        marks.append(mark_of(read_cifar10()))
        if gone:
            shutil.rmtree(tmp_path / gone)
    assert marks == [1, 2, 3, 4, 5]
    monkeypatch.setattr(fetch, "download", None)
    assert mark_of(read_cifar10()) == 5  # the download stays in the cache


@pytest.mark.usefixtures("small")
def test_cifar10_downloads_the_official_binary_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def download(url: str, path: Path, **options: object) -> None:
        calls.append((url, path, options))
        pack(path, contents("bin"))

    monkeypatch.setattr(fetch, "download", download)
    assert fingerprints(read_cifar10()) == fingerprints(expected())
    sha256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    options = {"size": 170052171, "sha256": sha256, "label": "CIFAR-10"}
    assert calls == [(url, tmp_path / "thumbnet-home" / "cifar-10-binary.tar.gz", options)]


def test_no_copy_and_no_network_names_the_places_and_the_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_cifar10()
    message = str(error.value)
    looked_at, ways_out = message.split("To go on")
    assert "there is no network" in looked_at
    for place in ("$THUMBNET_CIFAR10", "home/.keras/datasets", "data", "thumbnet-home"):
        assert (place if place.startswith("$") else str(tmp_path / place)) in looked_at
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in looked_at
    for way in ("set THUMBNET_CIFAR10", str(tmp_path / "thumbnet-home/cifar-10-binary.tar.gz"), "--data digits"):
        assert way in ways_out


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("named", ["nowhere", "~/nowhere", "notes.txt", "empty", "other classes", "broken.npz"])
def test_a_named_cifar10_that_cannot_be_used_is_said_and_nothing_else_is_tried(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(PLACES[0], mark=1)
    (tmp_path / "notes.txt").write_text("CIFAR-10 is on the other disk")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    (tmp_path / "empty").mkdir()
    tree(tmp_path / "other classes", {"train/cat": 5, "train/dog": 5, "test/cat": 5, "test/dog": 5})
    monkeypatch.setenv("THUMBNET_CIFAR10", named)
    with pytest.raises(DataError, match=rf"\$THUMBNET_CIFAR10 is set and cannot be used: .*{named.strip('~')}"):
        read_cifar10()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("place", [PLACES[0], PLACES[5], PLACES[6], PLACES[7]])
def test_a_broken_copy_is_said_and_passed_over(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if place.endswith("py"):
        unpack(Path(place), {"data_batch_1": contents("py")["data_batch_1"][:-100]})
    else:
        path = pack(Path(place), contents("py"))
        path.write_bytes(path.read_bytes()[:-2000])
    monkeypatch.setattr(fetch, "download", lambda _, path, **__: pack(path, contents("bin", mark=9)))
    with pytest.warns(DataWarning, match=rf"skipping a copy of CIFAR-10: .*{place}") as said:
        splits = read_cifar10()
    assert len(said) == 1
    assert mark_of(splits) == 9


def spoilt(kind: str, name: str, content: bytes | None) -> dict[str, bytes]:
    files = contents(kind)
    if content is None:
        return {other: kept for other, kept in files.items() if other != name}
    return {**files, name: content}


LABELS, PLANES = batch(2)
ALL_BATCHES = "data_batch_1, data_batch_2, data_batch_4, data_batch_5, test_batch"
BAD_BATCHES = {
    "a binary batch is missing": ("bin", None, "found " + ALL_BATCHES.replace(",", ".bin,")),
    "a Python batch is missing": ("py", None, "found " + ALL_BATCHES),
    "a record is missing": ("bin", binary_batch(LABELS[:-1], PLANES[:-1]), "expected 30,730 bytes, got 27,657"),
    "a byte too much": ("bin", binary_batch(LABELS, PLANES) + b"\0", "expected 30,730 bytes, got 30,731"),
    "a record too much": ("bin", binary_batch(LABELS, PLANES) + bytes(3073), "expected 30,730 bytes, got 33,803"),
    "a byte is missing": ("bin", binary_batch(LABELS, PLANES)[:-1], "expected 30,730 bytes, got 30,729"),
    "CIFAR-100's labels": ("bin", binary_batch([*LABELS[:-1], 10], PLANES), "labels from 0 to 9, got 10"),
    "another label": ("py", python_batch([*LABELS[:-1], 200], PLANES), "labels from 0 to 9, got 200"),
    "a label is missing": ("py", python_batch(LABELS[:-1], PLANES), "got 9 and 1"),
    "a picture is missing": ("py", python_batch(LABELS, PLANES[:-1]), "got 10 and 0"),
    "no labels": ("py", python_batch(LABELS, PLANES, "data filenames"), "got 0 and 1"),
    "pixels twice": ("py", python_batch(LABELS, PLANES, "data labels data"), "got 10 and 2"),
    "cut off": ("py", python_batch(LABELS, PLANES)[:-1], "no pickle, or it is cut off"),
    "no pickle": ("py", b"<html>", "no pickle, or it is cut off"),
    "empty": ("py", b"", "no pickle, or it is cut off"),
    "pickled again": ("py", pickle.dumps({b"labels": LABELS, b"data": PLANES}, protocol=4), "its pickle holds 'FRAME"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("case", BAD_BATCHES)
def test_a_bad_batch_is_refused(case: str, packed: bool, tmp_path: Path) -> None:
    kind, content, message = BAD_BATCHES[case]
    name = "data_batch_3.bin" if kind == "bin" else "data_batch_3"
    files = spoilt(kind, name, content)
    path = pack(tmp_path / "a.tar.gz", files) if packed else unpack(tmp_path / "a", files)
    with pytest.raises(DataError) as error:
        cifar_archives.read(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.usefixtures("small")
def test_python_batches_keys_come_in_any_order(tmp_path: Path) -> None:
    files = {name: python_batch(*batch(number), order="filenames data labels") for number, name in enumerate(BATCHES)}
    (images, labels), _ = cifar_archives.read(unpack(tmp_path / "a", files))
    assert (images == expected()[0].images).all()
    assert (labels == expected()[0].labels).all()


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch executed",)


ATTACKS = {f"protocol {protocol}": pickle.dumps(Malice(), protocol) for protocol in range(6)}
ATTACKS["in the opcodes of the official files"] = b"\x80\x02cposix\nsystem\nU\x0etouch executed\x85R."


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_malicious_batch_runs_nothing(attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = ATTACKS[attack]
    pickle.loads(content)  # it would
    assert Path("executed").exists()
    Path("executed").unlink()
    # Behind the true content too, where a reader could have what it wants by then.
    behind = content[2:] if content.startswith(b"\x80") else content
    for batch_content in (content, python_batch(LABELS, PLANES)[:-1] + behind):
        path = pack(tmp_path / "a.tar.gz", spoilt("py", "data_batch_3", batch_content))
        monkeypatch.setenv("THUMBNET_CIFAR10", str(path))
        with pytest.raises(DataError, match=r"its pickle holds .*Nothing ran"):
            read_cifar10()
        assert not Path("executed").exists()


@pytest.mark.usefixtures("small")
def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path) -> None:
    path = pack(tmp_path / "in" / "a.tar.gz", contents("bin"), prefix="../../")
    before = sorted(tmp_path.rglob("*"))
    assert fingerprints_of(cifar_archives.read(path)) == fingerprints(expected())
    assert sorted(tmp_path.rglob("*")) == before


def fingerprints_of(batches: tuple[cifar_archives.Batch, cifar_archives.Batch]) -> list[str]:
    return [Dataset(images, labels, cifar_archives.NAMES).fingerprint() for images, labels in batches]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.98])
def test_an_archive_that_is_cut_off_is_refused(mode: str, kept: float, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", contents("bin"), mode=mode)
    content = path.read_bytes().rstrip(b"\0") if mode == "w" else path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.tar: expected .*CIFAR-10's") as error:
        cifar_archives.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
@pytest.mark.parametrize("damage", [1, 40])
@pytest.mark.parametrize("plain", [True, False])  # pixels that pack well, and pixels that are stored as they are
def test_an_archive_with_damage_inside_is_refused(mode: str, damage: int, plain: bool, tmp_path: Path) -> None:
    files = contents("bin")
    if plain:
        files = {name: binary_batch(LABELS, np.zeros_like(PLANES)) for name in files}
    path = pack(tmp_path / "a.tar", files, mode=mode)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + damage] = bytes(byte ^ 0xFF for byte in content[middle : middle + damage])
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar: "):
        cifar_archives.read(path)


@pytest.mark.usefixtures("small")
def test_an_archive_that_stops_being_gzip_is_refused(tmp_path: Path) -> None:
    content = pack(tmp_path / "a.tar", contents("bin"), mode="w").read_bytes()
    deflate = zlib.compressobj(wbits=31)
    start = deflate.compress(content[:100_000]) + deflate.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "a.tar").write_bytes(start + b"\xff" * 1000)  # a block of a type that there is not
    with pytest.raises(DataError, match=r"invalid block type"):
        cifar_archives.read(tmp_path / "a.tar")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [True, False])
def test_a_batch_that_is_too_large_is_refused_unread(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar_archives, "MAX_BATCH", 40_000)
    monkeypatch.setattr(cifar_archives, "_decode", None)
    files = {"data_batch_1": bytes(40_001)}
    path = pack(tmp_path / "a.tar.gz", files) if packed else unpack(tmp_path / "a", files)
    with pytest.raises(DataError, match=r"data_batch_1: a batch of CIFAR-10 has at most 40,000 bytes, this has 40,001"):
        cifar_archives.read(path)


def test_a_link_or_a_folder_in_an_archive_is_no_batch(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("data_batch_1.bin")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(DataError, match=r"found none of them"):
        cifar_archives.read(tmp_path / "a.tar")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", ["bin", "bin unpacked", "py", "py unpacked", "npz", "folders", "zip"])
def test_every_form_of_cifar10_gives_the_same(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = expected()
    kind, _, unpacked = form.partition(" ")
    if kind in ("bin", "py"):
        make = unpack if unpacked else pack
        named = make(tmp_path / "mine", contents(kind))
    elif kind == "npz":
        named = tmp_path / "mine.npz"
        x: Any = {"x_train": train.images, "x_test": test.images}
        np.savez(named, y_train=train.labels, y_test=test.labels, **x)
    else:
        named = tmp_path / "mine"
        for split, dataset in (("train", train), ("test", test)):
            for place, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
                write(named / split / dataset.names[label] / f"{place:05d}.png", image)
    if kind == "zip":
        named = Path(shutil.make_archive(str(named), "zip", named))
    monkeypatch.setenv("THUMBNET_CIFAR10", str(named))
    splits = read_cifar10()
    assert fingerprints(splits) == fingerprints((train, test))
    assert splits.train.framing == "soft-centre"


def test_the_batches_are_as_large_as_the_official_ones() -> None:
    """By the page of the data set, https://www.cs.toronto.edu/~kriz/cifar.html."""
    assert cifar_archives.ROWS * (1 + cifar_archives.PIXELS) == 30_730_000 < cifar_archives.MAX_BATCH
    assert len(cifar_archives.TRAIN) * cifar_archives.ROWS == 50_000


# --- .npz ---


def arrays(count: int = 20, classes: int = 2, **changes: Any) -> dict[str, Any]:
    """A pair x, y that can be split."""
    x = np.random.default_rng(1).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return {"x": x, "y": np.arange(count) % classes, **changes}


def four(train: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    return {f"{key}_{split}": part[key] for split, part in (("train", train), ("test", test)) for key in "xy"}


def read_npz(size: int = 8, options: dict[str, Any] | None = None, /, **content: Any) -> Splits:
    np.savez("some.npz", **content)
    return npz.read_npz(Path("some.npz"), size, **(options or {}))


def test_npz_with_two_splits_keeps_them() -> None:
    train, test = arrays(20), arrays(4)
    splits = read_npz(**four(train, test))
    assert (splits.train.images == train["x"]).all()
    assert (splits.test.images == test["x"]).all()
    assert splits.test.labels.tolist() == [0, 1, 0, 1]
    assert splits.train.labels.dtype == np.int64
    assert splits.train.names == splits.test.names == ("0", "1")


def test_npz_with_one_pair_is_split_by_class() -> None:
    content = arrays(100)
    train, test = read_npz(8, {"seed": 5}, **content)
    assert np.bincount(test.labels).tolist() == [10, 10]
    assert np.bincount(train.labels).tolist() == [40, 40]
    every = {bytes(image): label for image, label in zip(content["x"], content["y"], strict=True)}
    got = {bytes(image): int(label) for part in (train, test) for image, label in zip(part.images, part.labels)}  # noqa: B905
    assert got == every
    assert read_npz(8, {"seed": 5}, **content).test.fingerprint() == test.fingerprint()
    assert read_npz(8, {"seed": 6}, **content).test.fingerprint() != test.fingerprint()


def test_npz_prefers_the_split_that_is_there() -> None:
    assert len(read_npz(**four(arrays(20), arrays(4)), **arrays(100)).train) == 20


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3)])
def test_npz_pictures_may_be_grey(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(1).integers(0, 256, (20, *shape), np.uint8)
    train, _ = read_npz(**four(arrays(x=x), arrays()))
    assert train.images.shape == (20, 8, 8, 3)
    assert (train.images == (x if x.shape[-1] == 3 else x.reshape(20, 8, 8, 1))).all()


def test_npz_pictures_are_resized() -> None:
    x = np.zeros((20, 8, 16, 3), np.uint8)
    x[:, :, 4:12] = 255  # a light middle between dark sides
    content = four(arrays(x=x), arrays())
    assert read_npz(4, **content).train.images[0, 0, :, 0].tolist() == [0, 255, 255, 0]
    assert read_npz(4, {"framing": "crop"}, **content).train.images.min() == 255
    assert read_npz(32, **content).train.images.shape == (20, 32, 32, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint16, np.float16, np.float32, np.float64])
def test_npz_values_from_0_to_255_are_taken_as_they_are(dtype: Any) -> None:
    x = arrays()["x"]
    assert (read_npz(**four(arrays(x=x.astype(dtype)), arrays())).train.images == x).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_npz_floats_from_0_to_1_are_scaled(dtype: Any) -> None:
    x = arrays()["x"]
    train, test = read_npz(**four(arrays(x=(x / 255).astype(dtype)), arrays(x=(x / 255).astype(dtype))))
    assert (train.images == x).all()
    assert (test.images == x).all()


def test_npz_floats_are_rounded() -> None:
    x = np.full((20, 8, 8), 200.0)
    x[0], x[1] = 0.999, 0.001
    assert read_npz(**four(arrays(x=x), arrays())).train.images[:2, 0, 0, 0].tolist() == [1, 0]
    assert read_npz(**four(arrays(x=x / 200), arrays())).train.images[:2, 0, 0, 0].tolist() == [1, 0]
    assert read_npz(**four(arrays(x=x / 255), arrays())).train.images[2, 0, 0, 0] == 200


def test_npz_scale_is_the_same_in_both_splits() -> None:
    """A test split of nearly black pictures is not made bright."""
    x = arrays()["x"].astype(np.float32)
    train, test = read_npz(**four(arrays(x=x), arrays(x=np.ones_like(x))))
    assert train.images.max() == 255
    assert test.images.max() == 1
    train, test = read_npz(**four(arrays(x=x / 255), arrays()))  # floats here, bytes there: each by its type
    assert (train.images == x).all()
    assert (test.images == x).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_npz_masks_of_0_and_1_are_black_and_white(dtype: Any) -> None:
    mask = np.random.default_rng(1).integers(0, 2, (20, 8, 8)).astype(dtype)
    with pytest.warns(DataWarning, match=r"some.npz: .* integers 0 and 1, are taken for black and white"):
        train, _ = read_npz(**four(arrays(x=mask), arrays(x=mask)))
    assert (train.images[..., 0] == 255 * mask).all()
    colour = np.repeat(mask[..., None], 3, axis=3)
    with pytest.warns(DataWarning, match=r"black and white"):
        train, _ = read_npz(**four(arrays(x=colour), arrays(x=mask)))
    assert (train.images == 255 * colour).all()


@pytest.mark.parametrize("over", [1.0000001, 1.05, 1.9])
def test_npz_floats_just_above_1_are_taken_for_0_to_1(over: float) -> None:
    x = arrays()["x"]
    floats = (x / 255).astype(np.float64)
    floats[0, 0, 0, 0] = over
    with pytest.warns(
        DataWarning, match=r"some.npz: .* floats from 0 to 1.*, are taken for 0 to 1; those above 1 count"
    ):
        train, _ = read_npz(**four(arrays(x=floats), arrays(x=x / 255)))
    x[0, 0, 0, 0] = 255
    assert (train.images == x).all()


UNIT = np.random.default_rng(1).random((20, 8, 8))
SPOT = np.where(np.arange(1280).reshape(20, 8, 8) == 7, 200.0, UNIT)
AMBIGUOUS: dict[str, tuple[dict[str, Any], str]] = {
    "one bright spot": (arrays(x=SPOT), "from 0 to 200, 99.9% of"),
    "floats to 16": (arrays(x=16 * UNIT), "floats from 0 to 15.9"),
    "integers to 16": (arrays(x=(17 * UNIT).astype(np.uint8)), "integers from 0 to 16, which are nearly black"),
    "masks of two kinds": (
        four(arrays(x=UNIT.round().astype(np.uint8)), arrays(x=255 * UNIT.round().astype(np.uint8))),
        "integers from 0 to 255 in one split and 0 and 1 in the other",
    ),
    "a split of each": (four(arrays(x=UNIT), arrays(x=255 * UNIT)), "and one split from 0 to 1 alone"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_npz_values_of_no_clear_range_are_refused(case: str) -> None:
    content, message = AMBIGUOUS[case]
    with pytest.raises(DataError, match=rf"^some.npz: expected pictures with values from 0 to 255.* {message}"):
        read_npz(**content)


def test_npz_of_mostly_black_floats_is_taken_as_it_is() -> None:
    """As handwriting is: most values are 0, and some of an edge are below 1."""
    x = np.zeros((20, 8, 8))
    x[:, 3:5, 3:5] = np.array([[255, 0.5], [128, 90]])
    train, _ = read_npz(**four(arrays(x=x), arrays(x=x)))
    assert train.images[0, 3:5, 3:5, 0].tolist() == [[255, 0], [128, 90]]


def test_npz_labels_may_be_any_text() -> None:
    """A number that Python does not read, and a name in both of its forms."""
    long = "1" + "0" * 5000
    y = np.array([long, "2", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")] * 5)
    train, test = read_npz(**four(arrays(y=y), arrays(y=y)))
    assert train.names == test.names == ("2", long, "é")
    assert train.labels.tolist() == [1, 0, 2, 2] * 5


@pytest.mark.parametrize("shape", [(-1, 8, 8), (-(2**40), -8, 8), (20, -8, -8)])
def test_npz_of_a_negative_shape_is_refused(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("some.npz", y=arrays()["y"])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile("some.npz", "a") as archive:
        archive.writestr("x.npy", header.getvalue())
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataError, match=r"some.npz: x has the shape .*, which no array can have"):
        npz.read_npz(Path("some.npz"))


@pytest.mark.parametrize(
    ("y", "labels", "names"),
    [
        ([1, 0, 2, 1], [1, 0, 2, 1], ("0", "1", "2")),
        ([[1], [0], [2], [1]], [1, 0, 2, 1], ("0", "1", "2")),
        ([7, 100, 20, 7], [0, 2, 1, 0], ("7", "20", "100")),
        ([-1, 1, -1, 1], [0, 1, 0, 1], ("-1", "1")),
        (["img10", "img2", "img1", "img2"], [2, 1, 0, 1], ("img1", "img2", "img10")),
        ([["cat"], ["ant"], ["cat"], ["ant"]], [1, 0, 1, 0], ("ant", "cat")),
        ([b"cat", "Käfer".encode(), b"cat", b"cat"], [1, 0, 1, 1], ("Käfer", "cat")),
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], [1, 0, 2, 1], ("0", "1", "2")),
        ([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [1, 0, 1, 1], ("0", "1")),
        ([[False, True], [True, False], [False, True], [True, False]], [1, 0, 1, 0], ("0", "1")),
    ],
)
def test_npz_labels(y: Any, labels: list[int], names: tuple[str, ...]) -> None:
    part = {"x": np.zeros((4, 8, 8), np.uint8), "y": np.array(y)}
    train, test = read_npz(**four(part, part))
    assert train.labels.tolist() == test.labels.tolist() == labels
    assert train.names == names


@pytest.mark.parametrize(
    ("y", "labels"),
    [([1, 0, 1], [1, 0, 1]), (["zebra", "ant", "zebra"], [0, 1, 0]), ([[1, 0], [0, 1], [1, 0]], [0, 1, 0])],
)
def test_npz_classes_are_named_by_the_file_or_the_caller(y: Any, labels: list[int]) -> None:
    part = {"x": np.zeros((3, 8, 8), np.uint8), "y": np.array(y)}
    stored = read_npz(**four(part, part), names=np.array(["zebra", "ant"]))
    assert stored.train.names == ("zebra", "ant")
    assert stored.train.labels.tolist() == labels
    told = read_npz(8, {"names": ("zebra", "ant")}, **four(part, part), names=np.array(["not", "these"]))
    assert told.train.names == ("zebra", "ant")
    assert told.train.labels.tolist() == labels


def test_npz_class_that_one_split_lacks_is_said_and_nothing_shifts() -> None:
    x = np.zeros((4, 8, 8), np.uint8)
    train, test = {"x": x, "y": np.array([3, 5, 9, 9])}, {"x": x, "y": np.array([3, 9, 9, 9])}
    with pytest.warns(DataWarning, match=r"classes without a picture in the test split.*: 5$"):
        splits = read_npz(**four(train, test))
    assert splits.test.labels.tolist() == [0, 2, 2, 2]
    with pytest.warns(DataWarning, match=r"classes without a picture in the training split.*: 5$"):
        read_npz(**four(test, train))


BAD_NPZ: dict[str, tuple[dict[str, Any], str]] = {
    "other keys": ({"images": [1], "labels": [2]}, "expected the keys x_train, .* x, y; found images, labels"),
    "half a split": ({"x_train": [1], "y_train": [2]}, "found x_train, y_train"),
    "nothing": ({}, "found nothing"),
    "pictures are objects": (arrays(x=np.array([None, {}])), "x holds pickled Python objects"),
    "labels are objects": (arrays(y=np.array(["cat", None])), "y holds pickled Python objects"),
    "channels first": (arrays(x=np.zeros((20, 3, 8, 8), np.uint8)), r"\(N, H, W, 3\).*got uint8 \(20, 3, 8, 8\)"),
    "flat": (arrays(x=np.zeros((20, 192), np.uint8)), r"got uint8 \(20, 192\)"),
    "alpha": (arrays(x=np.zeros((20, 8, 8, 4), np.uint8)), r"got uint8 \(20, 8, 8, 4\)"),
    "no pictures": (arrays(0), r"got uint8 \(0, 8, 8, 3\)"),
    "no pixels": (arrays(x=np.zeros((20, 0, 8, 3), np.uint8)), r"got uint8 \(20, 0, 8, 3\)"),
    "text as pictures": (arrays(x=np.full((20, 8, 8), "a")), "got <U1"),
    "complex pictures": (arrays(x=np.zeros((20, 8, 8), complex)), "got complex128"),
    "a number": (arrays(x=np.uint8(3)), r"got uint8 \(\)"),
    "below 0": (arrays(x=np.full((20, 8, 8), -1)), "got -1 to -1"),
    "above 255": (arrays(x=np.full((20, 8, 8), 256)), "got 256 to 256"),
    "normalised": (arrays(x=np.linspace(-1, 1, 1280).reshape(20, 8, 8)), "got -1 to 1"),
    "not a number": (arrays(x=np.array([0.5] * 1279 + [np.nan]).reshape(20, 8, 8)), "got nan to nan"),
    "infinite": (arrays(x=np.full((20, 8, 8), np.inf)), "got inf to inf"),
    "too few labels": (arrays(y=np.zeros(19, int)), r"a label for each of 20 pictures, got labels of shape \(19,\)"),
    "a single label": (arrays(y=np.int64(1)), r"got labels of shape \(\)"),
    "fractions": (arrays(y=np.full(20, 0.5)), r"integers or text.*got float64 \(20,\)"),
    "dates": (arrays(y=np.zeros(20, "M8[D]")), "got datetime64"),
    "soft labels": (arrays(y=np.full((20, 2), 0.5)), r"one-hot labels \(N, 2\), a single 1 in each row"),
    "two at once": (arrays(y=np.ones((20, 2), int)), "a single 1 in each row"),
    "a cube of labels": (arrays(y=np.zeros((20, 2, 2), int)), r"got int64 \(20, 2, 2\)"),
    "one class": (arrays(y=np.zeros(20, int)), "at least two classes, each named once, got '0'"),
    "too few names": (arrays(classes=3, names=["a", "b"]), "labels that are none of the 2 classes: 2$"),
    "another's names": (arrays(y=["a", "c"] * 10, names=["a", "b"]), "labels that are none of the 2 classes: 'c'"),
    "a name twice": (arrays(names=["a", "a"]), "each named once, got 'a', 'a'"),
    "fewer columns": (arrays(y=np.eye(2)[np.arange(20) % 2], names=["a", "b", "c"]), r"one-hot labels \(N, 3\)"),
    "names are objects": (arrays(names=np.array(["a", None])), "names holds pickled Python objects"),
    "broken text": (arrays(y=[b"\xff", b"a"] * 10), "utf-8"),
    "one picture in a class": (arrays(y=np.array([1] + [0] * 19)), "which cannot be split: 1"),
    "kinds differ": (four(arrays(), arrays(y=["0", "1"] * 10)), r"got int64 \(20,\) and <U1 \(20,\)"),
    "columns differ": (four(arrays(y=np.eye(3)[[0, 1] * 10]), arrays(y=np.eye(2)[[0, 1] * 10])), r"\(N, 3\)"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_a_bad_npz_is_refused(case: str) -> None:
    content, message = BAD_NPZ[case]
    with pytest.raises(DataError, match=rf"^some.npz: .*{message}"):
        read_npz(**content)


def test_npz_unpickles_nothing(tmp_path: Path) -> None:
    read_object = np.array([Malice(), 1], dtype=object)
    with pytest.raises(DataError, match=r"x holds pickled Python objects"):
        read_npz(**arrays(2, x=read_object))
    # A header that denies it; and a member with the bare key, which NumPy would prefer to the one with .npy.
    np.savez("good.npz", **arrays())
    with zipfile.ZipFile("good.npz", "a") as archive:
        archive.writestr("x", pickle.dumps(Malice()))
    assert len(npz.read_npz(tmp_path / "good.npz", 8).train) == 16
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Malice()))
    with pytest.raises(DataError, match=r"no .npz file"):
        npz.read_npz(tmp_path / "pickle.npz")
    assert not Path("executed").exists()


def test_a_broken_npz_is_refused_wherever_it_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, **arrays())
        whole = path.read_bytes()
        for kept in (0, 3, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            with pytest.raises(DataError, match=r"some\.npz: this is no \.npz file, or it is broken"):
                npz.read_npz(path)
        for place in (30 + len("x.npy") + 20, len(whole) // 3):  # in the .npy header, in the data
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            with pytest.raises(DataError, match=r"some\.npz: this is no \.npz file, or it is broken"):
                npz.read_npz(path)
    with pytest.raises(DataError, match=r"nowhere.npz: .*No such file"):
        npz.read_npz(tmp_path / "nowhere.npz")
    np.save(path.with_suffix(".npy"), arrays()["x"])
    with pytest.raises(DataError, match=r"not a zip file"):
        npz.read_npz(path.with_suffix(".npy"))


# --- memory ---


def little(bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "available_memory", lambda: bytes_)


def test_cifar10_is_refused_early_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    little(3 * 2**30, monkeypatch)
    monkeypatch.setenv("THUMBNET_CIFAR10", "nowhere")  # not reached
    with pytest.raises(
        DataError, match=r"60,000 pictures of 128x128 pixels would take 2\.7 GiB, .*50% of the 3\.0 GiB"
    ):
        read_cifar10(128)


def test_digits_are_refused_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    little(2**30, monkeypatch)
    with pytest.raises(DataError, match=r"1,797 pictures of 512x512 pixels would take 1\.3 GiB"):
        read_digits(512)


def test_a_folder_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "a", {"cat": 5, "dog": 5})
    little(2**30, monkeypatch)
    monkeypatch.setattr(folder_module, "_read_all", None)
    with pytest.raises(DataError, match=r"10 pictures of 8192x8192 pixels would take 1\.9 GiB"):
        read_folder(tmp_path / "a", 8192)


def test_npz_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what the arrays announce, not what the file takes: zeros pack to a thousandth."""
    np.savez_compressed("bomb.npz", **arrays(x=np.zeros((20, 512, 512), np.float64)))
    assert Path("bomb.npz").stat().st_size < 100_000
    little(64 * 2**20, monkeypatch)
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(DataError, match=r"bomb\.npz: 20 pictures of 8x8 pixels would take 0\.0 GiB"):
        npz.read_npz(Path("bomb.npz"), 8)


@pytest.mark.parametrize("key", ["x", "y", "names"])
def test_npz_header_that_announces_too_much_is_refused(key: str) -> None:
    content = {**arrays(), "names": np.array(["a", "b"])}
    np.savez("some.npz", **{name: array for name, array in content.items() if name != key})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 8, 8)})
    with zipfile.ZipFile("some.npz", "a") as archive:
        archive.writestr(f"{key}.npy", header.getvalue())
    with pytest.raises(DataError, match=r"would take [0-9]{5,}\.[0-9] GiB"):
        npz.read_npz(Path("some.npz"))


def test_available_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", lambda _: "MemTotal: 900 kB\nMemAvailable:  500 kB\n")
        assert available_memory() == 500 * 1024
        patch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__, raising=False)
        patch.setattr(Path, "read_text", fail)
        assert available_memory() == 4_096_000
        patch.delattr(os, "sysconf")
        assert available_memory() is None
        check_memory(10**9, 1000)  # nothing is known, so nothing is refused


# --- folders ---


def test_training_sees_what_prediction_sees(tmp_path: Path) -> None:
    """Large JPEGs are decoded smaller, which moves a level here and there: either both do so, or neither."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(5):
            path = tmp_path / "a" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = cv2.resize(rng.integers(0, 256, (64, 64, 3), np.uint8), (1024, 1024), interpolation=cv2.INTER_CUBIC)
            path.write_bytes(cv2.imencode(".jpg", noise)[1].tobytes())
    splits = read_folder(tmp_path / "a", 4, framing="crop")
    trained_on = {square.tobytes() for part in splits for square in part.images}
    classifier = Classifier(model_file(framing="crop"))
    assert {classifier.square(path).tobytes() for path in (tmp_path / "a").rglob("*.jpg")} == trained_on


def write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


def tree(root: Path, classes: dict[str, int]) -> Path:
    """For each class so many pictures: red is the class's place among `classes`, green the picture's number."""
    places = {name: place for place, name in enumerate(dict.fromkeys(name.split("/")[-1] for name in classes))}
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = np.full((8, 8, 3), (places[name.split("/")[-1]], number, 0), np.uint8)
            write(root / name / f"{number}.png", image)
    return root


def reds(dataset: Dataset) -> list[int]:
    return [int(value) for value in dataset.images[:, 0, 0, 0]]


def greens(dataset: Dataset) -> list[int]:
    return [int(value) for value in dataset.images[:, 0, 0, 1]]


@pytest.mark.parametrize("other", ["test", "val"])
def test_folder_with_two_splits(other: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 3, "train/dog": 4, f"{other}/cat": 2, f"{other}/dog": 1})
    train, test = read_folder(root, 8)
    assert train.names == test.names == ("cat", "dog")
    assert reds(train) == train.labels.tolist() == [0, 1, 0, 1, 0, 1, 1]
    assert greens(train) == [0, 0, 1, 1, 2, 2, 3]  # across the classes by name, so that CIFAR-10 has its order
    assert test.labels.tolist() == [0, 1, 0]
    assert train.images.shape == (7, 8, 8, 3)
    assert train.mirrored


def test_folder_without_splits_is_split(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 20, "dog": 10, "emu": 5})
    train, test = read_folder(root, 8, seed=1)
    assert np.bincount(test.labels).tolist() == [4, 2, 1]
    assert np.bincount(train.labels).tolist() == [16, 8, 4]
    assert sorted(zip(reds(train) + reds(test), greens(train) + greens(test), strict=True)) == sorted(
        (place, number) for place, count in enumerate([20, 10, 5]) for number in range(count)
    )
    assert read_folder(root, 8, seed=1).test.fingerprint() == test.fingerprint()
    assert read_folder(root, 8, seed=2).test.fingerprint() != test.fingerprint()


def test_folder_sorts_naturally(tmp_path: Path) -> None:
    names = ["class1", "class2", "class10", "x²", "٣"]
    root = tree(tmp_path / "a", {f"{split}/{name}": 12 for split in ("train", "test") for name in names})
    train, _ = read_folder(root, 8)
    assert train.names == tuple(names)
    assert train.labels.tolist() == reds(train) == [0, 1, 2, 3, 4] * 12
    assert greens(train) == [number for number in range(12) for _ in names]


def test_folder_reads_deeper_folders(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    (root / "train/cat/0.png").rename(root / "train/cat/00.png")
    (root / "train/cat/9/b").mkdir(parents=True)
    (root / "train/cat/1.png").rename(root / "train/cat/9/b/0.png")
    train, _ = read_folder(root, 8)
    assert train.labels.tolist() == [1, 0, 1, 0]
    assert greens(train) == [0, 0, 1, 1]  # dog/0, cat/00, dog/1, cat/9/b/0


def test_folder_leaves_hidden_files_and_litter_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})
    tree(root, {".git/x": 1, "train/.cache": 2, "train/cat/.thumbs": 2, "train/__MACOSX": 0})
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png"):
        for folder in ("", "train", "train/cat", "test/dog"):
            (root / folder / name).write_bytes(b"litter")
    (root / "README.txt").write_text("cats and dogs")
    (root / "train" / "labels.csv").write_text("0,cat")
    train, test = read_folder(root, 8)
    assert train.names == ("cat", "dog")
    assert (len(train), len(test)) == (4, 2)


def test_folder_class_that_one_split_lacks_is_said_and_nothing_shifts(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/ant": 2, "train/bee": 2, "test/bee": 1, "train/cat": 2, "test/cat": 1})
    with pytest.warns(DataWarning, match=r"classes without a picture in the test split.*: ant$"):
        train, test = read_folder(root, 8)
    assert train.names == test.names == ("ant", "bee", "cat")
    assert reds(test) == test.labels.tolist() == [1, 2]
    shutil.rmtree(root / "train/cat")
    with pytest.warns(DataWarning) as said:
        train, test = read_folder(root, 8)
    assert sorted(str(warning.message) for warning in said) == [
        f"{root}: classes without a picture in the test split, which cannot be measured: ant",
        f"{root}: classes without a picture in the training split, which cannot be learned: cat",
    ]
    assert reds(test) == test.labels.tolist() == [1, 2]


def test_folder_says_what_it_leaves_unused(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {f"{split}/{name}": 2 for split in ("train", "test", "val", "more") for name in "xy"})
    (root / "test/x/1.png").unlink()
    with pytest.warns(DataWarning, match=r"a: train/ and test/ are read; left unused: more/, val/$"):
        assert len(read_folder(root, 8).test) == 3


def test_folder_may_have_a_class_that_is_called_train(tmp_path: Path) -> None:
    train, _ = read_folder(tree(tmp_path / "a", {"bus": 5, "train": 5, "truck": 5}), 8)
    assert train.names == ("bus", "train", "truck")


def test_folder_resizes_as_told(tmp_path: Path) -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 4:12] = (255, 0, 0)  # red between black sides
    for name in ("train/x", "train/y", "test/x", "test/y"):
        write(tmp_path / "a" / name / "wide.png", image)
    assert read_folder(tmp_path / "a", 4).train.images[0, 0].tolist() == [
        [0] * 3,
        [255, 0, 0],
        [255, 0, 0],
        [0] * 3,
    ]
    cropped = read_folder(tmp_path / "a", 4, framing="crop").train
    assert (cropped.images == (255, 0, 0)).all()
    assert cropped.framing == "crop"


def test_folder_reads_pictures_by_their_bytes(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 5, "dog": 5})
    (root / "cat/0.png").rename(root / "cat/0.txt")
    (root / "dog/0.png").rename(root / "dog/a picture")
    assert sum(len(part) for part in read_folder(root, 8)) == 10


def test_folder_lists_unreadable_pictures_and_leaves_them_out(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 5})
    (root / "train/cat/3.png").write_text("a note")
    (root / "train/dog/0.png").write_bytes((root / "train/dog/0.png").read_bytes()[:-30])
    (root / "test/cat/4.png").write_bytes(b"")
    (root / "train/cat/loop").symlink_to(root / "train", target_is_directory=True)
    os.mkfifo(root / "test/dog/pipe")
    with pytest.warns(DataWarning) as said:
        train, test = read_folder(root, 8)
    link, message = [str(warning.message) for warning in said]
    assert link == f"{root}/train: these files are no pictures and are left out: without an ending (1)"
    assert f"{root}: 3 of 50 pictures cannot be read: " in message
    for name, reason in (
        ("train/cat/3.png", "this is text, not a picture"),
        ("train/dog/0.png", "this PNG is broken or cut off"),
        ("test/cat/4.png", "expected a picture, got 0 bytes"),
    ):
        assert f"{root / name}: {reason}" in message
    assert reds(train) == train.labels.tolist()
    assert reds(test) == test.labels.tolist()
    assert (len(train), len(test)) == (38, 9)
    assert greens(train).count(3) == 1
    assert greens(train).count(0) == 1


@pytest.mark.parametrize("bad", [2, 3])
def test_folder_stops_when_more_than_a_tenth_is_unreadable(bad: int, tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 10, "dog": 10})
    for number in range(bad):
        (root / f"cat/{number}.png").write_text("a note")
    if bad == 2:
        with pytest.warns(DataWarning, match=r"2 of 20 pictures cannot be read"):
            assert sum(len(part) for part in read_folder(root, 8)) == 18
    else:
        with pytest.raises(DataError, match=r"3 of 20 pictures cannot be read: .*more than 10%: mend or delete them"):
            read_folder(root, 8)


def test_folder_lists_ten_unreadable_pictures_at_most(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"cat": 30, "dog": 0})
    for number in range(13):
        (root / f"dog/{number}.jpg").write_text("a note")
    with pytest.raises(DataError) as error:
        read_folder(root, 8)
    assert str(error.value).count("dog/") == 10
    assert " and 3 more" in str(error.value)


def test_folder_class_without_a_readable_picture_is_said(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 20, "train/dog": 20, "test/cat": 5, "test/dog": 1})
    (root / "test/dog/0.png").write_text("a note")
    with pytest.warns(DataWarning) as said:
        read_folder(root, 8)
    assert "1 of 46 pictures cannot be read" in str(said[0].message)
    assert str(said[1].message).endswith("in the test split, which cannot be measured: dog")


BAD_FOLDERS: dict[str, tuple[dict[str, int], str]] = {
    "nothing": ({}, "at least two, got nothing"),
    "one class": ({"cat": 5}, "expected a subfolder for each class, at least two, got cat"),
    "only train": ({"train/cat": 5, "train/dog": 5}, "got train.*if test/ or val/ is beside it"),
    "one class in both": ({"train/cat": 5, "test/cat": 5}, "at least two, got cat"),
    "an empty class": ({"cat": 5, "dog": 0, "emu": 5}, "a: classes without a picture: dog. Fill or delete"),
    "an empty class in test": ({"train/x": 5, "train/y": 5, "test/x": 2, "test/y": 0}, "a/test: classes without.*: y"),
    "an empty train": ({"train": 0, "test/x": 5, "test/y": 5}, "a: there is no picture in the training split"),
    "pictures in the root": ({".": 5, "cat": 5, "dog": 5}, r"a/\d.png: a picture outside of the classes"),
    "only pictures": ({".": 5}, r"a/\d.png: a picture outside of the classes"),
    "pictures in train": ({"train": 1, "train/x": 5, "train/y": 5, "test/x": 2, "test/y": 2}, "a/train/0.png: a pict"),
    "beside train": ({".": 1, "train/x": 5, "train/y": 5, "test/x": 2, "test/y": 2}, "a/0.png: a picture outside"),
    "one picture in a class": ({"cat": 5, "dog": 1}, "which cannot be split: dog"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_is_refused(case: str, tmp_path: Path) -> None:
    classes, message = BAD_FOLDERS[case]
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match=message):
        read_folder(tree(tmp_path / "a", classes))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a folder of pictures, got nothing there"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: expected a folder of pictures, got a file"):
        read_folder(tmp_path / "file")


def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "a", {"cat": 2, "dog": 2})

    def scandir(path: str, real: Any = os.scandir) -> Any:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"a: the folder cannot be read: .*Permission denied"):
        read_folder(root)


def test_good_sources_say_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "a", {"train/cat": 2, "train/dog": 2, "test/cat": 2, "test/dog": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_folder(root, 8)
        read_npz(**arrays())
