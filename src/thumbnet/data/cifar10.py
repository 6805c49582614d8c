"""CIFAR-10, wherever it lies or from its official address → `Dataset`."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

from thumbnet.data import cifar_archives
from thumbnet.data.dataset import Dataset, Splits, check_memory
from thumbnet.data.folder import read_folder
from thumbnet.data.npz import is_npz, read_npz, squares_of
from thumbnet.data.store import is_zip
from thumbnet.errors import DataError, DataWarning, FetchError
from thumbnet.files import cache_folder
from thumbnet.text import first_few

# The official binary archive, https://www.cs.toronto.edu/~kriz/cifar.html. The page gives an MD5; many public projects
# give the SHA-256 of the file with this size and MD5.
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
CIFAR10_FORMS = "an official archive of CIFAR-10, its unpacked folder, an .npz, or a folder or ZIP file of pictures"


def read_cifar10(size: int = 32, *, download: bool = True) -> Splits:
    """CIFAR-10: 50,000 training and 10,000 test photographs of ten classes, in the official order.

    These places are tried in order: what `$THUMBNET_CIFAR10` names; the copies that Keras (`~/.keras/datasets`) and
    torchvision (`./data`) leave; the cache (`cache_folder()`); the official download, which stays in the cache.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

    Args:
        size: Pixels a side; the pictures have 32.
        download: Whether it may be downloaded.

    Raises:
        DataError: `$THUMBNET_CIFAR10` cannot be used, there is no copy and no download, or not enough memory.
    """
    check_memory(60_000, size)
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
            warnings.warn(f"skipping a copy of CIFAR-10: {error}", DataWarning, stacklevel=2)
    if not download:
        raise DataError(
            f"CIFAR-10 was not found. Looked at: $THUMBNET_CIFAR10 (not set), {first_few(map(str, places))}. "
            "`--data cifar10` downloads it"
        )
    return _cifar10_at(_download_cifar10(places), size)


def _copies_in(place: Path) -> list[Path]:
    return [place / name for name in CIFAR10_COPIES if (place / name).exists()]


def _cifar10_at(path: Path, size: int) -> Splits:
    """Read the CIFAR-10 at `path`, whatever its form. In a folder that holds a copy, read the copy."""
    if not path.exists():
        raise DataError(f"{path} does not exist. Expected {CIFAR10_FORMS}")
    path = next(iter(_copies_in(path)), path)
    is_folder = path.is_dir() and not cifar_archives.is_unpacked(path)
    if path.is_file() and is_npz(path):
        splits = read_npz(path, size, names=cifar_archives.NAMES)
    elif is_folder or is_zip(path):
        splits = read_folder(path, size)
        if splits.train.names != cifar_archives.NAMES:
            raise DataError(f"{path}: expected the classes of CIFAR-10, got {first_few(splits.train.names)}")
    else:
        batches = cifar_archives.read(path)
        splits = Splits(*(Dataset(squares_of(x, 1, size, "stretch"), y, cifar_archives.NAMES) for x, y in batches))
    return Splits(*(replace(split, framing="soft-centre") for split in splits))


def _download_cifar10(looked_at: list[Path]) -> Path:
    """Download the official archive into the cache and give its path."""
    from thumbnet.sources.fetch import download

    path = cache_folder() / CIFAR10_FILE
    try:
        download(CIFAR10_URL, path, size=CIFAR10_SIZE, sha256=CIFAR10_SHA256, label="CIFAR-10")
    except FetchError as error:
        raise DataError(
            f"CIFAR-10 was not found and could not be downloaded: {error}.\nLooked at: $THUMBNET_CIFAR10 (not set), "
            f"{first_few(map(str, looked_at))}, {CIFAR10_URL}.\nTo go on, set THUMBNET_CIFAR10 to {CIFAR10_FORMS}; "
            f"save {CIFAR10_URL} as {path}; or try `--data digits`, which needs no download"
        ) from error
    return path
