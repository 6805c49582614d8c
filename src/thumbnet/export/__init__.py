"""model file → chosen format → the same answers? → written. One function, top to bottom.

Each format's packages are imported when it is written, so that the rest of Thumbnet does without them.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from thumbnet.data.dataset import Splits
from thumbnet.data.load import load_data
from thumbnet.errors import DataError, ExportError, MissingExtraError
from thumbnet.evaluation import judge
from thumbnet.export.agreement import Agreement, Answer, Tolerance, agreement, refuse
from thumbnet.files import write_atomically
from thumbnet.model.classifier import Classifier, find, load

SAMPLES = 1000  # test images on which a float32 format is compared
FLOAT32 = Tolerance(differing=0.001, lost=0.001, moved=1e-3)
INT8 = Tolerance(differing=0.03, lost=0.003)


@dataclass(frozen=True)
class Original:
    """The model file that another thing is made of, and the data to judge that by."""

    name: str  # without folder and ending
    content: bytes
    classifier: Classifier
    data: str  # what `load_data` takes
    runtime: Path | None = None  # where ONNX Runtime Web is, if it is not to be downloaded

    @cached_property
    def splits(self) -> Splits:
        """The data; their classes are the model's."""
        info = self.classifier.info
        splits = load_data(self.data, info.size, framing=info.framing)
        if splits.test.names != info.names:
            raise DataError(
                f"the model knows {', '.join(info.names)}; {self.data} has {', '.join(splits.test.names)}. "
                "Name the data that it was trained on: --data"
            )
        return splits


@dataclass(frozen=True)
class Format:
    """What can be made of a model file."""

    ending: str  # of its usual name, after the model's
    folder: bool  # whether it is one
    extra: str | None  # that adds its packages
    write: Callable[[Original, Path], Answer | None]  # to a new path; what it returns answers from what is there
    tolerance: Tolerance | None = FLOAT32  # None: not compared, as nothing is computed anew, or not by Python
    samples: int | None = SAMPLES  # test images to compare on; None for all


@dataclass(frozen=True)
class Exported:
    """What an export leaves behind."""

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


FORMATS = {
    "keras": Format("-calibrated.keras", False, "train", _keras),
    "savedmodel": Format("-savedmodel", True, "train", _savedmodel),
    "litert": Format(".tflite", False, "litert", _litert),
    "int8": Format("-int8.onnx", False, "int8", _int8, INT8, samples=None),
    "triton": Format("-triton", True, None, _triton, tolerance=None),
    "web": Format("-web", True, None, _web, tolerance=None),
}


def export(
    model: str | Path | None = None,
    form: str = "keras",
    output: str | Path | None = None,
    data: str = "cifar10",
    runtime: str | Path | None = None,
) -> Exported:
    """Make another format of a model file, and prove that it answers as the file does.

    Args:
        model: A bundled model's name or a file's path; nothing means the best bundled one.
        form: A name in `FORMATS`.
        output: Where it goes; nothing means the model's name with the format's ending, in the working folder. A file
            that is there is replaced, a folder is not.
        data: What `load_data` takes: pictures of the model's classes to compare on, and to quantise by.
        runtime: For `web`: the archive or folder of ONNX Runtime Web; nothing means that it is downloaded.

    Raises:
        DataError: The data cannot be had, or are of other classes.
        ExportError: No such format, or a place that is taken, or what was made does not answer as the model file does.
            Nothing was written.
        MissingExtraError: The format's packages are not installed.
        ModelError: No such model, or not one that training here leaves.
    """
    if form not in FORMATS:
        raise ExportError(f"no format {form!r}. There is: {', '.join(FORMATS)}")
    chosen, path = FORMATS[form], find(model)
    loaded = load(model)  # which says what is wrong with the file
    original = Original(path.stem, path.read_bytes(), loaded, data, Path(runtime) if runtime else None)
    output = Path(output or f"{original.name}{chosen.ending}")
    _refuse_place(output, chosen, path)
    if chosen.tolerance:
        _ = original.splits  # so that what is wrong with the data is told before the work
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        made = Path(folder) / output.name
        try:
            answer = chosen.write(original, made)
        except ModuleNotFoundError as error:
            missing = (error.name or "a package").partition(".")[0]
            if missing == "thumbnet" or chosen.extra is None:
                raise
            raise MissingExtraError(f"exporting to {form}", missing, chosen.extra) from error
        found = _compare(original, answer, chosen, form)
        if chosen.folder:
            made.rename(output)
        else:
            with write_atomically(output) as file:
                file.write(made.read_bytes())
    return Exported(output, found)


def _refuse_place(output: Path, chosen: Format, model: Path) -> None:
    """A folder cannot be replaced in one step, so it is not replaced at all."""
    if chosen.folder:
        if output.exists() or output.is_symlink():
            raise ExportError(f"{output} exists. Expected a new folder's name: remove it, or name another by --output")
        return
    ending = "." + chosen.ending.rpartition(".")[2]  # by which its readers know it
    if output.suffix != ending or output.is_dir():
        raise ExportError(f"{output}: expected a file's name that ends in {ending}")
    if output.exists() and output.samefile(model):
        raise ExportError(f"{output} is the model file itself. Name another by --output")


def _compare(original: Original, answer: Answer | None, chosen: Format, form: str) -> Agreement | None:
    """What `refuse` lets pass."""
    if answer is None or chosen.tolerance is None:
        return None
    test = original.splits.test
    step = max(1, len(test) // chosen.samples) if chosen.samples else 1
    sample = test.take(np.arange(0, len(test), step))  # from all over the set, were it sorted
    found = agreement(judge.answer(original.classifier, sample), answer(sample.images))
    refuse(found, chosen.tolerance, form)
    return found
