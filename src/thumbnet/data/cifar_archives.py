"""Read CIFAR-10's two official archives, packed or unpacked, as arrays. Nothing is unpickled or written to disk."""

import lzma
import pickletools
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import DataError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
TEST = "test_batch"
ROWS = 10_000  # pictures in each of the six batches, in both archives
PIXELS = 3 * 32 * 32  # all red, then all green, then all blue, each row by row
MAX_BATCH = 2**25  # bytes; the official batches have 30,730,000 (binary) and just over 31,000,000 (Python)

# The opcodes of the official batches, which Python 2 pickled. The strings are the keys, the file names and the pixels.
# The globals would build a NumPy array, which is not done here.
TEXTS = {"SHORT_BINSTRING", "BINSTRING"}
INTEGERS = {"BININT", "BININT1", "BININT2"}
GLOBALS = {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
# fmt: off
STRUCTURE = {  # as `pickletools` names them
    "PROTO", "MARK", "STOP", "EMPTY_DICT", "EMPTY_LIST", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "TUPLE", "TUPLE1",
    "TUPLE2", "TUPLE3", "NONE", "NEWFALSE", "GLOBAL", "REDUCE", "BUILD", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET",
}
# fmt: on
KEYS = {"batch_label", "labels", "data", "filenames"}


class Batch(NamedTuple):
    """One of the six files, or several joined."""

    images: NDArray[np.uint8]  # (N, 32, 32, 3) RGB
    labels: NDArray[np.int64]  # (N,)


def read(path: Path) -> tuple[Batch, Batch]:
    """Read CIFAR-10's 50,000 training and 10,000 test pictures, in the official order.

    Args:
        path: The official binary or Python archive, however it is compressed, or a folder that holds its batches.

    Raises:
        DataError: No such archive, a broken one, a batch that is missing or of the wrong size, or a Python batch that
            holds anything but its labels, pixels and file names.
    """
    batches = {name: _decode(name, content, path) for name, content in _contents(path)}
    for suffix in (".bin", ""):
        if all(name + suffix in batches for name in (*TRAIN, TEST)):
            parts = [batches[name + suffix] for name in TRAIN]
            images = np.concatenate([part.images for part in parts])  # 5 * (10,000, 32, 32, 3) → (50,000, 32, 32, 3)
            return Batch(images, np.concatenate([part.labels for part in parts])), batches[TEST + suffix]
    found = ", ".join(sorted(batches)) or "none of them"
    raise DataError(f"{path}: expected CIFAR-10's batches {TRAIN[0]} … {TRAIN[-1]} and {TEST}, found {found}")


def is_unpacked(folder: Path) -> bool:
    """Whether `folder` holds at least one of the batches of either archive."""
    return any((folder / name).is_file() for name in _file_names())


def _file_names() -> list[str]:
    return [name + suffix for suffix in (".bin", "") for name in (*TRAIN, TEST)]


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """The batches in `path`: name and content, one at a time."""
    try:
        yield from _unpacked(path) if path.is_dir() else _packed(path)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        reason = str(error).split(":\n")[0]  # tarfile adds a line for each decompressor
        raise DataError(
            f"{path}: expected one of CIFAR-10's archives; this is another file, or a broken one: {reason}"
        ) from error


def _unpacked(folder: Path) -> Iterator[tuple[str, bytes]]:
    for name in _file_names():
        file = folder / name
        if file.is_file():
            _check_size(file, file.stat().st_size)
            yield name, file.read_bytes()


def _packed(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            content = archive.extractfile(member) if name in _file_names() and member.isreg() else None
            if content is not None:
                _check_size(path / name, member.size)
                yield name, content.read()
        while archive.fileobj is not None and archive.fileobj.read(2**20):
            pass  # the checksum of the compressed data is at its end


def _check_size(file: Path, size: int) -> None:
    if size > MAX_BATCH:
        raise DataError(f"{file}: a batch of CIFAR-10 has at most {MAX_BATCH:,} bytes, this has {size:,}")


def _decode(name: str, content: bytes, path: Path) -> Batch:
    labels, pixels = (_binary if name.endswith(".bin") else _python)(content, f"{path}: {name}")
    if labels.max() >= len(NAMES):
        raise DataError(f"{path}: {name}: expected labels from 0 to 9, got {labels.max()}")
    planes = pixels.reshape(-1, 3, 32, 32)  # (N, 3072) → (N, C, H, W)
    return Batch(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)  # (N, C, H, W) → (N, H, W, C)


def _binary(content: bytes, where: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels `(N,)` and pixels `(N, 3072)` of a binary batch: for each picture the label's byte, then the pixels."""
    if len(content) != ROWS * (1 + PIXELS):
        raise DataError(f"{where}: expected {ROWS * (1 + PIXELS):,} bytes, got {len(content):,}")
    records = np.frombuffer(content, np.uint8).reshape(ROWS, 1 + PIXELS)  # (N, 3073)
    return records[:, 0].astype(np.int64), records[:, 1:]


def _python(content: bytes, where: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Labels `(N,)` and pixels `(N, 3072)` of a Python batch, a pickle, which is read and not executed.

    `pickletools.genops` lists a pickle's opcodes with their arguments and does nothing with them. The labels are the
    integers that follow the key `labels`, the pixels the one string of their length that follows the key `data`.
    """
    key, labels, pixels = "", list[int](), list[str]()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name in TEXTS and isinstance(argument, str):
                key = argument if argument in KEYS else key
                if key == "data" and len(argument) == ROWS * PIXELS:
                    pixels.append(argument)
            elif opcode.name in INTEGERS and isinstance(argument, int):
                if key == "labels":
                    labels.append(argument)
            elif opcode.name not in STRUCTURE or (opcode.name == "GLOBAL" and argument not in GLOBALS):
                unexpected = f"{opcode.name} {argument or ''}".strip()
                raise DataError(
                    f"{where}: this is not an official batch: its pickle holds {unexpected[:80]!a}. Nothing ran"
                )
    except ValueError as error:
        raise DataError(f"{where}: this is no pickle, or it is cut off: {error}") from error
    if len(labels) != ROWS or len(pixels) != 1 or min(labels) < 0:
        raise DataError(
            f"{where}: expected {ROWS:,} labels and one string of {ROWS * PIXELS:,} pixels, "
            f"got {len(labels):,} and {len(pixels):,}"
        )
    data = np.frombuffer(pixels[0].encode("latin-1"), np.uint8)  # genops decoded it so, byte for character
    return np.array(labels, np.int64), data.reshape(ROWS, PIXELS)
