"""A folder of pictures, a subfolder for each class → `Dataset`."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset, Splits, both_splits, check_memory, split
from thumbnet.errors import DataError, DataWarning, ImageError
from thumbnet.pictures.framing import Framing, square
from thumbnet.pictures.kinds import LITTER, NO_PICTURE, meant_as_picture
from thumbnet.progress import progress
from thumbnet.text import first_few, natural_key

UNREADABLE_SHARE = 0.1  # of the pictures; more than that is no accident


class Tree(NamedTuple):
    """The files of a folder, of which any may turn out to be no picture."""

    names: tuple[str, ...]
    parts: list[list[tuple[int, Path]]]  # places in `names`, and files: training and test, or one that is not split


def read_folder(root: Path, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
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
    names, ordered = read_tree(root)
    files = [file for part in ordered for _, file in part]
    labels = np.array([label for part in ordered for label, _ in part], np.int64)
    check_memory(len(files), size)
    pixels, readable = _read_all(files, root, size, framing)
    every = Dataset(pixels, labels, names, framing=framing)
    if len(ordered) == 1:
        return split(every.take(np.flatnonzero(readable)), seed)
    is_train = np.arange(len(files)) < len(ordered[0])  # (N,)
    train, test = (every.take(np.flatnonzero(readable & rows)) for rows in (is_train, ~is_train))
    return both_splits(root, train, test)


def read_tree(root: Path) -> Tree:
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


def read_pictures(root: Path, size: int = 32, *, framing: Framing = "stretch") -> NDArray[np.uint8]:
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
    check_memory(len(files), size)
    pixels, readable = _read_all(files, root, size, framing)
    return pixels[readable]


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


def _read_all(
    files: list[Path], root: Path, size: int, framing: Framing
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Every file's pixels `(N, size, size, 3)`, and which could be read `(N,)`; the others are listed."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)

    def read(row: int) -> str:
        """Why `files[row]` cannot be read; nothing if it can, and is in its row."""
        try:
            if not files[row].is_file():  # a pipe would be waited for
                return f"{files[row]}: not a regular file"
            pixels[row] = square(files[row].read_bytes(), size, framing)
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
