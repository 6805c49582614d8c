"""Shared by all commands: exit codes, and messages on standard error."""

import sys

from thumbnet.text import printable

DONE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130  # 2, wrong usage, is argparse's


def say(message: str) -> None:
    """Print a message to standard error, where all goes that is no result. A name in it steers no terminal."""
    print("\n".join(map(printable, message.split("\n"))), file=sys.stderr)
