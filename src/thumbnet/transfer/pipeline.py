"""A data source → features → model file: `train` and its steps, without Keras and TensorFlow."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thumbnet.data.dataset import check_names, check_splits, streamed_fingerprint
from thumbnet.data.folder import readable_parts
from thumbnet.data.load import BUILT_IN, load_parts, located, read_labelled
from thumbnet.data.npz import is_npz
from thumbnet.errors import DataError, DataWarning, TrainingError
from thumbnet.evaluation.judge import list_foreign
from thumbnet.evaluation.trained import Trained, check_model, locked
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier
from thumbnet.sources.failure import Failure
from thumbnet.sources.read import read
from thumbnet.text import first_few
from thumbnet.transfer.backbone import DEFAULT, Backbone, open_backbone
from thumbnet.transfer.features import Features, Picture, extract, frame
from thumbnet.transfer.make import Part, Samples, make, with_foreign

SIDE = 32  # pixels a side of CIFAR-10's pictures
MOST_SEED = 2**32 - 1  # as of trainings from scratch
SAMPLES = 8  # pictures on which the model file is compared with what it was made of


def train(
    data: str,
    *,
    output: str | Path = "model.onnx",
    backbone: str | Path = DEFAULT,
    seed: int = 0,
    foreign: str | Path | None = None,
    other: str | Path | None = None,
) -> Trained:
    """Learn a classifier from pictures by a pretrained backbone, and write its model file.

    Without a test split, the file is learnt from all pictures, and its scores are cross-validated.

    Args:
        data: A folder or a ZIP file of pictures, a table of labels, or what else `load_data` takes.
        output: The model file, which ends in `.onnx`.
        backbone: The name of a built-in one, or an ONNX file that meets the contract of docs/transfer.md.
        seed: Decides the folds of the cross-validation: 0 to 2³² - 1.
        foreign: A folder of pictures that show none of the classes. They decide nothing; the share of them that the
            model file rejects as unsure goes into its scores.
        other: A folder of pictures that show none of the classes, from which it learns what to be unsure of.

    Raises:
        DataError: The data cannot be found, read or used.
        TrainingError: The seed is out of its range, or the output's name does not end in `.onnx`.
        MissingExtraError: The backbone's package is not installed.
        ModelError: There is no such backbone, or it does not do what it declares.
        ThumbnetError: The output cannot be written, or another training writes to it.
        ExportError: The model file does not answer as what it was made of; nothing was written.
        KeyboardInterrupt: Ctrl-C. The features that were computed are kept for the next time.
    """
    if not 0 <= seed <= MOST_SEED:
        raise TrainingError(f"expected a seed from 0 to {MOST_SEED}, got {seed}")
    path = Path(output)
    check_model(path)
    if foreign is not None:
        list_foreign(foreign)
    others = [] if other is None else _pictures_in(other)
    network = open_backbone(backbone)
    given = _read(data, network)
    with locked(path):
        seen = _see(given, others, network)
        made = make(
            network, given.names, seen.train, seen.test, _samples(given, seen, network),
            seed=seed, others=seen.others, data={"source": data, "seed": None, **seen.described},
        )  # fmt: skip
        if foreign is not None:
            made = with_foreign(made, foreign)
        with write_atomically(path) as file:
            file.write(made.content)
    return Trained(path, Classifier(made.content), made.scores, interrupted=False, written=True)


@dataclass(frozen=True, eq=False)
class _Data:
    """Labelled pictures that are not read yet."""

    source: str
    names: tuple[str, ...]
    pictures: list[Picture]  # N
    labels: NDArray[np.int64]  # (N,)
    files: list[str]  # their names, N; none if they are no files
    # Why each picture cannot be read (N texts, empty where it can) → the rows of the training and the test part, or of
    # the only one.
    parts: Callable[[Sequence[str]], list[NDArray[np.int64]]]


def _read(data: str, network: Backbone) -> _Data:
    """List the pictures of a data source.

    Raises:
        DataError: It cannot be used.
    """
    if data not in BUILT_IN and not is_npz(path := located(data)):
        tree = read_labelled(path)
        check_names(tree.names)
        pictures: list[Picture] = [partial(tree.store.read, file) for file in tree.files]
        return _Data(data, tree.names, pictures, tree.labels, tree.files, partial(readable_parts, tree))
    # CIFAR-10 in the network's size would take gigabytes; each picture is enlarged on its way, to the same pixels.
    datasets = load_parts(data, SIDE if data == "cifar10" else network.size, framing=network.framing)
    pictures = [partial(part.images.__getitem__, row) for part in datasets for row in range(len(part))]
    rows = [np.arange(start, end) for start, end in pairwise(np.cumsum([0, *map(len, datasets)]))]
    labels = np.concatenate([part.labels for part in datasets])
    return _Data(data, datasets[0].names, pictures, labels, [], lambda _: rows)


def _pictures_in(folder: str | Path) -> list[Picture]:
    return [partial(read, source) for source in list_foreign(folder) if not isinstance(source, Failure)]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A data source, as the backbone sees it."""

    every: Features  # of all pictures, those of other things last
    rows: NDArray[np.int64]  # of the training part, among all
    train: Part
    test: Part | None
    others: NDArray[np.float32] | None  # (M, D)
    described: dict[str, Any]  # what the model file says of the pictures


def _see(data: _Data, others: list[Picture], network: Backbone) -> _Seen:
    """Run all pictures through the backbone.

    Raises:
        DataError: Too many pictures cannot be read, or a single class is left.
        ModelError: The backbone fails.
    """
    count = len(data.pictures)
    every = extract([*data.pictures, *others], network, names=data.files)
    rows = data.parts(every.problems[:count])
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
    return _Seen(
        every, rows[0], parts[0], parts[1] if parts[1:] else None, every.values[strange] if others else None, described
    )


def _samples(data: _Data, seen: _Seen, network: Backbone) -> Samples:
    """Training pictures from all over the set, read again."""
    rows = seen.rows[:: max(1, len(seen.rows) // SAMPLES)][:SAMPLES]
    squares = np.stack([frame(data.pictures[row](), network) for row in rows])  # (n, S, S, 3)
    return Samples(squares, seen.every.values[rows])
