"""Read the arrays of an `.npz` file as a `Dataset`, without unpickling anything."""

import lzma
import math
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import Dataset, Splits, as_splits, check_memory, named_once, settle_names
from thumbnet.errors import DataError, DataWarning
from thumbnet.pictures.framing import Framing, resize
from thumbnet.text import first_few, natural_key

NPZ_KEYS = (("x_train", "y_train", "x_test", "y_test"), ("x", "y"))
JUST_ABOVE = 2  # below it, floats are from 0 to 1 but for an overshoot
DARK = 32  # the brightest value of a whole set that is too dark for 0 to 255
ABOVE = 0.1  # the least share of floats above 1, where they are from 0 to 255
# What zipfile and NumPy raise at broken files and at pickled ones.
NPZ_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


def read_npz(
    path: Path, size: int = 32, *, framing: Framing = "stretch", names: Sequence[str] | None = None, seed: int = 0
) -> Splits:
    """Read the arrays of an `.npz` file, without unpickling anything.

    Args:
        path: The file. Its keys are `x_train`, `y_train`, `x_test` and `y_test`, or `x` and `y`, which are then split.
            Pictures: `(N, H, W, 3)`, `(N, H, W, 1)` or `(N, H, W)`, values from 0 to 255, floats from 0 to 1, or masks
            of integers 0 and 1.
            Labels: `(N,)` or `(N, 1)`, integers or text; or one-hot, `(N, C)`. A key `names` may name the classes.
        size: Pixels a side.
        framing: What happens to pictures that are not square, see `pictures.framing.resize`.
        names: The classes' names, instead of the file's own; integer labels are places in them. Without any names, the
            labels' values are the names: numbers in their order, text in natural order.
        seed: Decides the split, if the file has none.

    Raises:
        DataError: The file is broken, holds something else or pickled objects, or is too large for memory.
        MissingExtraError: The file has to be split and scikit-learn is not installed.
    """
    parts = npz_parts(path, size, framing, names)
    try:
        return as_splits(path, parts, seed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def npz_parts(
    path: Path, size: int, framing: Framing, names: Sequence[str] | None, known: Sequence[str] | None = None
) -> list[Dataset]:
    """Read training and test, or one part that is not split. `known` are a model's names: `dataset.settle_names`."""
    try:
        arrays = _npz_arrays(path, size)
        xs, ys = ([array for key, array in arrays.items() if key[0] == kind] for kind in "xy")
        for x, y in zip(xs, ys, strict=True):
            _check_arrays(x, y)
        if names is None and "names" in arrays:
            names = [str(name) for name in arrays["names"].ravel()]
        labels, classes = _labels(ys, names)
        if known is not None:
            used = sorted({label for y in labels for label in y.tolist()})
            mine, places = settle_names([classes[label] for label in used], known)
            to_mine = np.array([places.get(name, -1) for name in classes], np.int64)
            labels, classes = [to_mine[y] for y in labels], mine
        scales = _scales(path, xs)
        return [
            Dataset(squares_of(x, scale, size, framing), y, classes, framing=framing)
            for x, y, scale in zip(xs, labels, scales, strict=True)
        ]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def is_npz(path: Path) -> bool:
    """Whether a file is meant as an `.npz`, by its name or its content: a ZIP file of arrays."""
    if path.suffix.lower() == ".npz":
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except NPZ_ERRORS:
        return False


def _npz_arrays(path: Path, size: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of one of `NPZ_KEYS`, and `names` if it is there, once their headers say that they fit."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = _npy_headers(archive)
        count = sum(math.prod(shape[:1]) for key, (shape, _) in headers.items() if key[0] == "x")
        check_memory(count, size, sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values()))
        with np.load(path, allow_pickle=False) as stored:
            # With .npy: NumPy would prefer a member named by the bare key, which was not checked.
            arrays = {key: stored[f"{key}.npy"] for key in headers}
        return {key: np.char.decode(array) if array.dtype.kind == "S" else array for key, array in arrays.items()}
    except NPZ_ERRORS as error:
        raise DataError(f"this is no .npz file, or it is broken or cut off: {error}") from error


def npz_side(path: Path) -> int:
    """The shorter side of the largest pictures in an `.npz` file, in pixels. It reads no pictures.

    Raises:
        DataError: The file is broken or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = [shape for key, (shape, _) in _npy_headers(archive).items() if key[0] == "x"]
    except (*NPZ_ERRORS, DataError) as error:
        raise DataError(f"{path}: this is no .npz file of pictures, or it is broken or cut off: {error}") from error
    return max(min(shape[1:3], default=0) for shape in shapes)


def _npy_headers(archive: zipfile.ZipFile) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shapes and types of the arrays of one of `NPZ_KEYS`, and of `names` if it is there."""
    found = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    keys = next((keys for keys in NPZ_KEYS if found.issuperset(keys)), None)
    if keys is None:
        expected = ", or ".join(", ".join(keys) for keys in NPZ_KEYS)
        raise DataError(f"expected the keys {expected}; found {first_few(sorted(found, key=natural_key))}")
    return {key: _npy_header(archive, key) for key in [*keys, *found.intersection({"names"})]}


def _npy_header(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array that is not read yet."""
    with archive.open(f"{key}.npy") as member:
        if np.lib.format.read_magic(member) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        else:  # version 3 differs in nothing that is read here
            shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    if any(length < 0 for length in shape):
        raise DataError(f"{key} has the shape {shape}, which no array can have")
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


def _scales(path: Path, xs: list[NDArray[Any]]) -> list[int]:
    """What the values of each split are multiplied by so that they reach from 0 to 255: 255 or 1.

    This is a guess from how the values are distributed. A `DataWarning` reports a guess that is not obvious.
    """
    low, high = float(np.min([x.min() for x in xs])), float(np.max([x.max() for x in xs]))
    if not (low >= 0 and high <= 255):  # so, a NaN is refused too
        raise DataError(f"expected pictures with values from 0 to 255, or floats from 0 to 1, got {low:g} to {high:g}")
    floats = [x for x in xs if x.dtype.kind == "f"]
    integers = [x for x in xs if x.dtype.kind != "f"]
    by_kind = {"f": _float_scale(path, floats) if floats else 1, "": _integer_scale(path, integers) if integers else 1}
    return [by_kind["f" if x.dtype.kind == "f" else ""] for x in xs]


def _float_scale(path: Path, xs: list[NDArray[Any]]) -> int:
    """255 if floats are from 0 to 1, or just above after rounding or resizing; 1 if they are from 0 to 255."""
    highest = [float(x.max()) for x in xs]
    high = max(highest)
    if high <= 1:
        return 255
    if high < JUST_ABOVE:
        warnings.warn(
            f"{path}: the pictures' values, floats from 0 to {high:g}, are taken for 0 to 1; those above 1 count as 1",
            DataWarning,
            stacklevel=5,
        )
        return 255
    # The share among values that are not 0. Pictures from 0 to 255 have hardly any from 0 to 1.
    above = sum(np.count_nonzero(x > 1) for x in xs) / sum(np.count_nonzero(x) for x in xs)
    apart = any(most <= 1 and (x % 1).any() for x, most in zip(xs, highest, strict=True))
    if high < DARK or above < ABOVE or apart:
        raise DataError(
            f"expected pictures with values from 0 to 255, or floats from 0 to 1, got floats from 0 to {high:g}, "
            f"{1 - above:.1%} of them not above 1{' and one split from 0 to 1 alone' if apart else ''}. "
            "Bring them to one of these ranges"
        )
    return 1


def _integer_scale(path: Path, xs: list[NDArray[Any]]) -> int:
    """255 for masks, which are integers 0 and 1; else 1."""
    highest = [int(x.max()) for x in xs]
    high = max(highest)
    if high == 1:
        warnings.warn(
            f"{path}: the pictures' values, integers 0 and 1, are taken for black and white", DataWarning, stacklevel=5
        )
        return 255
    if high > 1 and 1 in highest:
        raise DataError(
            f"expected pictures with values from 0 to 255, got integers from 0 to {high} in one split and 0 and 1 in "
            "the other. Bring them to the same range"
        )
    if 1 < high < DARK:
        raise DataError(
            f"expected pictures with values from 0 to 255, got integers from 0 to {high}, which are nearly black. "
            f"Multiply them by 255 / {high} if they are meant to be brighter"
        )
    return 1


def squares_of(x: NDArray[Any], scale: int, size: int, framing: Framing) -> NDArray[np.uint8]:
    """`(N, H, W, 3)`, `(N, H, W, 1)` or `(N, H, W)`, which `scale` brings to 0 to 255 → `(N, size, size, 3)`."""
    if x.dtype == np.uint8 and x.shape[1:] == (size, size, 3) and scale == 1:
        return x
    if x.ndim == 3:
        x = x[..., np.newaxis]  # (N, H, W) → (N, H, W, 1)
    pixels = np.empty((len(x), size, size, 3), np.uint8)
    for row, image in enumerate(x):
        if x.dtype.kind == "f":
            image = np.rint(np.minimum(image.astype(np.float32) * scale, 255))
        elif scale != 1:
            image = image * np.uint8(scale)
        rgb = np.broadcast_to(image.astype(np.uint8), (*image.shape[:2], 3))  # (H, W, 1 or 3) → (H, W, 3)
        pixels[row] = resize(np.ascontiguousarray(rgb), size, framing)
    return pixels


def _labels(ys: list[NDArray[Any]], names: Sequence[str] | None) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Each split's labels as places in the names `(N,)`, and the names."""
    if all(y.ndim == 2 and y.shape[1] > 1 for y in ys):
        names = [str(column) for column in range(ys[0].shape[1])] if names is None else names
        ys = [_from_one_hot(y, len(names)) for y in ys]
    ys = [y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for y in ys]  # (N, 1) → (N,)
    ys = [np.array([named_once(name) for name in y.tolist()]) if y.dtype.kind == "U" and y.ndim == 1 else y for y in ys]
    kinds = {"text" if y.dtype.kind == "U" else "integers" if y.dtype.kind in "iu" else str(y.dtype) for y in ys}
    if any(y.ndim != 1 for y in ys) or kinds not in ({"text"}, {"integers"}):
        came = " and ".join(f"{y.dtype} {y.shape}" for y in ys)
        raise DataError(f"expected labels as integers or text, (N,) or (N, 1), or one-hot (N, C), got {came}")
    values = {value for y in ys for value in y.tolist()}
    if names is None:
        ordered = sorted(values, key=natural_key) if kinds == {"text"} else sorted(values)
        names = [str(value) for value in ordered]
    else:
        ordered = list(map(named_once, names)) if kinds == {"text"} else list(range(len(names)))
    place = {value: label for label, value in enumerate(ordered)}
    if unknown := values - place.keys():
        raise DataError(f"labels that are none of the {len(names)} classes: {first_few(map(repr, unknown))}")
    return [np.array([place[value] for value in y.tolist()], np.int64) for y in ys], tuple(names)


def _from_one_hot(y: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """`(N, C)` → `(N,)`."""
    if y.dtype.kind not in "buif" or y.shape[1] != classes or not ((y == 0) | (y == 1)).all() or (y.sum(1) != 1).any():
        raise DataError(f"expected one-hot labels (N, {classes}), a single 1 in each row, got {y.dtype} {y.shape}")
    return np.asarray(y.argmax(1), np.int64)
