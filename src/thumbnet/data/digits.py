"""scikit-learn's handwritten digits → `Dataset`."""

import numpy as np

from thumbnet.data.dataset import Dataset, Splits, check_memory, split
from thumbnet.data.npz import squares_of
from thumbnet.errors import MissingExtraError


def read_digits(size: int = 32, *, seed: int = 0) -> Splits:
    """Read scikit-learn's 1,797 handwritten digits, which need no download. A fifth of them is the test split.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, its test part.

    Args:
        size: Pixels a side; the pictures have 8.
        seed: Decides the split.

    Raises:
        DataError: Not enough memory for this `size`.
        MissingExtraError: scikit-learn is not installed.
    """
    return split(unsplit_digits(size), seed)


def unsplit_digits(size: int) -> Dataset:
    """Read all digits as one data set. Arguments and errors are those of `read_digits`."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("the digits data set", "scikit-learn", "train") from error
    source = load_digits()
    check_memory(len(source.images), size)
    grey = np.rint(source.images * (255 / 16)).astype(np.uint8)  # (N, 8, 8), 0 to 16 → 0 to 255
    names = tuple(str(digit) for digit in range(10))
    return Dataset(squares_of(grey, 1, size, "stretch"), source.target.astype(np.int64), names, mirrored=False)
