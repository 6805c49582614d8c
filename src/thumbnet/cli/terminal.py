"""Shared by all commands: exit codes, and messages on standard error."""

import sys

DONE, FAILED, SOME_FAILED, INTERRUPTED = 0, 1, 3, 130  # argparse exits with 2 for wrong usage


def say(message: str) -> None:
    """Print a line to standard error, which takes everything that is not a result."""
    print(message, file=sys.stderr)
