"""What a training gives and where it writes, whichever recipe it follows."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbnet.errors import TrainingError
from thumbnet.evaluation.scores import Scores
from thumbnet.files import check_output, exclusive, refuse_place
from thumbnet.model.classifier import Classifier

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Trained:
    """The result of a training."""

    path: Path  # the model file; other files of the training are beside it
    classifier: Classifier  # the loaded model file
    # Of that file, on the test pictures; of the recipe `transfer` without these, by cross-validation. None if there are
    # too few pictures to measure anything.
    scores: Scores | None
    interrupted: bool  # by Ctrl-C; the model is the best so far
    written: bool  # by this process; if several train together, only the first one writes


def check_model(path: Path) -> None:
    """Reject a place for the model file before the work. Makes its folder.

    Raises:
        TrainingError: The name does not end in `.onnx`.
        ThumbnetError: The file cannot be written, see `files.check_output`.
    """
    refuse_place(path)
    if path.suffix.lower() != SUFFIX:
        example = f"{path.name.removesuffix('.keras')}{SUFFIX}"
        raise TrainingError(
            f"{path}: expected a name for the model that ends in {SUFFIX}, such as {example}. The training's other "
            "files get their names from it"
        )
    check_output(path)


@contextlib.contextmanager
def locked(model: Path) -> Iterator[None]:
    """Keep a second training off the model file and the files beside it.

    Raises:
        ThumbnetError: Another process trains to the same place.
    """
    lock = model.with_name(f".{model.name}.lock")
    with exclusive(lock):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                lock.unlink()
