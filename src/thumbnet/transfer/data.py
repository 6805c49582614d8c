"""A data source → the features of its training and test pictures, each of which is read and dropped."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import TEST_SHARE, check_names, check_splits, held_out_rows, streamed_fingerprint
from thumbnet.data.folder import readable_parts
from thumbnet.data.load import BUILT_IN, load_parts, located, read_labelled
from thumbnet.data.npz import is_npz
from thumbnet.errors import DataError, DataWarning
from thumbnet.evaluation.judge import list_foreign
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import read
from thumbnet.text import first_few
from thumbnet.transfer.backbone import Backbone
from thumbnet.transfer.features import Picture, extract, frame
from thumbnet.transfer.make import Part, Samples

SIDE = 32  # pixels a side of CIFAR-10's pictures
SAMPLES = 8  # pictures on which the model file is compared with what it was made of


@dataclass(frozen=True, eq=False)
class Listed:
    """Labelled pictures that are not read yet."""

    source: str
    names: tuple[str, ...]
    pictures: list[Picture]  # N
    labels: NDArray[np.int64]  # (N,)
    files: list[str]  # their names, N; none if they are no files
    mirrored: bool  # a picture's mirror image keeps its class
    # Why each picture cannot be read (N texts, empty where it can) → the rows of the training and the test part, or of
    # the only one.
    parts: Callable[[Sequence[str]], list[NDArray[np.int64]]]


def list_pictures(data: str, network: Backbone) -> Listed:
    """List the pictures of a data source.

    Raises:
        DataError: It cannot be used.
    """
    if data not in BUILT_IN and not is_npz(path := located(data)):
        tree = read_labelled(path)
        check_names(tree.names)
        pictures: list[Picture] = [partial(tree.store.read, file) for file in tree.files]
        return Listed(data, tree.names, pictures, tree.labels, tree.files, True, partial(readable_parts, tree))
    # CIFAR-10 in the network's size would take gigabytes; each picture is enlarged on its way, to the same pixels.
    datasets = load_parts(data, SIDE if data == "cifar10" else network.size, framing=network.framing)
    pictures = [partial(part.images.__getitem__, row) for part in datasets for row in range(len(part))]
    rows = [np.arange(start, end) for start, end in pairwise(np.cumsum([0, *map(len, datasets)]))]
    labels = np.concatenate([part.labels for part in datasets])
    return Listed(data, datasets[0].names, pictures, labels, [], datasets[0].mirrored, lambda _: rows)


def pictures_in(folder: str | Path) -> list[Picture]:
    """The pictures in a folder, however deep. Raises what `list_foreign` raises."""
    return [partial(read, source) for source in list_foreign(folder) if not isinstance(source, Failure)]


@dataclass(frozen=True, eq=False)
class Seen:
    """A data source, as the backbone sees it."""

    rows: list[NDArray[np.int64]]  # of the training part and the test part, if there is one, among all pictures
    train: Part
    test: Part | None
    others: NDArray[np.float32] | None  # (M, D)
    described: dict[str, Any]  # what the model file says of the pictures


def see(data: Listed, others: list[Picture], network: Backbone, *, split_by: int | None = None) -> Seen:
    """Run all pictures through the backbone.

    Args:
        data: Those of the classes.
        others: Those of other things.
        network: The backbone.
        split_by: The seed by which data without a test part are split; without it, they are not.

    Raises:
        DataError: Too many pictures cannot be read, a single class is left, or too few pictures to split.
        ModelError: The backbone fails.
    """
    count = len(data.pictures)
    every = extract([*data.pictures, *others], network, names=data.files)
    rows = data.parts(every.problems[:count])
    if len(rows) == 1 and split_by is not None:
        [whole] = rows
        rows = [whole[part] for part in held_out_rows(data.labels[whole], data.names, TEST_SHARE, split_by)]
    parts = [Part(every.values[each], data.labels[each]) for each in rows]
    if len(parts) == 2:
        check_splits(data.source, data.names, parts[0].labels, parts[1].labels)
    if len(set(parts[0].labels.tolist())) < 2:
        raise DataError(f"{data.source}: expected training pictures of two classes or more. Add those of another one")
    described: dict[str, Any] = {}
    for name, part, own in zip(("train", "test"), parts, rows, strict=False):
        mark = streamed_fingerprint(data.names, [every.keys[row] for row in own], part.labels)
        described |= {name: mark, f"{name}_images": len(own)}
    strange = np.flatnonzero(every.readable[count:]) + count
    if len(others) > len(strange):
        lost = [problem for problem in every.problems[count:] if problem]
        report = f"{len(lost)} of {len(others)} pictures of other things cannot be read: {first_few(lost)}"
        warnings.warn(f"{report}. They are left out", DataWarning, stacklevel=3)
    if others:
        described["other_images"] = len(strange)
    strangers = every.values[strange] if others else None
    return Seen(rows, parts[0], parts[1] if parts[1:] else None, strangers, described)


def samples(data: Listed, seen: Seen, network: Backbone) -> Samples:
    """Training pictures from all over the set, read again."""
    [rows, *_] = seen.rows
    some = np.arange(0, len(rows), max(1, len(rows) // SAMPLES))[:SAMPLES]
    squares = np.stack([frame(data.pictures[row](), network) for row in rows[some]])  # (n, S, S, 3)
    return Samples(squares, seen.train.features[some])
