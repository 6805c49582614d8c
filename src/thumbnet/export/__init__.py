"""Model file → chosen format → the same answers? → written. Read `export` from top to bottom.

The packages of a format are imported when it is written, so that the rest of Thumbnet does without them.
"""

import dataclasses
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from thumbnet.data import cifar_archives
from thumbnet.data.dataset import Dataset, Splits, as_splits
from thumbnet.data.load import load_parts
from thumbnet.errors import DataError, DataWarning, ExportError, MissingExtraError
from thumbnet.evaluation import judge
from thumbnet.evaluation.held_out import MAX_SEED, are_thumbnails, source_for
from thumbnet.evaluation.scores import wilson
from thumbnet.export.agreement import Agreement, Answer, Tolerance, agreement, refuse
from thumbnet.files import check_output, write_atomically
from thumbnet.model.classifier import Classifier, find, load_with_content
from thumbnet.model.info import ModelInfo
from thumbnet.text import first_few

SAMPLES = 1000  # test images on which a float32 format is compared
FLOAT32 = Tolerance(differing=0.001, lost=0.001, moved=1e-3)
INT8 = Tolerance(differing=0.03, lost=0.003)
RELEARNT = Tolerance(differing=1.0, lost=0.003)  # a head that learnt again may answer otherwise, but not worse


@dataclass(frozen=True)
class Original:
    """The model file to convert, and the data to compare on."""

    name: str  # without folder and ending
    content: bytes
    classifier: Classifier  # of this content
    data: str | None = None  # what `load_parts` takes; None for the data that the model file names
    runtime: Path | None = None  # where ONNX Runtime Web is; None to download it
    model: str | None = None  # as the user named it; None for the best bundled one

    @classmethod
    def read(cls, model: str | Path | None, data: str | None = None, runtime: str | Path | None = None) -> "Original":
        """Read a model file, once: a pipe gives its content only once.

        Args:
            model: A bundled model's name or a file's path; None for the best bundled one.
            data: What `load_parts` takes; None for the data that the model file names.
            runtime: The archive or folder of ONNX Runtime Web; None to download it.

        Raises:
            ModelError: There is no such model, or it is not a model file of Thumbnet.
        """
        path = find(model)
        classifier, content = load_with_content(model)
        name = path.stem if path.is_file() else "model"  # a pipe is called /dev/fd/63
        return cls(
            name, content, classifier, data, None if runtime is None else Path(runtime),
            None if model is None else str(model),
        )  # fmt: skip

    @cached_property
    def parts(self) -> tuple[str, list[Dataset]]:
        """The data's name, and the data with the model's classes: training and test, or one part that is not split.

        Raises:
            DataError: The model file names no data, or they cannot be read, or they have other classes.
        """
        info = self.classifier.info
        source = source_for(self.model, info, self.data)
        if source.data == "cifar10" and info.names != cifar_archives.NAMES:  # before it is downloaded
            raise DataError(
                f"the model knows {first_few(info.names)}; cifar10 has {first_few(cifar_archives.NAMES)}. "
                "Name the data that it was trained on: --data"
            )
        if info.thumbnails and are_thumbnails(source.data):
            raise DataError(
                f"{source.data} holds thumbnails, and what is exported is the model's network for photographs. Name "
                "photographs of its classes: --data"
            )
        read = load_parts(source.data, info.size, framing=info.framing, known=info.names, download=source.download)
        return source.data, read

    @cached_property
    def splits(self) -> Splits:
        """The data, split as they were for the model's training; whole twice if it has learnt from all of them."""
        info = self.classifier.info
        data, parts = self.parts
        if len(parts) == 1 and info.scores.get("cross_validated"):
            return Splits(parts[0], parts[0])
        splits = as_splits(data, parts, _seed(info))
        if info.data.get("test") and not splits.test.is_named(info.data["test"]):
            report = "not the test pictures that the model file names. It may have been trained on some of them"
            warnings.warn(f"{data}: {report}", DataWarning, stacklevel=2)
        return splits


def _seed(info: ModelInfo) -> int:
    """The seed by which the training split its data, if it did; older files have it in the recipe."""
    seed = info.data.get("seed", info.recipe.get("seed"))
    return seed if type(seed) is int and 0 <= seed <= MAX_SEED else 0


@dataclass(frozen=True)
class Format:
    """A format that a model file can be exported to."""

    ending: str  # of its default name, after the model's
    folder: bool  # whether it is a folder
    extra: str | None  # that adds its packages
    write: Callable[[Original, Path], Answer | None]  # writes to a new path; returns a function that runs the result
    tolerance: Tolerance | None = FLOAT32  # None: not compared, as it holds the model file itself
    samples: int | None = SAMPLES  # test images to compare on; None for all
    packages: tuple[str, ...] = ()  # that it imports


@dataclass(frozen=True)
class Exported:
    """The result of an export."""

    path: Path
    agreement: Agreement | None  # with the model file; None for a format that holds the file itself


def _keras(original: Original, path: Path) -> Answer:
    from thumbnet.export import keras

    return keras.save_keras(original.content, original.classifier.info, path)


def _savedmodel(original: Original, path: Path) -> Answer:
    from thumbnet.export import keras

    return keras.save_savedmodel(original.content, original.classifier.info, path)


def _litert(original: Original, path: Path) -> Answer:
    from thumbnet.export import keras

    return keras.save_litert(original.content, original.classifier.info, path)


def _int8(original: Original, path: Path) -> Answer:
    from thumbnet.export.int8 import quantise

    content = quantise(original.content, original.classifier.info, original.splits)
    path.write_bytes(content)
    return Classifier(content).ask


def _triton(original: Original, path: Path) -> None:
    from thumbnet.export import triton

    triton.save(original.content, original.classifier, original.name, path)


def _web(original: Original, path: Path) -> None:
    from thumbnet.export import web

    web.save(original.content, original.classifier.info, path, runtime=original.runtime)


KERAS = ("keras", "tensorflow", "onnx")
FORMATS = {
    "keras": Format("-calibrated.keras", False, "train", _keras, packages=KERAS),
    "savedmodel": Format("-savedmodel", True, "train", _savedmodel, packages=KERAS),
    "litert": Format(".tflite", False, "litert", _litert, packages=(*KERAS, "ai_edge_litert")),
    "int8": Format("-int8.onnx", False, "int8", _int8, INT8, samples=None, packages=("onnx",)),
    "triton": Format("-triton", True, None, _triton, tolerance=None),
    "web": Format("-web", True, None, _web, tolerance=None),
}


def export(
    model: str | Path | None = None,
    form: str = "keras",
    output: str | Path | None = None,
    data: str | None = None,
    runtime: str | Path | None = None,
) -> Exported:
    """Convert a model file to another format, and prove that the result answers as the file does.

    Args:
        model: A bundled model's name or a file's path; None for the best bundled one. A pipe is read once.
        form: A name in `FORMATS`.
        output: The path to write; None for the model's name with the format's ending, in the working folder. An
            existing file is replaced, an existing folder is not.
        data: What `load_parts` takes: pictures of the model's classes, to compare on and to quantise by. None for the
            data that the model file names, or CIFAR-10 for its classes. Formats that hold the file itself need none.
        runtime: For `web`: the archive or folder of ONNX Runtime Web; None to download it.

    Raises:
        DataError: The data cannot be read, or have other classes, or have to be named.
        ExportError: There is no such format, or the output exists, or the result does not answer as the model file
            does. Nothing was written.
        MissingExtraError: The format's packages are not installed.
        ModelError: There is no such model, or it is none that was trained here.
        ThumbnetError: The output cannot be written.
    """
    if form not in FORMATS:
        raise ExportError(f"no format {form!r}. Expected one of: {', '.join(FORMATS)}")
    chosen = FORMATS[form]
    original = Original.read(model, data, runtime)
    if form == "keras":
        _refuse_backbone(original.classifier.info, form)
    output = Path(f"{original.name}{chosen.ending}" if output is None else output)
    _check_place(output, chosen, find(model))
    if chosen.extra and (missing := next((name for name in chosen.packages if find_spec(name) is None), None)):
        raise MissingExtraError(f"exporting to {form}", missing, chosen.extra)
    if chosen.tolerance:
        _ = original.splits  # now, so that a fault in the data is reported before the work
    with tempfile.TemporaryDirectory() as folder:  # TensorFlow and LiteRT open no path outside UTF-8
        made = Path(folder) / f"made{chosen.ending}"
        answer = chosen.write(original, made)
        found = _compare(original, answer, made, chosen, form)
        _put(made, output)
    return Exported(output, found)


def _refuse_backbone(info: ModelInfo, form: str) -> None:
    """Keras's own format is made of a network that Keras can build again, which a backbone is not."""
    if info.backbone:
        others = ", ".join(name for name in FORMATS if name != form)
        raise ExportError(
            f"{form} is not available for a model that learnt by a backbone, as Keras has no such network. Expected "
            f"one of: {others}"
        )


def _check_place(output: Path, chosen: Format, model: Path) -> None:
    """Reject a place for the output before the work. A folder cannot be replaced in one step, so none is replaced."""
    ending = "." + chosen.ending.rpartition(".")[2]  # by which its readers know it
    if chosen.folder and os.path.lexists(output):
        raise ExportError(f"{output} exists. Expected a new folder's name: remove it, or name another by --output")
    if not chosen.folder and output.suffix != ending:
        raise ExportError(f"{output}: expected a file's name that ends in {ending}")
    check_output(output)
    if output.exists() and output.samefile(model):
        raise ExportError(f"{output} is the model file itself. Name another by --output")


def _compare(original: Original, answer: Answer | None, made: Path, chosen: Format, form: str) -> Agreement | None:
    """Compare the answers with the model file's, and raise what `refuse` raises."""
    if answer is None or chosen.tolerance is None:
        return None
    test = original.splits.test
    step = max(1, len(test) // chosen.samples) if chosen.samples else 1
    sample = test.take(np.arange(0, len(test), step))  # from all over the set, which may be sorted
    found = agreement(judge.answer(original.classifier, sample), answer(sample.images))
    if not original.classifier.info.backbone or chosen.tolerance is not INT8:
        refuse(found, chosen.tolerance, form)
        return found
    if found.learnt:  # the accuracies on these pictures are those of memory
        before, after = (each.info.scores["accuracy"] for each in (original.classifier, Classifier(made.read_bytes())))
        chance = bool(wilson(round(after * found.images), found.images)[1] >= before)
        found = dataclasses.replace(found, accuracy_before=before, accuracy=after, lost_by_chance=chance)
    refuse(found, RELEARNT, form)
    return found


def _put(made: Path, output: Path) -> None:
    """Copy what was made to its place, whole or not at all."""
    if made.is_file():
        with write_atomically(output) as file:
            file.write(made.read_bytes())
        return
    with tempfile.TemporaryDirectory(prefix=".thumbnet-", dir=output.parent) as beside:
        shutil.copytree(made, Path(beside) / "made").rename(output)
