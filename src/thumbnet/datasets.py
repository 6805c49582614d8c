"""A data source → `Dataset`: one array of pictures, one of labels, and the classes' names. Built here only."""

import hashlib
import json
import lzma
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thumbnet import cifar_archives
from thumbnet.errors import DataError, DataWarning, FetchError, ImageError, MissingExtraError
from thumbnet.files import cache_folder
from thumbnet.pictures.decode import decode
from thumbnet.pictures.framing import Framing, resize
from thumbnet.pictures.kinds import LITTER, NO_PICTURE, meant_as_picture
from thumbnet.progress import progress
from thumbnet.text import CONTROL, first_few, natural_key

# The official binary archive, https://www.cs.toronto.edu/~kriz/cifar.html. The page gives an MD5; the SHA-256 is that
# of the file with this size and MD5, as many public projects have it.
CIFAR10_FILE = "cifar-10-binary.tar.gz"
CIFAR10_URL = f"https://www.cs.toronto.edu/~kriz/{CIFAR10_FILE}"
CIFAR10_SIZE = 170_052_171
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
# The names under which CIFAR-10 lies in a folder of downloads: official, as Keras 3 names them, as Keras 2 did.
CIFAR10_COPIES = (
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-batches-py-target/cifar-10-batches-py",
    CIFAR10_FILE,
    "cifar-10-python.tar.gz",
    "cifar-10-batches-py-target_archive",
    "cifar-10-batches-py-target.tar.gz",
    "cifar-10-batches-py.tar.gz",
)
CIFAR10_FORMS = "an official archive of CIFAR-10, its unpacked folder, an .npz or a folder of pictures"
TEST_SHARE = 0.2  # of a source without a test split
UNREADABLE_SHARE = 0.1  # of the pictures; more than that is no accident
# Of the free memory. Splitting and shuffling copy the pictures once, and the training needs room for itself.
MEMORY_SHARE = 0.5
NPZ_KEYS = (("x_train", "y_train", "x_test", "y_test"), ("x", "y"))
# What zipfile and NumPy raise at broken files and at pickled ones.
NPZ_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures.

    Attributes:
        images: uint8 `(N, S, S, 3)`, RGB.
        labels: int64 `(N,)`, places in `names`.
        names: The classes, at least two.
        mirrored: Whether a picture's mirror image keeps its class: photographs do, digits do not.
        framing: How any other picture becomes one like these, see `pictures.framing.resize`.

    Raises:
        DataError: A shape, a type or a label is not as above, or a name comes twice or cannot be printed.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    mirrored: bool = True
    framing: Framing = "centre"

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
            raise DataError(f"expected images as uint8 (N, S, S, 3), got {self.images.dtype} {shape}")
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise DataError(f"expected labels as int64 {shape[:1]}, got {self.labels.dtype} {self.labels.shape}")
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise DataError(f"expected at least two classes, each named once, got {first_few(map(repr, self.names))}")
        if bad := [name for name in self.names if not name or CONTROL.search(name)]:
            raise DataError(f"expected printable class names, got {first_few(map(repr, bad))}. Rename them")
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise DataError(
                f"expected labels from 0 to {len(self.names) - 1}, got {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> "Dataset":
        """The pictures in these `rows`, in their order."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    def fingerprint(self) -> str:
        """SHA-256, in hex, of names, shape, pixels and labels: what a model was trained on."""
        digest = hashlib.sha256(json.dumps([self.names, self.images.shape]).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


class Splits(NamedTuple):
    """What is trained on, and what is measured on. Both have the same names."""

    train: Dataset
    test: Dataset


class Tree(NamedTuple):
    """The files of a folder, of which any may turn out to be no picture."""

    names: tuple[str, ...]
    parts: list[list[tuple[int, Path]]]  # places in `names`, and files: training and test, or one that is not split


def load(data: str, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
    """The data set that `data` names.

    Args:
        data: `cifar10`, `digits`, a folder of pictures, or an `.npz` file.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        seed: Of the split, where the source has none.

    Raises:
        DataError: `data` is none of these, or what it names cannot be used.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if data == "cifar10":
        return cifar10(size)
    if data == "digits":
        return digits(size, seed=seed)
    path = located(data)
    return (
        folder(path, size, framing=framing, seed=seed) if path.is_dir() else npz(path, size, framing=framing, seed=seed)
    )


def located(data: str) -> Path:
    """The folder or the `.npz` file that `data` names.

    Raises:
        DataError: It names neither.
    """
    path = Path(data).expanduser()
    if path.is_dir() or (path.is_file() and _is_npz(path)):
        return path
    came = "a file of another kind" if path.exists() else "no such file or folder"
    raise DataError(
        f"{data}: {came}. Expected cifar10, digits, a folder with a subfolder of pictures for each class, "
        "or an .npz file. (A CIFAR-10 of your own goes into $THUMBNET_CIFAR10.)"
    )


def unsplit(data: str, size: int = 32) -> list[Dataset]:
    """The arrays that `data` names, as their source has them: training and test, or one that is not split yet.

    Args:
        data: `cifar10`, `digits` or an `.npz` file.
        size: Pixels a side; other pictures are stretched to it.

    Raises:
        DataError: `data` is none of these, or what it names cannot be used.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if data == "cifar10":
        return list(cifar10(size))
    return [_digits(size)] if data == "digits" else _npz_parts(located(data), size, "stretch", None)


def cifar10(size: int = 32) -> Splits:
    """CIFAR-10: 50,000 training and 10,000 test photographs of ten classes, in the official order.

    Read is, in this order: what `$THUMBNET_CIFAR10` names; the copies that Keras (`~/.keras/datasets`) and torchvision
    (`./data`) leave; the cache (`home()`); the official download, which stays in the cache.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        size: Pixels a side; the pictures have 32.

    Raises:
        DataError: `$THUMBNET_CIFAR10` cannot be used, there is no copy and no download, or not enough memory.
    """
    _check_memory(60_000, size)
    if named := os.environ.get("THUMBNET_CIFAR10"):
        try:
            return _cifar10_at(Path(named).expanduser(), size)
        except DataError as error:
            raise DataError(f"$THUMBNET_CIFAR10 is set and cannot be used: {error}") from error
    places = [Path.home() / ".keras" / "datasets", Path("data").absolute(), cache_folder()]
    for copy in (copy for place in places for copy in _copies_in(place)):
        try:
            return _cifar10_at(copy, size)
        except DataError as error:
            warnings.warn(f"a copy of CIFAR-10 is passed over: {error}", DataWarning, stacklevel=2)
    return _cifar10_at(_download_cifar10(places), size)


def digits(size: int = 32, *, seed: int = 0) -> Splits:
    """scikit-learn's 1,797 handwritten digits, which need no download; a fifth is the test split.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, its test part.

    Args:
        size: Pixels a side; the pictures have 8.
        seed: Of the split.

    Raises:
        DataError: Not enough memory for this `size`.
        MissingExtraError: scikit-learn is not installed.
    """
    return _split(_digits(size), seed)


def _digits(size: int) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("the digits data set", "scikit-learn", "train") from error
    source = load_digits()
    _check_memory(len(source.images), size)
    grey = np.rint(source.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8), 0 to 16 → 0 to 255
    names = tuple(str(digit) for digit in range(10))
    return Dataset(_squares(grey, 1, size, "stretch"), source.target.astype(np.int64), names, mirrored=False)


def npz(
    path: Path, size: int = 32, *, framing: Framing = "stretch", names: Sequence[str] | None = None, seed: int = 0
) -> Splits:
    """The arrays of an `.npz` file, read without unpickling anything.

    Args:
        path: The file. Its keys are `x_train`, `y_train`, `x_test` and `y_test`, or `x` and `y`, which are then split.
            Pictures: `(N, H, W, 3)`, `(N, H, W, 1)` or `(N, H, W)`, values from 0 to 255, or floats from 0 to 1.
            Labels: `(N,)` or `(N, 1)`, integers or text; or one-hot, `(N, C)`. A key `names` may name the classes.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        names: The classes' names, before the file's own; integer labels are places in them. Where there are none, the
            labels' values are the names: numbers in their order, text in natural order.
        seed: Of the split, where the file has none.

    Raises:
        DataError: The file is broken, holds something else or pickled objects, or is too large for memory.
        MissingExtraError: The file has to be split and scikit-learn is not installed.
    """
    parts = _npz_parts(path, size, framing, names)
    try:
        return _both(path, *parts) if len(parts) == 2 else _split(parts[0], seed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _npz_parts(path: Path, size: int, framing: Framing, names: Sequence[str] | None) -> list[Dataset]:
    """Training and test, or one that is not split yet."""
    try:
        arrays = _npz_arrays(path, size)
        xs, ys = ([array for key, array in arrays.items() if key[0] == kind] for kind in "xy")
        for x, y in zip(xs, ys, strict=True):
            _check_arrays(x, y)
        if names is None and "names" in arrays:
            names = [str(name) for name in arrays["names"].ravel()]
        labels, classes = _labels(ys, names)
        scale = _float_scale(xs)
        return [
            Dataset(_squares(x, scale, size, framing), y, classes, framing=framing)
            for x, y in zip(xs, labels, strict=True)
        ]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def folder(root: Path, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
    """A tree of pictures with a subfolder for each class, in natural order; pictures may lie deeper in these.

    Args:
        root: A folder with the classes in `train/` and in `test/` (or `val/`), or itself with the classes, which are
            then split. Hidden files are no part of it.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        seed: Of the split, where the folder has none.

    Raises:
        DataError: Fewer than two classes, an empty one, pictures outside of them, too many pictures for memory, or
            more than a tenth of them unreadable. (Fewer are left out, with a `DataWarning`.)
        MissingExtraError: The folder has to be split and scikit-learn is not installed.
    """
    names, ordered = tree(root)
    files = [file for part in ordered for _, file in part]
    labels = np.array([label for part in ordered for label, _ in part], np.int64)
    _check_memory(len(files), size)
    pixels, readable = _read_pictures(files, root, size, framing)
    every = Dataset(pixels, labels, names, framing=framing)
    if len(ordered) == 1:
        return _split(every.take(np.flatnonzero(readable)), seed)
    is_train = np.arange(len(files)) < len(ordered[0])  # (N,)
    train, test = (every.take(np.flatnonzero(readable & rows)) for rows in (is_train, ~is_train))
    return _both(root, train, test)


def tree(root: Path) -> Tree:
    """The files that `folder` reads, and their classes, without a look into them.

    Raises:
        DataError: Fewer than two classes, an empty one, or pictures outside of them.
    """
    try:
        trees = [_classes_in(part) for part in _split_folders(root)]
    except OSError as error:
        raise DataError(f"{root}: the folder cannot be read: {error}") from error
    # By name over both splits: a class that one of them lacks does not move the others' labels.
    names = tuple(sorted({entry.name for classes in trees for entry in classes}, key=natural_key))
    if len(names) < 2:
        raise DataError(
            f"{root}: expected a subfolder for each class, at least two, got {first_few(names)}. "
            "(A train/ counts as a split if test/ or val/ is beside it.)"
        )
    return Tree(names, [_in_order(classes, names) for classes in trees])


def pictures(root: Path, size: int = 32, *, framing: Framing = "stretch") -> NDArray[np.uint8]:
    """All pictures in a folder, however deep, whatever they show: uint8 `(N, size, size, 3)`, N 1 or more.

    As where a folder is predicted, these are the files whose names end as those of pictures do. Arguments are those of
    `folder`.

    Raises:
        DataError: There is no such folder or no picture in it, too many for memory, or more than a tenth of its
            pictures unreadable. (Fewer are left out, with a `DataWarning`.)
    """
    try:
        files = sorted(file for file in _files_in(root) if meant_as_picture(file.name))
    except OSError as error:
        raise DataError(f"{root}: the folder cannot be read: {error}") from error
    if not files:
        raise DataError(f"{root}: {NO_PICTURE}")
    _check_memory(len(files), size)
    pixels, readable = _read_pictures(files, root, size, framing)
    return pixels[readable]


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """`dataset` in two: the rest, and a `share` of each class that is held out. Both keep the order of the pictures.

    Args:
        dataset: What to split.
        share: From 0 to 1, exclusive. Of a small set more is held out, so that there is one picture for each class.
        seed: The same one holds out the same pictures.

    Raises:
        DataError: A class has a single picture, or so little is left that not each class has one.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingExtraError("splitting a data set", "scikit-learn", "train") from error
    counts = np.bincount(dataset.labels, minlength=len(dataset.names))  # (C,)
    single = [name for name, count in zip(dataset.names, counts, strict=True) if count == 1]
    if single:
        raise DataError(f"a class with one picture cannot be split: {first_few(single)}. Add pictures or leave it out")
    held_out_count = max(math.ceil(share * len(dataset)), np.count_nonzero(counts))
    try:
        rows = train_test_split(
            np.arange(len(dataset)), test_size=held_out_count, random_state=seed, stratify=dataset.labels
        )  # (N,) → (rest,), (held out,)
    except ValueError as error:
        raise DataError(
            f"{held_out_count} of {len(dataset)} pictures in {np.count_nonzero(counts)} classes cannot be held out: "
            f"{error}"
        ) from error
    rest, held_out = (dataset.take(np.sort(part)) for part in rows)
    return rest, held_out


def _split(every: Dataset, seed: int) -> Splits:
    return Splits(*hold_out(every, TEST_SHARE, seed))


def _both(source: Path, train: Dataset, test: Dataset) -> Splits:
    """The two, after it has been said which classes one of them lacks."""
    for dataset, split, effect in ((train, "training", "learned"), (test, "test", "measured")):
        if not len(dataset):
            raise DataError(f"{source}: there is no picture in the {split} split")
        present = set(dataset.labels.tolist())
        if missing := [name for label, name in enumerate(dataset.names) if label not in present]:
            report = f"classes without a picture in the {split} split, which cannot be {effect}: {first_few(missing)}"
            warnings.warn(f"{source}: {report}", DataWarning, stacklevel=3)
    return Splits(train, test)


def _available_memory() -> int | None:
    """Bytes that can be had; where that is not told (macOS), all there are; where neither is (Windows), None."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _check_memory(count: int, size: int, source: int = 0) -> None:
    """Refuse `count` pictures of `size` pixels a side, and `source` bytes to make them from, before they are read."""
    needed, available = count * size * size * 3 + source, _available_memory()
    if available is not None and needed > MEMORY_SHARE * available:
        raise DataError(
            f"{count:,} pictures of {size}x{size} pixels would take {needed / 2**30:.1f} GiB, more than "
            f"{MEMORY_SHARE:.0%} of the {available / 2**30:.1f} GiB of memory. Choose a smaller size or fewer pictures"
        )


def _copies_in(place: Path) -> list[Path]:
    return [place / name for name in CIFAR10_COPIES if (place / name).exists()]


def _cifar10_at(path: Path, size: int) -> Splits:
    """The CIFAR-10 in `path`, whatever its form; in a folder that holds a copy, the copy."""
    if not path.exists():
        raise DataError(f"{path} does not exist. Expected {CIFAR10_FORMS}")
    path = next(iter(_copies_in(path)), path)
    if path.is_dir() and not cifar_archives.is_unpacked(path):
        splits = folder(path, size)
        if splits.train.names != cifar_archives.NAMES:
            raise DataError(f"{path}: expected the classes of CIFAR-10, got {first_few(splits.train.names)}")
    elif _is_npz(path):
        splits = npz(path, size, names=cifar_archives.NAMES)
    else:
        batches = cifar_archives.read(path)
        splits = Splits(*(Dataset(_squares(x, 1, size, "stretch"), y, cifar_archives.NAMES) for x, y in batches))
    return Splits(*(replace(split, framing="soft-centre") for split in splits))


def _download_cifar10(looked_at: list[Path]) -> Path:
    """The official archive, once it is in the cache."""
    from thumbnet.sources.fetch import download

    path = cache_folder() / CIFAR10_FILE
    try:
        download(CIFAR10_URL, path, size=CIFAR10_SIZE, sha256=CIFAR10_SHA256, label="CIFAR-10")
    except FetchError as error:
        raise DataError(
            f"CIFAR-10 was not found and not downloaded: {error}.\nLooked at: $THUMBNET_CIFAR10 (not set), "
            f"{first_few(map(str, looked_at))}, {CIFAR10_URL}.\nWays out: set THUMBNET_CIFAR10 to {CIFAR10_FORMS}; "
            f"save {CIFAR10_URL} as {path}; or try `--data digits`, which needs no download"
        ) from error
    return path


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz" or zipfile.is_zipfile(path)


def _npz_arrays(path: Path, size: int) -> dict[str, NDArray[Any]]:
    """The arrays of one of `NPZ_KEYS`, and `names` if it is there, once their headers say that they fit."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
            keys = next((keys for keys in NPZ_KEYS if found.issuperset(keys)), None)
            if keys is None:
                expected = ", or ".join(", ".join(keys) for keys in NPZ_KEYS)
                raise DataError(f"expected the keys {expected}; found {first_few(sorted(found, key=natural_key))}")
            wanted = [*keys, *found.intersection({"names"})]
            headers = {key: _npy_header(archive, key) for key in wanted}
        count = sum(math.prod(shape[:1]) for key, (shape, _) in headers.items() if key[0] == "x")
        _check_memory(count, size, sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values()))
        with np.load(path, allow_pickle=False) as stored:
            # With .npy: a member whose name is the bare key would be read in place of the one that was checked.
            arrays = {key: stored[f"{key}.npy"] for key in wanted}
        return {key: np.char.decode(array) if array.dtype.kind == "S" else array for key, array in arrays.items()}
    except NPZ_ERRORS as error:
        raise DataError(f"this is no .npz file, or it is broken or cut off: {error}") from error


def _npy_header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that is not read yet."""
    with archive.open(f"{key}.npy") as member:
        if np.lib.format.read_magic(member) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        else:  # version 3 differs in nothing that is read here
            shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    if dtype.hasobject:
        raise DataError(f"{key} holds pickled Python objects, which are not read. Save it as an array of numbers")
    return shape, dtype


def _check_arrays(x: NDArray[Any], y: NDArray[Any]) -> None:
    if x.dtype.kind not in "uif" or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)) or x.size == 0:
        raise DataError(
            f"expected pictures as numbers (N, H, W, 3), (N, H, W, 1) or (N, H, W), got {x.dtype} {x.shape}"
        )
    if y.shape[:1] != x.shape[:1]:
        raise DataError(f"expected a label for each of {len(x)} pictures, got labels of shape {y.shape}")


def _float_scale(xs: list[NDArray[Any]]) -> int:
    """What floats are multiplied by, the same in both splits: 255 where none is above 1, else 1."""
    low, high = float(np.min([x.min() for x in xs])), float(np.max([x.max() for x in xs]))
    if not (low >= 0 and high <= 255):  # so, a NaN is refused too
        raise DataError(f"expected pictures with values from 0 to 255, or floats from 0 to 1, got {low:g} to {high:g}")
    return 255 if all(x.max() <= 1 for x in xs if x.dtype.kind == "f") else 1


def _squares(x: NDArray[Any], float_scale: int, size: int, framing: Framing) -> NDArray[np.uint8]:
    """`(N, H, W, 3)`, `(N, H, W, 1)` or `(N, H, W)` → `(N, size, size, 3)`."""
    if x.dtype == np.uint8 and x.shape[1:] == (size, size, 3):
        return x
    if x.ndim == 3:
        x = x[..., np.newaxis]  # (N, H, W) → (N, H, W, 1)
    pixels = np.empty((len(x), size, size, 3), np.uint8)
    for row, image in enumerate(x):
        if x.dtype.kind == "f":
            image = np.rint(image.astype(np.float32) * float_scale)
        rgb = np.broadcast_to(image.astype(np.uint8), (*image.shape[:2], 3))  # (H, W, 1 or 3) → (H, W, 3)
        pixels[row] = resize(np.ascontiguousarray(rgb), size, framing)
    return pixels


def _labels(ys: list[NDArray[Any]], names: Sequence[str] | None) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Each split's labels as places in the names `(N,)`, and the names."""
    if all(y.ndim == 2 and y.shape[1] > 1 for y in ys):
        names = [str(column) for column in range(ys[0].shape[1])] if names is None else names
        ys = [_from_one_hot(y, len(names)) for y in ys]
    ys = [y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for y in ys]  # (N, 1) → (N,)
    kinds = {"text" if y.dtype.kind == "U" else "integers" if y.dtype.kind in "iu" else str(y.dtype) for y in ys}
    if any(y.ndim != 1 for y in ys) or kinds not in ({"text"}, {"integers"}):
        came = " and ".join(f"{y.dtype} {y.shape}" for y in ys)
        raise DataError(f"expected labels as integers or text, (N,) or (N, 1), or one-hot (N, C), got {came}")
    values = {value for y in ys for value in y.tolist()}
    if names is None:
        ordered = sorted(values, key=natural_key) if kinds == {"text"} else sorted(values)
        names = [str(value) for value in ordered]
    else:
        ordered = list(names) if kinds == {"text"} else list(range(len(names)))
    place = {value: label for label, value in enumerate(ordered)}
    if unknown := values - place.keys():
        raise DataError(f"labels that are none of the {len(names)} classes: {first_few(map(repr, unknown))}")
    return [np.array([place[value] for value in y.tolist()], np.int64) for y in ys], tuple(names)


def _from_one_hot(y: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """`(N, C)` → `(N,)`."""
    if y.dtype.kind not in "buif" or y.shape[1] != classes or not ((y == 0) | (y == 1)).all() or (y.sum(1) != 1).any():
        raise DataError(f"expected one-hot labels (N, {classes}), a single 1 in each row, got {y.dtype} {y.shape}")
    return np.asarray(y.argmax(1), np.int64)


def _split_folders(root: Path) -> list[Path]:
    """The training and the test folder, or `root` alone, where there are not both: then `train` is a class too."""
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder of pictures, got {'a file' if root.exists() else 'nothing there'}")
    parts = {entry.name: entry for entry in _subfolders(root)}
    test = next((name for name in ("test", "val") if name in parts), None)
    if test is None or "train" not in parts:
        return [root]
    if unused := parts.keys() - {"train", test}:
        listed = first_few(f"{name}/" for name in sorted(unused))
        warnings.warn(f"{root}: train/ and {test}/ are read; left unused: {listed}", DataWarning, stacklevel=4)
    return [parts["train"], parts[test]]


def _classes_in(root: Path) -> dict[Path, list[Path]]:
    """The folder of each class, and the files in it."""
    classes = {entry: _files_in(entry) for entry in _subfolders(root)}
    if empty := [entry.name for entry, files in classes.items() if not files]:
        raise DataError(f"{root}: classes without a picture: {first_few(sorted(empty))}. Fill or delete these folders")
    return classes


def _subfolders(root: Path) -> list[Path]:
    """The folders in `root`. A picture beside them is refused, as it has no class; notes and tables may be there."""
    entries = _visible(root)
    if loose := [entry for entry in entries if meant_as_picture(entry.name) and entry.is_file()]:
        raise DataError(f"{loose[0]}: a picture outside of the classes. Move it into the subfolder of its class")
    return [entry for entry in entries if entry.is_dir()]


def _files_in(root: Path) -> list[Path]:
    """Every file in `root`, however deep; its bytes decide whether it is a picture. Links to folders count as files."""
    found: list[Path] = []
    for entry in _visible(root):
        found += _files_in(entry) if entry.is_dir() and not entry.is_symlink() else [entry]
    return found


def _visible(root: Path) -> list[Path]:
    return [entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.name.lower() not in LITTER]


def _in_order(classes: dict[Path, list[Path]], names: tuple[str, ...]) -> list[tuple[int, Path]]:
    """A split's files with their labels: by their names across all classes, then by class.

    So, CIFAR-10 in a folder, where each picture's file name is its place in the official archive, has the official
    order, and the same fingerprint.
    """
    found = [(names.index(root.name), file, root) for root, files in classes.items() for file in files]
    found.sort(key=lambda entry: (natural_key(entry[1].relative_to(entry[2]).as_posix()), entry[0]))
    return [(label, file) for label, file, _ in found]


def _read_pictures(
    files: list[Path], root: Path, size: int, framing: Framing
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Every file's pixels `(N, size, size, 3)`, and which could be read `(N,)`; the others are listed."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)

    def read(row: int) -> str:
        """Why `files[row]` cannot be read; nothing if it can, and is in its row."""
        try:
            if not files[row].is_file():  # a pipe would be waited for
                return f"{files[row]}: not a regular file"
            pixels[row] = resize(decode(files[row].read_bytes()), size, framing)
        except (OSError, ImageError) as error:
            return f"{files[row]}: {error}"
        return ""

    problems = []
    # OpenCV decodes without Python's lock.
    with progress("reading pictures", len(files), " pictures") as show, ThreadPoolExecutor() as pool:
        for problem in pool.map(read, range(len(files))):
            problems.append(problem)
            show(len(problems))
    if found := [problem for problem in problems if problem]:
        report = f"{root}: {len(found)} of {len(files)} pictures cannot be read: {first_few(found)}"
        if len(found) > UNREADABLE_SHARE * len(files):
            raise DataError(f"{report}. That is more than {UNREADABLE_SHARE:.0%}: mend or delete them")
        warnings.warn(f"{report}. They are left out", DataWarning, stacklevel=3)
    return pixels, np.array([not problem for problem in problems], np.bool_)
