"""From a data set to a model file. The only place that imports Keras; TensorFlow is its backend."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

# Keras reads its backend once, when it is imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep what native code writes to standard error off the terminal, unless the block fails.

    TensorFlow announces its processor features there, in lines that no setting of its own turns off.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


with _quiet_start():
    import keras as keras
