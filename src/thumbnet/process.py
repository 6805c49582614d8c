"""Settings that the command line and the server make for their own process. Importing Thumbnet sets nothing."""

import faulthandler
import os
import sys


def settle_keras() -> None:
    """Set what Keras and TensorFlow read from the environment, once, when they are imported."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # has priority over `~/.keras/keras.json`
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only


def settle_ray() -> None:
    """Set what Ray reads from the environment, once, when it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Errors are reported as exceptions.
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not os.environ.get("RAY_ADDRESS"):
        # Only holders of this token can submit work to this Ray. Without it, Ray writes a token file to `$HOME`.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", os.urandom(32).hex())


def mute() -> None:
    """Discard what native code writes to standard error, for the rest of this process. Python's own output remains.

    libpng and libjpeg write lines about broken pictures there, without a file's name, over the progress bar. Standard
    error is redirected once per process, before any picture is decoded: redirecting it for each picture would also
    discard other threads' messages. Library code must not call this. Python's fault handler still reports a crash.

    Nothing happens if Python's standard error is not the process's, as in tests that capture it.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        messages = os.dup(2)
    except (AttributeError, OSError, ValueError):  # it is missing, no file, or closed
        return
    encoding, errors = sys.stderr.encoding, sys.stderr.errors
    sys.stderr.flush()
    sys.stderr = os.fdopen(messages, "w", 1, encoding, errors, closefd=False)  # 1: line buffered
    faulthandler.enable(messages)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
