"""Labelled pictures: one array of pictures, one of labels, and the classes' names."""

import hashlib
import json
import math
import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from thumbnet.errors import DataError, DataWarning, MissingExtraError
from thumbnet.pictures.framing import Framing
from thumbnet.text import CONTROL, first_few, natural_key, printable

TEST_SHARE = 0.2  # held out from a source without a test split
# The share of free memory that pictures may take: splitting copies them once, and training needs room too.
MEMORY_SHARE = 0.5
STREAMED = "streamed:"  # begins a fingerprint of pictures that were not in memory together


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures.

    Attributes:
        images: uint8 `(N, S, S, 3)`, RGB.
        labels: int64 `(N,)`, places in `names`.
        names: The classes, at least two.
        mirrored: Whether a picture's mirror image keeps its class: photographs do, digits do not.
        framing: How any other picture is made into one like these, see `pictures.framing.resize`.

    Raises:
        DataError: A shape, a type or a label is not as above, or a name is repeated or cannot be printed.
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
        check_names(self.names)
        if len(self) and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            raise DataError(
                f"expected labels from 0 to {len(self.names) - 1}, got {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """Pixels a side, S."""
        return int(self.images.shape[1])

    def take(self, rows: NDArray[np.int64]) -> "Dataset":
        """The pictures in these `rows`, in their order."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    def fingerprint(self) -> str:
        """SHA-256, in hex, of names, shape, pixels and labels: what a model was trained on."""
        digest = hashlib.sha256(json.dumps([self.names, self.images.shape]).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def is_named(self, mark: object) -> bool:
        """Whether a model file's fingerprint, of either kind, is that of these pictures."""
        if isinstance(mark, str) and mark.startswith(STREAMED):
            return mark == streamed_fingerprint(self.names, map(square_key, self.images), self.labels)
        return mark == self.fingerprint()


def check_names(names: Sequence[str]) -> None:
    """Reject fewer than two classes, repeated names, and names that cannot be printed. Raises DataError."""
    if len(names) < 2 or len(set(names)) != len(names):
        raise DataError(f"expected at least two classes, each named once, got {first_few(map(repr, names))}")
    if bad := [name for name in names if not name or CONTROL.search(name)]:
        raise DataError(f"expected printable class names, got {first_few(map(repr, bad))}. Rename them")


def square_key(square: NDArray[np.uint8]) -> bytes:
    """SHA-256 of a square, uint8 `(S, S, 3)`: its side and its pixels."""
    return hashlib.sha256(len(square).to_bytes(4, "little") + np.ascontiguousarray(square).tobytes()).digest()


def streamed_fingerprint(names: Sequence[str], keys: Iterable[bytes], labels: NDArray[np.int64]) -> str:
    """A fingerprint of pictures that are never in memory together: of names, and of each `square_key` with its label.

    Their order, which renaming a file changes, does not count.
    """
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    for key, label in sorted(zip(keys, labels.tolist(), strict=True)):
        digest.update(key + label.to_bytes(8, "little"))
    return STREAMED + digest.hexdigest()


class Splits(NamedTuple):
    """What is trained on, and what is measured on. Both have the same names."""

    train: Dataset
    test: Dataset


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Split `dataset` in two: the rest, and a held-out `share` of each class. Both keep the order of the pictures.

    It raises what `held_out_rows` raises.
    """
    rest, held_out = held_out_rows(dataset.labels, dataset.names, share, seed)
    return dataset.take(rest), dataset.take(held_out)


def held_out_rows(
    labels: NDArray[np.int64], names: Sequence[str], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of the rest and of a held-out `share` of each class, both in order.

    Args:
        labels: `(N,)`, places in `names`.
        names: The classes.
        share: From 0 to 1, exclusive. A small set has more held out, so that each class has one picture there.
        seed: The same one holds out the same pictures.

    Raises:
        DataError: A class has a single picture, or too few pictures are left for each class to have one.
        MissingExtraError: scikit-learn is not installed.
    """
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingExtraError("splitting a data set", "scikit-learn", "train") from error
    counts = np.bincount(labels, minlength=len(names))  # (C,)
    single = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if single:
        raise DataError(
            f"classes with a single picture left, which cannot be split: {first_few(single)}. Each class needs three "
            "or more, to learn, to calibrate and to test; two where the test pictures are apart. Add pictures, or "
            "leave the class out"
        )
    held_out_count = max(math.ceil(share * len(labels)), np.count_nonzero(counts))
    try:
        rest, held_out = train_test_split(
            np.arange(len(labels)), test_size=held_out_count, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise DataError(
            f"{held_out_count} of {len(labels)} pictures in {np.count_nonzero(counts)} classes cannot be held out: "
            f"{error}"
        ) from error
    return np.sort(rest), np.sort(held_out)


def split(every: Dataset, seed: int) -> Splits:
    """Split `every` into training and test pictures, `TEST_SHARE` of it. Raises what `hold_out` raises."""
    return Splits(*hold_out(every, TEST_SHARE, seed))


def named_once(name: str) -> str:
    """A class's name in Unicode's form NFC. macOS stores `é` as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def settle_names(found: Iterable[str], known: Sequence[str] | None = None) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes' names, and the place in them of each name that was found.

    Args:
        found: The names in the data. Those that differ only in Unicode's form are one.
        known: A model's names; the data may lack some of them. Without these, the names found are sorted naturally.

    Raises:
        DataError: A name is none of the model's.
    """
    forms = {name: named_once(name) for name in found}
    names = tuple(sorted(set(forms.values()), key=natural_key)) if known is None else tuple(known)
    places = {named_once(name): place for place, name in enumerate(names)}
    if strange := sorted(set(forms.values()) - places.keys(), key=natural_key):
        raise DataError(
            f"the data has classes that the model does not know: {first_few(map(printable, strange))}. "
            f"It knows: {first_few(map(printable, names))}"
        )
    return names, {name: places[form] for name, form in forms.items()}


def as_splits(source: str | Path, parts: Sequence[Dataset], seed: int) -> Splits:
    """Training and test pictures: the two parts, or the only one, split. Raises what these raise."""
    return both_splits(source, *parts) if len(parts) == 2 else split(parts[0], seed)


def both_splits(source: str | Path, train: Dataset, test: Dataset) -> Splits:
    """Join the two splits. Raises and warns as `check_splits` does."""
    check_splits(source, train.names, train.labels, test.labels)
    return Splits(train, test)


def check_splits(source: str | Path, names: Sequence[str], train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Warn about classes that one of the splits lacks, by the labels of both.

    Raises:
        DataError: A split has no picture.
    """
    for labels, split, effect in ((train, "training", "learned"), (test, "test", "measured")):
        if not len(labels):
            raise DataError(f"{source}: there is no picture in the {split} split")
        present = set(labels.tolist())
        if missing := [name for label, name in enumerate(names) if label not in present]:
            report = f"classes without a picture in the {split} split, which cannot be {effect}: {first_few(missing)}"
            warnings.warn(f"{source}: {report}", DataWarning, stacklevel=4)


def available_memory() -> int | None:
    """Available memory in bytes; where the system does not say (macOS), all memory; if unknown (Windows), None."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(count: int, size: int, source: int = 0) -> None:
    """Reject more pictures than fit into memory, before they are read.

    Args:
        count: How many there are.
        size: Pixels a side.
        source: Bytes of what they are made from.

    Raises:
        DataError: They take more than `MEMORY_SHARE` of the available memory.
    """
    needed, available = count * size * size * 3 + source, available_memory()
    if available is not None and needed > MEMORY_SHARE * available:
        raise DataError(
            f"{count:,} pictures of {size}x{size} pixels would take {needed / 2**30:.1f} GiB, more than "
            f"{MEMORY_SHARE:.0%} of the {available / 2**30:.1f} GiB of memory. Choose a smaller size or fewer pictures"
        )
