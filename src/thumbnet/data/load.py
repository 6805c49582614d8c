"""What a user names as data → `Dataset`."""

from pathlib import Path

from thumbnet.data.cifar10 import read_cifar10
from thumbnet.data.dataset import Dataset, Splits
from thumbnet.data.digits import read_digits, unsplit_digits
from thumbnet.data.folder import read_folder
from thumbnet.data.npz import is_npz, npz_parts, read_npz
from thumbnet.errors import DataError
from thumbnet.pictures.framing import Framing


def load_data(data: str, size: int = 32, *, framing: Framing = "stretch", seed: int = 0) -> Splits:
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
        return read_cifar10(size)
    if data == "digits":
        return read_digits(size, seed=seed)
    path = located(data)
    return (
        read_folder(path, size, framing=framing, seed=seed)
        if path.is_dir()
        else read_npz(path, size, framing=framing, seed=seed)
    )


def located(data: str) -> Path:
    """The folder or the `.npz` file that `data` names.

    Raises:
        DataError: It names neither.
    """
    path = Path(data).expanduser()
    if path.is_dir() or (path.is_file() and is_npz(path)):
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
        return list(read_cifar10(size))
    return [unsplit_digits(size)] if data == "digits" else npz_parts(located(data), size, "stretch", None)
