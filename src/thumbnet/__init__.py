"""Small image classifiers: trained on labelled pictures, calibrated, each in one file, usable anywhere.

    import thumbnet

    thumbnet.load().predict("cat.jpg").label                  # a bundled model
    thumbnet.train("my-pictures/", output="mine.onnx")        # a folder with a subfolder for each class
    thumbnet.load("mine.onnx").predict(["a.jpg", "https://example.org/b.png"])

Each name is imported when it is first used, so `import thumbnet` costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

from thumbnet._version import __version__ as __version__
from thumbnet.errors import (
    DataError,
    DataWarning,
    ExportError,
    FetchError,
    ImageError,
    MissingExtraError,
    ModelError,
    SourceError,
    ThumbnetError,
    TrainingError,
)

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.model.classifier import Classifier, Prediction, load
    from thumbnet.training.pipeline import train

__all__ = [
    "Classifier",
    "DataError",
    "DataWarning",
    "Dataset",
    "ExportError",
    "FetchError",
    "ImageError",
    "MissingExtraError",
    "ModelError",
    "Prediction",
    "SourceError",
    "ThumbnetError",
    "TrainingError",
    "load",
    "train",
]

_HOMES = {
    "Classifier": "thumbnet.model.classifier",
    "Dataset": "thumbnet.data.dataset",
    "Prediction": "thumbnet.model.classifier",
    "load": "thumbnet.model.classifier",
    "train": "thumbnet.training.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if name != "train" or (error.name or "").startswith(__name__):
            raise
        return _missing(MissingExtraError("training", (error.name or "a package").partition(".")[0], "train"))


def _missing(error: MissingExtraError) -> Any:
    """A stand-in for a function that is not installed: it can be imported, and raises `error` when it is called."""

    def missing(*_: Any, **__: Any) -> Any:
        raise error

    return missing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
