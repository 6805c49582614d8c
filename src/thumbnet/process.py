"""What the command line and the server set for their process, which is theirs. Importing a library sets nothing."""

import faulthandler
import os
import sys


def settle_keras() -> None:
    """What Keras and TensorFlow take from the environment, once, when they are imported."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # before what `~/.keras/keras.json` names
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only


def mute() -> None:
    """Keep what native code writes off standard error, which stays Python's alone, for the rest of this process.

    libpng and libjpeg write lines about broken pictures there, without a file's name, over the progress bar. That is
    stopped once, before any picture is decoded: around each one it would be stopped for the other threads' messages,
    too. For that reason a library must not do it. What a crash leaves is told, by Python's fault handler.

    Nothing is done where Python's standard error is not the process's, as in tests that catch it.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        messages = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is none, it is no file, or it is closed
        return
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr.flush()
    sys.stderr = os.fdopen(messages, "w", 1, encoding, errors, closefd=False)  # 1: each line is there at once
    faulthandler.enable(messages)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
