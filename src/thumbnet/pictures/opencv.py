"""What OpenCV reads from the environment, once, when it is loaded."""

import os

MAX_PIXELS = 2**27  # of one picture: 134 megapixels


def settle() -> None:
    """Make OpenCV reject larger pictures, too, and print nothing: an exception says what is wrong with a picture.

    Call this only in a process of Thumbnet's own, before anything imports OpenCV. A library must not change the
    environment of its host; there, only `decode` checks the size.
    """
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
