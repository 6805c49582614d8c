"""The program: `thumbnet`, or `python -m thumbnet`."""

import gc
import sys

from thumbnet.cli import main


def run() -> int:
    """`main` as all that a process does, and its exit code."""
    code = main()
    gc.freeze()  # Python's end would look through all objects for garbage; the system takes them back as they are
    return code


if __name__ == "__main__":
    sys.exit(run())
