"""What a user names as data → `Dataset`."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thumbnet.data.cifar10 import read_cifar10
from thumbnet.data.dataset import Dataset, Splits, as_splits, settle_names
from thumbnet.data.digits import unsplit_digits
from thumbnet.data.folder import HEAD, Tree, read_parts, read_tree
from thumbnet.data.npz import is_npz, npz_parts, npz_side
from thumbnet.data.store import Folder, is_zip, open_store
from thumbnet.data.table import SUFFIXES, OtherTableError, find, read_table
from thumbnet.errors import DataError, DataWarning, SourceError
from thumbnet.pictures.exif import BROKEN
from thumbnet.pictures.framing import Framing
from thumbnet.pictures.header import read_header
from thumbnet.pictures.kinds import kind

BUILT_IN = ("cifar10", "digits")
BUILT_IN_SIDES = {"cifar10": 32, "digits": 8}  # pixels of the stored pictures
SAMPLE = 50  # pictures whose sizes are looked at


def load_data(data: str, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
    """The data set that `data` names, in training and test pictures.

    Args:
        data: `cifar10`, `digits`, a folder or a ZIP file of pictures, a table of labels, or an `.npz` file.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        seed: Decides the split, where the source has none.

    Raises:
        DataError: `data` is none of these, or what it names cannot be used.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    return as_splits(data, load_parts(data, size, framing=framing), seed)


def load_parts(
    data: str,
    size: int = 32,
    *,
    framing: Framing = "stretch",
    known: Sequence[str] | None = None,
    download: bool = True,
) -> list[Dataset]:
    """The data set that `data` names, as its source has it: training and test pictures, or one part that is not split.

    Args:
        data: As in `load_data`.
        size: Pixels a side.
        framing: What happens to pictures that are not square.
        known: A model's class names. The data may lack some; its labels become places in these.
        download: Whether CIFAR-10 may be downloaded.

    Raises:
        DataError: `data` cannot be used, or has a class that is not `known`.
        MissingExtraError: scikit-learn is needed and not installed.
    """
    if data in BUILT_IN:
        if Path(data).exists():
            warnings.warn(
                f"{data} means the built-in data set; for what lies in this folder, write ./{data}",
                DataWarning,
                stacklevel=3,
            )
        parts = list(read_cifar10(size, download=download)) if data == "cifar10" else [unsplit_digits(size)]
        return [_renamed(part, known) for part in parts] if known else parts
    path = located(data)
    if path.is_file() and is_npz(path):
        return npz_parts(path, size, framing, None, known)
    return read_parts(read_labelled(path, known), size, framing)


def shorter_sides(data: str) -> list[int]:
    """The shorter sides of the pictures that `data` names, in pixels: of files, those of a sample, by their headers.

    Raises:
        DataError: As `load_parts` raises it.
    """
    if data in BUILT_IN_SIDES:
        return [BUILT_IN_SIDES[data]]
    path = located(data)
    if path.is_file() and is_npz(path):
        return [npz_side(path)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # reading warns again
        tree = read_labelled(path)
    files = tree.files
    return [side for file in files[:: max(1, len(files) // SAMPLE)] if (side := _side(tree, file))]


def _side(tree: Tree, file: str) -> int:
    """A picture's shorter side in pixels; 0 if its header cannot be read."""
    try:
        content = tree.store.read(file)
        return min(read_header(kind(content[:HEAD]), content).largest)
    except (SourceError, *BROKEN):
        return 0


def located(data: str) -> Path:
    """The folder or the file that `data` names.

    Raises:
        DataError: It names neither, or a file of another kind.
    """
    path = Path(data).expanduser()
    if data.strip() and (path.is_dir() or (path.is_file() and (is_npz(path) or is_zip(path) or _is_table(path)))):
        return path
    came = (
        "an empty name" if not data.strip() else "a file of another kind" if path.exists() else "no such file or folder"
    )
    raise DataError(
        f"{data}: {came}. Expected cifar10, digits, a folder or a ZIP file with a subfolder of pictures for each "
        "class, a table of labels (.csv), or an .npz file. (A CIFAR-10 of your own goes into $THUMBNET_CIFAR10.)"
    )


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def read_labelled(path: Path, known: Sequence[str] | None = None) -> Tree:
    """The labelled files of a folder, a ZIP file or a table.

    Raises:
        DataError: It holds no pictures of classes, see `folder.read_tree` and `table.read_table`.
    """
    if _is_table(path):
        return read_table(Folder(path.absolute().parent), path.name, known)
    store = open_store(path)
    table = find(store)
    if table is None:
        return read_tree(store, known)
    try:
        return read_table(store, table, known)
    except OtherTableError as error:
        try:
            tree = read_tree(store, known)
        except DataError:
            raise error from None
        warnings.warn(
            f"the folders are the classes, as the table is none of labels: {error}", DataWarning, stacklevel=3
        )
        return tree


def _renamed(dataset: Dataset, known: Sequence[str]) -> Dataset:
    """The data set with a model's names in place of its own."""
    names, places = settle_names(dataset.names, known)
    labels = np.array([places[name] for name in dataset.names], np.int64)[dataset.labels]  # (N,)
    return Dataset(dataset.images, labels, names, dataset.mirrored, dataset.framing)
