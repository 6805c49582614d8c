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
    from thumbnet.recipe import train

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
    "train": "thumbnet.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
