"""Which pictures a model is measured on: those that its training has not seen, as far as the model file can tell."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from thumbnet.data import cifar_archives
from thumbnet.data.dataset import Dataset, split
from thumbnet.data.load import BUILT_IN, load_parts, shorter_sides
from thumbnet.errors import DataError, DataWarning
from thumbnet.model.classifier import BUNDLED, THUMBNAIL
from thumbnet.model.info import ModelInfo
from thumbnet.text import first_few, printable

MAX_SEED = 2**32 - 1  # of scikit-learn
MEMORY = "the model was trained on these pictures. What is measured is its memory"


class Source(NamedTuple):
    """The data to measure on."""

    data: str  # what `load_data` takes
    download: bool  # whether CIFAR-10 may be downloaded
    note: str  # where the choice comes from, if it was not the user's


class Chosen(NamedTuple):
    """Pictures to measure a model on, and which of the data they are."""

    dataset: Dataset  # with the model's class names; some may have no picture
    note: str  # for a person; nothing where the data have a test split of their own
    learnt: bool = False  # whether the model learnt from just these, so that they have to be cross-validated


def source_for(model: str | None, info: ModelInfo, data: str | None) -> Source:
    """The data to measure a model on: those named, else those it was trained on. Nothing is downloaded on a guess.

    Raises:
        DataError: None are named, and those that the model file names are not here.
    """
    if data is not None:
        return Source(data, True, "")
    if model is None or model in BUNDLED:
        return Source("cifar10", True, "")
    name, source = model, info.data.get("source")
    if isinstance(source, str) and _is_here(source):
        return Source(source, False, f"measured on {printable(source)}, which the model file names as its data")
    if info.names == cifar_archives.NAMES:
        return Source("cifar10", False, "measured on CIFAR-10, whose classes the model knows")
    trained = (
        f"It was trained on {printable(source)}, which is not here. " if isinstance(source, str) and source else ""
    )
    raise DataError(f"{name}: {trained}Name the data to measure it on, such as `--data FOLDER`")


def _is_here(source: str) -> bool:
    """Whether data are on this machine. A model file may be a stranger's: no other machine is asked."""
    if source in BUILT_IN:
        return True
    remote = source.replace("\\", "/").startswith("//")
    return bool(source.strip()) and "\0" not in source and not remote and Path(source).expanduser().exists()


def are_thumbnails(data: str) -> bool:
    """Whether all pictures are so small that a model's network for thumbnails answers them; of files, a sample is read.

    Raises:
        DataError: The data cannot be used.
    """
    return 0 < max(shorter_sides(data), default=0) < THUMBNAIL


def choose(infos: Sequence[ModelInfo], source: Source) -> list[Chosen]:
    """The test pictures of a data set for each of several models, the same ones for all.

    Data with a test split are measured on that. Other data are measured whole, unless a model was trained on a split of
    just these: then on the part that was held out for testing. Warns where the pictures are not those that the model
    file names, where the model was trained on them, and where they lack a class.

    Raises:
        DataError: The data cannot be used, have a class that a model does not know, or two models were trained on
            different splits of them.
        MissingExtraError: The data have to be split and scikit-learn is not installed.
    """
    read: dict[tuple[object, ...], list[Dataset]] = {}
    for info in infos:
        key = info.size, info.framing, info.names
        if key not in read:
            read[key] = load_parts(
                source.data, info.size, framing=info.framing, known=info.names, download=source.download
            )
    parts = [read[info.size, info.framing, info.names] for info in infos]
    seeds = {_seed(info, own[0], source.data) for info, own in zip(infos, parts, strict=True) if len(own) == 1} - {None}
    if len(seeds) > 1:
        listed = " and ".join(map(str, sorted(seeds)))  # type: ignore[type-var]
        raise DataError(
            f"{source.data}: the models were trained on different splits of these data (seeds {listed}), so each has "
            "seen test pictures of the other. Compare them on pictures that neither was trained on"
        )
    chosen = [_choose(own, next(iter(seeds), None), source.data) for own in parts]
    return [_checked(info, pictures, source.data) for info, pictures in zip(infos, chosen, strict=True)]


def _seed(info: ModelInfo, whole: Dataset, data: str) -> int | None:
    """The seed by which a model's training has split just these data; None if they were others, or not split."""
    seed = info.data.get("seed", info.recipe.get("seed"))  # older files have it in the recipe only
    counts = [info.data.get(key) for key in ("train_images", "test_images")]
    numbers = [count for count in counts if type(count) is int]
    if type(seed) is not int or not 0 <= seed <= MAX_SEED or len(numbers) < 2 or sum(numbers) != len(whole):
        return None
    try:
        same = split(whole, seed).train.is_named(info.data.get("train"))
    except DataError:  # too few pictures to split
        return None
    # Another release of a decoder gives other pixels; the rows of the split hang on the labels alone.
    return seed if same or _is_source(info, data) else None


def _is_source(info: ModelInfo, data: str) -> bool:
    """Whether the model file names these data."""
    source = info.data.get("source")
    return isinstance(source, str) and Path(source).absolute() == Path(data).absolute()


def _choose(parts: list[Dataset], seed: int | None, data: str) -> Chosen:
    if len(parts) == 2:
        return Chosen(parts[1], "")
    whole = parts[0]
    if seed is None:
        return Chosen(whole, f"{data} has no test split: all {len(whole):,} pictures are measured")
    test = split(whole, seed).test
    note = (
        f"{data} has no test split: the {len(test):,} of {len(whole):,} pictures are measured that the training held "
        f"out for testing (seed {seed})"
    )
    return Chosen(test, note)


def _checked(info: ModelInfo, pictures: Chosen, data: str) -> Chosen:
    """Warn about pictures that a model's training has seen, or that it may have seen, and about missing classes."""
    test = pictures.dataset
    present = set(test.labels.tolist())
    if not present:
        raise DataError(f"{data}: there is no picture in the test split")
    if missing := [name for label, name in enumerate(test.names) if label not in present]:
        report = f"classes without a picture in the test split, which cannot be measured: {first_few(missing)}"
        warnings.warn(f"{data}: {report}", DataWarning, stacklevel=4)
    mark = info.data.get("test")
    if test.is_named(info.data.get("train")):
        if info.scores.get("cross_validated"):
            return pictures._replace(learnt=True)
        warnings.warn(f"{data}: {MEMORY}", DataWarning, stacklevel=4)
    elif mark is not None and not test.is_named(mark):
        changed = _is_source(info, data)
        problem = "have changed since the model was trained, and it may have seen" if changed else (
            "are not the test pictures that the model file names. Make sure that it was not trained on"
        )  # fmt: skip
        warnings.warn(f"{data}: these pictures {problem} some of them", DataWarning, stacklevel=4)
    elif mark is None and info.scores.get("cross_validated"):
        report = (
            "these pictures have changed since the model learnt from them, so this flatters it. Train again"
            if _is_source(info, data)
            else "not the pictures that the model learnt from. If some of them are, this flatters it"
        )
        warnings.warn(f"{data}: {report}", DataWarning, stacklevel=4)
    return pictures
