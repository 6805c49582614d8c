"""What can go wrong, as one small tree. Only the outermost layer (`cli`) turns it into exit codes.

    ThumbnetError
    ├── SourceError          a picture could not be had
    │   ├── FetchError       … its URL could not be read
    │   └── ImageError       … its bytes are no picture that is read here
    ├── DataError            a data set could not be had, or cannot be trained on
    ├── ModelError           a model file is missing, broken or not one of Thumbnet's
    ├── TrainingError        a training could not start, go on or end
    │   └── ExportError      … the trained network and its model file disagree
    └── MissingExtraError    a part of Thumbnet that is not installed was asked for

    DataWarning              a data set is usable, but something in it should be known

A message says what was expected, what came and what to do next, in one or two lines.
"""


class ThumbnetError(Exception):
    """The root: everything that Thumbnet raises on purpose."""


class SourceError(ThumbnetError):
    """A picture could not be had: no such file, an empty one, a folder in place of a picture."""


class FetchError(SourceError):
    """A URL could not be read: refused, slow, too large, an error status, too many redirects."""


class ImageError(SourceError):
    """Bytes that are no picture, a broken one, or one with too many pixels."""


class DataError(ThumbnetError):
    """A data set could not be found, read, verified or held in memory."""


class ModelError(ThumbnetError):
    """A model file is missing, broken or not one of Thumbnet's."""


class TrainingError(ThumbnetError):
    """A training could not start, go on or end: settings that do not fit, a checkpoint of another run."""


class ExportError(TrainingError):
    """The model file does not answer as the trained network does."""


class MissingExtraError(ThumbnetError):
    """An optional part is not installed. The message is the pip command that adds it."""

    def __init__(self, task: str, missing: str, extra: str) -> None:
        super().__init__(f"{task} needs {missing}, which is not installed. Add it: pip install 'thumbnet[{extra}]'")


class DataWarning(UserWarning):
    """A data set is usable, but something in it should be known: pictures left out, a class without tests."""
