"""Thumbnet's exceptions, as one small tree. Only the outermost layer (`cli`) turns them into exit codes.

    ThumbnetError
    ├── SourceError          a picture is not available
    │   ├── FetchError       … its URL could not be read
    │   └── ImageError       … its bytes are not a readable picture
    ├── DataError            a data set is not available, or cannot be trained on
    ├── ModelError           a model file is missing, broken or not one of Thumbnet's
    ├── TrainingError        a training could not start, go on or end
    │   └── ExportError      … the trained network and its model file disagree
    └── MissingExtraError    an optional part of Thumbnet is not installed

    DataWarning              a data set is usable, but has a flaw that its user should know

A message says what was expected, what was found and what to do next, in one or two lines.
"""

import contextlib
from collections.abc import Iterator


class ThumbnetError(Exception):
    """The root of everything that Thumbnet raises on purpose."""


class SourceError(ThumbnetError):
    """A picture is not available: the file is missing, empty or a folder, or the object is not a source."""


class FetchError(SourceError):
    """A URL could not be read: it is refused, slow or too large, has an error status, or redirects too often."""


class ImageError(SourceError):
    """The bytes are not a picture, or the picture is broken or has too many pixels."""


class DataError(ThumbnetError):
    """A data set could not be found, read, verified or held in memory."""


class ModelError(ThumbnetError):
    """A model file is missing, broken or not one of Thumbnet's."""


class TrainingError(ThumbnetError):
    """A training could not start, go on or end: its settings do not fit, or a checkpoint is of another run."""


class ExportError(TrainingError):
    """The model file does not give the answers of the trained network."""


class MissingExtraError(ThumbnetError):
    """An optional part is not installed. The message is the pip command that adds it."""

    def __init__(self, task: str, missing: str, extra: str) -> None:
        super().__init__(f"{task} needs {missing}, which is not installed. Add it: pip install 'thumbnet[{extra}]'")


@contextlib.contextmanager
def needs(task: str, extra: str) -> Iterator[None]:
    """Around imports that only this extra makes possible.

    Raises:
        MissingExtraError: A package of another project is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("thumbnet"):
            raise
        raise MissingExtraError(task, (error.name or "a package").partition(".")[0], extra) from error


class DataWarning(UserWarning):
    """A data set is usable, but has a flaw: some pictures are left out, or a class has no test pictures."""
